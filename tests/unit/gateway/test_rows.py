"""Pages of lists as JSON Lines and as CSV."""

import csv
import io
from contextlib import suppress
from urllib.parse import parse_qs

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.inventory.v1 import movement_pb2, sale_pb2
from holdfast.inventory.v1 import reservation_service_pb2 as rs
from holdfast.inventory.v1 import sale_service_pb2 as ss
from holdfast_chassis.contract import SERVICES
from holdfast_gateway import codec
from holdfast_gateway.exchange import RequestHeaders
from holdfast_gateway.media_types import JSON, acceptable
from holdfast_gateway.problems import ProblemError
from holdfast_gateway.routes import routes_of
from holdfast_gateway.rows import CSV, JSON_LINES, body_of, headers_of, rows_in, rows_of
from holdfast_gateway.transcoding import Transcoder

MOVEMENTS = rows_of(ss.ListMovementsResponse.DESCRIPTOR)
RESERVATIONS = rows_of(rs.ListReservationsResponse.DESCRIPTOR)
OFFERED = ("application/json", JSON_LINES, CSV)
texts = st.text(max_size=20)


def test_every_list_has_rows_and_nothing_else_has():
    methods = [method for service in SERVICES for method in service.methods]
    with_rows = {method.name for method in methods if rows_of(method.output_type) is not None}
    paged = {method.name for method in methods if "next_page_token" in method.output_type.fields_by_name}
    assert with_rows == paged >= {"ListItems", "ListMovements", "ListReservations", "ExportCustomer"}


@given(customers=st.lists(texts, max_size=5), order=texts)
def test_both_forms_have_the_entries_of_json_whatever_they_contain(customers, order):
    page = rs.ListReservationsResponse()
    for customer in customers:
        page.reservations.add(customer=customer, order=order, lines=[rs.Line(item="a", quantity=2)], state="HELD")
    documents = [codec.encode(each) for each in page.reservations]

    lines = body_of(page, RESERVATIONS, JSON_LINES).splitlines()
    assert [orjson.loads(line) for line in lines] == documents

    names, *cells = csv.reader(io.StringIO(body_of(page, RESERVATIONS, CSV).decode(), newline=""))
    assert names[:4] == ["name", "customer", "lines", "state"]
    assert [dict(zip(names, row, strict=True))["customer"] for row in cells] == customers
    for row, document in zip(cells, documents, strict=True):
        given = dict(zip(names, row, strict=True))
        assert orjson.loads(given["lines"]) == document["lines"]
        assert (given["order"], given["createTime"]) == (order, "")


def test_a_page_without_entries_has_only_the_names_of_the_columns():
    assert body_of(ss.ListMovementsResponse(), MOVEMENTS, JSON_LINES) == b""
    names = body_of(ss.ListMovementsResponse(), MOVEMENTS, CSV)
    assert names == (b"sequence,kind,item,onHandDelta,heldDelta,soldDelta,reservation,reason,actor,createTime\r\n")


def test_numbers_and_choices_are_as_in_json():
    page = ss.ListMovementsResponse(
        movements=[movement_pb2.Movement(sequence=2**60, kind="HOLD", item="a", held_delta=-3, actor='a "b", c')]
    )
    row = body_of(page, MOVEMENTS, CSV).split(b"\r\n")[1]
    assert row.startswith(b"1152921504606846976,HOLD,a,0,-3,0,,")
    assert row.endswith(b',"a ""b"", c",')


def test_the_next_page_is_in_the_headers_with_the_same_filters():
    page = ss.ListMovementsResponse(next_page_token="t+/=")
    headers = dict(headers_of(page, CSV, "pageSize=2&pageToken=before&afterSequence=7"))
    target, relation = headers["link"].split("; ")
    assert relation == 'rel="next"'
    assert parse_qs(target.strip("<>?")) == {"pageSize": ["2"], "afterSequence": ["7"], "pageToken": ["t+/="]}
    assert headers["next-page-token"] == "t+/="
    assert headers["content-type"] == "text/csv; charset=utf-8; header=present"
    assert headers_of(ss.ListMovementsResponse(), JSON_LINES, "") == [("content-type", JSON_LINES)]


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", "application/json"),
        ("*/*", "application/json"),
        ("text/csv", CSV),
        ("text/*", CSV),
        ("application/jsonl", JSON_LINES),
        ("application/*", "application/json"),
        ("text/csv, */*", CSV),
        ("text/csv;q=0.5, application/jsonl;q=0.8", JSON_LINES),
        ("text/csv;q=0.5, application/json", "application/json"),
        ("application/json;q=0, */*", JSON_LINES),
    ],
)
def test_the_accept_header_chooses(accept, expected):
    assert acceptable(RequestHeaders([(b"accept", accept.encode())]), *OFFERED) == expected


BATCH = next(route for route in routes_of(SERVICES) if route.rpc.name == "BatchCreateItems")
ITEMS = rows_in(BATCH)


def test_only_batches_take_rows():
    assert [route.rpc.name for route in routes_of(SERVICES) if rows_in(route) is not None] == ["BatchCreateItems"]


def items_of(body, media_type):
    message = Transcoder(BATCH).request(["v1", "sales", "s", "items"], "", body, media_type)
    return [(item.item, item.on_hand, item.per_customer_limit) for item in message.items]


def test_rows_are_the_items_of_a_batch_in_every_form():
    expected = [("a", 5, 0), ("b-1", 0, 2)]
    assert items_of(b'\xef\xbb\xbfitem,onHand,per_customer_limit\r\na,5,\r\n\r\n"b-1",,2\r\n', CSV) == expected
    assert items_of(b'{"item": "a", "onHand": 5}\n\n{"item": "b-1", "perCustomerLimit": 2}', JSON_LINES) == expected
    assert (
        items_of(b'{"items": [{"item": "a", "onHand": 5}, {"item": "b-1", "perCustomerLimit": 2}]}', JSON) == expected
    )


def test_what_was_exported_can_be_imported():
    page = ss.ListItemsResponse(items=[sale_pb2.Item(name="sales/x/items/a", item="a", on_hand=5, held=2, version=9)])
    for media_type in (CSV, JSON_LINES):
        body = body_of(page, rows_of(page.DESCRIPTOR), media_type)
        assert items_of(body, media_type) == [("a", 5, 0)]


@pytest.mark.parametrize(
    ("body", "media_type", "field"),
    [
        (b"", CSV, "body"),
        (b"\xff", CSV, "body"),
        (b'item\r\n"a', CSV, "body"),
        (b"item,onHand\r\na,1\r\nb\r\n", CSV, "items[1]"),
        (b"item,onHand\r\na,1\r\nb,x\r\n", CSV, "items[1].onHand"),
        (b"item,colour\r\na,red\r\n", CSV, "items[0].colour"),
        (b'{"item": "a"}\n{"item": 5}\n', JSON_LINES, "items[1].item"),
        (b'{"item": "a", "item": "b"}\n', JSON_LINES, "items.item"),
    ],
)
def test_a_bad_row_is_refused_by_its_place(body, media_type, field):
    with pytest.raises(ProblemError) as refused:
        items_of(body, media_type)
    assert [violation["field"] for violation in refused.value.problem.violations] == [field]


@settings(max_examples=300, deadline=None)
@given(body=st.binary(max_size=60) | st.text('item,onHand"\r\n5a{}:', max_size=60).map(str.encode))
def test_any_body_is_understood_or_refused(body):
    for media_type in (CSV, JSON_LINES):
        with suppress(ProblemError):  # Any other exception would be answered with 500.
            items_of(body, media_type)
