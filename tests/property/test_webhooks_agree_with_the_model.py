"""Whatever fails, and whenever a sender is killed: a receiver gets what a naive model says, in order.

The model is a list: the wanted movements of the sale. The store is one row, written as the statements write it.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from holdfast_inventory.domain.movement import Movement, MovementKind
from holdfast_inventory.domain.webhook import (
    Delivery,
    DeliveryState,
    RetryRules,
    Target,
    after_failure,
    after_page,
    next_message,
)
from tests.property.effort import effort

BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
RULES = RetryRules(timedelta(seconds=1), timedelta(seconds=8), timedelta(seconds=20))
SENT = {MovementKind.CONFIRM, MovementKind.HOLD}


class Sale:
    """A sale's ledger, its delivery to one webhook, and what the receiver got."""

    def __init__(self, kinds):
        self.ledger = []
        self.target = Target("https://shop.example/", frozenset(kinds))
        self.row = Delivery("w", "drop-1", 0, 0)
        self.now = BEGINNING
        self.arrived = []

    def commit(self, kinds):
        for kind in kinds:
            sequence = len(self.ledger) + 1
            self.ledger.append(Movement(sequence, kind, "cap", 0, 1, 0, None, None, "", self.now))
        if self.row.due_at is None and self.row.parked_at is None and self.row.position < len(self.ledger):
            self.row = replace(self.row, due_at=self.now)

    def wait(self, seconds):
        self.now += timedelta(seconds=seconds)

    def attempt(self, fate, jitter):
        """Send one message. `fate`: what becomes of it."""
        row = self.row
        if row.due_at is None or row.due_at > self.now:
            return
        page = self.ledger[row.position : row.position + min(row.next_movements, 3)]
        if not page:
            self.row = replace(row, due_at=None)
            return
        row = self.row = replace(row, through=page[-1].sequence)
        message = next_message(row, page, self.target)
        if fate == "killed before it was sent":
            return
        if message.movements:
            self.arrived.append(message)
        if fate == "killed after it was sent":
            return
        if fate == "refused" and message.movements:
            retry = after_failure(row, self.now, jitter, RULES)
            self.row = replace(
                row,
                attempts=retry.attempts,
                failing_since=row.failing_since or self.now,
                due_at=None if retry.delay is None else self.now + retry.delay,
                parked_at=self.now if retry.delay is None else None,
            )
            return
        more = self.now if message.through < len(self.ledger) else None
        self.row = replace(after_page(row, message.through, sent=bool(message.movements)), due_at=more)

    def redeliver(self):
        self.row = Delivery("w", "drop-1", self.row.position, self.row.sent, self.row.through, due_at=self.now)


fates = st.sampled_from(["accepted", "accepted", "refused", "killed before it was sent", "killed after it was sent"])
steps = st.one_of(
    st.tuples(st.just("commit"), st.lists(st.sampled_from(MovementKind), min_size=1, max_size=5)),
    st.tuples(st.just("attempt"), fates, st.floats(0, 1)),
    st.tuples(st.just("attempt"), fates, st.floats(0, 1)),
    st.tuples(st.just("wait"), st.integers(1, 10)),
    st.tuples(st.just("redeliver")),
)


@effort()
@given(st.sampled_from([(), tuple(SENT)]), st.lists(steps, max_size=60))
def test_a_receiver_that_drops_repetitions_gets_every_wanted_movement_once_and_in_order(kinds, program):
    sale = Sale(kinds)
    for name, *arguments in program:
        getattr(sale, name)(*arguments)
    if sale.row.state is DeliveryState.PARKED:
        sale.redeliver()
    while sale.row.due_at is not None:
        sale.now = max(sale.now, sale.row.due_at)
        sale.attempt("accepted", 0.5)

    processed, reached = [], 0
    for message in sale.arrived:
        # What a receiver relies on: no message leaves out anything, and a repetition ends before what it has.
        assert message.after <= reached
        processed += [each.sequence for each in message.movements if each.sequence > reached]
        reached = max(reached, message.through)
    assert processed == [each.sequence for each in sale.ledger if not kinds or each.kind in kinds]

    by_id = {}
    for message in sale.arrived:
        assert by_id.setdefault(message.message_id, message) == message


@effort(0.25)
@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 3)), min_size=60, max_size=60))
def test_a_message_that_is_always_refused_is_parked_between_one_and_one_and_a_half_times_its_patience(attempts):
    sale = Sale(())
    sale.commit([MovementKind.HOLD])
    for jitter, late in attempts:
        if sale.row.due_at is None:
            break
        sale.now = max(sale.now, sale.row.due_at) + timedelta(seconds=late)
        sale.attempt("refused", jitter)
    assert sale.row.state is DeliveryState.PARKED
    waited = sale.row.parked_at - sale.row.failing_since
    assert RULES.give_up <= waited <= RULES.give_up + RULES.longest + timedelta(seconds=3)
    assert sale.row.position == 0
