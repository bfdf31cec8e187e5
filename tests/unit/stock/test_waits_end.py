"""With a database that does not answer, deadline and patience apply to every wait of a command."""

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest

from holdfast_inventory.domain.commands import Transfer
from holdfast_inventory.domain.errors import DatabaseUnavailable, DeadlineInQueue
from holdfast_inventory.domain.item import Item
from holdfast_inventory.domain.sale import Sale
from holdfast_inventory.stock.group_commit import GroupCommitLimits
from holdfast_inventory.stock.stock_ledger import StockLedger
from tests.support.shopping import hold

NOW = datetime(2026, 11, 27, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
SALE = Sale("drop", NOW, None, 0, MINUTE, MINUTE, False, None, NOW, NOW, None, 1, b"salt", False)
PATIENCE_SECONDS = 2.0
DEADLINE_SECONDS = 1.0


class Frozen:
    """A database whose calls never end."""

    @asynccontextmanager
    async def open_transfer(self, command, due_limit):
        await asyncio.Event().wait()
        yield

    async def bound_ids(self, sale_id, ids):
        await asyncio.Event().wait()

    async def salt(self, sale_id):
        await asyncio.Event().wait()


@pytest.fixture
def ledger():
    return StockLedger(Frozen(), GroupCommitLimits(patience_seconds=PATIENCE_SECONDS), None, None, sold_out_seconds=60)


def look_up_a_bound_id(ledger, deadline):
    ledger.on_read(asyncio.get_running_loop().time(), SALE, NOW, [Item("socks", 0, 0, 1, 0, 1)], {})
    return ledger.execute("drop", hold(socks=1)._replace(bound=True), deadline)


def read_a_salt(ledger, deadline):
    return ledger.salt("drop", deadline)


def transfer(ledger, deadline):
    command = Transfer(hold(socks=1).reservation_id, "drop", "socks", "main", "socks", 1, "", b"")
    return ledger.transfer(command, deadline)


@pytest.mark.parametrize("wait", [look_up_a_bound_id, read_a_salt, transfer])
async def test_a_deadline_is_reported_when_it_passes(ledger, wait):
    began = asyncio.get_running_loop().time()
    with pytest.raises(DeadlineInQueue):
        await wait(ledger, began + DEADLINE_SECONDS)
    assert asyncio.get_running_loop().time() == pytest.approx(began + DEADLINE_SECONDS)


@pytest.mark.parametrize("wait", [look_up_a_bound_id, read_a_salt, transfer])
async def test_patience_ends_when_it_is_over(ledger, wait):
    began = asyncio.get_running_loop().time()
    with pytest.raises(DatabaseUnavailable):
        await wait(ledger, None)
    assert asyncio.get_running_loop().time() == pytest.approx(began + PATIENCE_SECONDS)
