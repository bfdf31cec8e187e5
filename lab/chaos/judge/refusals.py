"""A refusal was true at some moment of the request, or, for short stock, up to 200 ms before it. Promises 4 and 5.

Every batch ends due holds before it decides, so a refusal is based on the stock without them. The ledger's times are
exact enough: each batch reads the clock after the commit of the state that it builds on.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from math import inf
from typing import NamedTuple

from lab.chaos.judge import hours, precedence
from lab.chaos.judge.case import Book, Case
from lab.chaos.judge.holds import Hold, LiveHolds, Timeline
from lab.chaos.judge.hours import Hours, hours_of
from lab.chaos.judge.limits import Use
from lab.chaos.judge.operations import CLOCK_SLACK_SECONDS, Operation
from lab.chaos.judge.records import Lines, Movement, parsed_time
from lab.chaos.judge.verdict import Violation, violation

STALE_SECONDS = 0.2
"""Promise 4: the maximum age of remembered stock from which a hold is refused."""


class Truth(NamedTuple):
    """The state of each sale at any time, from the ledger, and when each reservation was first in an answer."""

    stock: Mapping[str, Mapping[str, Timeline]]
    uses: Mapping[str, Mapping[tuple[str, str], Timeline]]
    hours: Mapping[str, Hours]
    told_at: Mapping[str, float]
    grants: precedence.Grants


def violations(case: Case) -> Iterator[Violation]:
    stock = {name: available(book) for name, book in case.books.items()}
    uses = {name: used(book) for name, book in case.books.items()}
    truth = Truth(stock, uses, hours_of(case), _told_at(case), precedence.grants_of(case))
    for operation in case.operations:
        if operation.reason == "INTERNAL":
            # It is no valid answer, neither as a refusal nor as an unknown outcome.
            yield violation("internal-error", f"Operation {operation.number}, {operation.action}.")
        if operation.is_refused and operation.sale in case.books:
            yield from _untrue(case, operation, truth)
            if operation.action == "create":
                refused = _refused_create(case, operation, truth)
                yield from precedence.untrue(refused)
                yield from precedence.violations(refused)


def _refused_create(case: Case, operation: Operation, truth: Truth) -> precedence.Refused:
    sale = operation.sale
    stale_seconds = STALE_SECONDS if operation.reason == "INSUFFICIENT_STOCK" else 0.0
    return precedence.Refused(
        operation, case.books[sale], truth.hours[sale], truth.uses[sale], truth.grants, stale_seconds
    )


def _untrue(case: Case, operation: Operation, truth: Truth) -> Iterator[Violation]:
    match operation.reason:
        case "INSUFFICIENT_STOCK" | "BELOW_HELD":
            yield from _short(case, operation, truth.stock[operation.sale])
        case "CUSTOMER_LIMIT_REACHED":
            yield from _over_limit(case, operation, truth.uses[operation.sale])
        case "SALE_NOT_OPEN" | "SALE_CLOSED" | "SALE_PAUSED":
            yield from hours.untrue(operation, truth.hours[operation.sale])
        case "STOCK_CHANGED":
            yield from _unchanged(case, operation)
        case "EXTENSION_LIMIT_REACHED":
            yield from _within_limit(case, operation)
        case "NOT_FOUND":
            yield from _not_found(case, operation, truth.told_at)
        case "RESERVATION_EXPIRED" | "RESERVATION_RELEASED" | "RESERVATION_CONFIRMED":
            yield from _ended(case, operation)


# Stock


def available(book: Book) -> Mapping[str, Timeline]:
    """Return the available units of each item without due holds, after every change."""
    return {item: _available(book, log.movements) for item, log in book.logs.items()}


def _available(book: Book, movements: Sequence[Movement]) -> Timeline:
    timeline, holds, units = Timeline(), LiveHolds(), 0
    for movement in movements:
        for expire_time, _, freed in holds.due(movement.time):
            units += freed
            timeline.set(expire_time, units)
        hold = Hold(movement.reservation, movement.item)
        units += movement.on_hand
        if movement.kind == "HOLD":
            units -= movement.held
            kept = book.reservations.get(movement.reservation)
            holds.begin(hold, movement.held, kept.expire_time if kept else inf)
        elif movement.reservation:
            units += holds.end(hold)
        timeline.set(movement.time, units)
    for expire_time, _, freed in holds.due(inf):
        units += freed
        timeline.set(expire_time, units)
    return timeline


def _short(case: Case, operation: Operation, stock: Mapping[str, Timeline]) -> Iterator[Violation]:
    """Check that one of the lines was short; with allow_partial, that all items had no units."""
    first = operation.invoked_wall - STALE_SECONDS - CLOCK_SLACK_SECONDS
    last = operation.completed_wall + CLOCK_SLACK_SECONDS
    asked = _asked(case, operation)
    least = {item: min(stock[item].between(first, last)) for item, _ in asked if item in stock}
    is_partial = bool(operation.request.get("allow_partial"))
    short = [item for item, units in asked if least.get(item, 0) < (1 if is_partial else units)]
    if asked and (len(short) < len(asked) if is_partial else not short):
        there = ", ".join(f"{units} {item} with at least {least[item]} available" for item, units in asked)
        yield violation(
            "stale-refusal",
            f"Operation {operation.number}, {operation.action}, was refused {there} since {STALE_SECONDS} s before.",
        )


def _asked(case: Case, operation: Operation) -> Lines:
    """Return the units that it takes from its sale."""
    request = operation.request
    match operation.action:
        case "create":
            return operation.lines
        case "confirm" if operation.target in case.reservations:
            return case.reservations[operation.target].lines
        case "transfer":
            return ((operation.target.rpartition("/")[2], request["quantity"]),)
        case "adjust":
            return ((operation.target.rpartition("/")[2], -request["delta"]),)
    return ()


def _unchanged(case: Case, operation: Operation) -> Iterator[Violation]:
    """Check STOCK_CHANGED: the item had another version. It is read under the lock, so it is never stale."""
    log = case.books[operation.sale].logs.get(operation.target.rpartition("/")[2])
    if log is None:
        return
    versions = Timeline()
    for movement in log.movements:
        versions.set(movement.time, movement.sequence)
    first, last = operation.invoked_wall - CLOCK_SLACK_SECONDS, operation.completed_wall + CLOCK_SLACK_SECONDS
    if set(versions.between(first, last)) == {operation.expected_version}:
        told = f"{operation.target} had version {operation.expected_version} all the time"
        yield violation("needless-refusal", f"Operation {operation.number}: {told}.")


# Limits


def used(book: Book) -> Mapping[tuple[str, str], Timeline]:
    """Return each customer's units, held and bought, of each item and of all items (item ""), after every change."""
    uses: dict[str, Use] = defaultdict(Use)
    timelines: dict[tuple[str, str], Timeline] = defaultdict(Timeline)

    def note(customer: str, time: float, item: str) -> None:
        timelines[customer, item].set(time, uses[customer].units[item])
        timelines[customer, ""].set(time, uses[customer].total)

    for movement in book.movements:
        reservation = book.reservations.get(movement.reservation)
        if reservation is None:
            continue
        use = uses[reservation.customer]
        for time, item in use.pass_to(movement.time):
            note(reservation.customer, time, item)
        use.take(movement, reservation.expire_time)
        note(reservation.customer, movement.time, movement.item)
    for customer, use in uses.items():
        for time, item in use.pass_to(inf):
            note(customer, time, item)
    return timelines


def _over_limit(case: Case, operation: Operation, uses: Mapping[tuple[str, str], Timeline]) -> Iterator[Violation]:
    """Check that the customer would have exceeded a limit. This is never refused from memory, so it is never stale."""
    book, asked = case.books[operation.sale], _asked(case, operation)
    first, last = operation.invoked_wall - CLOCK_SLACK_SECONDS, operation.completed_wall + CLOCK_SLACK_SECONDS
    customer = _customer(case, operation)

    def most(item: str) -> int:
        return max(uses[customer, item].between(first, last)) if (customer, item) in uses else 0

    limits = [(most(item), units, book.items[item].limit) for item, units in asked if item in book.items]
    limits.append((most(""), sum(units for _, units in asked), book.limit))
    if customer and not any(limit and had + units > limit for had, units, limit in limits):
        yield violation("needless-refusal", f"Operation {operation.number}: {customer} was below every limit.")


def _customer(case: Case, operation: Operation) -> str:
    if operation.action == "create":
        return str(operation.request["customer"])
    kept = case.reservations.get(operation.target)
    return kept.customer if kept else ""


# Reservations


def _within_limit(case: Case, operation: Operation) -> Iterator[Violation]:
    """Check EXTENSION_LIMIT_REACHED: the requested time is over the limit, at whatever time the call was made."""
    kept = case.reservations.get(operation.target)
    asked = operation.request["expire_time"]
    if kept and parsed_time(asked) <= case.books[operation.sale].latest_end(kept):
        yield violation("needless-refusal", f"Operation {operation.number}: {kept.name} may be held until {asked}.")


def _told_at(case: Case) -> Mapping[str, float]:
    """Return when each reservation was first in an answer."""
    told_at: dict[str, float] = {}
    for operation in case.operations:
        if operation.is_ok and operation.action == "create":
            name = operation.reservation.name
            told_at[name] = min(told_at.get(name, inf), operation.completed)
    return told_at


def _not_found(case: Case, operation: Operation, told_at: Mapping[str, float]) -> Iterator[Violation]:
    """Check that NOT_FOUND is not answered for a reservation that was in an earlier answer, except to others."""
    kept = case.reservations.get(operation.target)
    is_foreign = kept is not None and operation.request.get("customer", "") not in {"", kept.customer}
    if not is_foreign and told_at.get(operation.target, inf) < operation.invoked:
        yield violation("needless-refusal", f"Operation {operation.number}: {operation.target} was not found.")


def _ended(case: Case, operation: Operation) -> Iterator[Violation]:
    """Check that it had ended that way, or was due, before the answer; for a repeated confirm, with another order."""
    kept, life = case.reservations.get(operation.target), case.life(operation.target)
    if kept is None or not life:
        return
    latest = operation.completed_wall + CLOCK_SLACK_SECONDS
    state = operation.reason.removeprefix("RESERVATION_")
    if state == "EXPIRED":
        was_true = kept.expire_time <= latest and [movement.kind for movement in life][-1] != "RELEASE"
        was_true = was_true and not _was_sold_in_time(life)
    else:
        kind = {"RELEASED": "RELEASE", "CONFIRMED": "CONFIRM"}[state]
        was_true = any(movement.kind == kind and movement.time <= latest for movement in life)
        if operation.action == "confirm" and state == "CONFIRMED":
            was_true = was_true and operation.request.get("order", "") not in {"", kept.order}
    if not was_true:
        text = f"Operation {operation.number}, {operation.action}: {kept.name} was not {state}, it is {kept.state}."
        yield violation("needless-refusal", text)


def _was_sold_in_time(life: Sequence[Movement]) -> bool:
    return life[-1].kind == "CONFIRM" and all(movement.kind != "EXPIRE" for movement in life)
