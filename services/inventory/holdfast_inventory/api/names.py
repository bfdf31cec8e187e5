"""The resource names of sales, items, reservations, schedules and webhooks."""

import re
from collections.abc import Callable
from uuid import UUID

from google.protobuf.descriptor import Descriptor

from holdfast.inventory.v1 import customer_service_pb2, reservation_service_pb2, sale_service_pb2, webhook_service_pb2
from holdfast_chassis.field_rules import rules_at


def _matcher(message: Descriptor, field: str) -> Callable[[str], re.Match[str] | None]:
    """Return a function that matches a whole text with the contract's pattern of a field."""
    return re.compile(rules_at(message, field).string.pattern).fullmatch


match_id = _matcher(reservation_service_pb2.Line.DESCRIPTOR, "item")
match_sale = _matcher(sale_service_pb2.GetSaleRequest.DESCRIPTOR, "name")
match_item = _matcher(sale_service_pb2.GetItemRequest.DESCRIPTOR, "name")
# A UUID is read in either case and written in lower case (RFC 9562).
match_reservation = _matcher(reservation_service_pb2.GetReservationRequest.DESCRIPTOR, "name")
# Short enough for the ids of the sales that it opens, which end in `-YYYYMMDDtHHMMSSz`.
match_schedule_id = _matcher(sale_service_pb2.CreateSaleScheduleRequest.DESCRIPTOR, "schedule_id")
match_schedule = _matcher(sale_service_pb2.GetSaleScheduleRequest.DESCRIPTOR, "name")
match_customer = _matcher(customer_service_pb2.EraseCustomerRequest.DESCRIPTOR, "name")
match_webhook = _matcher(webhook_service_pb2.GetWebhookRequest.DESCRIPTOR, "name")
match_delivery = _matcher(webhook_service_pb2.RedeliverMovementsRequest.DESCRIPTOR, "name")
match_url = _matcher(webhook_service_pb2.Webhook.DESCRIPTOR, "url")

ALL_SALES = "sales/-"


def sale_name(sale_id: str) -> str:
    """Return the name of a sale."""
    return f"sales/{sale_id}"


def item_name(sale_id: str, item_id: str) -> str:
    """Return the name of an item."""
    return f"sales/{sale_id}/items/{item_id}"


def reservation_name(sale_id: str, reservation_id: UUID) -> str:
    """Return the name of a reservation, with its id as a lower-case UUID."""
    return f"sales/{sale_id}/reservations/{reservation_id}"


def schedule_name(schedule_id: str) -> str:
    """Return the name of a schedule."""
    return f"saleSchedules/{schedule_id}"


def webhook_name(webhook_id: str) -> str:
    """Return the name of a webhook."""
    return f"webhooks/{webhook_id}"


def delivery_name(webhook_id: str, sale_id: str) -> str:
    """Return the name of the delivery of a sale's movements to a webhook."""
    return f"webhooks/{webhook_id}/deliveries/{sale_id}"
