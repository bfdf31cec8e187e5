"""The report of any ledger says what plain loops over its movements say, whether it is summed at once or in parts."""

import asyncio
import uuid
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import NamedTuple

import asyncpg
from hypothesis import given
from hypothesis import strategies as st

from holdfast_inventory.domain.report import INTERVALS, MAX_INTERVALS
from holdfast_inventory.postgres.database import Database, DatabaseLimits
from holdfast_inventory.postgres.reports import Reports
from tests.property.effort import effort

OPENING = datetime(2026, 6, 1, 12, tzinfo=UTC)
HOLD, CONFIRM, RELEASE, EXPIRE, ADJUST, TRANSFER, RETURN = range(1, 8)
DEEDS = ("stock", "hold", "hold", "hold", "buy", "confirm", "confirm", "end", "return")


class Entry(NamedTuple):
    """A movement, with its customer; `batch` is the number of its batch."""

    batch: int
    at: datetime
    kind: int
    item: str
    on_hand: int
    held: int
    sold: int
    reservation: uuid.UUID | None
    customer: str


@st.composite
def ledgers(draw):
    """Return the entries of a ledger: of a few customers and items, with clocks that may go back a little."""
    entries, at, reservations = [], OPENING, []
    available = {"cap": 0, "sock": 0}
    held, sold = [], []

    def put(batch, kind, item, on_hand=0, held=0, sold=0, reservation=None, customer=""):
        available[item] += on_hand - held
        entries.append(Entry(batch, at, kind, item, on_hand, held, sold, reservation, customer))

    for batch in range(draw(st.integers(1, 12))):
        at += timedelta(seconds=draw(st.sampled_from([-90, -2, 0, 0.4, 1, 7, 90, 4000, 10**6])))
        for _ in range(draw(st.integers(1, 5))):
            deed = draw(
                st.sampled_from(["stock", "hold", "hold", "hold", "buy", "confirm", "confirm", "end", "return"])
            )
            item = draw(st.sampled_from(sorted(available)))
            if deed == "stock":
                put(
                    batch,
                    draw(st.sampled_from([ADJUST, TRANSFER])),
                    item,
                    on_hand=draw(st.integers(-available[item], 3)),
                )
            elif deed in {"hold", "buy"} and available[item]:
                units = draw(st.integers(1, available[item]))
                reservation = (uuid.uuid4(), draw(st.sampled_from("ab")), item, units)
                reservations.append(reservation)
                if deed == "hold":
                    held.append(reservation)
                    put(batch, HOLD, item, held=units, reservation=reservation[0], customer=reservation[1])
                else:
                    sold.append(reservation)
                    put(batch, CONFIRM, item, -units, 0, units, reservation[0], reservation[1])
            elif deed in {"confirm", "end"} and held:
                key, customer, item, units = known = held.pop(draw(st.integers(0, len(held) - 1)))
                if deed == "end":
                    put(batch, draw(st.sampled_from([RELEASE, EXPIRE])), item, 0, -units, 0, key, customer)
                else:
                    sold.append(known)
                    put(batch, CONFIRM, item, -units, -units, units, key, customer)
            elif deed == "return" and sold:
                key, customer, item, units = sold.pop()
                put(batch, RETURN, item, draw(st.sampled_from([0, units])), 0, -units, key, customer)
    return entries


def plain(entries):
    """Return what a report should say."""
    items = {}
    available, sell_outs = {}, {}
    for _, batch in groupby(entries, lambda entry: entry.batch):
        taken = set()
        for entry in batch:
            reserved = entry.held if entry.kind == HOLD else entry.sold + entry.held if entry.kind == CONFIRM else 0
            units = items.setdefault(entry.item, dict.fromkeys(UNITS, 0))
            units["reserved"] += reserved
            units["confirmed"] += entry.sold if entry.kind == CONFIRM else 0
            units["released"] -= entry.held if entry.kind == RELEASE else 0
            units["expired"] -= entry.held if entry.kind == EXPIRE else 0
            units["returned"] -= entry.sold if entry.kind == RETURN else 0
            units["held"] += entry.held
            units["available"] += entry.on_hand - entry.held
            available[entry.item] = units["available"]
            if reserved:
                taken.add(entry.item)
        for item in taken:
            if available[item] == 0:
                sell_outs.setdefault(item, entry.at)
    customers = len({entry.customer for entry in entries if entry.kind == CONFIRM})
    return items, sell_outs, customers


UNITS = ("reserved", "confirmed", "released", "expired", "returned", "held", "available")


def plain_curve(entries, interval):
    curve = {}
    for entry in entries:
        if entry.kind in {HOLD, CONFIRM}:
            start = datetime.fromtimestamp(entry.at.timestamp() // interval * interval, UTC)
            reserved, confirmed = curve.get(start, (0, 0))
            reserved += entry.held if entry.kind == HOLD else entry.sold + entry.held
            curve[start] = (reserved, confirmed + (entry.sold if entry.kind == CONFIRM else 0))
    return curve


async def write(sql, sale_id, entries, first):
    """Append entries, the first of which has the sequence `first`, and their reservations."""
    for _, group in groupby(entries, lambda entry: entry.batch):
        batch = list(group)
        last = first + len(batch) - 1
        await sql.execute(
            "INSERT INTO ledger VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
            sale_id,
            first,
            last,
            batch[0].at,
            [entry.kind for entry in batch],
            [entry.item for entry in batch],
            [entry.on_hand for entry in batch],
            [entry.held for entry in batch],
            [entry.sold for entry in batch],
            [entry.reservation for entry in batch],
            [None] * len(batch),
            [""] * len(batch),
        )
        for entry in batch:
            if entry.kind in {HOLD, CONFIRM, RELEASE, EXPIRE}:
                state = {HOLD: 1, CONFIRM: 2, RELEASE: 3, EXPIRE: 4}[entry.kind]
                await sql.execute(
                    "INSERT INTO reservations VALUES ($1, $2, $3, $4, '{1}', $5, $6, $6, $7, '', '')"
                    " ON CONFLICT ON CONSTRAINT reservations_pkey"
                    " DO UPDATE SET state = excluded.state, ended_at = excluded.ended_at",
                    entry.reservation,
                    sale_id,
                    entry.customer,
                    [entry.item],
                    state,
                    entry.at,
                    None if state == 1 else entry.at,
                )
        first = last + 1
    await sql.execute("UPDATE sales SET sequence = $2 WHERE sale_id = $1", sale_id, first - 1)
    return first


async def new_sale(sql):
    sale_id = uuid.uuid4().hex
    await sql.execute(
        "INSERT INTO sales (sale_id, open_at, per_customer_limit, hold_time, max_hold_time, created_at, updated_at,"
        " salt, limits_customers) VALUES ($1, $2, 0, '1 minute', '1 minute', $2, $2, decode(repeat('00', 32), 'hex'),"
        " false)",
        sale_id,
        OPENING,
    )
    return sale_id


def assert_agrees(report, entries):
    items, sell_outs, customers = plain(entries)
    sums = report.sums
    assert sums.sequence == len(entries)
    assert {item.item_id: item.units._asdict() for item in sums.items} == items
    assert {item.item_id: item.sell_out_at for item in sums.items if item.sell_out_at} == sell_outs
    assert sums.customers == customers
    curve = plain_curve(entries, sums.interval.total_seconds())
    dense = list(report.curve)
    assert {start: (reserved, confirmed) for start, reserved, confirmed in dense if reserved or confirmed} == curve
    assert len(dense) <= MAX_INTERVALS
    assert sums.interval in INTERVALS


def test_a_report_says_what_plain_sums_say(database_url):
    with asyncio.Runner() as runner:

        async def prepared():
            database = Database(database_url, DatabaseLimits())
            await database.open(10)
            return database, await asyncpg.connect(database_url)

        database, sql = runner.run(prepared())
        reports = Reports(database, stretch_movements=3)

        @effort(0.08)
        @given(ledgers(), st.data())
        def agrees(entries, data):
            async def compare():
                sale_id, first, begun = await new_sale(sql), 1, 0
                ends = sorted({entry.batch for entry in entries})
                until = data.draw(st.sampled_from(ends)) if ends else 0
                for part in (
                    [entry for entry in entries if entry.batch <= until],
                    [entry for entry in entries if entry.batch > until],
                ):
                    first = await write(sql, sale_id, part, first)
                    begun += len(part)
                    assert_agrees(await reports.sale_report(sale_id), entries[:begun])

            runner.run(compare())

        try:
            agrees()
        finally:
            runner.run(sql.close())
            runner.run(database.close())
