"""Reservations happen exactly once: the ledger has what was acknowledged and nothing else. Promises 2 and 3."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from lab.chaos.judge.case import Case
from lab.chaos.judge.matching import unmatched
from lab.chaos.judge.operations import CLOCK_SLACK_SECONDS, Intent, Operation
from lab.chaos.judge.records import Movement, Reservation, parsed_time, sale_of
from lab.chaos.judge.verdict import Violation, violation


def violations(case: Case) -> Iterator[Violation]:
    yield from _creates(case)
    yield from _endings(case)
    yield from _extensions(case)


# Creates


def _creates(case: Case) -> Iterator[Violation]:
    attributed: set[str] = set()
    for intent in case.intents_of("create"):
        for operation in intent.acknowledged:
            attributed.add(operation.reservation.name)
            yield from _acknowledged_create(case, intent, operation)
        if intent.acknowledged:
            name = intent.acknowledged[0].reservation.name
            yield from out_of_time(intent, case.life(name)[:1])
    yield from _unasked_reservations(case, attributed)


def _acknowledged_create(case: Case, intent: Intent, operation: Operation) -> Iterator[Violation]:
    """Check that an acknowledged create, new or replayed, has its reservation, movements and the answered fields."""
    told = operation.reservation
    kept = case.reservations.get(told.name)
    life = case.life(told.name)
    if kept is None or not life:
        yield violation(
            "acknowledged-lost", f"{told.name} was acknowledged to operation {operation.number} and is gone."
        )
        return
    first = life[0].kind
    if first != ("CONFIRM" if operation.request.get("confirm") else "HOLD"):
        yield violation("fields-differ", f"Operation {operation.number} created {told.name}, which began with {first}.")
    differing = [*_differences(told, kept), *_unlike_request(operation, kept)]
    if differing:
        yield violation("fields-differ", f"{told.name} of {intent.numbers}: {'; '.join(differing)}.")


def _differences(told: Reservation, kept: Reservation) -> Iterator[str]:
    """Check fields that never change. An end can only be moved later by extending, so it is at most the final one."""
    for name in ("customer", "lines", "create_time"):
        if getattr(told, name) != getattr(kept, name):
            yield f"{name} was told as {getattr(told, name)} and is {getattr(kept, name)}"
    if told.expire_time > kept.expire_time:
        yield f"expire_time was told as {told.expire_time} and is {kept.expire_time}"
    # EXPIRED may become CONFIRMED, whose end_time is another.
    if told.state == kept.state:
        for name in ("end_time", "order"):
            if getattr(told, name) != getattr(kept, name):
                yield f"{name} was told as {getattr(told, name)} and is {getattr(kept, name)}"


def _unlike_request(operation: Operation, kept: Reservation) -> Iterator[str]:
    if kept.customer != operation.request["customer"]:
        yield f"it was for {operation.request['customer']} and is {kept.customer}'s"
    if not _grants(operation, kept):
        yield f"asked were {dict(operation.lines)}, granted {dict(kept.lines)}"


def _grants(operation: Operation, reservation: Reservation) -> bool:
    """Return whether all lines are granted; of a partial reservation, whether each line is at most what was asked."""
    if not operation.request.get("allow_partial"):
        return operation.lines == reservation.lines
    asked = dict(operation.lines)
    return all(quantity <= asked.get(item, 0) for item, quantity in reservation.lines)


def _unasked_reservations(case: Case, attributed: set[str]) -> Iterator[Violation]:
    """Check that each reservation without an answer belongs to one create of its customer with an unknown outcome."""
    orphans = [found for name, found in case.reservations.items() if name not in attributed]
    open_intents: dict[tuple[str, str], list[Intent]] = defaultdict(list)
    for intent in case.intents_of("create"):
        if not intent.acknowledged:
            first = intent.first
            open_intents[first.sale, first.request["customer"]].append(intent)
    by_customer: dict[tuple[str, str], list[Reservation]] = defaultdict(list)
    for orphan in orphans:
        by_customer[sale_of(orphan.name), orphan.customer].append(orphan)
    for owner, found in by_customer.items():
        intents = open_intents[owner]
        for orphan in unmatched(found, intents, _may_have_created):
            yield _unasked(orphan, case, intents)


def _may_have_created(orphan: Reservation, intent: Intent) -> bool:
    return any(
        _grants(operation, orphan) and operation.invoked_wall <= orphan.create_time + CLOCK_SLACK_SECONDS
        for operation in intent.possible
    )


def _unasked(orphan: Reservation, case: Case, intents: Iterable[Intent]) -> Violation:
    refused = [
        one
        for intent in intents
        for one in intent.operations
        if one.is_refused and _grants(one, orphan) and one.invoked_wall <= orphan.create_time <= one.completed_wall
    ]
    told = f"{orphan.name} of {orphan.customer}, {dict(orphan.lines)}, {_sequences(case.life(orphan.name))}"
    if refused:
        known = ", ".join(str(one.number) for one in refused)
        return violation("refused-but-applied", f"{told}: refused operations asked for it: {known}.")
    return violation("row-without-operation", f"{told}: no operation asked for it, or it had its reservation already.")


# Confirms and releases


def _endings(case: Case) -> Iterator[Violation]:
    intents: dict[tuple[str, str], list[Intent]] = defaultdict(list)
    for intent in case.intents_of("confirm", "release"):
        intents[intent.first.target, intent.action.upper()].append(intent)
    for (name, kind), found in intents.items():
        for intent in found:
            yield from _acknowledged_ending(case, intent)
        yield from _ending_in_time(case, name, kind, found)
    yield from _unasked_endings(case, intents)


def _acknowledged_ending(case: Case, intent: Intent) -> Iterator[Violation]:
    """Check that an acknowledged confirm or release is the final end of its reservation, with the given order."""
    state = "CONFIRMED" if intent.action == "confirm" else "RELEASED"
    for operation in intent.acknowledged:
        kept = case.reservations.get(operation.target)
        if kept is None or kept.state != state:
            became = "is gone" if kept is None else f"is {kept.state}"
            text = f"{operation.target} was {state} by operation {operation.number} and {became}."
            yield violation("acknowledged-lost", text)
            continue
        differing = list(_differences(operation.reservation, kept))
        order = operation.request.get("order", "")
        if order and kept.order != order:
            differing.append(f"order was given as {order} and is {kept.order}")
        if operation.reservation.state != state:
            differing.append(f"the answer said {operation.reservation.state}")
        if differing:
            yield violation("fields-differ", f"{kept.name}, operation {operation.number}: {'; '.join(differing)}.")


def _ending_in_time(case: Case, name: str, kind: str, intents: Sequence[Intent]) -> Iterator[Violation]:
    """Check that a movement is between an invocation that may have caused it and the first answer that shows it."""
    life = case.life(name)
    if not life or life[0].kind == kind:
        return
    together = Intent(tuple(operation for intent in intents for operation in intent.operations))
    yield from out_of_time(together, [movement for movement in life if movement.kind == kind][:1])


def _unasked_endings(case: Case, intents: Mapping[tuple[str, str], Sequence[Intent]]) -> Iterator[Violation]:
    """Check that a confirm or release was requested: a confirm with this order, a release unless by cancellation."""
    for name, kept in case.reservations.items():
        kinds = [movement.kind for movement in case.life(name)]
        kind = kinds[-1] if kinds else ""
        if kind not in {"CONFIRM", "RELEASE"} or kinds[0] == "CONFIRM":
            continue
        if kind == "RELEASE" and case.books[sale_of(name)].is_cancelled:
            continue
        asked = [one for intent in intents.get((name, kind), ()) for one in intent.operations]
        fitting = [one for one in asked if kind == "RELEASE" or one.request.get("order", "") == kept.order]
        if not fitting:
            yield violation(
                "row-without-operation", f"{name} {_sequences(case.life(name)[-1:])}: no request caused it."
            )
        elif all(one.is_refused for one in fitting):
            known = ", ".join(str(one.number) for one in fitting)
            told = f"{name} {_sequences(case.life(name)[-1:])}"
            yield violation("refused-but-applied", f"{told}: only refused operations asked for it: {known}.")


def _extensions(case: Case) -> Iterator[Violation]:
    """Check that an acknowledged extension is kept: the hold's end is at least the answered one."""
    for intent in case.intents_of("extend"):
        for operation in intent.acknowledged:
            asked, told = operation.request["expire_time"], operation.reservation.expire_time
            if told < parsed_time(asked):
                text = f"{operation.target} was to be held until {asked}, and operation {operation.number} got {told}."
                yield violation("fields-differ", text)
            kept = case.reservations.get(operation.target)
            if kept is None:
                text = f"{operation.target} was extended by operation {operation.number} and is gone."
                yield violation("acknowledged-lost", text)
                continue
            differing = list(_differences(operation.reservation, kept))
            if differing:
                yield violation(
                    "acknowledged-lost", f"{kept.name}, operation {operation.number}: {'; '.join(differing)}."
                )


# Times


def out_of_time(intent: Intent, movements: Iterable[Movement]) -> Iterator[Violation]:
    """Check that a movement's time, the database's, is between the invocation and the answer of its operation.

    A refused operation has no effect, so if only one operation was under way at that time, it is the cause.
    """
    earliest = min((one.invoked_wall for one in intent.possible), default=None)
    latest = min((one.completed_wall for one in intent.acknowledged), default=None)
    for movement in movements:
        told = f"{movement.kind} at sequence {movement.sequence} of {intent.numbers}"
        if earliest is not None and movement.time < earliest - CLOCK_SLACK_SECONDS:
            rule = "refused-but-applied" if len(intent.possible) < len(intent.operations) else "applied-out-of-time"
            yield violation(rule, f"{told} was {earliest - movement.time:.3f} s before any that was not refused.")
        if latest is not None and movement.time > latest + CLOCK_SLACK_SECONDS:
            yield violation("applied-out-of-time", f"{told} was {movement.time - latest:.3f} s after the answer.")


def _sequences(movements: Sequence[Movement]) -> str:
    known = ", ".join(str(movement.sequence) for movement in movements)
    return f"at sequences {known}" if len(movements) > 1 else f"at sequence {known}"
