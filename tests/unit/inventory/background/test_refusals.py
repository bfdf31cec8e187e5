"""Notes of refusals, with a store that may fail."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from holdfast_chassis.clock import SYSTEM_CLOCK
from holdfast_inventory.background import refusals
from holdfast_inventory.background.refusals import RefusalLimits, RefusalNotes
from holdfast_inventory.domain.errors import DatabaseUnavailable, OutcomeUnknown, SaleClosed, SalePaused
from holdfast_inventory.domain.reservation import Line

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
LINES = (Line("cap", 1),)


class Store:
    def __init__(self):
        self.counts, self.customers, self.fails, self.writes = Counter(), {}, None, []

    async def add(self, counts, customers):
        if self.fails is not None:
            raise self.fails
        self.writes.append((len(counts), len(customers)))
        for sale_id, reason, count in counts:
            self.counts[sale_id, reason] += count
        for each in customers:
            known = self.customers.get(each.key)
            self.customers[each.key] = each if known is None else known.plus(each)

    async def delete_old(self, counts_kept_for, customers_kept_for):
        return False


class Watch:
    """A clock that is set."""

    monotonic = SYSTEM_CLOCK.monotonic

    def __init__(self):
        self.at = NOON

    def now(self):
        return self.at


@pytest.fixture
def store():
    return Store()


@pytest.fixture
def watch():
    return Watch()


@pytest.fixture
def dropped():
    return []


@pytest.fixture
def notes(store, watch, dropped):
    return RefusalNotes(store, RefusalLimits(), dropped.append, watch)


async def test_refusals_are_counted_by_sale_and_reason_and_written_together(notes, store):
    for sale_id, refusal, times in (("a", SaleClosed(), 3), ("a", SalePaused(), 1), ("b", SaleClosed(), 2)):
        for _ in range(times):
            notes.note(sale_id, "ann", LINES, refusal)
    await notes.write()
    await notes.write()
    assert store.counts == {("a", "SALE_CLOSED"): 3, ("a", "SALE_PAUSED"): 1, ("b", "SALE_CLOSED"): 2}
    assert store.writes == [(3, 3)]


async def test_of_a_customers_refusals_for_one_reason_the_first_and_the_last_are_kept(notes, store, watch):
    notes.note("a", "ann", LINES, SaleClosed())
    watch.at += timedelta(seconds=5)
    notes.note("a", "ann", (Line("sock", 2),), SaleClosed())
    await notes.write()
    [kept] = store.customers.values()
    assert (kept.refusals, kept.first_at, kept.last_at, kept.lines) == (2, NOON, watch.at, (Line("sock", 2),))


async def test_what_could_not_be_written_is_written_later(notes, store, watch):
    notes.note("a", "ann", LINES, SaleClosed())
    store.fails = DatabaseUnavailable()
    with pytest.raises(DatabaseUnavailable):
        await notes.write()
    watch.at += timedelta(seconds=5)
    notes.note("a", "ann", LINES, SaleClosed())
    store.fails = None
    await notes.write()
    assert store.counts == {("a", "SALE_CLOSED"): 2}
    [kept] = store.customers.values()
    assert (kept.refusals, kept.first_at, kept.last_at) == (2, NOON, watch.at)


async def test_what_may_have_been_written_is_not_written_again(notes, store):
    notes.note("a", "ann", LINES, SaleClosed())
    store.fails = OutcomeUnknown()
    with pytest.raises(OutcomeUnknown):
        await notes.write()
    store.fails = None
    await notes.write()
    assert store.writes == []


async def test_memory_is_bounded_and_what_is_dropped_is_counted(notes, store, dropped, monkeypatch):
    monkeypatch.setattr(refusals, "MAX_COUNTS", 2)
    monkeypatch.setattr(refusals, "MAX_CUSTOMERS", 3)
    for sale_id in "abc":
        for customer in ("ann", "bob"):
            notes.note(sale_id, customer, LINES, SaleClosed())
    await notes.write()
    assert store.counts == {("a", "SALE_CLOSED"): 2, ("b", "SALE_CLOSED"): 2}
    assert len(store.customers) == 3
    # The counts of the third sale, and the customers after the third.
    assert sum(dropped) == 2 + 3


async def test_customers_are_written_a_few_at_a_time_the_first_ones_first(notes, store, monkeypatch):
    monkeypatch.setattr(refusals, "_CUSTOMERS_AT_ONCE", 2)
    for customer in ("ann", "bob", "cid"):
        notes.note("a", customer, LINES, SaleClosed())
    await notes.write()
    assert [customer for customer, *_ in store.customers] == ["ann", "bob"]
    assert store.counts == {("a", "SALE_CLOSED"): 3}


async def test_a_stop_writes_everything(notes, store, monkeypatch):
    monkeypatch.setattr(refusals, "_CUSTOMERS_AT_ONCE", 2)
    await notes.start()
    for customer in ("ann", "bob", "cid"):
        notes.note("a", customer, LINES, SaleClosed())
    await notes.stop()
    await notes.stop()
    assert len(store.customers) == 3


async def test_a_stop_without_a_database_ends(notes, store):
    notes.note("a", "ann", LINES, SaleClosed())
    store.fails = DatabaseUnavailable()
    await notes.stop()
    assert store.writes == []


async def test_customers_are_not_kept_if_that_is_turned_off(store, watch, dropped):
    notes = RefusalNotes(store, RefusalLimits(customers_kept_hours=0), dropped.append, watch)
    notes.note("a", "ann", LINES, SaleClosed())
    await notes.write()
    assert store.writes == [(1, 0)]
