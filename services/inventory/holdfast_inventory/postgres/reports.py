"""Reports of sales, from their ledgers. What was summed once is stored, so that the next report continues there."""

import asyncio
import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from holdfast_inventory.domain.errors import NotFound
from holdfast_inventory.domain.report import (
    INTERVALS,
    MAX_INTERVALS,
    REFUSAL_INTERVALS,
    Interval,
    ItemReport,
    ReasonCount,
    RefusalInterval,
    Refusals,
    SaleReport,
    Sums,
    Units,
)
from holdfast_inventory.postgres.columns import Row
from holdfast_inventory.postgres.database import Connection, Database
from holdfast_inventory.postgres.history import SQL as HISTORY
from holdfast_inventory.postgres.statements import load

SQL = load("reports")

_STRETCH_MOVEMENTS = 50_000
_SUM_SECONDS = 3.0
"""A report begins no other stretch after this time; it then includes a part of the movements."""
_STATEMENT_SECONDS = 10.0
# The server's limit comes first, so that the connection can be used again.
_TIMEOUT_SECONDS = _STATEMENT_SECONDS + 2.0
_FORMAT = 1
"""Checkpoints of another format are ignored, and replaced."""


class Reports:
    """Reports of sales. The methods raise `DatabaseUnavailable` and `NotFound`."""

    def __init__(self, database: Database, *, stretch_movements: int = _STRETCH_MOVEMENTS) -> None:
        self._database = database
        self._stretch_movements = stretch_movements
        # Reports must not use up the connections for reading, and after one of the same sale the next has less to do.
        self._one_at_a_time = asyncio.Semaphore(1)

    async def sale_report(self, sale_id: str) -> SaleReport:
        """Sum up a sale's movements, in one snapshot: all of them, or as many as are summed in some seconds."""
        async with self._one_at_a_time:
            stored, report = await self._sum_up(sale_id)
            if report.sums.sequence - stored >= self._stretch_movements:
                await self._store(sale_id, report.sums)
        return report

    async def _sum_up(self, sale_id: str) -> tuple[int, SaleReport]:
        """Return the sequence of the checkpoint, and the report."""
        async with (
            self._database.reading() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            await connection.execute(HISTORY["set_statement_timeout"], f"{_STATEMENT_SECONDS:g}s")
            sale = await connection.fetchrow(SQL["report_sale"], sale_id)
            if sale is None:
                raise NotFound(f"sales/{sale_id}")
            checkpoint = await connection.fetchval(SQL["report_checkpoint"], sale_id, _FORMAT)
            stored = Sums() if checkpoint is None else _read_sums(checkpoint)
            sums = await self._continue(connection, sale_id, stored)
            refusals = await _refusals(connection, sale_id)
        return stored.sequence, SaleReport(sale["sequence"], sale["open_at"], sale["now"], sums, refusals)

    async def _continue(self, connection: Connection, sale_id: str, sums: Sums) -> Sums:
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + _SUM_SECONDS
        stretches = await _fetch(
            connection, "report_stretches", sale_id, sums.sequence, self._stretch_movements, sums.reached_at
        )
        for stretch in stretches:
            sums = sums.plus(await _sums(connection, sale_id, sums, stretch["last_sequence"], stretch["reached_at"]))
            if loop.time() > ends_at:
                break
        return sums

    async def _store(self, sale_id: str, sums: Sums) -> None:
        async with self._database.writing() as connection:
            await connection.execute(
                SQL["store_report_checkpoint"], sale_id, sums.sequence, _FORMAT, _written_sums(sums)
            )


async def _sums(connection: Connection, sale_id: str, earlier: Sums, last: int, reached_at: datetime) -> Sums:
    """Return the sums of the stretch that follows `earlier`."""
    stretch = (sale_id, earlier.sequence, last)
    item_ids = [item.item_id for item in earlier.items]
    available = [item.units.available for item in earlier.items]
    items = await _fetch(connection, "report_items", *stretch, item_ids, available)
    curve = await _fetch(connection, "report_curve", *stretch, INTERVALS, MAX_INTERVALS)
    [buyers] = await _fetch(connection, "report_customers", *stretch, reached_at)
    sell_outs = [row["sell_out_sequence"] for row in items if row["sell_out_sequence"] is not None]
    times = dict(zip(sell_outs, await _fetch(connection, "report_times", sale_id, sell_outs), strict=True))
    return Sums(
        last,
        reached_at,
        tuple(_item(row, times.get(row["sell_out_sequence"])) for row in items),
        buyers["customers"],
        curve[0]["width"] if curve else INTERVALS[0],
        tuple(Interval(row["start_at"], row["reserved"], row["confirmed"]) for row in curve),
    )


async def _refusals(connection: Connection, sale_id: str) -> Refusals:
    counts = await _fetch(connection, "report_refusals", sale_id)
    if not counts:
        return Refusals()
    curve = await _fetch(connection, "report_refusal_curve", sale_id, REFUSAL_INTERVALS, MAX_INTERVALS)
    return Refusals(
        tuple(ReasonCount(row["reason"], row["refusals"]) for row in counts),
        curve[0]["width"],
        tuple(RefusalInterval(row["start_at"], row["refusals"]) for row in curve),
    )


async def _fetch(connection: Connection, statement: str, *arguments: object) -> Sequence[Row]:
    rows: Sequence[Row] = await connection.fetch(SQL[statement], *arguments, timeout=_TIMEOUT_SECONDS)
    return rows


def _item(row: Row, sell_out: Row | None) -> ItemReport:
    units = Units(*(row[name] for name in Units._fields))
    return ItemReport(row["item_id"], units, None if sell_out is None else sell_out["created_at"])


def _written_sums(sums: Sums) -> str:
    """Return sums as JSON, for `_read_sums`."""
    return json.dumps(
        {
            "sequence": sums.sequence,
            "reached_at": sums.reached_at.isoformat(),
            "items": [
                (item.item_id, item.units, item.sell_out_at and item.sell_out_at.isoformat()) for item in sums.items
            ],
            "customers": sums.customers,
            "interval_seconds": sums.interval.total_seconds(),
            "curve": [(start_at.isoformat(), *units) for start_at, *units in sums.curve],
        }
    )


def _read_sums(written: str) -> Sums:
    stored: dict[str, Any] = json.loads(written)
    return Sums(
        stored["sequence"],
        datetime.fromisoformat(stored["reached_at"]),
        tuple(
            ItemReport(item_id, Units(*units), at and datetime.fromisoformat(at))
            for item_id, units, at in stored["items"]
        ),
        stored["customers"],
        timedelta(seconds=stored["interval_seconds"]),
        tuple(Interval(datetime.fromisoformat(start_at), *units) for start_at, *units in stored["curve"]),
    )
