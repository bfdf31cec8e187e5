"""A customer is replaced by a pseudonym everywhere, and all sums stay."""

import asyncio

import pytest

from holdfast_inventory.background.erasures import Eraser
from holdfast_inventory.domain.change import Cause, ChangeKind
from holdfast_inventory.domain.errors import RequestIdReused
from holdfast_inventory.domain.labels import notes_text
from holdfast_inventory.domain.reservation import ReservationFilter, ReservationState
from holdfast_inventory.postgres.changes import read_changes
from holdfast_inventory.postgres.erasure_store import Erasure, ErasureStore
from tests.support.eventually import eventually
from tests.support.postgres import on_every_version
from tests.support.shopping import confirm, hold, new_sale, release

pytestmark = on_every_version

ALICE = Cause("clients/alice", "r-1")
BUYER = "customers/c-1"


@pytest.fixture
def erasures(database):
    return ErasureStore(database, step_reservations=2)


@pytest.fixture
def erase(erasures):
    """Erase a customer. Return the last step, and how many there were."""

    async def erase(customer="c-1", cause=ALICE):
        await erasures.begin(customer, cause)
        for steps in range(1, 100):
            if (erased := await erasures.step(customer)).done:
                return erased, steps
        raise AssertionError("it does not end")

    return erase


@pytest.fixture
def buy(ledger):
    """Hold as a buyer, and confirm or release."""

    async def buy(sale_id, customer="c-1", *, then=None, **quantities):
        command = hold(customer, **quantities)._replace(notes=notes_text(f"For {customer}", {}, {}))
        held = (await ledger.execute(sale_id, command._replace(actor=f"customers/{customer}"), None)).reservation
        if then is not None:
            await ledger.execute(sale_id, then(held)._replace(actor=f"customers/{customer}"), None)
        return command, held

    return buy


async def everything(sql):
    """All that is stored, as text."""
    tables = [
        row["name"]
        for row in await sql.fetch(
            "SELECT table_name AS name FROM information_schema.tables "
            "WHERE table_schema = 'public' AND table_type = 'BASE TABLE'"
        )
    ]
    return {
        table: [row["text"] for row in await sql.fetch(f"SELECT t::text AS text FROM {table} AS t")] for table in tables
    }


async def test_nothing_that_is_stored_names_the_customer_and_the_sums_stay(catalog, sql, buy, erase):
    for sale_id in ("drop", "other"):
        await catalog.create_sale(new_sale(sale_id, shoe=50, limit=20))
        await buy(sale_id, shoe=1)
        await buy(sale_id, shoe=2, then=confirm)
        await buy(sale_id, shoe=3, then=release)
        await buy(sale_id, "c-2", shoe=4, then=confirm)
    await sql.execute(
        "INSERT INTO customer_refusals VALUES ('c-1', 'drop', 'SALE_CLOSED', 1, now(), now(), '{shoe}', '{1}')"
    )
    before = {sale_id: await catalog.snapshot(sale_id) for sale_id in ("drop", "other")}

    erased, steps = await erase()

    assert erased == Erasure(erased.pseudonym, 6, done=True)
    assert steps == 5
    assert [table for table, rows in (await everything(sql)).items() if any("c-1" in row for row in rows)] == []
    for sale_id, levels in before.items():
        assert await catalog.snapshot(sale_id) == levels
        assert (await catalog.verify(sale_id)).discrepancies == []
    found, _ = await catalog.list_reservations(ReservationFilter(None, customer=erased.pseudonym), 100, None)
    assert len(found) == 6
    others, _ = await catalog.list_reservations(ReservationFilter(None, customer="c-2"), 100, None)
    assert len(others) == 2
    actors = [movement.actor for movement in await catalog.list_movements("drop", 0, 100)]
    assert actors.count(f"customers/{erased.pseudonym}") == 5
    assert actors.count("customers/c-2") == 2


async def test_an_erasure_is_on_record_once_under_the_pseudonym(catalog, database, buy, erase):
    await catalog.create_sale(new_sale(shoe=5))
    await buy("drop", shoe=1)
    erased, _ = await erase()
    async with database.reading() as connection:
        [change] = await read_changes(connection, f"customers/{erased.pseudonym}", 0, 10)
    assert (change.kind, change.cause) == (ChangeKind.ERASE, ALICE)
    assert change.fields == (("reservations", "", "1"),)


async def test_erasing_again_or_a_stranger_has_no_effect(catalog, sql, buy, erase):
    await catalog.create_sale(new_sale(shoe=5))
    await buy("drop", shoe=1)
    await erase()
    before = await everything(sql)
    assert await erase() == (Erasure("", 0, done=True), 1)
    assert await erase("stranger") == (Erasure("", 0, done=True), 1)
    assert await everything(sql) == before


async def test_a_hold_of_an_erased_customer_can_be_ended_and_its_request_is_not_repeated(catalog, ledger, buy, erase):
    await catalog.create_sale(new_sale(shoe=5))
    command, held = await buy("drop", shoe=1)
    await erase()
    with pytest.raises(RequestIdReused):
        await ledger.execute("drop", command, None)
    confirmed = (await ledger.execute("drop", confirm(held), None)).reservation
    assert confirmed.state is ReservationState.CONFIRMED
    assert (await catalog.verify("drop")).discrepancies == []


async def test_customers_buy_while_others_are_erased(catalog, ledger, buy, erase):
    await catalog.create_sale(new_sale(shoe=500, limit=100))

    async def shop(customer):
        for _ in range(5):
            await buy("drop", customer, shoe=1, then=confirm)

    await asyncio.gather(*(shop(f"c-{n}") for n in range(1, 5)))
    await asyncio.gather(*(shop(f"c-{n}") for n in range(5, 9)), *(erase(f"c-{n}") for n in range(1, 5)))
    assert (await catalog.verify("drop")).discrepancies == []
    item = await catalog.get_item("drop", "shoe")
    assert (item.on_hand, item.sold) == (460, 40)
    for n in range(1, 9):
        found, _ = await catalog.list_reservations(ReservationFilter("drop", customer=f"c-{n}"), 100, None)
        assert len(found) == (0 if n < 5 else 5)


async def test_the_background_completes_what_was_begun(catalog, sql, buy, erasures):
    await catalog.create_sale(new_sale(shoe=50))
    for customer in ("c-1", "c-2"):
        for _ in range(5):
            await buy("drop", customer, shoe=1)
        await erasures.begin(customer, ALICE)
    eraser = Eraser(erasures, interval_seconds=0.01)
    await eraser.start()

    async def nothing_is_pending():
        return not await erasures.pending(10)

    await eventually(nothing_is_pending)
    await eraser.stop()
    assert await sql.fetchval("SELECT count(*) FROM reservations WHERE customer LIKE 'erased-%'") == 10
