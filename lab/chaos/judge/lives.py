"""A reservation is held once and ends once: sold, released or expired. An expired one may be sold late.

Its final expire_time is valid at any earlier time, too: only a hold that is not due can be extended, so a hold was
open until its final expire_time, or until a movement ended it.
"""

from collections import Counter
from collections.abc import Iterator, Sequence

from lab.chaos.judge.case import Book, Case
from lab.chaos.judge.records import Lines, Movement, Reservation
from lab.chaos.judge.verdict import Violation, violation

_SWEEP_SECONDS = 5.0
"""How long a due hold may stay open in an idle sale: some intervals of the sweeper."""

_LIVES = {
    ("HOLD",): "HELD",
    ("HOLD", "CONFIRM"): "CONFIRMED",
    ("HOLD", "RELEASE"): "RELEASED",
    ("HOLD", "EXPIRE"): "EXPIRED",
    ("HOLD", "EXPIRE", "CONFIRM"): "CONFIRMED",
    ("CONFIRM",): "CONFIRMED",
}


def violations(case: Case) -> Iterator[Violation]:
    for book in case.books.values():
        for name in book.lives.keys() | book.reservations.keys():
            yield from _life(book, name)
        yield from _held_too_long(book)
        if "drain" in case.phases:
            yield from _outlived(case, book)


def chapters(life: Sequence[Movement]) -> list[list[Movement]]:
    """Return the movements of a reservation in groups of one kind, with one movement for each line."""
    parts: list[list[Movement]] = []
    for movement in life:
        if not parts or parts[-1][0].kind != movement.kind:
            parts.append([])
        parts[-1].append(movement)
    return parts


def _life(book: Book, name: str) -> Iterator[Violation]:
    reservation, life = book.reservations.get(name), book.lives.get(name, [])
    told = ", ".join(f"{movement.sequence} {movement.kind} {movement.item}" for movement in life) or "no movements"
    if reservation is None:
        yield violation("state-differs", f"{name} has movements ({told}) and does not exist.")
        return
    parts = chapters(life)
    state = _LIVES.get(tuple(part[0].kind for part in parts))
    if life and (state is None or not all(_is_whole(part, reservation.lines) for part in parts)):
        yield violation("ended-twice", f"{name} with lines {dict(reservation.lines)} lived: {told}.")
    elif state != reservation.state:
        yield violation("state-differs", f"{name} is {reservation.state}, but lived: {told}.")
    else:
        yield from _times(reservation, parts)


def _is_whole(part: Sequence[Movement], lines: Lines) -> bool:
    """Return whether each line moved once, with its quantity."""
    moved = Counter((movement.item, abs(movement.held) or movement.sold) for movement in part)
    return moved == Counter(lines)


def _times(reservation: Reservation, parts: Sequence[Sequence[Movement]]) -> Iterator[Violation]:
    """Check promises 2 and 5: a hold does not expire before its expire_time, and is not sold or released after it."""
    if len(parts) == 1:
        return
    end = parts[1][0]
    is_due = end.time >= reservation.expire_time
    told = f"{reservation.name}: {end.kind} at sequence {end.sequence}"
    if end.kind == "EXPIRE" and not is_due:
        yield violation("expired-early", f"{told}, {reservation.expire_time - end.time:.3f} s before its time.")
    if end.kind != "EXPIRE" and is_due:
        yield violation("ended-after-expiry", f"{told}, {end.time - reservation.expire_time:.3f} s after it ran out.")


def _held_too_long(book: Book) -> Iterator[Violation]:
    """Check promise 5: with all extensions a hold lasts at most max_hold_time."""
    for reservation in book.reservations.values():
        over = reservation.expire_time - book.latest_end(reservation)
        if over > 0:
            yield violation("held-too-long", f"{reservation.name} ends {over:.6f} s later than it may.")


def _outlived(case: Case, book: Book) -> Iterator[Violation]:
    """Check promise 5: at the end of the drain, the sweeper has ended all holds that were due early enough."""
    drain = case.phases["drain"]
    later = [phase.wall for phase in case.phases.values() if phase.at > drain.at]
    swept = max(drain.wall, min(later, default=drain.wall) - _SWEEP_SECONDS)
    for reservation in book.reservations.values():
        if reservation.state == "HELD" and reservation.expire_time <= swept:
            yield violation("hold-outlived", f"{reservation.name} is HELD, and ran out before the drain was over.")
