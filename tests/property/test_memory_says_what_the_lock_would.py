"""A refusal from memory is the one that a decision under the lock would give; all else is left to the lock."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from holdfast_inventory.domain.commands import Admission, Create
from holdfast_inventory.domain.decide import State, decide
from holdfast_inventory.domain.errors import AdmissionRequired, InsufficientStock
from holdfast_inventory.domain.item import Item
from holdfast_inventory.domain.reservation import Line, merge_lines
from holdfast_inventory.domain.sale import Sale
from holdfast_inventory.stock.sold_out import SoldOut
from tests.property.effort import effort

NOW = datetime(2026, 11, 27, tzinfo=UTC)
BEGAN = 100.0
MOST_SECONDS = 0.2
ITEMS = ("apple", "bread", "cider")


def seconds(*choices):
    return st.sampled_from(choices).map(lambda chosen: None if chosen is None else NOW + timedelta(seconds=chosen))


sales = st.builds(
    Sale,
    sale_id=st.just("drop"),
    open_at=seconds(-10, -10, -10, 0, 0.1, 10),
    close_at=seconds(None, None, None, 0, 0.1, 10),
    per_customer_limit=st.just(0),
    hold_time=st.just(timedelta(seconds=5)),
    max_hold_time=st.just(timedelta(seconds=10)),
    paused=st.sampled_from((False, False, False, True)),
    cancelled_at=seconds(None, None, None, -1),
    created_at=st.just(NOW),
    updated_at=st.just(NOW),
    schedule_id=st.none(),
    sequence=st.just(9),
    salt=st.just(b"salt"),
    limits_customers=st.sampled_from((False, False, False, True)),
    shop_confirms=st.booleans(),
    admission_required=st.sampled_from((False, False, True)),
    early_access=st.sampled_from((timedelta(), timedelta(seconds=10))),
)
limits = st.sampled_from((0, 0, 1, 2))
ends = seconds(None, 0.05, 0.25, 5)
stocks = st.dictionaries(st.sampled_from(ITEMS), st.tuples(st.integers(0, 3), st.integers(0, 3), limits, ends))
lines = st.lists(st.builds(Line, st.sampled_from((*ITEMS, "unicorn")), st.integers(1, 4)), min_size=1, max_size=3)
creates = st.builds(
    Create,
    reservation_id=st.just(UUID(int=1)),
    customer=st.just("ann"),
    lines=lines.map(merge_lines),
    hold_time=st.sampled_from((None, timedelta(seconds=1), timedelta(seconds=11))),
    allow_partial=st.booleans(),
    confirm=st.booleans(),
    order=st.just(""),
    fingerprint=st.just(b"meaning"),
    bound=st.booleans(),
    by_buyer=st.booleans(),
    admission=st.sampled_from(Admission),
)


@effort()
@given(sales, stocks, creates, st.integers(0, 3), st.sampled_from((0.0, 0.1, 0.15, 0.3)))
def test_memory_refuses_as_the_lock_would_or_leaves_it_to_the_lock(sale, stock, create, used, age):
    items = {
        item_id: Item(item_id, max(on_hand, held), held, 0, limit, 9)
        for item_id, (on_hand, held, limit, _) in stock.items()
    }
    hold_ends = {item_id: ends_at for item_id, (*_, ends_at) in stock.items() if ends_at is not None}
    memory = SoldOut(MOST_SECONDS)
    memory.on_read(BEGAN, sale, NOW, list(items.values()), hold_ends)
    told = memory.refusal("drop", create, BEGAN + age)

    now = NOW + timedelta(seconds=age)
    state = State(sale, now, items, {}, {"ann": {"apple": used}}, (), False, {}, hold_ends)
    [locked] = decide(state, [create]).answers
    if told is not None:
        assert (type(told), vars(told)) == (type(locked), vars(locked))
    elif isinstance(locked, AdmissionRequired):
        assert age > MOST_SECONDS
    elif isinstance(locked, InsufficientStock) and not sale.limits_customers and not create.allow_partial:
        # Left to the lock without need, unless it was not open yet when it was read, or no read had the ends of holds.
        unknown = any(items[short.item_id].held and short.item_id not in hold_ends for short in locked.shortages)
        assert age > MOST_SECONDS or sale.open_at > NOW or unknown
