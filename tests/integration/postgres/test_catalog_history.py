import asyncio
import uuid
from datetime import timedelta
from itertools import product

import pytest

from holdfast_inventory.domain.errors import InvalidRequest, NotFound
from holdfast_inventory.domain.movement import AdjustReason, MovementKind
from holdfast_inventory.domain.reservation import ReservationState
from holdfast_inventory.postgres import history
from tests.support.paging import all_pages
from tests.support.postgres import on_every_version
from tests.support.shopping import adjust, confirm, hold, new_sale, release

pytestmark = on_every_version

HELD, CONFIRMED, RELEASED, EXPIRED = ReservationState


@pytest.fixture
async def sale(catalog):
    await catalog.create_sale(new_sale(socks=1000, shoes=1000))
    return "drop"


@pytest.fixture
def reserve(ledger, sale):
    async def reserve(*commands):
        return [reply.reservation for reply in [await ledger.execute(sale, each, None) for each in commands]]

    return reserve


@pytest.fixture
def expire(sql):
    """Make holds expire, as if time had passed."""

    async def expire(*reservations):
        await sql.execute(
            "UPDATE reservations "
            "SET created_at = created_at - interval '1 hour', expires_at = expires_at - interval '1 hour' "
            "WHERE reservation_id = ANY ($1)",
            [each.reservation_id for each in reservations],
        )

    return expire


def ids(reservations):
    return [each.reservation_id for each in reservations]


async def test_a_reservation_is_read_as_its_command_left_it(catalog, sale, reserve):
    [reservation] = await reserve(hold("c-7", socks=2, shoes=1))

    assert reservation == await catalog.get_reservation(sale, reservation.reservation_id)


async def test_a_reservation_of_another_sale_does_not_exist(catalog, reserve):
    [reservation] = await reserve(hold(socks=1))
    await catalog.create_sale(new_sale("other", socks=1))

    for sale_id, reservation_id in (("other", reservation.reservation_id), ("drop", uuid.UUID(int=7))):
        with pytest.raises(NotFound) as caught:
            await catalog.get_reservation(sale_id, reservation_id)
        assert caught.value.resource == f"sales/{sale_id}/reservations/{reservation_id}"


async def test_a_customers_reservations_are_listed_in_the_order_of_their_creation(catalog, sale, reserve):
    mine = await reserve(*(hold("c-1", socks=1) for _ in range(5)))
    await reserve(hold("c-2", socks=1))

    found, sizes = await all_pages(lambda size, cursor: catalog.list_reservations(sale, size, cursor, "c-1", None), 2)

    assert ids(found) == ids(mine)
    assert sizes == [2, 2, 1]


async def test_a_customers_reservations_are_listed_by_state(catalog, sale, reserve):
    first, second, third = await reserve(*(hold("c-1", socks=1) for _ in range(3)))
    await reserve(confirm(first), release(second))

    for state, reservation in ((CONFIRMED, first), (RELEASED, second), (HELD, third)):
        found, _ = await catalog.list_reservations(sale, 10, None, "c-1", state)
        assert ids(found) == [reservation.reservation_id]


async def test_open_holds_are_listed_in_the_order_of_their_ends(catalog, sale, reserve):
    spans = (300, 100, 200, 400)
    late, soon, later, last = await reserve(*(hold(socks=1, hold_time=timedelta(seconds=span)) for span in spans))
    await reserve(confirm(late))

    found, sizes = await all_pages(lambda size, cursor: catalog.list_reservations(sale, size, cursor, None, HELD), 1)

    assert ids(found) == ids([soon, later, last])
    assert sizes == [1, 1, 1]


@pytest.mark.parametrize("page_size", [1, 2, 100])
@pytest.mark.parametrize("batches", [1, 1000])
async def test_all_reservations_are_listed_once_however_the_pages_fall(
    catalog, ledger, sale, reserve, expire, monkeypatch, page_size, batches
):
    monkeypatch.setattr(history, "_STRETCH_BATCHES", batches)
    made = await reserve(hold(socks=1), hold("c-2", socks=1, shoes=2), hold("c-3", confirm=True, socks=1, shoes=1))
    await reserve(confirm(made[1]))
    answers = await ledger.execute_all(sale, [(hold(socks=1, shoes=1, confirm=bool(n % 2)), None) for n in range(6)])
    made += [answer.reservation for answer in answers]
    await ledger.execute(sale, adjust("socks", 5), None)
    [late] = await reserve(hold("c-4", socks=1, shoes=1))
    await expire(late)
    await reserve(confirm(late, allow_late=True))
    made.append(late)

    found, _ = await all_pages(
        lambda size, cursor: catalog.list_reservations(sale, size, cursor, None, None), page_size
    )

    assert ids(found) == ids(made)


async def test_reservations_of_a_sale_are_listed_by_state(catalog, sale, reserve, expire):
    sold, freed, gone, direct, _ = await reserve(
        hold(socks=1), hold(socks=1), hold(socks=1), hold(socks=1, confirm=True), hold(socks=1)
    )
    await expire(gone)
    await reserve(confirm(sold), release(freed))

    for state, expected in ((CONFIRMED, [sold, direct]), (RELEASED, [freed]), (EXPIRED, [gone])):
        found, _ = await all_pages(
            lambda size, cursor, state=state: catalog.list_reservations(sale, size, cursor, None, state), 1
        )
        assert ids(found) == ids(expected)
        assert {state} == {each.state for each in found}


async def test_a_page_of_a_sales_reservations_reads_a_bounded_stretch_of_its_ledger(
    catalog, ledger, sale, reserve, monkeypatch
):
    monkeypatch.setattr(history, "_STRETCH_MOVEMENTS", 4)
    for _ in range(9):
        await ledger.execute(sale, adjust("socks", 1), None)
    made = await reserve(hold(socks=1))

    found, sizes = await all_pages(lambda size, cursor: catalog.list_reservations(sale, size, cursor, None, None), 10)

    assert ids(found) == ids(made)
    assert sizes[0] == 0
    assert len(sizes) > 2


async def test_a_foreign_cursor_is_refused(catalog, sale):
    cursors = ("", "x", "-1", "9" * 30, "/", "2026-01-01T00:00:00/x", f"2026-01-01/{uuid.UUID(int=1)}", "é")
    for cursor, (customer, state) in product(cursors, (("c-1", None), (None, HELD), (None, None))):
        with pytest.raises(InvalidRequest) as caught:
            await catalog.list_reservations(sale, 10, cursor, customer, state)
        assert [violation.field for violation in caught.value.violations] == ["page_token"]


async def test_movements_are_listed_from_any_sequence_on(catalog, ledger, sale, reserve):
    [reservation] = await reserve(hold(socks=2, shoes=1))
    await reserve(confirm(reservation))
    await ledger.execute(sale, adjust("socks", -3), None)

    movements = await catalog.list_movements(sale, 0, 100)

    assert [each.sequence for each in movements] == list(range(1, 8))
    assert [each.kind for each in movements[2:]] == [
        *[MovementKind.HOLD] * 2,
        *[MovementKind.CONFIRM] * 2,
        MovementKind.ADJUST,
    ]
    assert [each.reservation_id for each in movements[2:6]] == [reservation.reservation_id] * 4
    shoes, socks, adjustment = movements[4:]
    assert (shoes.item_id, shoes.on_hand_delta, shoes.held_delta, shoes.sold_delta) == ("shoes", -1, -1, 1)
    assert (socks.item_id, socks.on_hand_delta, socks.held_delta, socks.sold_delta) == ("socks", -2, -2, 2)
    assert (
        adjustment.reason,
        adjustment.actor,
        adjustment.reservation_id,
    ) == (AdjustReason.COUNTED, "stock clerk", None)
    for after in range(8):
        assert await catalog.list_movements(sale, after, 2) == movements[after : after + 2]


async def test_what_was_sold_held_and_moved_adds_up(catalog, ledger, sale, reserve, expire):
    first, second, third, _ = await reserve(*(hold(socks=2, shoes=1) for _ in range(4)))
    await expire(third)
    await reserve(confirm(first), release(second), hold(socks=5, confirm=True))
    await ledger.execute(sale, adjust("shoes", -7), None)

    found = await catalog.verify(sale)

    assert found.discrepancies == []
    assert found.sequence == (await catalog.get_sale(sale)).sale.sequence


# Movements 1 and 2 are the first stock (1000 each), 3 holds 3 socks and 4 adds a shoe.
@pytest.mark.parametrize(
    ("corruption", "expected"),
    [
        ("UPDATE items SET on_hand = 999 WHERE item_id = 'socks'", [("socks", "on_hand", 999, 1000)]),
        ("UPDATE items SET sold = 2 WHERE item_id = 'shoes'", [("shoes", "sold", 2, 0)]),
        ("UPDATE items SET held = 0", [("socks", "held", 0, 3), ("socks", "open_holds", 0, 3)]),
        ("DELETE FROM items WHERE item_id = 'shoes'", [("shoes", "on_hand", 0, 1001)]),
        ("UPDATE reservations SET quantities = '{4}'", [("socks", "open_holds", 3, 4)]),
        ("UPDATE reservations SET state = 4, ended_at = now()", [("socks", "open_holds", 3, 0)]),
        ("UPDATE sales SET sequence = 5", [("", "sequence", 5, 4)]),
        ("UPDATE ledger SET held_deltas = '{4}' WHERE last_sequence = 3", [("socks", "held", 3, 4)]),
        ("DELETE FROM ledger WHERE last_sequence = 4", [("shoes", "on_hand", 1001, 1000), ("", "sequence", 4, 3)]),
        ("DELETE FROM ledger WHERE last_sequence = 3", [("socks", "held", 3, 0), ("", "sequence", 4, 2)]),
        ("UPDATE ledger SET first_sequence = 5, last_sequence = 5 WHERE last_sequence = 4", [("", "sequence", 4, 3)]),
        ("UPDATE ledger SET first_sequence = first_sequence + 9, last_sequence = last_sequence + 9",
         [("", "sequence", 4, 0)]),
    ],
)  # fmt: skip
async def test_planted_corruption_is_found(catalog, ledger, sale, reserve, sql, corruption, expected):
    await reserve(hold(socks=3))
    await ledger.execute(sale, adjust("shoes", 1), None)
    assert (await catalog.verify(sale)).discrepancies == []

    await sql.execute(corruption)

    assert (await catalog.verify(sale)).discrepancies == expected


async def test_a_large_ledger_is_verified_within_seconds(catalog, sale, sql):
    await sql.execute(
        """
        INSERT INTO ledger (
            sale_id, first_sequence, last_sequence, created_at, kinds, item_ids, on_hand_deltas, held_deltas,
            sold_deltas, reservation_ids, reasons, actors
        )
        SELECT
            'drop', 3 + batch * 256, 2 + (batch + 1) * 256, now(), array_fill(5, '{256}'),
            array_fill('socks'::text, '{256}'), array_fill(1, '{256}'), array_fill(0, '{256}'),
            array_fill(0, '{256}'), array_fill(NULL::uuid, '{256}'), array_fill(1, '{256}'),
            array_fill(''::text, '{256}')
        FROM generate_series(0, 999) AS batch
        """
    )
    await sql.execute("UPDATE sales SET sequence = 2 + 256000")
    await sql.execute("UPDATE items SET on_hand = 1000 + 256000 WHERE item_id = 'socks'")

    async with asyncio.timeout(10):
        found = await catalog.verify(sale)

    assert found == (256_002, [])
