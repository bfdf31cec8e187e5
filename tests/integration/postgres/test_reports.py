"""Reports that continue where an earlier one ended."""

import asyncio

import pytest

from holdfast_inventory.domain.errors import NotFound
from holdfast_inventory.domain.report import Sums
from holdfast_inventory.postgres import reports as reports_module
from holdfast_inventory.postgres.reports import Reports
from tests.support.postgres import on_every_version
from tests.support.shopping import confirm, hold, new_sale


@pytest.fixture
def reports(database):
    return Reports(database, stretch_movements=4)


async def sell(ledger, count, start=0):
    for number in range(start, start + count):
        done = await ledger.execute("drop", hold(f"c-{number}", socks=1), None)
        await ledger.execute("drop", confirm(done.reservation), None)


@on_every_version
async def test_a_report_continues_where_the_last_one_was_stored(reports, catalog, ledger, sql):
    await catalog.create_sale(new_sale(socks=10))
    await sell(ledger, 3)
    first = await reports.sale_report("drop")
    stored = await sql.fetchval("SELECT sequence FROM report_checkpoints")
    await sell(ledger, 4, start=2)
    # What the checkpoint has is not read again.
    await sql.execute("DELETE FROM ledger WHERE last_sequence <= $1", stored)

    report = await reports.sale_report("drop")

    assert (first.sums.sequence, stored) == (7, 7)
    assert (report.sums.sequence, report.sequence) == (15, 15)
    assert report.units.confirmed == 7
    assert report.sums.customers == 6


async def test_a_report_without_enough_time_includes_a_part_and_the_next_one_continues(
    reports, catalog, ledger, monkeypatch
):
    await catalog.create_sale(new_sale(socks=10))
    await sell(ledger, 5)
    monkeypatch.setattr(reports_module, "_SUM_SECONDS", 0.0)

    sequences = []
    for _ in range(3):
        report = await reports.sale_report("drop")
        sequences.append((report.sums.sequence, report.sequence))

    assert sequences == [(4, 11), (8, 11), (11, 11)]
    assert report.units.confirmed == 5


async def test_a_checkpoint_of_another_format_is_replaced(reports, catalog, ledger, sql):
    await catalog.create_sale(new_sale(socks=10))
    await sell(ledger, 3)
    await reports.sale_report("drop")
    await sql.execute("UPDATE report_checkpoints SET format = 0, sequence = 1000, sums = '{}'")

    assert (await reports.sale_report("drop")).units.confirmed == 3
    assert await sql.fetchval("SELECT (format, sequence) = (1, 7) FROM report_checkpoints")


async def test_reports_of_one_sale_at_the_same_time_agree(reports, catalog, ledger):
    await catalog.create_sale(new_sale(socks=10))
    await sell(ledger, 5)

    made = await asyncio.gather(*(reports.sale_report("drop") for _ in range(5)))

    assert len({report.sums for report in made}) == 1


async def test_a_sale_without_movements_has_an_empty_report(reports, catalog):
    await catalog.create_sale(new_sale())

    report = await reports.sale_report("drop")

    assert report.sums == Sums()
    assert report.units.reserved == 0
    assert list(report.curve) == []
    with pytest.raises(NotFound):
        await reports.sale_report("nobody")
