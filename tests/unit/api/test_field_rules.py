"""Every field of every method with a value that is too small, too large or meaningless is named in InvalidRequest."""

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from holdfast_chassis.contract import SERVICES
from holdfast_inventory.api.checks import Checking
from holdfast_inventory.domain.errors import InvalidRequest
from tests.unit.api import requests
from tests.unit.api.requests import CHECKS

HUGE = 2**31 - 1
BAD_TEXTS = ["x" * 129, "a\x00b", "a\nb", "a\x7fb", "a\x85b"]
BAD_IDS = ["", "-x", ".x", "a b", "a/b", "x" * 64, "\N{SNOWMAN}", "x\n", "x\x00"]
BAD_SALES = ["", "drop-1", "sales/", "sales/-x", "sales/a/b", "sales/a ", f"sales/{'x' * 64}", "Sales/x", "sales/x\n"]
BAD_ITEMS = ["", "cap", "sales/drop-1", "sales/drop-1/items/", "sales//items/cap", "sales/drop-1/items/a/b"]
BAD_RESERVATIONS = [
    "",
    "sales/drop-1/reservations/",
    "sales/drop-1/reservations/1",
    requests.RESERVATION.replace("-", ""),
    requests.RESERVATION + "0",
    requests.RESERVATION + "\n",
]
BAD_SCHEDULES = ["", "hourly", "saleSchedules/", f"saleSchedules/{'x' * 47}", "saleSchedules/a/b"]
BAD_WEBHOOKS = ["", "w", "webhooks/", "webhooks/-w", f"webhooks/{'x' * 64}", "webhooks/w/x", "webhooks/w\n"]
BAD_URLS = [
    "",
    "shop.example",
    "http://shop.example/",
    "ftp://shop.example/",
    "HTTPS://shop.example/",
    "https://",
    "https:///path",
    "https://:443/",
    "https://user@shop.example/",
    "https://user:password@shop.example/",
    "https://shop.example/#fragment",
    "https://shop.example\\@10.0.0.1/",
    "https://shop.example:99999/",
    "https://shop.example:port/",
    "https://[::1/",
    "https://shop.example/ a",
    "https://shop.example/\r\nHost: x",
    "https://sh\N{SNOWMAN}p.example/",
    f"https://shop.example/{'x' * 2048}",
]
BAD_REQUEST_IDS = ["x" * 129, "a b", "a\x00", "\N{SNOWMAN}", "é"]
BAD_LABEL_VALUES = ["x" * 64, "a b", "a,b", "a=b", "é", "a\n"]
BAD_LABELS = [dict.fromkeys(map(str, range(17)), ""), *({key: ""} for key in ("", "-a", "a b", "a=b", "x" * 64, "é"))]
BAD_ETAGS = ["x" * 65, "a b", "a\x00", "\N{SNOWMAN}"]
BAD_DURATIONS = [
    Duration(),
    Duration(seconds=-1),
    Duration(nanos=999),
    Duration(seconds=2**62),
    Duration(seconds=1, nanos=-1),
    Duration(seconds=1, nanos=2_000_000_000),
    Duration(seconds=31 * 86400),
]
BAD_WAITS = [duration for duration in BAD_DURATIONS if duration not in (Duration(), Duration(nanos=999))]
BAD_TIMES = [Timestamp(seconds=2**62), Timestamp(seconds=-(2**62)), Timestamp(nanos=-1), Timestamp(nanos=HUGE)]
BAD_PAGE_SIZES = [-1, 1001, HUGE, -(2**31)]
BAD_TOKENS = [requests.TOKEN_OF_NO_LIST, "\N{SNOWMAN}", "x" * 2000]
BAD_LIMITS = [-1, -(2**31)]
BAD_SEQUENCES = [-1, -(2**63)]
ABSENT = object()

BAD_CUSTOMERS = ["", "c-1", "customers/", "Customers/c", "customers/" + "x" * 129, "customers/a\n", "customers/\x00"]
BAD_CRONS = [
    "",
    "0 10 * *",
    "0 10 * * * *",
    "0  10 * * *",
    "60 10 * * *",
    "0 10 * * FRY",
    "0 10 30 2 *",
    "@daily",
    "0 10 * * *\n",
]
BAD_OPENINGS = {
    "sale_schedule.calendar.cron": BAD_CRONS,
    "sale_schedule.calendar.time_zone": [
        "",
        "Berlin",
        "europe/berlin",
        "+01:00",
        "../UTC",
        "Europe/Berlin\n",
        "x" * 65,
    ],
    "sale_schedule.calendar.exclude_dates[0]": [
        "",
        "25.12.2026",
        "2026-02-30",
        "20261225",
        "2026-W01-1",
        "\N{FULLWIDTH DIGIT TWO}026-12-25",
    ],
    "sale_schedule.offset": [Duration(seconds=-1), Duration(seconds=31_622_401), Duration(seconds=1, nanos=5)],
    "sale_schedule.open_duration": [*BAD_DURATIONS[:-1], Duration(seconds=31_622_401)],
    "sale_schedule.start_time": BAD_TIMES,
    "sale_schedule.end_time": BAD_TIMES,
    "sale_schedule.lead_time": [Duration(), Duration(seconds=59), Duration(seconds=31_622_401)],
}
RULES = {
    requests.create_reservation: {
        "parent": BAD_SALES,
        "customer": ["", *BAD_TEXTS],
        "lines": [ABSENT],
        "lines[0].item": BAD_IDS,
        "lines[0].quantity": [0, -1, 1_000_001, HUGE, -(2**31)],
        "hold_time": BAD_DURATIONS,
        "order": BAD_TEXTS,
        "request_id": BAD_REQUEST_IDS,
        "admission_token": ["x" * 4097, "a b", "a\n", "é"],
        "display_name": BAD_TEXTS,
        "labels": BAD_LABELS,
        'labels["season"]': BAD_LABEL_VALUES,
        "metadata": [dict.fromkeys(map(str, range(17)), ""), *({key: ""} for key in ("", "a b", "x" * 41, "é"))],
        'metadata["gift-note"]': ["x" * 501, "a\x00", "a\nb"],
    },
    requests.get_reservation: {"name": BAD_RESERVATIONS, "customer": BAD_TEXTS},
    requests.list_reservations: {
        "parent": BAD_SALES,
        "page_size": BAD_PAGE_SIZES,
        "page_token": BAD_TOKENS,
        "customer": BAD_TEXTS,
        "state": [5, -1, HUGE],
        "order": BAD_TEXTS,
        **dict.fromkeys(("from_create_time", "before_create_time", "from_end_time", "before_end_time"), BAD_TIMES),
    },
    requests.confirm_reservation: {"name": BAD_RESERVATIONS, "order": BAD_TEXTS, "customer": BAD_TEXTS},
    requests.release_reservation: {"name": BAD_RESERVATIONS, "customer": BAD_TEXTS},
    requests.extend_reservation: {
        "name": BAD_RESERVATIONS,
        "expire_time": [ABSENT, *BAD_TIMES],
        "customer": BAD_TEXTS,
    },
    requests.return_reservation: {
        "name": BAD_RESERVATIONS,
        "lines[0].item": BAD_IDS,
        "lines[0].quantity": [0, -1, 1_000_001, HUGE],
        "reason": [8, -1, HUGE],
        "request_id": BAD_REQUEST_IDS,
        "customer": BAD_TEXTS,
        "actor": BAD_TEXTS,
    },
    requests.submit: {"parent": BAD_SALES, "commands": [ABSENT]},
    requests.create_sale: {
        "sale_id": BAD_IDS,
        "sale": [ABSENT],
        "sale.open_time": BAD_TIMES,
        "sale.close_time": [*BAD_TIMES, Timestamp(seconds=1)],
        "sale.per_customer_limit": BAD_LIMITS,
        "sale.hold_time": [*BAD_DURATIONS, Duration(nanos=999_999_999), Duration(seconds=601)],
        "sale.max_hold_time": [*BAD_DURATIONS],
        "sale.early_access": BAD_WAITS,
        "sale.display_name": BAD_TEXTS,
        "sale.labels": BAD_LABELS,
        'sale.labels["season"]': BAD_LABEL_VALUES,
        "sale.items[0].item": BAD_IDS,
        "sale.items[0].display_name": BAD_TEXTS,
        "sale.items[0].labels": BAD_LABELS,
        "sale.items[0].on_hand": BAD_LIMITS,
        "sale.items[0].per_customer_limit": BAD_LIMITS,
    },
    requests.update_sale: {
        "sale": [ABSENT],
        "sale.name": BAD_SALES,
        "sale.open_time": [ABSENT, *BAD_TIMES],
        "sale.close_time": BAD_TIMES,
        "sale.per_customer_limit": BAD_LIMITS,
        "sale.hold_time": BAD_DURATIONS,
        "sale.max_hold_time": BAD_DURATIONS,
        "sale.early_access": BAD_WAITS,
        "update_mask.paths[0]": ["", "name", "items", "openTime", "sale.open_time"],
        "etag": BAD_ETAGS,
        "request_id": BAD_REQUEST_IDS,
    },
    **{
        make: {"name": BAD_SALES, "etag": BAD_ETAGS, "request_id": BAD_REQUEST_IDS}
        for make in (requests.pause_sale, requests.resume_sale, requests.cancel_sale)
    },
    requests.delete_sale: {"name": BAD_SALES, "etag": BAD_ETAGS},
    requests.update_item: {
        "item": [ABSENT],
        "item.name": BAD_ITEMS,
        "item.item": ["other"],
        "item.on_hand": BAD_LIMITS,
        "item.per_customer_limit": BAD_LIMITS,
        "item.display_name": BAD_TEXTS,
        "item.labels": BAD_LABELS,
        'item.labels["size"]': BAD_LABEL_VALUES,
        "update_mask.paths[0]": ["", "name", "item", "held", "onHand"],
        "expected_version": BAD_SEQUENCES,
        "reason": [8, -1, HUGE],
        "request_id": BAD_REQUEST_IDS,
        "actor": BAD_TEXTS,
    },
    requests.list_sales: {
        "page_size": BAD_PAGE_SIZES,
        "page_token": BAD_TOKENS,
        "state": [6, -1, HUGE],
        "schedule": BAD_SCHEDULES[1:],
        "labels[0]": ["", "season", "=autumn", "a b=c", "season=a,b", "season=a=b", f"{'x' * 64}=1", "é=1"],
    },
    requests.get_sale: {"name": BAD_SALES},
    requests.list_refusals: {"parent": BAD_SALES, "customer": ["", *BAD_TEXTS]},
    requests.create_item: {
        "parent": BAD_SALES,
        "item_id": BAD_IDS,
        "item": [ABSENT],
        "item.on_hand": BAD_LIMITS,
        "item.per_customer_limit": BAD_LIMITS,
        "item.display_name": BAD_TEXTS,
        "item.labels": BAD_LABELS,
        'item.labels["size"]': BAD_LABEL_VALUES,
    },
    requests.batch_create_items: {
        "parent": BAD_SALES,
        "items": [ABSENT],
        "items[0].item": BAD_IDS,
        "items[0].on_hand": BAD_LIMITS,
        "items[0].per_customer_limit": BAD_LIMITS,
    },
    requests.get_item: {"name": BAD_ITEMS},
    requests.list_items: {"parent": BAD_SALES, "page_size": BAD_PAGE_SIZES, "page_token": BAD_TOKENS},
    requests.adjust_stock: {
        "name": BAD_ITEMS,
        "delta": [0],
        "reason": [0, 8, -1, HUGE],
        "expected_version": BAD_SEQUENCES,
        "request_id": BAD_REQUEST_IDS,
        "actor": BAD_TEXTS,
    },
    requests.transfer_stock: {
        "source": BAD_ITEMS,
        "destination": [*BAD_ITEMS, "sales/drop-1/items/hat"],
        "quantity": [0, -1, 1_000_000_001, HUGE],
        "request_id": BAD_REQUEST_IDS,
        "actor": BAD_TEXTS,
    },
    requests.watch_stock: {"name": BAD_SALES, "resume_token": ["x" * 257]},
    requests.list_movements: {
        "parent": BAD_SALES,
        "after_sequence": BAD_SEQUENCES,
        "page_size": BAD_PAGE_SIZES,
        "page_token": BAD_TOKENS,
    },
    requests.watch_movements: {"parent": BAD_SALES, "after_sequence": BAD_SEQUENCES, "resume_token": ["x" * 257]},
    requests.create_sale_schedule: {
        "schedule_id": ["", "a b", "x" * 47],
        "sale_schedule": [ABSENT],
        "sale_schedule.period": [
            ABSENT,
            *BAD_DURATIONS[:-1],
            Duration(seconds=59),
            Duration(seconds=366 * 86400 + 1),
            Duration(seconds=60, nanos=1000),
        ],
        "sale_schedule.open_duration": [*BAD_DURATIONS[:-1], Duration(seconds=31_622_401)],
        "sale_schedule.template": [ABSENT],
        "sale_schedule.template.per_customer_limit": BAD_LIMITS,
        "sale_schedule.template.hold_time": BAD_DURATIONS,
        "sale_schedule.template.max_hold_time": BAD_DURATIONS,
        "sale_schedule.template.early_access": BAD_WAITS,
        "sale_schedule.template.items[0].item": BAD_IDS,
        "sale_schedule.template.items[0].on_hand": BAD_LIMITS,
        "sale_schedule.template.items[0].per_customer_limit": BAD_LIMITS,
        "sale_schedule.source_sale": [*BAD_SALES],
        "sale_schedule.remainder": [4, -1, HUGE],
    },
    requests.create_sale_schedule_by_calendar: {
        "schedule_id": ["", "a b", "x" * 47],
        "sale_schedule": [ABSENT],
        "sale_schedule.period": [Duration(seconds=60)],
        **BAD_OPENINGS,
        "sale_schedule.calendar.cron": [*BAD_CRONS, "0 10 31 4,6 *"],
    },
    requests.update_sale_schedule: {
        "sale_schedule": [ABSENT],
        "sale_schedule.name": BAD_SCHEDULES,
        **BAD_OPENINGS,
        "sale_schedule.template": [ABSENT],
        "sale_schedule.template.per_customer_limit": BAD_LIMITS,
        "sale_schedule.template.items[0].item": BAD_IDS,
        "sale_schedule.source_sale": BAD_SALES[1:],
        "sale_schedule.remainder": [4, -1, HUGE],
        "update_mask.paths[0]": ["", "name", "paused", "openDuration", "template.items", "calendar.cron"],
    },
    requests.run_sale_schedule: {"name": BAD_SCHEDULES, "request_id": BAD_REQUEST_IDS},
    requests.list_sale_schedules: {"page_size": BAD_PAGE_SIZES, "page_token": BAD_TOKENS},
    requests.get_sale_schedule: {"name": BAD_SCHEDULES},
    requests.list_sale_schedule_changes: {
        "parent": BAD_SCHEDULES,
        "page_size": BAD_PAGE_SIZES,
        "page_token": BAD_TOKENS,
    },
    requests.create_webhook: {
        "webhook_id": BAD_IDS,
        "webhook": [ABSENT],
        "webhook.url": BAD_URLS,
        "webhook.kinds[0]": [0, 8, -1, HUGE],
        "webhook.sale": BAD_SALES[1:],
        "webhook.schedule": BAD_SCHEDULES[1:],
    },
    requests.get_webhook: {"name": BAD_WEBHOOKS},
    requests.list_webhooks: {"page_size": BAD_PAGE_SIZES, "page_token": BAD_TOKENS},
    requests.export_customer: {"name": BAD_CUSTOMERS, "page_size": BAD_PAGE_SIZES, "page_token": BAD_TOKENS},
    requests.erase_customer: {"name": BAD_CUSTOMERS},
    requests.update_webhook: {
        "webhook": [ABSENT],
        "webhook.name": BAD_WEBHOOKS,
        "webhook.url": BAD_URLS,
        "webhook.kinds[0]": [0, 8, -1, HUGE],
        "webhook.sale": BAD_SALES[1:],
        "webhook.schedule": BAD_SCHEDULES[1:],
        "update_mask.paths[0]": ["", "name", "secret", "paused", "webhook.url"],
    },
    requests.rotate_webhook_secret: {
        "name": BAD_WEBHOOKS,
        "overlap": [*BAD_WAITS[:-1], Duration(seconds=604_801), Duration(seconds=604_800, nanos=1)],
    },
    requests.list_webhook_deliveries: {
        "parent": BAD_WEBHOOKS,
        "page_size": BAD_PAGE_SIZES,
        "page_token": BAD_TOKENS,
    },
    requests.list_webhook_changes: {
        "parent": BAD_WEBHOOKS,
        "page_size": BAD_PAGE_SIZES,
        "page_token": BAD_TOKENS,
    },
    requests.redeliver_movements: {
        "name": [*BAD_WEBHOOKS, "webhooks/w", "webhooks/w/deliveries/", "webhooks/w/deliveries/a/b"],
        "after_sequence": BAD_SEQUENCES,
    },
}

# Both values of a bool make sense; the command of a Submit is checked as the method that it is like; what a sale
# tells of itself is not read.
NO_RULE = {
    "CreateReservationRequest": {"allow_partial", "confirm"},
    "ConfirmReservationRequest": {"allow_late"},
    "ReturnReservationRequest": {"restock"},
    "ListWebhookDeliveriesRequest": {"failing"},
}


def with_value(request, path, value):
    """Return the request with another value at a path such as `lines[0].item`."""
    *way, last = path.replace("[0]", ".0").replace('["', ".").replace('"]', "").split(".")
    at = request
    for step in way:
        at = at[0] if step == "0" else getattr(at, step)
    if last == "0":
        at[0] = value
    elif isinstance(value, dict):
        getattr(at, last).clear()
        getattr(at, last).update(value)
    elif not hasattr(at, "DESCRIPTOR"):
        at[last] = value
    elif value is ABSENT:
        at.ClearField(last)
    elif hasattr(value, "DESCRIPTOR"):
        getattr(at, last).CopyFrom(value)
    else:
        setattr(at, last, value)
    return request


CASES = [
    pytest.param(make, path, value, id=f"{make.__name__}-{path}-{index}")
    for make, rules in RULES.items()
    for path, values in rules.items()
    for index, value in enumerate(values)
]


@pytest.mark.parametrize("make", CHECKS, ids=lambda make: make.__name__)
def test_the_valid_request_is_accepted(make):
    CHECKS[make](make())


@pytest.mark.parametrize(("make", "path", "value"), CASES)
def test_a_field_that_breaks_its_rule_is_named(make, path, value):
    with pytest.raises(InvalidRequest) as refused:
        CHECKS[make](with_value(make(), path, value))
    assert path in [violation.field for violation in refused.value.violations]


@pytest.mark.parametrize("make", RULES, ids=lambda make: make.__name__)
def test_every_field_has_a_rule(make):
    descriptor = make().DESCRIPTOR
    ruled = {path.replace("[", ".").split(".")[0] for path in RULES[make]} | NO_RULE.get(descriptor.name, set())
    assert ruled == {field.name for field in descriptor.fields}


def test_every_method_is_tried():
    methods = [method for service in SERVICES for method in service.methods]
    tried = {make().DESCRIPTOR.name for make in CHECKS}
    untried = [method.input_type for method in methods if method.input_type.name not in tried]
    assert [[field.name for field in message.fields] for message in untried] == [["name"]] * len(untried)


def test_all_violations_are_reported_at_once():
    request = requests.create_reservation()
    request.parent, request.customer, request.lines[0].quantity, request.request_id = "x", "", 0, " "
    with pytest.raises(InvalidRequest) as refused:
        CHECKS[requests.create_reservation](request)
    assert {violation.field for violation in refused.value.violations} == {
        "parent",
        "customer",
        "lines[0].quantity",
        "request_id",
    }


def test_checks_are_there_only_within_the_block_that_refuses():
    assert not hasattr(Checking(), "sale")
    with pytest.raises(InvalidRequest), Checking() as checks:
        checks.sale("name", "no name")


def test_another_error_is_not_hidden_by_a_violation():
    def fail():
        with Checking() as checks:
            checks.sale("name", "no name")
            raise LookupError

    with pytest.raises(LookupError):
        fail()
