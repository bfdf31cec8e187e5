"""Places for so many requests at a time, of which the less important ones may take only a part."""

from enum import Enum


class Use(float, Enum):
    """What a request is for, and how much of the places may be taken when one like it is still let in."""

    LOOK = 0.5
    """It changes nothing, and can be asked again."""
    BEGIN = 0.8
    """It begins something, and may as well begin it later."""
    FINISH = 1.0
    """It ends what was begun: what everything before it was for, and it gives back what that took."""


class Places:
    """A limit on what is in progress, so that nothing waits longer than so many take. Each that enters must leave."""

    __slots__ = ("_limits", "taken")

    def __init__(self, limit: int) -> None:
        self._limits = {use: max(1, int(limit * use)) for use in Use}
        self.taken = 0

    def enter(self, use: Use) -> bool:
        """Takes a place, unless there is none for this use."""
        if self.taken >= self._limits[use]:
            return False
        self.taken += 1
        return True

    def leave(self) -> None:
        """Gives a place back."""
        self.taken -= 1
