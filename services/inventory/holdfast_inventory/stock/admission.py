"""The decisions of a sale's queue: the order of commands, and the number that may wait. See ADR 14.

Within a rank, customers take turns (see `FairQueue`). The order is strict, because the number of commands that finish a
purchase is limited by the number of purchases. A command that is overtaken for too long is refused.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from enum import IntEnum
from uuid import UUID

from holdfast_chassis.recent import RecentSet
from holdfast_inventory.domain.commands import Adjust, Command, Confirm, Create, Extend, Release, Return, Sweep

REMEMBERED_GRANTS = 10_000


class Rank(IntEnum):
    """The purpose of a command. Lower ranks go first, higher ranks are refused first. Reads come after all of them."""

    CONFIRM = 0
    """Finishes a purchase: the most valuable command."""
    RELEASE = 1
    """Gives units back to other customers."""
    EXTEND = 2
    """Continues a purchase."""
    ADJUST = 3
    """Rare changes by the shop itself."""
    REPLAY = 4
    """A create that was granted before: only its answer is missing."""
    CREATE = 5
    """Begins a purchase: any number of these may come."""


_RANKS: dict[type[Command], Rank] = {
    Confirm: Rank.CONFIRM,
    Release: Rank.RELEASE,
    Sweep: Rank.RELEASE,
    Extend: Rank.EXTEND,
    Adjust: Rank.ADJUST,
    Return: Rank.ADJUST,
    Create: Rank.CREATE,
}


def rank_of(command: Command, grants: RecentSet[UUID]) -> Rank:
    """Return the rank of a command. `grants` are the ids of reservations that this process granted recently.

    A replay that is not in `grants` waits like a create, and is answered correctly all the same.
    """
    rank = _RANKS[type(command)]
    if rank is Rank.CREATE and isinstance(command, Create) and command.bound and command.reservation_id in grants:
        return Rank.REPLAY
    return rank


def flow_of(command: Command) -> Hashable:
    """Return the flow of a command: its customer, or if it names none its reservation."""
    if isinstance(command, Create):
        return command.customer
    if isinstance(command, (Confirm, Release, Extend)):
        return command.customer or command.reservation_id
    return None


@dataclass(slots=True)
class BatchTimer:
    """Measures the duration of a sale's batches. Durations in seconds, times in loop time."""

    batch_commands: int
    """The most commands in a batch."""
    began: float
    """When the present batch began."""
    last_seconds: float = 0.0
    mean_seconds: float = 0.0
    """The exponentially weighted average over this sale's last batches."""

    def batch_ended(self, now: float) -> None:
        """Note that a batch has ended and the next one begins."""
        self.last_seconds, self.began = now - self.began, now
        self.mean_seconds += (0.2 if self.mean_seconds else 1.0) * (self.last_seconds - self.mean_seconds)

    def begins(self, now: float) -> None:
        """Note that the next batch begins only now."""
        self.began = now

    @property
    def likely_seconds(self) -> float:
        """Return the expected duration of the next batch, without a single slow outlier."""
        return min(self.last_seconds, self.mean_seconds)

    def wait_seconds(self, ahead: int, now: float) -> float:
        """Return the expected wait of a command with `ahead` others before it."""
        return self._in_flight_seconds(now) + ahead // self.batch_commands * self.mean_seconds

    def room(self, within_seconds: float, now: float) -> int:
        """Return how many commands may wait so that the last one waits at most this long; at least one."""
        spare_seconds = within_seconds - self._in_flight_seconds(now)
        if spare_seconds < 0:
            return 1
        return int(spare_seconds / self.mean_seconds + 1) * self.batch_commands if self.mean_seconds else _ANY

    def _in_flight_seconds(self, now: float) -> float:
        # The batch in flight may be slower than any before, because the database may have stopped.
        return max(self.mean_seconds, now - self.began)


_ANY = 1 << 31
