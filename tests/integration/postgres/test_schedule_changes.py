"""Schedules by a calendar, their changes, and what the previous release sees of them."""

import asyncio
import uuid
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import asyncpg
import pytest

from holdfast_inventory.domain.calendar import Calendar
from holdfast_inventory.domain.change import Cause, ChangeKind, FieldChange
from holdfast_inventory.domain.errors import InvalidRequest, NotFound
from holdfast_inventory.domain.sale import NewItem, SaleState
from holdfast_inventory.domain.schedule import Period, Remainder, closes_at, next_openings, opening_at_or_before
from holdfast_inventory.postgres.migrations import known, migrate
from tests.support.postgres import on_every_version
from tests.support.shopping import HOUR, hourly, new_sale

pytestmark = on_every_version

FRIDAYS = Calendar("0 10 * * FRI", "Europe/Berlin", (date(2026, 12, 25),))
ALICE = Cause("clients/alice", "r-1")
# The statements of the release before calendars.
OF_BEFORE = (
    "schedule_id, period, open_duration, per_customer_limit, hold_time, max_hold_time, item_ids, on_hands, "
    "item_per_customer_limits, source_sale_id, remainder, shop_confirms, admission_required, early_access, created_at"
)
INSERT_OF_BEFORE = (
    f"INSERT INTO schedules ({OF_BEFORE}) VALUES ($1, '1 hour', '1 hour', 0, '60 s', '60 s', '{{}}', '{{}}', '{{}}', "
    f"NULL, 1, false, false, '0', clock_timestamp()) ON CONFLICT DO NOTHING RETURNING {OF_BEFORE}"
)
LIST_OF_BEFORE = f"SELECT {OF_BEFORE} FROM schedules WHERE schedule_id > $1 ORDER BY schedule_id LIMIT $2"
KEEP_OF_BEFORE = "SELECT true FROM schedules WHERE schedule_id = $1 FOR KEY SHARE"
DELETE_OF_BEFORE = "DELETE FROM schedules WHERE schedule_id = $1 RETURNING schedule_id"


def fridays(schedule_id="friday", **changes):
    rules = {"recurrence": FRIDAYS, "open_duration": 2 * HOUR, "items": (NewItem("shoe", 100, 2),)}
    return replace(hourly(schedule_id), **rules | changes)


@pytest.fixture
def told(catalog):
    """The kinds and fields of a schedule's changes."""

    async def told(schedule_id):
        return [(change.kind, change.fields) for change in await catalog.list_schedule_changes(schedule_id, 0, 100)]

    return told


@pytest.fixture
def seen_before(sql):
    """The ids of the schedules that the previous release reads, of which it can keep each."""

    async def seen_before():
        listed = [row["schedule_id"] for row in await sql.fetch(LIST_OF_BEFORE, "", 100)]
        everything = await sql.fetch("SELECT schedule_id FROM sale_schedules ORDER BY schedule_id")
        ids = [row["schedule_id"] for row in everything]
        assert listed == [each for each in ids if await sql.fetchval(KEEP_OF_BEFORE, each)]
        return listed

    return seen_before


async def test_a_schedule_by_a_calendar_is_kept_as_it_was_created(catalog):
    new = fridays(
        offset=timedelta(seconds=30),
        start_at=datetime(2026, 12, 1, tzinfo=UTC),
        end_at=datetime(2027, 12, 1, tzinfo=UTC),
        lead_time=HOUR,
    )

    created = await catalog.create_schedule(new)

    assert created == replace(new, created_at=created.created_at, updated_at=created.updated_at)
    assert created == await catalog.get_schedule("friday")
    assert ([created], None) == await catalog.list_schedules(10, None)


async def test_a_calendar_starts_when_it_was_created_and_a_period_has_no_start(catalog):
    created = await catalog.create_schedule(fridays())
    assert abs(created.start_at - created.created_at) < HOUR
    assert (await catalog.create_schedule(hourly())).start_at is None


async def test_a_change_is_kept_and_on_record_field_by_field(catalog, told):
    created = await catalog.create_schedule(hourly(socks=3))
    items = (NewItem("socks", 4, 1), NewItem("cap", 1, 0))

    updated = await catalog.update_schedule("hourly", {"recurrence": FRIDAYS, "items": items}, ALICE)

    assert updated == await catalog.get_schedule("hourly")
    assert (updated.recurrence, updated.items, updated.open_duration) == (FRIDAYS, items, None)
    assert (updated.revision, updated.created_at) == (1, created.created_at)
    kind, fields = (await told("hourly"))[1]
    assert kind is ChangeKind.UPDATE
    assert {field: (old, new) for field, old, new in fields if field != "start_time"} == {
        "period": ("3600s", ""),
        "calendar.cron": ("", "0 10 * * FRI"),
        "calendar.time_zone": ("", "Europe/Berlin"),
        "calendar.exclude_dates": ("", "2026-12-25"),
        "open_duration": ("3600s", ""),
        "template.items.socks.on_hand": ("3", "4"),
        "template.items.cap.on_hand": ("", "1"),
        "template.items.cap.per_customer_limit": ("", "0"),
    }


async def test_a_period_that_changes_still_ends_with_the_next_opening(catalog):
    await catalog.create_schedule(hourly())
    updated = await catalog.update_schedule("hourly", {"recurrence": Period(2 * HOUR)})
    assert updated.open_duration == 2 * HOUR
    assert abs(updated.start_at - updated.updated_at) < HOUR


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"open_duration": 2 * HOUR}, "open_duration"),
        ({"offset": HOUR}, "offset"),
        ({"start_at": datetime(2030, 1, 1, tzinfo=UTC), "end_at": datetime(2030, 1, 1, tzinfo=UTC)}, "end_time"),
        ({"early_access": HOUR, "lead_time": HOUR / 2}, "lead_time"),
        ({"remainder": Remainder.RETURN}, "source_sale"),
    ],
)
async def test_a_change_that_contradicts_what_stays_is_refused(catalog, told, changes, field):
    created = await catalog.create_schedule(hourly())
    with pytest.raises(InvalidRequest) as refused:
        await catalog.update_schedule("hourly", changes)
    assert [violation.field for violation in refused.value.violations] == [f"sale_schedule.{field}"]
    assert created == await catalog.get_schedule("hourly")
    assert len(await told("hourly")) == 1


async def test_a_change_needs_its_source_and_its_schedule(catalog):
    await catalog.create_schedule(hourly())
    for call, missing in (
        (catalog.update_schedule("hourly", {"source_sale_id": "main"}), "sales/main"),
        (catalog.update_schedule("other", {}), "saleSchedules/other"),
        (catalog.set_schedule_paused("other", paused=True), "saleSchedules/other"),
        (catalog.run_schedule("other", "r-1"), "saleSchedules/other"),
    ):
        with pytest.raises(NotFound) as refused:
            await call
        assert refused.value.resource == missing


async def test_pausing_and_resuming_is_on_record_once(catalog, told):
    await catalog.create_schedule(fridays())
    for paused in (True, True, False, False):
        assert (await catalog.set_schedule_paused("friday", paused, ALICE)).paused is paused
    assert (await told("friday"))[1:] == [
        (ChangeKind.PAUSE, (FieldChange("paused", "false", "true"),)),
        (ChangeKind.RESUME, (FieldChange("paused", "true", "false"),)),
    ]


async def test_a_scheduler_that_read_a_schedule_before_a_change_opens_nothing_by_it(catalog):
    read = await catalog.create_schedule(hourly(socks=3))
    opening = opening_at_or_before(read, datetime.now(UTC))

    await catalog.set_schedule_paused("hourly", paused=True)
    assert not await catalog.create_occurrence(read, opening)

    resumed = await catalog.set_schedule_paused("hourly", paused=False)
    assert not await catalog.create_occurrence(read, opening)
    assert await catalog.create_occurrence(resumed, opening)


async def test_a_deleted_schedule_and_its_namesake_are_told_apart(catalog):
    read = await catalog.create_schedule(hourly(socks=3))
    await catalog.delete_schedule("hourly")
    await catalog.create_schedule(hourly(socks=4))
    assert not await catalog.create_occurrence(read, opening_at_or_before(read, datetime.now(UTC)))


async def test_the_sale_of_a_calendar_opens_and_closes_by_it(catalog):
    schedule = await catalog.create_schedule(fridays())
    [opening] = next_openings(schedule, datetime.now(UTC), 1)
    assert await catalog.create_occurrence(schedule, opening)
    [view] = (await catalog.list_sales(10, None, None, "friday"))[0]
    assert (view.state, view.sale.open_at, view.sale.close_at) == (SaleState.SCHEDULED, opening, opening + 2 * HOUR)


async def test_a_run_opens_one_sale_for_each_request_id(catalog, told):
    schedule = await catalog.create_schedule(fridays())
    await catalog.set_schedule_paused("friday", paused=True)

    runs = await asyncio.gather(*(catalog.run_schedule("friday", request_id, ALICE) for request_id in "aaab"))
    [unnamed, another] = [await catalog.run_schedule("friday", "", ALICE) for _ in range(2)]

    assert len({sale_id for sale_id, _ in (*runs, unnamed, another)}) == 4
    assert sorted(replayed for _, replayed in runs) == [False, False, True, True]
    view = await catalog.get_sale(runs[0][0])
    assert view.state is SaleState.OPEN
    assert view.sale.close_at == closes_at(schedule, view.sale.open_at)
    assert (await catalog.get_item(runs[0][0], "shoe")).on_hand == 100
    ran = [fields for kind, fields in await told("friday") if kind is ChangeKind.RUN]
    assert {field.new_value for [field] in ran} == {sale_id for sale_id, _ in (*runs, unnamed, another)}
    [created] = await catalog.list_changes(runs[0][0], 0, 10)
    assert (created.kind, created.cause) == (ChangeKind.CREATE, ALICE)


async def test_a_run_draws_its_units_from_the_source(catalog):
    await catalog.create_sale(new_sale("main", shoe=150))
    await catalog.create_schedule(fridays(source_sale_id="main"))
    drawn = [(await catalog.run_schedule("friday", request_id))[0] for request_id in "ab"]
    assert [(await catalog.get_item(sale_id, "shoe")).on_hand for sale_id in drawn] == [100, 50]


async def test_the_previous_release_sees_only_what_it_understands_in_full(catalog, seen_before):
    later = datetime(2030, 1, 1, tzinfo=UTC)
    await catalog.create_schedule(hourly("plain", socks=3))
    for name, changes in {
        "offset": {"offset": timedelta(minutes=5)},
        "start": {"start_at": later},
        "end": {"end_at": later},
        "lead": {"lead_time": HOUR},
    }.items():
        await catalog.create_schedule(replace(hourly(name), **changes))
    await catalog.create_schedule(fridays())
    assert await seen_before() == ["plain"]

    await catalog.set_schedule_paused("plain", paused=True)
    assert await seen_before() == []
    await catalog.set_schedule_paused("plain", paused=False)
    assert await seen_before() == ["plain"]
    await catalog.update_schedule("plain", {"recurrence": FRIDAYS})
    assert await seen_before() == []


async def test_the_previous_release_creates_and_deletes_schedules_that_this_one_opens(catalog, sql):
    await catalog.create_schedule(fridays())
    assert (await sql.fetchrow(INSERT_OF_BEFORE, "old"))["period"] == HOUR
    for taken in ("old", "friday"):
        assert await sql.fetchrow(INSERT_OF_BEFORE, taken) is None
    old = await catalog.get_schedule("old")
    assert (old.recurrence, old.revision, old.paused) == (Period(HOUR), 0, False)
    assert await catalog.create_occurrence(old, opening_at_or_before(old, datetime.now(UTC)))
    assert await sql.fetchval(DELETE_OF_BEFORE, "old") == "old"
    assert await sql.fetchval(DELETE_OF_BEFORE, "friday") is None


async def test_a_role_that_may_use_the_table_may_use_the_view(empty_database_url):
    [this] = [migration.version for migration in known() if migration.name == "calendars"]
    await migrate(empty_database_url, to=this - 1)
    connection = await asyncpg.connect(empty_database_url)
    role = f"serving_{uuid.uuid4().hex}"
    try:
        await connection.execute(f"CREATE ROLE {role}; GRANT SELECT, INSERT ON schedules TO {role}")
        await connection.execute("GRANT SELECT ON schedules TO PUBLIC")
        await migrate(empty_database_url, to=this)
        granted = await connection.fetch(
            "SELECT grantee, privilege_type FROM information_schema.role_table_grants "
            "WHERE table_name = 'schedules' AND grantee IN ($1, 'PUBLIC') ORDER BY 1, 2",
            role,
        )
        assert [tuple(row) for row in granted] == [("PUBLIC", "SELECT"), (role, "INSERT"), (role, "SELECT")]
    finally:
        await connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
        await connection.close()
