"""Stock is conserved, at every sequence and in the stored levels. Promises 1 and 5."""

from collections import Counter
from collections.abc import Iterator

from lab.chaos.judge.case import Book, Case
from lab.chaos.judge.records import Level, Movement
from lab.chaos.judge.verdict import Violation, violation


def violations(case: Case) -> Iterator[Violation]:
    for book in case.books.values():
        yield from _sequence_gaps(book)
        yield from _malformed_movements(book)
        yield from _oversold(book)
        yield from _balances(book)
        yield from _held(book)
        yield from _verified(book)
        if "sell-out" in case.phases:
            yield from _undersold(book)


def _sequence_gaps(book: Book) -> Iterator[Violation]:
    """Movement.sequence: 1, 2, 3, and so on without gaps; Sale.sequence is the last one."""
    expected = 1
    for movement in book.movements:
        if movement.sequence != expected:
            yield violation("sequence-gap", f"{book.name}: sequence {expected} is followed by {movement.sequence}.")
        expected = movement.sequence + 1
    if book.sequence != expected - 1:
        yield violation("sequence-gap", f"{book.name}: the sale is at {book.sequence}, its ledger at {expected - 1}.")


def _malformed_movements(book: Book) -> Iterator[Violation]:
    """Movement.Kind: what each kind does to on_hand, held and sold."""
    for movement in book.movements:
        if not _is_well_formed(movement):
            changes = f"{movement.on_hand:+} on hand, {movement.held:+} held, {movement.sold:+} sold"
            yield violation(
                "malformed-movement", f"{book.name}, sequence {movement.sequence}: {movement.kind} {changes}."
            )


def _is_well_formed(movement: Movement) -> bool:
    on_hand, held, sold = movement.on_hand, movement.held, movement.sold
    match movement.kind:
        case "HOLD":
            return on_hand == 0 and held > 0 and sold == 0
        case "CONFIRM":
            return on_hand == -sold and sold > 0 and held in {0, -sold}
        case "RELEASE" | "EXPIRE":
            return on_hand == 0 and held < 0 and sold == 0
        case "ADJUST" | "TRANSFER":
            return on_hand != 0 and held == 0 and sold == 0
    return False


def _oversold(book: Book) -> Iterator[Violation]:
    """Check promise 1 at every prefix of the ledger: 0 <= held <= on_hand. Only the first violation of an item is
    reported.
    """
    for item, log in book.logs.items():
        for sequence, level in zip(log.sequences, log.levels, strict=True):
            if not 0 <= level.held <= level.on_hand or level.sold < 0:
                yield violation("oversold", f"{book.name}, {item}: after sequence {sequence} it is {_told(level)}.")
                break


def _balances(book: Book) -> Iterator[Violation]:
    """Check that the sum of an item's movements is its stock level, and that its version is the last movement."""
    for name, log in book.logs.items():
        item = book.items.get(name)
        if item is None:
            yield violation("balance-differs", f"{book.name}: {name} has movements and is no item.")
            continue
        version, level = log.at(book.sequence)
        stored = f"{_told(item.level)}, {item.available} available at version {item.version}"
        if (item.level, item.available, item.version) != (level, level.available, version):
            yield violation(
                "balance-differs", f"{book.name}, {name}: {stored}, but sums up to {_told(level)} at {version}."
            )


def _held(book: Book) -> Iterator[Violation]:
    """Check that no hold leaks: an item's held units are exactly those of open reservations."""
    open_holds: Counter[str] = Counter()
    for reservation in book.reservations.values():
        if reservation.state == "HELD":
            open_holds.update(dict(reservation.lines))
    for name, item in book.items.items():
        if item.level.held != open_holds[name]:
            yield violation(
                "held-differs",
                f"{book.name}, {name}: {item.level.held} held, {open_holds[name]} by open reservations.",
            )


def _verified(book: Book) -> Iterator[Violation]:
    """Check that the product's own verification agrees."""
    if not book.is_verified:
        yield violation("ledger-unverified", f"{book.name}: VerifyLedger finds {list(book.discrepancies)}.")


def _undersold(book: Book) -> Iterator[Violation]:
    """Check promise 5: after the phase sell-out, which buys until it is refused, nothing is available."""
    for name, item in book.items.items():
        if item.available > 0 and not book.is_cancelled:
            yield violation("undersold", f"{book.name}, {name}: {item.available} units could not be sold in the end.")


def _told(level: Level) -> str:
    return f"{level.on_hand} on hand, {level.held} held, {level.sold} sold"
