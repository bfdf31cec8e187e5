"""A limit on concurrent requests. Less important kinds may use only a part of it."""

from holdfast_chassis.contract import Kind

SHARES = {Kind.READ: 0.5, Kind.BEGIN: 0.8, Kind.MANAGE: 0.8, Kind.FINISH: 1.0}
"""The part of the limit up to which a request of a kind is admitted. Watches have separate limits."""


class ConcurrencyLimit:
    """A cap on concurrent requests, which bounds the wait. Each request that enters must leave."""

    __slots__ = ("_limits", "taken")

    def __init__(self, limit: int) -> None:
        self._limits = {kind: max(1, int(limit * share)) for kind, share in SHARES.items()}
        self.taken = 0

    def enter(self, kind: Kind) -> bool:
        """Admit and count a request, unless the limit of its kind is reached. Return whether it was admitted."""
        if self.taken >= self._limits[kind]:
            return False
        self.taken += 1
        return True

    def leave(self) -> None:
        """Count the end of a request."""
        self.taken -= 1
