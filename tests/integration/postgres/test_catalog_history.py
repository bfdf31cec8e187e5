import asyncio
import uuid

import pytest

from holdfast_inventory.domain.errors import NotFound
from holdfast_inventory.domain.movement import AdjustReason, MovementKind
from tests.support.postgres import on_every_version
from tests.support.shopping import adjust, confirm, hold, new_sale, release

pytestmark = on_every_version


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
