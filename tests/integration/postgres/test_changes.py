"""Changes are on record together with what they changed, and numbered without gaps however many come at once."""

import asyncio
from datetime import UTC, datetime

import pytest

from holdfast_inventory.domain.change import Cause, ChangeKind
from holdfast_inventory.domain.errors import AlreadyExists, NotFound
from holdfast_inventory.domain.sale import SaleChanges
from holdfast_inventory.postgres.changes import read_changes
from tests.support.postgres import on_every_version
from tests.support.shopping import hourly, new_sale

pytestmark = on_every_version

ALICE = Cause("clients/alice", "r-1")


@pytest.fixture
def changes_of(database):
    async def changes(resource):
        async with database.reading() as connection:
            return await read_changes(connection, resource, 0, 1000)

    return changes


async def test_a_schedule_its_sales_and_its_end_are_on_record(catalog, changes_of):
    schedule = await catalog.create_schedule(hourly(socks=3), ALICE)
    opening = datetime(2030, 1, 1, tzinfo=UTC)
    assert await catalog.create_occurrence(schedule, opening)
    await catalog.delete_schedule("hourly", ALICE)
    await catalog.create_schedule(hourly(socks=3))
    told = [(change.number, change.kind, change.cause) for change in await changes_of("saleSchedules/hourly")]
    assert told == [
        (1, ChangeKind.CREATE, ALICE),
        (2, ChangeKind.DELETE, ALICE),
        (3, ChangeKind.CREATE, Cause()),
    ]
    [sale] = (await catalog.list_sales(10, None, None, "hourly"))[0]
    [created] = await changes_of(f"sales/{sale.sale.sale_id}")
    assert (created.kind, created.cause) == (ChangeKind.CREATE, Cause("saleSchedules/hourly"))


async def test_what_is_refused_or_changes_nothing_is_not_on_record(catalog, changes_of):
    await catalog.create_sale(new_sale("drop-1", shoe=5), ALICE)
    with pytest.raises(AlreadyExists):
        await catalog.create_sale(new_sale("drop-1", shoe=5), ALICE)
    with pytest.raises(NotFound):
        await catalog.set_paused("nobody", paused=True, cause=ALICE)
    await catalog.set_paused("drop-1", paused=False, cause=ALICE)
    assert [change.kind for change in await changes_of("sales/drop-1")] == [ChangeKind.CREATE]


async def test_changes_that_come_at_once_are_numbered_without_gaps(catalog, changes_of):
    await catalog.create_sale(new_sale("drop-1", shoe=5))
    await asyncio.gather(
        *(
            catalog.update_sale("drop-1", SaleChanges(per_customer_limit=limit), Cause(f"clients/{limit}"))
            for limit in range(1, 21)
        )
    )
    changes = await changes_of("sales/drop-1")
    assert [change.number for change in changes] == list(range(1, 22))
    limits = [[field for field in change.fields if field.field == "per_customer_limit"] for change in changes[1:]]
    assert [before.new_value for [before] in limits[:-1]] == [after.old_value for [after] in limits[1:]]
    assert all(
        change.cause.actor == f"clients/{limit.new_value}" for change, [limit] in zip(changes[1:], limits, strict=True)
    )
