"""Who goes first when commands must wait, and how many may: the decisions of a sale's queue, without the queueing.

Within a rank, customers take turns (see `FairQueue`). The order is strict, for what finishes a purchase is bounded by
the purchases that were begun; whoever is overtaken for too long is refused, like everybody who would wait too long.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from enum import IntEnum
from uuid import UUID

from holdfast_chassis.recent_set import RecentSet
from holdfast_inventory.domain.commands import Adjust, Command, Confirm, Create, Extend, Release, Sweep

REMEMBERED_GRANTS = 10_000


class Rank(IntEnum):
    """What a command is for; the lower goes first, the higher is refused first. Reads come after them all."""

    CONFIRM = 0
    """A purchase is finished: what everything else is for."""
    RELEASE = 1
    """Units come back, for others to buy."""
    EXTEND = 2
    """A purchase under way goes on."""
    ADJUST = 3
    """The shop's own, of which there is little."""
    REPLAY = 4
    """A create that was granted: its customer waits for no more than to hear of it."""
    CREATE = 5
    """A purchase begins: what there can be any amount of."""


_RANKS: dict[type[Command], Rank] = {
    Confirm: Rank.CONFIRM,
    Release: Rank.RELEASE,
    Sweep: Rank.RELEASE,
    Extend: Rank.EXTEND,
    Adjust: Rank.ADJUST,
    Create: Rank.CREATE,
}


def rank_of(command: Command, grants: RecentSet[UUID]) -> Rank:
    """When it is its turn. `grants`: the creates that this process granted lately, by their reservations.

    A replay that is not known as one waits like a create, and is answered all the same.
    """
    rank = _RANKS[type(command)]
    if rank is Rank.CREATE and isinstance(command, Create) and command.bound and command.reservation_id in grants:
        return Rank.REPLAY
    return rank


def flow_of(command: Command) -> Hashable:
    """With whom a command shares its turn: with its customer's others; where none is named, with its reservation's."""
    if isinstance(command, Create):
        return command.customer
    if isinstance(command, Confirm | Release | Extend):
        return command.customer or command.reservation_id
    return None


@dataclass(slots=True)
class BatchTimer:
    """How fast a sale's batches go. Times in seconds, moments in loop time."""

    batch_commands: int
    """The most in a batch."""
    began: float
    """When the batch in flight, or that which begins now, began."""
    last_seconds: float = 0.0
    mean_seconds: float = 0.0
    """Exponentially weighted, over this sale's last batches."""

    def batch_ended(self, now: float) -> None:
        """A batch has ended, and the next begins."""
        self.last_seconds, self.began = now - self.began, now
        self.mean_seconds += (0.2 if self.mean_seconds else 1.0) * (self.last_seconds - self.mean_seconds)

    def begins(self, now: float) -> None:
        """The next batch begins only now."""
        self.began = now

    @property
    def likely_seconds(self) -> float:
        """How long the next batch will probably take: a slow one that was an exception does not count."""
        return min(self.last_seconds, self.mean_seconds)

    def wait_seconds(self, ahead: int, now: float) -> float:
        """How long whoever has so many ahead will probably wait for its batch."""
        return self._in_flight_seconds(now) + ahead // self.batch_commands * self.mean_seconds

    def room(self, within_seconds: float, now: float) -> int:
        """How many may wait, for the last of them to wait no longer than that; one always, for it may be quick."""
        spare_seconds = within_seconds - self._in_flight_seconds(now)
        if spare_seconds < 0:
            return 1
        return int(spare_seconds / self.mean_seconds + 1) * self.batch_commands if self.mean_seconds else _ANY

    def _in_flight_seconds(self, now: float) -> float:
        # The batch in flight may be slower than any before, for the database may have stopped.
        return max(self.mean_seconds, now - self.began)


_ANY = 1 << 31
