"""Every hot statement uses indexes, planned with empty tables or with a sale that has grown."""

import json
import re

import pytest

from holdfast_inventory.postgres.statements import load, parameters_of
from tests.support.postgres import on_every_version

pytestmark = on_every_version

HOT = load("batch")
LISTS = load("reservation_lists")
READS = {
    "read_bound_ids": HOT["read_bound_ids"],
    "get_reservation": load("history")["get_reservation"],
    **{name: sql for name, sql in LISTS.items() if name not in {"open_reservations", "batches_of_all_sales"}},
}
TABLES = {"sales", "items", "reservations", "ledger", "stock_changes", "refusal_counts", "customer_refusals"}
TABLES |= {"webhooks", "webhook_deliveries"}
# A look-up uses the row's own key, never the sale alone, which would read the whole sale.
KEYS = {
    "sales_pkey": {"sale_id"},
    "items_pkey": {"sale_id", "item_id"},
    "reservations_pkey": {"reservation_id", "sale_id"},
    "reservations_customer_created_idx": {"customer"},
    "reservations_order_idx": {"order_id", "created_at"},
    "reservations_open_idx": {"sale_id", "expires_at"},
    "stock_changes_pkey": {"change_id", "sale_id"},
    "ledger_pkey": {"sale_id", "last_sequence"},
    "ledger_first_sequence_key": {"sale_id", "first_sequence"},
    "ledger_created_idx": {"created_at"},
}
GROWTH = """
    INSERT INTO sales (sale_id, open_at, per_customer_limit, hold_time, max_hold_time, created_at, updated_at, salt,
        limits_customers)
    SELECT 'sale-' || n, now(), 4, '2 minutes', '15 minutes', now(), now(), decode(repeat('00', 32), 'hex'), true
    FROM generate_series(1, 20) AS n;
    INSERT INTO items SELECT 'item-' || n, 'sale-1', 100000, 10000, 0, 0, 1 FROM generate_series(1, 1000) AS n;
    INSERT INTO reservations
    SELECT gen_random_uuid(), 'sale-' || 1 + n / 40000, 'c-' || n / 2, '{item-1}', '{1}', 1 + (n % 10 > 0)::integer,
        now(), now() + n * interval '1 second', CASE WHEN n % 10 > 0 THEN now() END, '', ''
    FROM generate_series(1, 50000) AS n;
    INSERT INTO stock_changes SELECT gen_random_uuid(), 'sale-1', '', now() FROM generate_series(1, 5000);
"""
# What an hourly schedule leaves behind: sales that are over and sold out, the newest an hour ago.
PAST = """
    INSERT INTO sales (sale_id, open_at, close_at, per_customer_limit, hold_time, max_hold_time, created_at, updated_at,
        schedule_id, salt, limits_customers)
    SELECT 'hourly-' || n, now() - (n + 1) * interval '1 hour', now() - n * interval '1 hour', 0, '2 minutes',
        '15 minutes', now(), now(), 'hourly', decode(repeat('00', 32), 'hex'), false
    FROM generate_series($1::integer, $2) AS n;
"""
STOCK = """
    INSERT INTO items SELECT 'shoe', 'hourly-' || n, 0, 0, 5, 0, 1 FROM generate_series($1::integer, $2) AS n;
"""


def nodes(plan):
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


async def explain(connection, name, sql):
    """Return the nodes of the generic plan."""
    parameters = max(map(int, re.findall(r"\$(\d+)", sql)), default=0)
    await connection.execute(f"PREPARE {name} AS {sql}")
    arguments = ", ".join(["NULL"] * parameters)
    plan = await connection.fetchval(f"EXPLAIN (FORMAT JSON, COSTS OFF) EXECUTE {name} ({arguments})")
    return list(nodes(json.loads(plan)[0]["Plan"]))


def faults(node):
    """Yield what is wrong with a node of a plan."""
    kind, table = node["Node Type"], node.get("Relation Name")
    if kind in {"Hash Join", "Merge Join"}:
        yield kind
    if table in TABLES and kind not in {"Index Scan", "Index Only Scan", "Bitmap Heap Scan", "ModifyTable", "LockRows"}:
        yield f"{kind} of {table}"
    index = node.get("Index Name")
    if index:
        condition = node.get("Index Cond", "")
        missing = {column for column in KEYS[index] if not re.search(rf"\b{column}\b", condition)}
        if missing:
            yield f"{kind} by {index} without {missing}: {condition}"


async def all_faults(connection, statements=HOT):
    return {
        name: found
        for name, sql in statements.items()
        if (found := [fault for node in await explain(connection, name, sql) for fault in faults(node)])
    }


@pytest.mark.parametrize("grown", [False, True], ids=["empty", "grown"])
async def test_hot_statements_look_up_by_key(database, sql, grown):
    if grown:
        await sql.execute(GROWTH)
    await sql.execute("ANALYZE")

    async with database.writing() as connection:
        assert await all_faults(connection) == {}


@pytest.mark.parametrize("grown", [False, True], ids=["empty", "grown"])
async def test_readers_look_up_reservations_by_key_too(database, sql, grown):
    if grown:
        await sql.execute(GROWTH)
    await sql.execute("ANALYZE")

    async with database.reading() as connection:
        # As after five executions, if the server estimates that a generic plan is not worse.
        await connection.execute("SET plan_cache_mode = force_generic_plan")
        assert await all_faults(connection, READS) == {}


async def test_a_statement_looks_up_by_key_in_a_table_of_one_row(database, sql):
    """The difficult case: a scan of a single page seems optimal to the planner."""
    await sql.execute(GROWTH)
    for table in ("reservations", "items", "stock_changes"):
        await sql.execute(f"DELETE FROM {table} WHERE ctid <> (SELECT min(ctid) FROM {table})")
    await sql.execute("VACUUM ANALYZE")

    async with database.writing() as connection:
        assert await all_faults(connection) == {}


@pytest.mark.parametrize("plans", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize("name", ["list_sales", "list_sales_of_schedule"])
@pytest.mark.parametrize("after", ["", "hourly-5000"])
async def test_a_page_of_ten_thousand_sales_reads_its_own_rows_alone(database, sql, plans, name, after):
    await sql.execute(PAST, 1, 10_000)
    await sql.execute("UPDATE sales SET created_at = open_at")
    await sql.execute("ANALYZE")
    async with database.reading() as connection:
        await connection.execute(f"SET plan_cache_mode = {plans}")
        await connection.execute(f"PREPARE page AS {load('catalog')[name]}")
        arguments = [f"'{after}'", "101", "'hourly'"][: 2 if name == "list_sales" else 3]
        plan = await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE page ({', '.join(arguments)})")
    assert rows_read(json.loads(plan)[0]["Plan"]) == 101 + (1 if after else 0)


# A sale and a customer with many reservations, each created and confirmed in a batch of its own.
SOLD = """
    INSERT INTO reservations
    SELECT ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, 'sale-3', 'guest', '{item-1}', '{1}', 2,
        timestamptz '2026-01-01' + n * interval '1 second', timestamptz '2026-01-01' + n * interval '1 second',
        timestamptz '2026-01-01' + n * interval '1 second', CASE WHEN n % 2 = 0 THEN 'o-1' ELSE 'o-' || n END, ''
    FROM generate_series(1, 50000) AS n;
    INSERT INTO ledger
    SELECT 'sale-3', n, n, timestamptz '2026-01-01' + n * interval '1 second', '{2}', '{item-1}', '{-1}', '{0}', '{1}',
        ARRAY[('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid], '{NULL}', '{NULL}'
    FROM generate_series(1, 50000) AS n;
    UPDATE sales SET sequence = 50000 WHERE sale_id = 'sale-3';
"""
MIDDLE = "'2026-01-01 08:00+00'"
ID = "'ffffffff-ffff-ffff-ffff-ffffffffffff'"


# The rows that it returns, and those that it has stepped through to find the sales.
@pytest.mark.parametrize("plans", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize(
    ("name", "arguments", "most"),
    [
        ("reservations_of_customer", f"'sale-3', 'guest', {MIDDLE}, {ID}, '2000-01-01', 101", 104),
        ("reservations_of_customer", f"NULL, 'guest', {MIDDLE}, {ID}, '2000-01-01', 101", 104),
        ("reservations_of_order", f"'o-1', {MIDDLE}, {ID}, '2000-01-01', 101", 104),
        ("open_reservations", f"'sale-1', now() + interval '9000 s', {ID}, 101", 104),
        ("open_reservations", f"NULL, now() + interval '9000 s', {ID}, 101", 2 * 104),
        ("batches_of_sale", "'sale-3', 1, 25000, 101", 104),
        ("batches_of_all_sales", f"'2000-01-01', {MIDDLE}, 'sale-3', 9, 101", 104),
        ("sequence_at", f"'sale-3', {MIDDLE}", 20),
        ("reservations_of_batches", "array_fill('sale-3'::text, '{3}'), '{7, 3000, 49999}', false", 6),
    ],
)
async def test_a_page_of_a_grown_list_reads_its_own_rows_alone(database, sql, plans, name, arguments, most):
    await sql.execute(GROWTH + SOLD)
    await sql.execute("ANALYZE")
    async with database.reading() as connection:
        await connection.execute(f"SET plan_cache_mode = {plans}")
        await connection.execute(f"PREPARE page AS {LISTS[name]}")
        plan = await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE page ({arguments})")
    assert 0 < rows_read(json.loads(plan)[0]["Plan"]) <= most


READ = {"sale_id": "'sale-1'", "due_limit": "256", "item_ids": "'{item-1}'", "customers": "'{c-1}'"}
RUNNING_LIMIT = 32


@pytest.mark.parametrize(("units", "holds_read"), [(90_000, 0), (90_001, RUNNING_LIMIT)])
async def test_when_holds_end_is_looked_up_only_where_units_are_short_and_never_for_long(
    database, sql, units, holds_read
):
    await sql.execute(GROWTH)
    await sql.execute("ANALYZE")
    values = READ | {"most_units": str(units), "running_limit": str(RUNNING_LIMIT)}
    arguments = ", ".join(values.get(name, "'{}'") for name in parameters_of(HOT["read"]))

    async with database.writing() as connection:
        await connection.execute(f"PREPARE read AS {HOT['read']}")
        plan = await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE read ({arguments})")
    by_end = [node for node in nodes(json.loads(plan)[0]["Plan"]) if "expires_at > " in node.get("Index Cond", "")]
    assert sum(map(rows_read, by_end)) == holds_read


def rows_read(plan):
    """Return the number of rows that were read from tables, also if they were not returned."""
    return sum(
        (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
        for node in nodes(plan)
        if node.get("Relation Name") in TABLES
    )


@pytest.mark.parametrize("plans", ["force_custom_plan", "force_generic_plan"])
async def test_looking_for_remainders_reads_as_many_rows_after_ten_thousand_sales_as_after_a_hundred(
    database, sql, plans
):
    stretch = 20
    looked_at = []
    async with database.reading() as connection:
        await connection.execute(f"SET plan_cache_mode = {plans}")
        await connection.execute(f"PREPARE look AS {load('schedules')['occurrences_to_settle']}")
        for first, last in ((1, 100), (101, 10_000)):
            for grow in (PAST, STOCK):
                await sql.execute(grow, first, last)
            await sql.execute("ANALYZE")
            look = f"EXECUTE look ('hourly', now() - interval '50 hours', {stretch})"
            plan = await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {look}")
            looked_at.append(rows_read(json.loads(plan)[0]["Plan"]))

    # A range of the newest sales and one of the older ones, with their stock.
    assert looked_at == [2 * 2 * stretch] * 2


# Batches of two confirmed reservations each, one of a new customer and one of c-0, in many sales.
BATCHES = """
    INSERT INTO ledger
    SELECT 'sale-' || 1 + n % 20, n / 20 * 4 + 1, n / 20 * 4 + 4, now() + n * interval '1 second', '{1, 1, 2, 2}',
        '{a, b, a, b}', '{0, 0, -1, -1}', '{1, 1, -1, -1}', '{0, 0, 1, 1}', ids.ids, '{NULL, NULL, NULL, NULL}',
        '{"", "", "", ""}'
    FROM generate_series(0, 9999) AS n
    CROSS JOIN LATERAL (
        SELECT ARRAY[md5('x' || n)::uuid, md5('y' || n)::uuid, md5('x' || n)::uuid, md5('y' || n)::uuid] AS ids
    ) AS ids;
    INSERT INTO reservations
    SELECT md5(letter || n)::uuid, 'sale-' || 1 + n % 20, CASE letter WHEN 'x' THEN 'e-' || n ELSE 'd-' || n % 1000 END,
        ARRAY[CASE letter WHEN 'x' THEN 'a' ELSE 'b' END], '{1}', 2, now(), now(), now() + n * interval '1 second', '',
        ''
    FROM generate_series(0, 9999) AS n
    CROSS JOIN unnest('{x,y}'::text[]) AS letter;
"""
COUNTS = """
    INSERT INTO refusal_counts
    SELECT 'sale-' || 1 + n % 20, now() - n * interval '1 minute', 'INSUFFICIENT_STOCK', 1
    FROM generate_series(0, 9999) AS n;
    INSERT INTO customer_refusals
    SELECT 'c-' || n % 1000, 'sale-' || 1 + n % 20, 'REASON-' || n % 13, 1, now() - n * interval '1 minute',
        now() - n * interval '1 minute', '{a}', '{1}'
    FROM generate_series(0, 9999) AS n
    ON CONFLICT DO NOTHING;
"""
STRETCH = "'sale-1', 1000, 1400"
REPORTS = {
    # The two reservations of each batch, and those of both customers in this sale.
    "report_items": f"{STRETCH}, '{{a}}', '{{-1000}}'",
    "report_curve": f"{STRETCH}, '{{1 s, 1 h}}', 120",
    "report_customers": f"{STRETCH}, 'infinity'",
    "report_times": "'sale-1', '{1004, 1400}'",
    "report_stretches": "'sale-1', 1600, 100, now()",
}
ROWS_OF_REPORTS = {
    "report_items": 100,
    "report_curve": 100,
    "report_customers": 100 + 200 + 100 + 50 * 10,
    "report_times": 2,
    "report_stretches": 100,
}


@pytest.mark.parametrize("plans", ["force_custom_plan", "force_generic_plan"])
async def test_a_stretch_of_a_report_reads_its_own_rows_alone(database, sql, plans):
    await sql.execute(GROWTH)
    await sql.execute(BATCHES)
    await sql.execute("ANALYZE")
    read = {}
    async with database.reading() as connection:
        await connection.execute(f"SET plan_cache_mode = {plans}")
        for name, arguments in REPORTS.items():
            await connection.execute(f"PREPARE {name} AS {load('reports')[name]}")
            plan = await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE {name} ({arguments})")
            read[name] = rows_read(json.loads(plan)[0]["Plan"])
    assert read == ROWS_OF_REPORTS


REFUSALS = {
    "report_refusals": "'sale-1'",
    "report_refusal_curve": "'sale-1', '{1 m, 1 h, 1 d}', 120",
    "list_customer_refusals": "'c-0', 'sale-1'",
    "add_refusal_counts": "'{sale-1,sale-2}', '{A,B}', '{1,1}'",
    "add_customer_refusals": "'{c-0}', '{sale-1}', '{A}', '{1}', ARRAY[now()], ARRAY[now()], '{a}', '{1}'",
    "delete_old_refusal_counts": "'9990 minutes', 100",
    "delete_old_customer_refusals": "'9990 minutes', 100",
}
ROWS_OF_REFUSALS = {
    "report_refusals": 500,
    "report_refusal_curve": 500,
    "list_customer_refusals": 10,
    # The sales, not their counts.
    "add_refusal_counts": 2,
    "add_customer_refusals": 1,
    # The ten that are old: found, found by their places, and deleted.
    "delete_old_refusal_counts": 30,
    "delete_old_customer_refusals": 30,
}


@pytest.mark.parametrize("plans", ["force_custom_plan", "force_generic_plan"])
async def test_refusals_are_read_by_their_keys(database, sql, plans):
    await sql.execute(GROWTH)
    await sql.execute(COUNTS)
    await sql.execute("ANALYZE")
    statements = {**load("reports"), **load("refusals")}
    read = {}
    async with database.reading() as connection:
        await connection.execute(f"SET plan_cache_mode = {plans}")
        for name, arguments in REFUSALS.items():
            await connection.execute(f"PREPARE {name} AS {statements[name]}")
            plan = await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE {name} ({arguments})")
            read[name] = rows_read(json.loads(plan)[0]["Plan"])
    assert read == ROWS_OF_REFUSALS


# Five webhooks, each with a delivery in every sale of an hourly schedule; some are due, few have failed.
DELIVERIES = """
    INSERT INTO webhooks (webhook_id, url, kinds, secret, created_at, updated_at)
    SELECT 'w-' || n, 'https://shop.example/', '{}', '', now() - interval '1 year', now()
    FROM generate_series(1, 5) AS n;
    INSERT INTO webhook_deliveries (webhook_id, sale_id, position, sent, due_at, attempts, failing_since)
    SELECT 'w-' || w, sale_id, 1, 1, CASE WHEN hashtext(sale_id) % 100 = 0 THEN now() END,
        (hashtext(sale_id) % 1000 = 0)::integer, CASE WHEN hashtext(sale_id) % 1000 = 0 THEN now() END
    FROM generate_series(1, 5) AS w, sales;
    UPDATE sales SET created_at = open_at, sequence = 1;
"""
LONG_LEDGER = """
    INSERT INTO ledger
    SELECT 'hourly-1', n, n, now() - (50001 - n) * interval '1 second', '{1}', '{a}', '{0}', '{1}', '{0}', '{NULL}',
        '{NULL}', '{""}'
    FROM generate_series(1, 50000) AS n;
    UPDATE sales SET sequence = 50000 WHERE sale_id = 'hourly-1';
    DELETE FROM webhook_deliveries WHERE sale_id = 'hourly-1' AND webhook_id = 'w-1';
    UPDATE webhooks SET created_at = now() - interval '12345 seconds';
"""


async def rows_of_webhooks(database, name, arguments):
    """Execute a statement with a generic plan, and return the number of rows that it read from tables."""
    async with database.writing() as connection:
        await connection.execute(f"PREPARE it AS {load('webhooks')[name]}")
        call = f"EXECUTE it ({arguments})" if arguments else "EXECUTE it"
        plan = await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {call}")
    return rows_read(json.loads(plan)[0]["Plan"])


@pytest.mark.parametrize(
    ("name", "arguments", "most"),
    [
        ("claim", "'{w-1}', '{3}', gen_random_uuid(), interval '30 s'", 20),
        # For each sale, the webhooks and their deliveries.
        ("sales_to_mark", "now() - interval '500 hours', 'hourly-500', 20", 2 * 20 * (2 * 5 + 2)),
        ("list_failing_deliveries", "'w-1', '', 11", 11),
        ("mark_due", "'{hourly-7}'", 25),
        ("begin_message", "'w-1', 'hourly-7', gen_random_uuid(), 2, interval '30 s'", 5),
        ("advance", "'w-1', 'hourly-7', gen_random_uuid(), 2, interval '30 s', true", 5),
        # For each webhook, its failing deliveries twice, and the first that is due.
        ("backlog", "", 5 * (1 + 2 * 25 + 1)),
    ],
)
async def test_a_statement_of_webhooks_reads_its_own_rows_alone(database, sql, name, arguments, most):
    await sql.execute(PAST, 1, 10_000)
    await sql.execute(DELIVERIES)
    for table in ("webhooks", "webhook_deliveries", "sales"):
        await sql.execute(f"VACUUM ANALYZE {table}")
    assert await rows_of_webhooks(database, name, arguments) <= most


async def test_where_a_webhook_begins_in_a_long_ledger_is_found_by_few_reads(database, sql):
    await sql.execute(PAST, 1, 100)
    await sql.execute(DELIVERIES)
    await sql.execute(LONG_LEDGER)
    await sql.execute("ANALYZE")
    assert await rows_of_webhooks(database, "mark_due", "'{hourly-1}'") <= 60
    begun = await sql.fetchrow(
        "SELECT position, (SELECT max(last_sequence) FROM ledger, webhooks WHERE ledger.created_at < "
        "webhooks.created_at) AS expected FROM webhook_deliveries WHERE webhook_id = 'w-1' AND sale_id = 'hourly-1'"
    )
    assert begun["position"] == begun["expected"] > 30_000
