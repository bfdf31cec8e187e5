"""Which workloads may speak for other callers. See ADR 32."""

from collections.abc import Callable, Collection

from holdfast_inventory.domain.errors import PermissionDenied
from holdfast_inventory.ports import Exchange


class Workloads:
    """The workloads that are trusted, by the DNS names in their certificates."""

    def __init__(self, trusted: Collection[str] | None, on_refused: Callable[[], None]) -> None:
        """Without TLS no workload can prove its name: then `trusted` is None, and every caller is believed."""
        self._trusted = None if trusted is None else frozenset(trusted)
        self._on_refused = on_refused

    def require_trusted(self, exchange: Exchange) -> None:
        """Raise PermissionDenied unless the connection's other end may speak for other callers."""
        if self._trusted is not None and self._trusted.isdisjoint(exchange.workload):
            self._on_refused()
            raise PermissionDenied("only a trusted workload may send metadata that begins with holdfast-", "")
