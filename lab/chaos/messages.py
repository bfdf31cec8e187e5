"""The contract's messages as they are written to a history, and as both transports carry them."""

from google.protobuf import json_format

from holdfast.inventory.v1 import reservation_service_pb2 as rs
from holdfast.inventory.v1 import sale_pb2
from holdfast.inventory.v1 import sale_service_pb2 as ss

# The request and the response, by action.
REQUESTS = {
    "create": rs.CreateReservationRequest,
    "confirm": rs.ConfirmReservationRequest,
    "release": rs.ReleaseReservationRequest,
    "extend": rs.ExtendReservationRequest,
    "adjust": ss.AdjustStockRequest,
    "transfer": ss.TransferStockRequest,
    "pause": ss.PauseSaleRequest,
    "resume": ss.ResumeSaleRequest,
    "update": ss.UpdateSaleRequest,
    "get_item": ss.GetItemRequest,
    "get_reservation": rs.GetReservationRequest,
}
ANSWERS = {
    "create": rs.Reservation,
    "confirm": rs.Reservation,
    "release": rs.Reservation,
    "extend": rs.Reservation,
    "adjust": sale_pb2.Item,
    "transfer": ss.TransferStockResponse,
    "get_item": sale_pb2.Item,
    "get_reservation": rs.Reservation,
}
READS = ("get_item", "get_reservation")


def as_dict(message):
    """Return a message as it is written to a history: every field, by the protos' names."""
    return json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


def request_of(action, fields):
    """Return the message that is written to a history as `fields`."""
    return json_format.ParseDict(fields, REQUESTS[action]())


def answer_of_json(action, document):
    """Return an answer of REST as it is written to a history."""
    return as_dict(json_format.ParseDict(document, ANSWERS[action](), ignore_unknown_fields=True))


def http_of(action, fields):
    """Return the HTTP method, path, body and headers of a request. Sales are changed over gRPC only."""
    document = json_format.MessageToDict(request_of(action, fields))
    key = document.pop("requestId", None) if action == "create" else None
    headers = {"Idempotency-Key": key} if key else {}
    match action:
        case "create":
            return "POST", f"/v1/{document.pop('parent')}/reservations", document, headers
        case "confirm" | "release" | "extend" | "adjust":
            return "POST", f"/v1/{document.pop('name')}:{action}", document, headers
        case "transfer":
            return "POST", "/v1/sales:transfer", document, headers
        case _:
            return "GET", f"/v1/{document.pop('name')}", None, headers
