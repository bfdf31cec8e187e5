"""What valid requests mean."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from holdfast.inventory.v1 import reservation_service_pb2, sale_pb2, sale_service_pb2
from holdfast_inventory.api import page_tokens, reservation_requests, sale_requests, schedule_requests
from holdfast_inventory.domain.errors import InvalidRequest
from holdfast_inventory.domain.reservation import Line
from holdfast_inventory.domain.schedule import Remainder
from tests.unit.api import requests

SALT = b"s" * 32


def violated(check, *arguments):
    with pytest.raises(InvalidRequest) as refused:
        check(*arguments)
    return [violation.field for violation in refused.value.violations]


def test_lines_of_the_same_item_are_merged():
    request = requests.create_reservation()
    request.lines.add(item="bag", quantity=2)
    request.lines.add(item="a", quantity=3)
    assert reservation_requests.create(request).lines == (Line("a", 4), Line("bag", 2))


def test_a_reservation_is_found_by_its_id_in_upper_case_too():
    sale, _, identity = requests.RESERVATION.rpartition("/")
    request = requests.confirm_reservation()
    expected = reservation_requests.confirm(request)
    request.name = f"{sale}/{identity.upper()}"
    assert reservation_requests.confirm(request) == expected


def test_a_request_id_binds_the_reservation_id():
    wanted = reservation_requests.create(requests.create_reservation())
    assert wanted.bound_command(SALT) == wanted.bound_command(SALT)
    assert wanted.bound_command(SALT).reservation_id != wanted.bound_command(b"t" * 32).reservation_id
    assert wanted.bound_command(SALT).bound
    assert not wanted.command(UUID(int=1)).bound


def test_100_lines_are_the_most():
    request = requests.create_reservation()
    request.lines.extend([reservation_service_pb2.Line(item="a", quantity=1)] * 99)
    assert reservation_requests.create(request).lines == (Line("a", 100),)
    request.lines.add(item="a", quantity=1)
    assert violated(reservation_requests.create, request) == ["lines"]


def test_an_order_needs_confirm():
    request = requests.create_reservation()
    request.confirm = False
    assert violated(reservation_requests.create, request) == ["order"]


def test_a_hold_time_that_is_not_set_is_the_sales_affair():
    request = requests.create_reservation()
    request.ClearField("hold_time")
    assert reservation_requests.create(request).hold_time is None


def test_durations_and_times_are_exact_to_the_microsecond():
    request = requests.create_reservation()
    request.hold_time.CopyFrom(Duration(seconds=1, nanos=234_567_899))
    assert reservation_requests.create(request).hold_time == timedelta(seconds=1, microseconds=234_567)
    extension = requests.extend_reservation()
    extension.expire_time.CopyFrom(Timestamp(seconds=-1, nanos=999_999_999))
    moment = datetime(1969, 12, 31, 23, 59, 59, 999_999, UTC)
    assert reservation_requests.extend(extension)[1].expires_at == moment


@pytest.mark.parametrize("seconds", [-62_135_596_800, 253_402_300_799])
def test_the_first_and_the_last_second_of_time_are_times(seconds):
    extension = requests.extend_reservation()
    extension.expire_time.CopyFrom(Timestamp(seconds=seconds))
    expires_at = reservation_requests.extend(extension)[1].expires_at
    assert expires_at.timestamp() == seconds
    # Which the store could not tell from infinity.
    assert expires_at not in (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))


def test_a_create_in_a_submit_may_leave_its_parent_out():
    command = reservation_service_pb2.Command(create=requests.create_reservation())
    command.create.parent = ""
    assert reservation_requests.command(command, "drop-1").sale_id == "drop-1"


@pytest.mark.parametrize(
    ("command", "field"),
    [
        (reservation_service_pb2.Command(create=requests.create_reservation()), "parent"),
        (reservation_service_pb2.Command(confirm=requests.confirm_reservation()), "name"),
        (reservation_service_pb2.Command(release=requests.release_reservation()), "name"),
        (reservation_service_pb2.Command(extend=requests.extend_reservation()), "name"),
        (reservation_service_pb2.Command(), "command"),
    ],
)
def test_a_command_of_another_sale_or_of_none_is_refused(command, field):
    assert violated(reservation_requests.command, command, "drop-2") == [field]


def test_1000_commands_are_the_most():
    request = requests.submit()
    request.commands.extend([request.commands[0]] * 999)
    assert reservation_requests.submit(request) == "drop-1"
    request.commands.add()
    assert violated(reservation_requests.submit, request) == ["commands"]


@pytest.mark.parametrize("timeout", [Duration(seconds=-1), Duration(seconds=3601), Duration(seconds=1, nanos=-1)])
def test_a_commands_timeout_has_bounds(timeout):
    command = reservation_service_pb2.Command(timeout=timeout)
    assert violated(reservation_requests.timeout_seconds, command) == ["timeout"]


def test_a_list_without_a_page_size_has_100():
    request = requests.list_items()
    request.page_size = 0
    assert sale_requests.list_items(request)[1].page_size == 100


def test_a_page_token_goes_on_where_it_was_made():
    page = sale_requests.list_items(requests.list_items())[1]
    request = requests.list_items()
    request.page_token = page_tokens.next_page("cap", page.filters)
    assert sale_requests.list_items(request)[1].cursor == "cap"
    request.parent = "sales/drop-2"
    assert violated(sale_requests.list_items, request) == ["page_token"]


@pytest.mark.parametrize("cursor", ["x", "-1", "\N{SUPERSCRIPT TWO}", "9" * 30])
def test_a_forged_cursor_of_movements_is_refused(cursor):
    request = requests.list_movements()
    request.page_token = page_tokens.next_page(cursor, sale_requests.list_movements(request).filters)
    assert violated(sale_requests.list_movements, request) == ["page_token"]


def test_a_sale_has_defaults():
    request = sale_service_pb2.CreateSaleRequest(sale_id="x", sale=sale_pb2.Sale())
    new = sale_requests.create_sale(request)
    assert (new.open_at, new.close_at, new.per_customer_limit) == (None, None, 0)
    assert (new.hold_time, new.max_hold_time) == (timedelta(seconds=120), timedelta(seconds=900))


def test_a_long_hold_time_stretches_the_default_ceiling_and_a_short_ceiling_the_default_hold_time():
    long = sale_pb2.Sale(hold_time=timedelta(hours=1))
    short = sale_pb2.Sale(max_hold_time=timedelta(seconds=10))
    made = [
        sale_requests.create_sale(sale_service_pb2.CreateSaleRequest(sale_id="x", sale=sale)) for sale in (long, short)
    ]
    assert [new.max_hold_time for new in made] == [timedelta(hours=1), timedelta(seconds=10)]
    assert [new.hold_time for new in made] == [timedelta(hours=1), timedelta(seconds=10)]


def test_an_item_is_there_once():
    request = requests.create_sale()
    request.sale.items.append(request.sale.items[0])
    assert violated(sale_requests.create_sale, request) == ["sale.items[1].item"]


def test_1000_items_are_the_most():
    request = requests.create_sale()
    del request.sale.items[:]
    request.sale.items.extend(sale_pb2.Item(item=f"i{number}") for number in range(1000))
    assert len(sale_requests.create_sale(request).items) == 1000
    request.sale.items.add(item="one-more")
    assert violated(sale_requests.create_sale, request) == ["sale.items"]


def test_an_update_changes_what_its_mask_says():
    request = requests.update_sale()
    del request.update_mask.paths[:]
    request.update_mask.paths.append("per_customer_limit")
    changes = sale_requests.update_sale(request)[1]
    assert (changes.per_customer_limit, changes.open_at, changes.close_at, changes.hold_time) == (2, None, None, None)


def test_an_update_without_a_mask_changes_what_is_set():
    request = sale_service_pb2.UpdateSaleRequest(sale=sale_pb2.Sale(name="sales/x", hold_time=timedelta(seconds=9)))
    changes = sale_requests.update_sale(request)[1]
    assert (changes.hold_time, changes.per_customer_limit, changes.never_closes) == (timedelta(seconds=9), None, False)


def test_a_close_time_is_taken_away_by_its_mask_alone():
    request = sale_service_pb2.UpdateSaleRequest(sale=sale_pb2.Sale(name="sales/x"))
    request.update_mask.paths.append("close_time")
    assert sale_requests.update_sale(request)[1].never_closes


def test_an_expected_version_that_is_not_set_is_none():
    request = requests.adjust_stock()
    assert sale_requests.adjust(request).expected_version == 1
    request.ClearField("expected_version")
    assert sale_requests.adjust(request).expected_version is None


def test_a_schedule_is_open_until_the_next_opening_and_leaves_its_remainder():
    request = requests.create_sale_schedule()
    request.sale_schedule.ClearField("open_duration")
    request.sale_schedule.ClearField("remainder")
    request.sale_schedule.ClearField("source_sale")
    schedule = schedule_requests.create_schedule(request)
    assert (schedule.open_duration, schedule.remainder) == (timedelta(days=366), Remainder.STAY)


def test_a_remainder_returns_only_to_a_source():
    request = requests.create_sale_schedule()
    request.sale_schedule.ClearField("source_sale")
    assert violated(schedule_requests.create_schedule, request) == ["sale_schedule.source_sale"]
