"""Invariants after every batch, for any commands."""

import copy
from collections import Counter as Tally
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast_inventory.domain.commands import Command, Create, Extend
from holdfast_inventory.domain.decide import MIN_RETRY_SECONDS, Adjusted, Decision, Done, State, decide
from holdfast_inventory.domain.errors import InsufficientStock, Shortage
from holdfast_inventory.domain.movement import MovementKind
from holdfast_inventory.domain.reservation import ReservationState
from tests.property.effort import effort
from tests.property.memory_store import MemoryStore
from tests.property.plain_answers import plain
from tests.property.programs import CUSTOMERS, Program, programs
from tests.property.rehearsal import Rehearsal

pytestmark = pytest.mark.timeout(3600)

# What may happen to one item of one reservation, from beginning to end.
LIVES = {
    (MovementKind.HOLD,),
    (MovementKind.HOLD, MovementKind.CONFIRM),
    (MovementKind.HOLD, MovementKind.RELEASE),
    (MovementKind.HOLD, MovementKind.EXPIRE),
    (MovementKind.HOLD, MovementKind.EXPIRE, MovementKind.CONFIRM),
    (MovementKind.CONFIRM,),
}
LAST_MOVEMENT = {
    ReservationState.HELD: MovementKind.HOLD,
    ReservationState.CONFIRMED: MovementKind.CONFIRM,
    ReservationState.RELEASED: MovementKind.RELEASE,
    ReservationState.EXPIRED: MovementKind.EXPIRE,
}


@effort(0.5)
@given(programs, st.sampled_from((1, 2, 1000)))
def test_the_ledger_is_gap_free_and_sums_up_to_the_levels(program: Program, due_limit: int):
    rehearsal = Rehearsal(program, due_limit=due_limit)
    for _ in rehearsal.play():
        for counter in rehearsal.counters:
            assert_ledger_explains_levels(counter.store)
            assert_ledger_tells_each_reservations_life(counter.store)


@effort(0.3)
@given(programs)
def test_a_customer_over_a_limit_gets_no_more(program: Program):
    """A customer may have more than a limit that was lowered later."""
    rehearsal = Rehearsal(program)
    before: dict[tuple, int] = Tally()
    for _ in rehearsal.play():
        uses = [use for counter in rehearsal.counters for use in uses_and_limits(counter.store, rehearsal.now)]
        assert all(used <= limit or used <= before[key] for key, used, limit in uses if limit)
        before = Tally({key: used for key, used, _ in uses})


@effort(0.5)
@given(programs, st.integers(1, 4))
def test_it_does_not_matter_how_commands_are_cut_into_batches(program: Program, batch_size: int):
    whole, cut = Rehearsal(program), Rehearsal(program, batch_size=batch_size)
    answers = [
        [plain(answer) for played in rehearsal.play() for answer in played.answers] for rehearsal in (whole, cut)
    ]
    assert answers[0] == answers[1]
    for one, other in zip(whole.counters, cut.counters, strict=True):
        assert one.store == other.store


@effort(0.3)
@given(programs)
def test_a_shortage_tells_when_the_first_hold_on_each_of_its_items_ends(program: Program):
    def check(state: State, commands: Sequence[Command]) -> Decision:
        decision = decide(state, commands)
        [store] = [one.store for one in rehearsal.counters if one.store.sale.sale_id == state.sale.sale_id]
        for command, answer in zip(commands, decision.answers, strict=True):
            if isinstance(answer, InsufficientStock):
                assert answer.retry_after_seconds == seconds_to_come_back(store, command, answer.shortages, state.now)
        return decision

    rehearsal = Rehearsal(program, batch_size=1, decide=check)
    for _ in rehearsal.play():
        pass


def seconds_to_come_back(
    store: MemoryStore, command: Command, shortages: Sequence[Shortage], now: datetime
) -> float | None:
    partly = isinstance(command, Create) and command.allow_partial
    ends = [
        store.hold_ends(now)[item_id]
        for item_id, asked, _ in shortages
        if store.items[item_id].on_hand >= (1 if partly else asked)
    ]
    if not ends or (len(ends) < len(shortages) and not partly):
        return None
    return max(((min if partly else max)(ends) - now).total_seconds(), MIN_RETRY_SECONDS)


@effort(0.3)
@given(programs)
def test_running_a_committed_batch_again_moves_nothing_and_finds_everything_done(program: Program):
    """As after a COMMIT whose answer was lost. Refused requests bound no id, and may be granted now."""
    rehearsal = Rehearsal(program)
    for played in rehearsal.play():
        if not played.sent:
            continue  # A transfer.
        store = rehearsal.counters[played.sale].store
        done = [one.command for one, answer in zip(played.sent, played.answers, strict=False) if _is_done(answer)]
        firsts = [answer for answer in played.answers if _is_done(answer)]
        again = decide(store.read(done, played.now), done)
        assert again.is_empty
        for command, first, second in zip(done, firsts, again.answers, strict=False):
            if isinstance(first, Adjusted):
                assert second == Adjusted(store.items[first.item.item_id], replayed=True, executed_at=first.executed_at)
            elif not isinstance(command, Extend) or _is_done(second):
                # A hold that was extended, and ended later in its batch, cannot be extended again.
                reservation_id = first.reservation.reservation_id
                assert second == Done(store.reservations[reservation_id], replayed=True, executed_at=first.executed_at)


@effort(0.3)
@given(programs)
def test_deciding_changes_no_input_and_the_same_input_gives_the_same_decision(program: Program):
    def decide_twice(state: State, commands: Sequence[Command]) -> Decision:
        untouched = thawed(state), copy.deepcopy(commands)
        first, second = decide(state, commands), decide(state, commands)
        assert untouched == (thawed(state), commands)
        assert comparable(first) == comparable(second)
        return first

    for _ in Rehearsal(program, due_limit=3, decide=decide_twice).play():
        pass


def assert_ledger_explains_levels(store: MemoryStore) -> None:
    assert [movement.sequence for movement in store.ledger] == list(range(1, store.sale.sequence + 1))
    open_holds = Tally()
    for reservation in store.reservations.values():
        if reservation.state is ReservationState.HELD:
            open_holds.update(dict(reservation.lines))
    for item_id, item in store.items.items():
        own = [movement for movement in store.ledger if movement.item_id == item_id]
        assert item.on_hand == sum(movement.on_hand_delta for movement in own)
        assert item.held == sum(movement.held_delta for movement in own) == open_holds[item_id]
        assert item.sold == sum(movement.sold_delta for movement in own)
        assert item.version == max((movement.sequence for movement in own), default=0)
        assert 0 <= item.held <= item.on_hand


def assert_ledger_tells_each_reservations_life(store: MemoryStore) -> None:
    told = sorted(
        (movement for movement in store.ledger if movement.reservation_id),
        key=lambda movement: (movement.reservation_id, movement.item_id, movement.sequence),
    )
    lives = {
        key: tuple(movement.kind for movement in life)
        for key, life in groupby(told, key=lambda movement: (movement.reservation_id, movement.item_id))
    }
    lines = {(key, line.item_id) for key, reservation in store.reservations.items() for line in reservation.lines}
    assert lives.keys() == lines
    for (reservation_id, _), life in lives.items():
        sold = tuple(kind for kind in life if kind is not MovementKind.RETURN)
        assert sold == life[: len(sold)]
        assert sold in LIVES
        assert sold[-1] is LAST_MOVEMENT[store.reservations[reservation_id].state]
    returned = Tally()
    for movement in told:
        if movement.kind is MovementKind.RETURN:
            returned[movement.reservation_id, movement.item_id] -= movement.sold_delta
    assert returned == Tally(
        {
            (key, line.item_id): line.quantity
            for key, reservation in store.reservations.items()
            for line in reservation.returned
        }
    )


def uses_and_limits(store: MemoryStore, now: datetime) -> Iterator[tuple[tuple, int, int]]:
    """Yield for each customer and item the units, held or bought, and the limit."""
    for customer in CUSTOMERS:
        used: Tally = Tally()
        for reservation in store.reservations.values():
            is_live = reservation.state is ReservationState.HELD and reservation.expires_at > now
            if reservation.customer == customer and (is_live or reservation.state is ReservationState.CONFIRMED):
                used.update(dict(reservation.kept))
        key = (store.sale.sale_id, customer)
        yield key, used.total(), store.sale.per_customer_limit
        for item_id, item in store.items.items():
            yield (*key, item_id), used[item_id], item.per_customer_limit


def _is_done(answer: object) -> bool:
    return isinstance(answer, Done | Adjusted)


def thawed(value: object) -> object:
    """Return a deep copy that can be compared: proxies of mappings cannot be copied."""
    if isinstance(value, Mapping):
        return {key: thawed(inner) for key, inner in value.items()}
    if type(value).__name__ == "State":
        return {field.name: thawed(getattr(value, field.name)) for field in fields(value)}
    return copy.deepcopy(value)


def comparable(decision: Decision) -> tuple:
    """Refusals are exceptions, which equal themselves only."""
    rest = [getattr(decision, field.name) for field in fields(decision) if field.name != "answers"]
    return [plain(answer) for answer in decision.answers], rest
