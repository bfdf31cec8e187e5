"""Which replica of the inventory gets a sale's commands.

Replicas that work on the same sale spoil each other's batches. So gRPC's ring hash picks by the sale: all gateways that
know the same replicas pick the same one. When it drains, is unwell or away, its sales move to others, and no other sale
moves.
"""

import asyncio
import re

HEADER = "holdfast-sale"
"""What the ring hash reads. A call without it goes to any replica."""
RING = {"requestHashHeader": HEADER, "minRingSize": 2048, "maxRingSize": 4096}
"""The configuration of gRPC's ring hash. The shares of three replicas differ by some 4 %.

4,096 is the most that gRPC takes. With a smaller least size each replica has the same whole number of places, and the
order in which a name server gives addresses makes no difference.
"""
_SECOND_CHOICE_SECONDS = 1.0
_REMEMBERED_SALES = 10_000
# A value that gRPC cannot send would fail the call in place of the refusal that the inventory has for it.
_match_sale = re.compile(r"sales/(\w[\w.-]{0,62})", re.ASCII).fullmatch


class SaleAffinity:
    """Says where a sale's calls go. A sale whose replica is overloaded goes to its second choice for a second.

    The call that was refused is not sent again: a refusal must not double the load.
    """

    def __init__(self) -> None:
        self._second_until: dict[str, float] = {}

    def metadata(self, sale: str) -> tuple[tuple[str, str], ...]:
        """Return what is sent with a call for `sales/{sale}`. What is no sale's name goes anywhere."""
        match = _match_sale(sale)
        return () if match is None else ((HEADER, match[1] + self._choice(sale)),)

    def overloaded(self, sale: str) -> None:
        """Note that the replica of the sale has refused a call by overload."""
        if self._second_until.pop(sale, None) is not None:
            return
        if len(self._second_until) >= _REMEMBERED_SALES:
            self._second_until.clear()
        self._second_until[sale] = asyncio.get_running_loop().time() + _SECOND_CHOICE_SECONDS

    def _choice(self, sale: str) -> str:
        until = self._second_until.get(sale)
        if until is None:
            return ""
        if until > asyncio.get_running_loop().time():
            return "/second"
        del self._second_until[sale]
        return ""
