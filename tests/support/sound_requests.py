"""A sound request for each method, to spoil one field at a time; in protobuf's JSON, with the protos' own names."""

import uuid

from google.protobuf import json_format
from google.protobuf.message_factory import GetMessageClass

from holdfast_chassis.contract import SERVICES

METHODS = {method.name: method for service in SERVICES for method in service.methods}

UNKNOWN_ID = "00000000-0000-4000-8000-000000000000"
_LATER = "2999-01-01T00:00:00Z"
_URL = "https://shop.example/holdfast"
_PAGE = {"page_size": 10}
_RULES = {
    "open_time": "2026-01-01T00:00:00Z",
    "close_time": _LATER,
    "per_customer_limit": 2,
    "hold_time": "60s",
    "max_hold_time": "120s",
    "early_access": "30s",
    "display_name": "Autumn drop",
    "labels": {"season": "autumn"},
}
_TIMES = {
    "offset": "30s",
    "open_duration": "60s",
    "start_time": "2998-01-01T00:00:00Z",
    "end_time": _LATER,
    "lead_time": "3600s",
}
_LINES = [{"item": "a", "quantity": 1}]

# "Submit/confirm" is a variant of Submit. {sale} and {reservation} are there, {id} is a new one each time.
_SOUND = {
    "CreateReservation": {
        "parent": "{sale}",
        "customer": "c-1",
        "lines": _LINES,
        "hold_time": "60s",
        "confirm": True,
        "order": "o-1",
        "request_id": "{id}",
        "display_name": "One for Ada",
        "labels": {"season": "autumn"},
        "metadata": {"gift-note": "For you!"},
    },
    "GetReservation": {"name": "{reservation}", "customer": "c-1"},
    "ListReservations": {
        "parent": "{sale}",
        **_PAGE,
        "customer": "c-1",
        "state": "HELD",
        "order": "o-1",
        "from_create_time": "2026-01-01T00:00:00Z",
        "before_create_time": _LATER,
        "from_end_time": "2026-01-01T00:00:00Z",
        "before_end_time": _LATER,
    },
    "ConfirmReservation": {"name": "{reservation}", "order": "o-1", "customer": "c-1"},
    "ReleaseReservation": {"name": "{reservation}", "customer": "c-1"},
    "ExtendReservation": {"name": "{reservation}", "expire_time": _LATER, "customer": "c-1"},
    "ReturnReservation": {
        "name": "{reservation}",
        "lines": _LINES,
        "restock": False,
        "reason": "DAMAGED",
        "request_id": "{id}",
        "customer": "c-1",
        "actor": "clerk",
    },
    "Submit": {
        "parent": "{sale}",
        "commands": [
            {
                "create": {
                    "parent": "{sale}",
                    "customer": "c",
                    "lines": _LINES,
                    "hold_time": "9s",
                    "request_id": "{id}",
                },
                "timeout": "5s",
                "correlation_id": "{id}",
            }
        ],
    },
    "Submit/confirm": {"parent": "{sale}", "commands": [{"confirm": {"name": "{reservation}", "order": "o"}}]},
    "Submit/release": {"parent": "{sale}", "commands": [{"release": {"name": "{reservation}"}}]},
    "Submit/extend": {
        "parent": "{sale}",
        "commands": [{"extend": {"name": "{reservation}", "expire_time": _LATER}}],
    },
    "CreateSale": {
        "sale_id": "{id}",
        "sale": {**_RULES, "items": [{"item": "a", "on_hand": 5, "display_name": "A", "labels": {"size": "42"}}]},
    },
    "GetSale": {"name": "{sale}"},
    "ListSales": {**_PAGE, "state": "OPEN", "schedule": "saleSchedules/nobody", "labels": ["season=autumn"]},
    "UpdateSale": {
        "sale": {"name": "{sale}", **_RULES},
        "update_mask": "openTime,closeTime,perCustomerLimit,holdTime,maxHoldTime,earlyAccess,displayName,labels",
        "request_id": "{id}",
    },
    "PauseSale": {"name": "{sale}", "request_id": "{id}"},
    "ResumeSale": {"name": "{sale}", "request_id": "{id}"},
    "CancelSale": {"name": "{sale}", "request_id": "{id}"},
    "DeleteSale": {"name": "{sale}", "etag": "0"},
    "ListSaleChanges": {"parent": "{sale}", **_PAGE},
    "CreateItem": {
        "parent": "{sale}",
        "item_id": "{id}",
        "item": {"on_hand": 5, "per_customer_limit": 2, "display_name": "B", "labels": {"size": "43"}},
    },
    "UpdateItem": {
        "item": {
            "name": "{sale}/items/a",
            "on_hand": 5,
            "per_customer_limit": 2,
            "display_name": "A",
            "labels": {"size": "42"},
        },
        "update_mask": "onHand,perCustomerLimit,displayName,labels",
        "expected_version": "1",
        "reason": "COUNTED",
        "request_id": "{id}",
        "actor": "clerk",
    },
    "BatchCreateItems": {"parent": "{sale}", "items": [{"item": "{id}", "on_hand": 5, "per_customer_limit": 2}]},
    "GetItem": {"name": "{sale}/items/a"},
    "ListItems": {"parent": "{sale}", **_PAGE},
    "AdjustStock": {
        "name": "{sale}/items/a",
        "delta": 5,
        "reason": "RECEIVED",
        "expected_version": "1",
        "request_id": "{id}",
        "actor": "clerk",
    },
    "TransferStock": {
        "source": "{sale}/items/a",
        "destination": "sales/nobody/items/a",
        "quantity": 1,
        "request_id": "{id}",
        "actor": "clerk",
    },
    "WatchStock": {"name": "{sale}"},
    "ListMovements": {"parent": "{sale}", "after_sequence": "0", **_PAGE},
    "WatchMovements": {"parent": "{sale}", "after_sequence": "0"},
    "VerifyLedger": {"name": "{sale}"},
    "GetSaleReport": {"name": "{sale}"},
    "ListRefusals": {"parent": "{sale}", "customer": "c-1"},
    "CreateSaleSchedule": {
        "schedule_id": "s-{id}",
        "sale_schedule": {
            "period": "31622400s",
            "open_duration": "60s",
            "template": {
                "per_customer_limit": 2,
                "hold_time": "9s",
                "max_hold_time": "9s",
                "early_access": "9s",
                "items": [{"item": "a"}],
            },
            "source_sale": "{sale}",
            "remainder": "RETURN",
        },
    },
    "CreateSaleSchedule/calendar": {
        "schedule_id": "s-{id}",
        "sale_schedule": {
            "calendar": {"cron": "0 10 29 2 *", "time_zone": "Europe/Berlin", "exclude_dates": ["2028-02-29"]},
            **_TIMES,
            "template": {"items": [{"item": "a"}]},
        },
    },
    "UpdateSaleSchedule": {
        "sale_schedule": {
            "name": "saleSchedules/nobody",
            "calendar": {"cron": "0 10 29 2 *", "time_zone": "Europe/Berlin", "exclude_dates": ["2028-02-29"]},
            **_TIMES,
            "template": {"per_customer_limit": 2, "items": [{"item": "a"}]},
            "source_sale": "{sale}",
            "remainder": "STAY",
        },
        "update_mask": "calendar,offset,openDuration,startTime,endTime,leadTime,template,sourceSale,remainder",
    },
    "PauseSaleSchedule": {"name": "saleSchedules/nobody"},
    "ResumeSaleSchedule": {"name": "saleSchedules/nobody"},
    "RunSaleSchedule": {"name": "saleSchedules/nobody", "request_id": "{id}"},
    "ExportCustomer": {"name": "customers/c-1", **_PAGE},
    "EraseCustomer": {"name": "customers/nobody"},
    "GetSaleSchedule": {"name": "saleSchedules/nobody"},
    "ListSaleSchedules": {**_PAGE},
    "DeleteSaleSchedule": {"name": "saleSchedules/nobody"},
    "ListSaleScheduleChanges": {"parent": "saleSchedules/nobody", **_PAGE},
    "CreateWebhook": {
        "webhook_id": "w-{id}",
        "webhook": {"url": _URL, "kinds": ["CONFIRM"], "sale": "{sale}", "schedule": "saleSchedules/nobody"},
    },
    "GetWebhook": {"name": "webhooks/nobody"},
    "ListWebhooks": {**_PAGE},
    "UpdateWebhook": {
        "webhook": {
            "name": "webhooks/nobody",
            "url": _URL,
            "kinds": ["CONFIRM"],
            "sale": "{sale}",
            "schedule": "saleSchedules/nobody",
        },
        "update_mask": "url,kinds,sale,schedule",
    },
    "DeleteWebhook": {"name": "webhooks/nobody"},
    "PauseWebhook": {"name": "webhooks/nobody"},
    "ResumeWebhook": {"name": "webhooks/nobody"},
    "RotateWebhookSecret": {"name": "webhooks/nobody", "overlap": "3600s"},
    "ListWebhookDeliveries": {"parent": "webhooks/nobody", **_PAGE},
    "ListWebhookChanges": {"parent": "webhooks/nobody", **_PAGE},
    "RedeliverMovements": {"name": "webhooks/nobody/deliveries/nothing", "after_sequence": "0"},
}
VARIANTS = tuple(_SOUND)


def method_of(variant):
    return METHODS[variant.partition("/")[0]]


def sound_request(variant, sale, reservation):
    """Return a sound request of that variant, as a message."""
    ids = {"{sale}": sale, "{reservation}": reservation, "{id}": uuid.uuid4().hex}
    message = GetMessageClass(method_of(variant).input_type)()
    return json_format.ParseDict(_filled(_SOUND[variant], ids), message)


def _filled(value, ids):
    if isinstance(value, dict):
        return {name: _filled(each, ids) for name, each in value.items()}
    if isinstance(value, list):
        return [_filled(each, ids) for each in value]
    if isinstance(value, str):
        for placeholder, actual in ids.items():
            value = value.replace(placeholder, actual)
    return value
