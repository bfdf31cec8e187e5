"""Every change of a sale is on record: who made it, by which request, and what it changed."""

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from holdfast.inventory.v1 import sale_pb2
from holdfast.inventory.v1 import sale_service_pb2 as ss
from tests.e2e.access.conftest import REST, TRANSPORTS
from tests.support.sound_requests import METHODS


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_change_has_its_caller_its_request_and_its_fields(caller, guarded, transport):
    sale, _ = guarded.open_sale()
    alice = f"Bearer {guarded.key.token('sales.write', sub='alice')}"
    update = ss.UpdateSaleRequest(
        sale=sale_pb2.Sale(name=sale, per_customer_limit=3), update_mask=FieldMask(paths=["per_customer_limit"])
    )
    for request in (
        update,
        ss.PauseSaleRequest(name=sale),
        ss.PauseSaleRequest(name=sale),
        ss.ResumeSaleRequest(name=sale),
        ss.CreateItemRequest(parent=sale, item_id="b", item=sale_pb2.Item(on_hand=7)),
        ss.CancelSaleRequest(name=sale),
    ):
        method = METHODS[type(request).__name__.removesuffix("Request")]
        assert (await caller.call(transport, method, request, alice)).reason == "OK"
    listed = await caller.call(
        transport, METHODS["ListSaleChanges"], ss.ListSaleChangesRequest(parent=sale), guarded.operator
    )
    told = [
        (change["number"], change["kind"], change["actor"], [field["field"] for field in change["fields"]])
        for change in listed.body["changes"]
    ]
    assert told[1:] == [
        ("2", "UPDATE", "clients/alice", ["per_customer_limit"]),
        ("3", "PAUSE", "clients/alice", ["paused"]),
        ("4", "RESUME", "clients/alice", ["paused"]),
        ("5", "CREATE_ITEM", "clients/alice", ["item", "on_hand", "per_customer_limit"]),
        ("6", "CANCEL", "clients/alice", ["cancel_time"]),
    ]
    assert told[0][:3] == ("1", "CREATE", "keys/operator")
    assert listed.body["changes"][1]["fields"] == [{"field": "per_customer_limit", "oldValue": "0", "newValue": "3"}]
    if transport in REST:
        assert all(change["requestId"] for change in listed.body["changes"][1:])


async def test_changes_come_in_pages(caller, guarded):
    sale, _ = guarded.open_sale()
    for request in (ss.PauseSaleRequest(name=sale), ss.ResumeSaleRequest(name=sale)) * 2:
        await caller.call("grpc", METHODS[type(request).__name__.removesuffix("Request")], request, guarded.operator)
    numbers, token = [], ""
    while True:
        request = ss.ListSaleChangesRequest(parent=sale, page_size=2, page_token=token)
        page = (await caller.call("grpc", METHODS["ListSaleChanges"], request, guarded.operator)).body
        numbers += [int(change["number"]) for change in page["changes"]]
        token = page.get("nextPageToken", "")
        if not token:
            break
    assert numbers == [1, 2, 3, 4, 5]


async def test_the_changes_of_a_sale_that_is_not_there_are_not_found(caller, guarded):
    request = ss.ListSaleChangesRequest(parent="sales/nobody")
    answer = await caller.call("grpc", METHODS["ListSaleChanges"], request, guarded.operator)
    assert answer.reason == "NOT_FOUND"
