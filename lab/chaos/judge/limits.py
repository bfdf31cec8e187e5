"""No customer's holds and purchases exceed a limit, at any sequence."""

from collections import defaultdict
from collections.abc import Iterator

from lab.chaos.judge.case import Book, Case
from lab.chaos.judge.holds import Hold, LiveHolds
from lab.chaos.judge.records import Movement
from lab.chaos.judge.verdict import Violation, violation


def violations(case: Case) -> Iterator[Violation]:
    for book in case.books.values():
        if book.limit or any(item.limit for item in book.items.values()):
            yield from _exceeded(book)


def _exceeded(book: Book) -> Iterator[Violation]:
    """Check limits. They count confirmed units and open holds; due holds do not count, even if they have not ended."""
    uses: dict[str, Use] = defaultdict(Use)
    for movement in book.movements:
        reservation = book.reservations.get(movement.reservation)
        if reservation is None:
            continue
        use = uses[reservation.customer]
        use.take(movement, reservation.expire_time)
        if not _gives(movement):
            continue
        told = f"{book.name}: customer {reservation.customer} has at sequence {movement.sequence}"
        limit = book.items[movement.item].limit if movement.item in book.items else 0
        if book.limit and use.total > book.limit:
            yield violation("limit-exceeded", f"{told} {use.total} units, and may have {book.limit}.")
        if limit and use.units[movement.item] > limit:
            yield violation(
                "limit-exceeded", f"{told} {use.units[movement.item]} of {movement.item}, and may have {limit}."
            )


def _gives(movement: Movement) -> bool:
    """Return whether the movement gives a customer more units: a hold, or a late sale of an expired hold."""
    return movement.kind == "HOLD" or (movement.kind == "CONFIRM" and not movement.held)


class Use:
    """The units that a customer holds and has bought, movement by movement."""

    def __init__(self) -> None:
        self.units: dict[str, int] = defaultdict(int)
        self._holds = LiveHolds()

    @property
    def total(self) -> int:
        return sum(self.units.values())

    def take(self, movement: Movement, expire_time: float) -> None:
        """Count a movement of one of the customer's reservations."""
        for _ in self.pass_to(movement.time):
            pass
        hold = Hold(movement.reservation, movement.item)
        if movement.kind == "HOLD":
            self._holds.begin(hold, movement.held, expire_time)
            self.units[movement.item] += movement.held
        else:
            self.units[movement.item] += movement.sold - self._holds.end(hold)

    def pass_to(self, time: float) -> Iterator[tuple[float, str]]:
        """Remove the holds that are due by then. Return when they ended, and their items."""
        for expire_time, hold, units in self._holds.due(time):
            self.units[hold.item] -= units
            yield expire_time, hold.item
