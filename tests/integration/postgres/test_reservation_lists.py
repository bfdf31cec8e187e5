"""Lists of reservations: each filter against a plain reading of the tables, in pages of any size."""

import asyncio
import uuid
from datetime import UTC, datetime, timedelta
from itertools import pairwise, product

import pytest

from holdfast_inventory.domain.errors import InvalidRequest
from holdfast_inventory.domain.reservation import ReservationFilter, ReservationState
from holdfast_inventory.postgres import reservation_lists
from tests.support.paging import all_pages
from tests.support.postgres import on_every_version
from tests.support.shopping import adjust, confirm, hold, new_sale, release

pytestmark = on_every_version

HELD, CONFIRMED, RELEASED, EXPIRED = ReservationState
SALES = "drop", "other"
MOMENT = timedelta(milliseconds=1)


@pytest.fixture
async def reserve(catalog, ledger):
    for sale_id in SALES:
        await catalog.create_sale(new_sale(sale_id, socks=1000, shoes=1000))

    async def reserve(sale_id, *commands):
        """Execute commands in a batch of their own, and return their reservations."""
        answers = await ledger.execute_all(sale_id, [(each, None, None) for each in commands])
        return [answer.reservation for answer in answers]

    return reserve


@pytest.fixture
async def everything(catalog, ledger, reserve):
    """Reservations in every state, by several customers, in two sales, alone and in common batches."""
    for sale_id, n in product(SALES, range(3)):
        sold, freed, _ = await reserve(sale_id, *(hold(f"c-{n % 2}", socks=1, shoes=2) for _ in range(3)))
        await reserve(sale_id, confirm(sold), release(freed))
        await reserve(
            sale_id, hold("c-2", confirm=True, socks=1), hold("c-0", hold_time=timedelta(seconds=60 + n), shoes=1)
        )
        [late] = await reserve(sale_id, hold("c-1", hold_time=MOMENT, socks=1, shoes=1))
        await reserve(sale_id, hold("c-2", hold_time=MOMENT, socks=1))
        await asyncio.sleep(0.002)
        await ledger.execute(sale_id, adjust("socks", 1), None)
        await reserve(sale_id, confirm(late, allow_late=True))
    return await all_of(catalog, ReservationFilter(None), 1000)


async def all_of(catalog, wanted, page_size):
    found, _ = await all_pages(lambda size, cursor: catalog.list_reservations(wanted, size, cursor), page_size)
    return found


def times(found, wanted):
    if wanted.customer is None and wanted.order is None:
        if wanted.state is HELD:
            return [each.reservation.expires_at for each in found]
        if wanted.by_end:
            return [each.reservation.ended_at for each in found]
    return [each.reservation.created_at for each in found]


async def test_all_reservations_are_listed_once(everything, sql):
    rows = await sql.fetch("SELECT sale_id, reservation_id FROM reservations")
    listed = [(each.sale_id, each.reservation.reservation_id) for each in everything]
    assert sorted(listed) == sorted(tuple(row) for row in rows)
    assert {each.reservation.state for each in everything} == set(ReservationState)


@pytest.mark.parametrize("rows", [3, 10_000])
@pytest.mark.parametrize("page_size", [1, 2, 100])
async def test_each_filter_lists_what_matches_it_newest_first_however_the_pages_fall(
    catalog, everything, monkeypatch, page_size, rows
):
    monkeypatch.setattr(reservation_lists, "_MOST_ROWS", rows)
    moments = sorted(each.reservation.created_at for each in everything)
    middle = moments[len(moments) // 2]
    spans = [
        {},
        {"created_from": middle},
        {"created_before": middle},
        {"ended_from": middle, "ended_before": moments[-1]},
    ]
    for sale_id, state, span in product((None, "drop"), (None, *ReservationState), spans):
        for who in ({}, {"customer": "c-1"}, {"order": "o-1"}, {"order": "o-1", "customer": "c-0"}):
            wanted = ReservationFilter(sale_id, state=state, **who, **span)
            found = await all_of(catalog, wanted, page_size)
            assert sorted(found) == sorted(each for each in everything if wanted.matches(*each)), wanted
            assert all(earlier >= later for earlier, later in pairwise(times(found, wanted))), wanted


async def test_a_reservation_that_is_made_meanwhile_moves_no_page(catalog, reserve, everything):
    wanted = ReservationFilter(None)
    first, cursor = await catalog.list_reservations(wanted, 5, None)
    await reserve("drop", hold(socks=1))
    second, _ = await catalog.list_reservations(wanted, 5, cursor)
    assert [*first, *second] == everything[:10]


async def test_a_customers_sales_are_all_visited(catalog, ledger):
    made = []
    for n in range(30):
        await catalog.create_sale(new_sale(f"s-{n * 7 % 30}", socks=1))
        made.append((await ledger.execute(f"s-{n * 7 % 30}", hold("c-1", socks=1), None)).reservation)
    found = await all_of(catalog, ReservationFilter(None, customer="c-1"), 7)
    assert [each.reservation for each in found] == made[::-1]


async def test_a_page_reads_a_bounded_part_of_the_ledger(catalog, ledger, reserve, monkeypatch):
    monkeypatch.setattr(reservation_lists, "_MOST_ROWS", 4)
    [made] = await reserve("drop", hold(socks=1))
    for _ in range(20):
        await ledger.execute("drop", adjust("socks", 1), None)

    found, sizes = await all_pages(
        lambda size, cursor: catalog.list_reservations(ReservationFilter("drop"), size, cursor), 1
    )

    assert [each.reservation for each in found] == [made]
    assert sizes[0] == 0
    assert len(sizes) > 2


@pytest.mark.parametrize(
    "wanted",
    [
        ReservationFilter("drop"),
        ReservationFilter(None),
        ReservationFilter("drop", customer="c-1"),
        ReservationFilter(None, order="o-1"),
        ReservationFilter("drop", state=HELD),
    ],
)
async def test_a_foreign_cursor_is_refused(catalog, reserve, wanted):
    now = datetime.now(UTC).isoformat()
    foreign = [
        "", "x", "-1", "9" * 30, "/", "//", "2026-01-01T00:00:00/x/0", f"2026-01-01/{uuid.UUID(int=1)}/0", "é",
        f"{now}/{uuid.UUID(int=1)}", f"{now}/{uuid.UUID(int=1)}/-1", f"{now}/{uuid.UUID(int=1)}/\u0663",
    ]  # fmt: skip
    if wanted.customer or wanted.order or wanted.state:
        foreign.append(f"{now}/drop/1")
    for cursor in foreign:
        with pytest.raises(InvalidRequest) as caught:
            await catalog.list_reservations(wanted, 10, cursor)
        assert [violation.field for violation in caught.value.violations] == ["page_token"]
