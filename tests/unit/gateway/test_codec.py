"""The codec has the results of protobuf's own JSON mapping, for any input."""

import re

import pytest
from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.rpc import error_details_pb2, status_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.inventory.v1 import reservation_service_pb2 as rs
from holdfast.inventory.v1 import sale_pb2
from holdfast.inventory.v1 import sale_service_pb2 as ss
from holdfast_gateway import codec
from holdfast_gateway.problems import ProblemError

REQUESTS = [
    rs.CreateReservationRequest,
    rs.ExtendReservationRequest,
    rs.SubmitRequest,
    rs.ListReservationsRequest,
    ss.CreateSaleRequest,
    ss.UpdateSaleRequest,
    ss.AdjustStockRequest,
    ss.CreateSaleScheduleRequest,
]
RESPONSES = [
    rs.Reservation,
    rs.SubmitResponse,
    sale_pb2.Sale,
    sale_pb2.SaleSchedule,
    ss.ListItemsResponse,
    ss.ListMovementsResponse,
    ss.WatchStockResponse,
    ss.VerifyLedgerResponse,
    ss.UpdateSaleRequest,
    ss.AdjustStockRequest,
]

odd = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=5),
    st.sampled_from(["1", "-7", "1.0", "true", "120s", "1.5s", "2030-01-01T00:00:00Z", "openTime,holdTime", "HELD"]),
    st.sampled_from(["1_0", "\u0663", "+1", "1_20s", "\u0663s", "2030-1-1T0:0:0Z", "203\u0660-01-01T00:00:00Z"]),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)
well_known = {
    "google.protobuf.Timestamp": st.sampled_from(["2030-01-01T00:00:00Z", "1970-01-01T00:00:00.25+02:00", "soon"]),
    "google.protobuf.Duration": st.sampled_from(["120s", "0.5s", "-1s", "1", ""]),
    "google.protobuf.FieldMask": st.sampled_from(["openTime,holdTime", "", "open_time"]),
}


def values(field, depth):
    """Return a strategy of values that a field mostly takes."""
    if field.message_type is not None:
        name = field.message_type.full_name
        plausible = well_known[name] if name in well_known else documents(field.message_type, depth - 1)
    elif field.enum_type is not None:
        plausible = st.sampled_from([value.name for value in field.enum_type.values])
    else:
        plausible = {
            FieldDescriptor.TYPE_BOOL: st.booleans(),
            FieldDescriptor.TYPE_INT32: st.integers(-(2**31) - 1, 2**31),
            FieldDescriptor.TYPE_INT64: st.integers(-(2**63) - 1, 2**63) | st.integers().map(str),
        }.get(field.type, st.text(max_size=8))
    if field.is_repeated:
        plausible = st.lists(plausible, max_size=3)
    return st.one_of(plausible, plausible, plausible, odd)


def documents(descriptor, depth=3):
    """Return a strategy of JSON objects that mostly fit a message."""
    if depth == 0:
        return st.just({})
    names = st.sampled_from([name for field in descriptor.fields for name in (field.json_name, field.name)])
    fields = {name: field for field in descriptor.fields for name in (field.json_name, field.name)}

    @st.composite
    def document(draw):
        chosen = draw(st.lists(names, max_size=4, unique=True))
        return {name: draw(values(fields[name], depth)) for name in chosen}

    return st.one_of(document(), document(), document(), st.dictionaries(st.text(max_size=4), odd, max_size=1))


FORMS = {
    "google.protobuf.Duration": r"-?[0-9]+([.][0-9]{1,9})?s",
    "google.protobuf.Timestamp": r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}(:[0-9]{2}){2}([.][0-9]{1,9})?(Z|[+-].{5})",
}
NUMBERS = (FieldDescriptor.TYPE_INT32, FieldDescriptor.TYPE_INT64)


def is_taken_on_trust(document, descriptor):
    """Return whether json_format takes something in it for what it is not, by protobuf's own rules for JSON."""
    fields = {name: field for field in descriptor.fields for name in (field.json_name, field.name)}
    if len({fields[key].number for key in document}) < len(document):
        return True
    for key, value in document.items():
        field = fields[key]
        values = value if field.is_repeated and value is not None else [value]
        if any(is_not_its_like(field, one) for one in values):
            return True
    return False


def is_not_its_like(field, value):
    if field.enum_type is not None:
        return type(value) in (bool, float) or (type(value) is str and value not in field.enum_type.values_by_name)
    if field.type in NUMBERS:
        if type(value) is float:
            return abs(value) >= 2**53
        return type(value) is str and not re.fullmatch("-?[0-9]+", value)
    if field.message_type is None:
        return False
    form = FORMS.get(field.message_type.full_name, "(?s:.*)")
    if type(value) is str:
        return not re.fullmatch(form, value)
    return type(value) is list or (type(value) is dict and is_taken_on_trust(value, field.message_type))


@pytest.mark.parametrize("message_class", REQUESTS)
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_it_reads_what_json_format_reads_and_refuses_what_it_refuses(message_class, data):
    document = data.draw(documents(message_class.DESCRIPTOR))
    expected = read(document, message_class)
    if expected is not None:
        assert codec.decode(document, message_class) == expected
        return
    with pytest.raises(ProblemError) as refused:
        codec.decode(document, message_class)
    assert "field" in refused.value.problem.violations[0]


def read(document, message_class):
    """Return what json_format makes of it; None when that, or its form, does not fit."""
    try:
        message = json_format.ParseDict(document, message_class())
    except json_format.ParseError:
        return None
    return None if is_taken_on_trust(document, message_class.DESCRIPTOR) else message


@pytest.mark.parametrize("message_class", RESPONSES)
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_it_writes_what_json_format_writes(message_class, data):
    message = message_class()
    try:
        json_format.ParseDict(data.draw(documents(message_class.DESCRIPTOR)), message)
    except json_format.ParseError:
        message = message_class()
    for outcome in getattr(message, "outcomes", ()):
        outcome.ClearField("error")  # which REST renders like other refusals
    expected = json_format.MessageToDict(message, always_print_fields_with_no_presence=True)
    assert codec.encode(message) == without_empty_items(expected)


def without_empty_items(document):
    """Leave out the one field that is only for input: a sale's items."""
    if isinstance(document, list):
        return [without_empty_items(each) for each in document]
    if not isinstance(document, dict):
        return document
    is_sale = "perCustomerLimit" in document and "items" in document
    return {k: without_empty_items(v) for k, v in document.items() if not (is_sale and k == "items" and not v)}


def test_a_refusal_in_an_outcome_reads_as_any_other():
    status = status_pb2.Status(code=9, message="open_time is to come")
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason="SALE_NOT_OPEN", metadata={"retryable": "true"}))
    retry = error_details_pb2.RetryInfo()
    retry.retry_delay.FromMilliseconds(2500)
    status.details.add().Pack(retry)
    [outcome] = codec.encode(rs.SubmitResponse(outcomes=[rs.Outcome(error=status)]))["outcomes"]
    assert outcome["error"] == {
        "type": "https://inventory.holdfast.dev/problems/sale-not-open",
        "title": "The sale is not open yet",
        "status": 409,
        "detail": "openTime is to come",
        "reason": "SALE_NOT_OPEN",
        "retryable": True,
        "retryAfterSeconds": 3,
    }


def test_a_number_that_is_not_in_the_enum_is_written_as_a_number():
    assert codec.encode(rs.Reservation(state=99))["state"] == 99


@pytest.mark.parametrize(
    ("document", "field", "description"),
    [
        ({"commands": [{}, {"create": {"lines": [{"quantity": []}]}}]}, "commands[1].create.lines[0].quantity", "32"),
        ({"commands": [{"create": {}, "release": {}}]}, "commands[0].release", "excludes"),
        ({"commands": {}}, "commands", "a list of objects"),
        ({"commands": [{"timeout": "soon"}]}, "commands[0].timeout", "120s"),
        ({"commands": [{"create": {"requestId": "a", "request_id": "a"}}]}, "commands[0].create.request_id", "twice"),
        ({"commands": [{"create": {"lines": [{"quantity": "\u0663"}]}}]}, "commands[0].create.lines[0].quantity", "32"),
        ({"commands": [{"create": {"lines": [{"quantity": "1_0"}]}}]}, "commands[0].create.lines[0].quantity", "32"),
        ({"commands": [{"create": {"holdTime": "1_20s"}}]}, "commands[0].create.holdTime", "120s"),
        ({"commands": [{"create": {"holdTime": "\u0661s"}}]}, "commands[0].create.holdTime", "120s"),
        ({"commands": [{"extend": {"expireTime": "2030-1-1T0:0:0Z"}}]}, "commands[0].extend.expireTime", "2026"),
        ({"commands": [{"extend": {"expireTime": "soon"}}]}, "commands[0].extend.expireTime", "2026-01-31T12:00:00Z"),
    ],
)
def test_what_does_not_fit_is_named(document, field, description):
    with pytest.raises(ProblemError) as refused:
        codec.decode(document, rs.SubmitRequest)
    [violation] = refused.value.problem.violations
    assert violation["field"] == field
    assert description in violation["description"]


@pytest.mark.parametrize(("version", "fits"), [(2**53 - 1.0, True), (2.0**53, False), (2**53 + 1, True)])
def test_a_number_that_a_parser_may_have_rounded_is_refused(version, fits):
    document = {"expectedVersion": version}
    if fits:
        assert codec.decode(document, ss.AdjustStockRequest).expected_version == version
        return
    with pytest.raises(ProblemError, match="expectedVersion"):
        codec.decode(document, ss.AdjustStockRequest)
