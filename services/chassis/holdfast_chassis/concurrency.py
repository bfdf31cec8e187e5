"""A limit on concurrent requests, of which the less important kinds may take only a part."""

from holdfast_chassis.contract import Kind

SHARES = {Kind.READ: 0.5, Kind.BEGIN: 0.8, Kind.MANAGE: 0.8, Kind.FINISH: 1.0}
"""How much of the limit may be taken when one more of a kind is still let in. Watches have limits of their own."""


class ConcurrencyLimit:
    """Caps concurrent requests, which bounds how long each waits. Each that enters must leave."""

    __slots__ = ("_limits", "taken")

    def __init__(self, limit: int) -> None:
        self._limits = {kind: max(1, int(limit * share)) for kind, share in SHARES.items()}
        self.taken = 0

    def enter(self, kind: Kind) -> bool:
        """Count a request in, unless the limit of its kind is reached."""
        if self.taken >= self._limits[kind]:
            return False
        self.taken += 1
        return True

    def leave(self) -> None:
        """Count a request out."""
        self.taken -= 1
