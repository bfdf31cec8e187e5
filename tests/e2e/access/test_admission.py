"""Where the shop confirms, and whom a sale admits: over every transport, alone and within a Submit."""

import asyncio
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest

from holdfast.inventory.v1 import reservation_service_pb2 as rs
from holdfast.inventory.v1 import sale_pb2
from holdfast.inventory.v1 import sale_service_pb2 as ss
from lab.kit.grpc_client import create
from tests.e2e.access.conftest import REST, TRANSPORTS
from tests.support.issuer import SigningKey, admission_token
from tests.support.services import NO_DRAIN, Gateway, Inventory
from tests.support.sound_requests import METHODS

every_transport = pytest.mark.parametrize("transport", TRANSPORTS)
CREATE, CONFIRM = METHODS["CreateReservation"], METHODS["ConfirmReservation"]
WAITING_ROOM = Path(__file__).parents[3] / "docs/examples/waiting_room.py"


def asking(sale, token="", request_id=""):
    request = create(sale, "c-1", request_id, a=1)
    request.admission_token = token
    return request


@pytest.fixture
def token_for(guarded):
    def make(sale, **claims):
        return admission_token(guarded.admission_key, sale=sale, **claims)

    return make


# Where the shop confirms


@every_transport
async def test_where_the_shop_confirms_a_buyer_is_told_which_scope_would(caller, guarded, transport):
    sale, buyer = guarded.new_sale(shop_confirms=True), guarded.buyer()
    held = await caller.call(transport, CREATE, asking(sale), buyer)
    confirm = rs.ConfirmReservationRequest(name=held.body["name"])
    at_once = asking(sale)
    at_once.confirm = True
    for method, request in ((CONFIRM, confirm), (CREATE, at_once)):
        answer = await caller.call(transport, method, request, buyer)
        assert (answer.reason, answer.metadata["scope"]) == ("PERMISSION_DENIED", "reservations.write")
    sold = await caller.call(transport, CONFIRM, confirm, f"Bearer {guarded.shop_secret}")
    assert (sold.reason, sold.body["state"]) == ("OK", "CONFIRMED")
    assert (await caller.call(transport, CONFIRM, confirm, buyer)).reason == "OK"


@every_transport
async def test_where_the_shop_confirms_a_foreign_reservation_is_still_not_found(caller, guarded, transport):
    sale = guarded.new_sale(shop_confirms=True)
    held = await caller.call("grpc", CREATE, asking(sale), guarded.buyer())
    confirm = rs.ConfirmReservationRequest(name=held.body["name"])
    assert (await caller.call(transport, CONFIRM, confirm, guarded.buyer("c-2"))).reason == "NOT_FOUND"


# Admission


@every_transport
async def test_a_sale_that_requires_admission_takes_only_its_own_token(caller, guarded, token_for, transport):
    sale, buyer = guarded.new_sale(admission_required=True), guarded.buyer()
    refused = {
        "none": "",
        "of another sale": token_for("sales/another"),
        "of another customer": token_for(sale, sub="c-2"),
        "of another audience": token_for(sale, aud="holdfast"),
        "expired": token_for(sale, exp=int(time.time()) - 3600),
        "far too long": token_for(sale, exp=int(time.time()) + 86_400),
        "of another key": admission_token(SigningKey("room-1", "EdDSA"), sale=sale),
        "a credential": guarded.key.token(sale=sale),
        "nothing of the kind": "not-a-token",
    }
    answers = {
        fault: (await caller.call(transport, CREATE, asking(sale, token), buyer)) for fault, token in refused.items()
    }
    assert {fault: answer.reason for fault, answer in answers.items()} == dict.fromkeys(refused, "ADMISSION_REQUIRED")
    assert not any(token and token in repr(answers) for token in refused.values())
    for credential in (buyer, f"Bearer {guarded.shop_secret}"):
        assert (await caller.call(transport, CREATE, asking(sale, token_for(sale)), credential)).reason == "OK"


@every_transport
async def test_a_token_that_is_not_valid_does_not_tell_whether_a_sale_exists(caller, guarded, token_for, transport):
    answer = await caller.call(transport, CREATE, asking("sales/nobody", token_for("sales/x")), guarded.buyer())
    assert answer.reason == "ADMISSION_REQUIRED"
    answer = await caller.call(transport, CREATE, asking("sales/nobody"), guarded.buyer())
    assert answer.reason == "NOT_FOUND"


@every_transport
async def test_a_repetition_is_answered_when_its_token_has_expired(caller, guarded, token_for, transport):
    sale, buyer = guarded.new_sale(admission_required=True), guarded.buyer()
    first = await caller.call(transport, CREATE, asking(sale, token_for(sale), "r-1"), buyer)
    expired = token_for(sale, exp=int(time.time()) - 3600)
    for token in ("", expired):
        again = await caller.call(transport, CREATE, asking(sale, token, "r-1"), buyer)
        assert again.body["name"] == first.body["name"]
    assert (await caller.call(transport, CREATE, asking(sale, expired, "r-2"), buyer)).reason == "ADMISSION_REQUIRED"


@every_transport
async def test_an_early_token_opens_a_sale_earlier(caller, guarded, token_for, transport):
    opens = datetime.now(UTC) + timedelta(minutes=30)
    by_list = guarded.new_sale(open_time=opens, early_access=timedelta(hours=1))
    for_all = guarded.new_sale(open_time=opens)
    told = [
        (await caller.call(transport, CREATE, asking(sale, token_for(sale, early=early)), guarded.buyer())).reason
        for sale in (by_list, for_all)
        for early in (True, None)
    ]
    assert told == ["OK", "SALE_NOT_OPEN", "SALE_NOT_OPEN", "SALE_NOT_OPEN"]


@every_transport
async def test_each_create_of_a_submit_has_its_own_token(caller, guarded, token_for, transport):
    sale = guarded.new_sale(admission_required=True)
    creates = [
        rs.CreateReservationRequest(
            customer=customer, lines=[rs.Line(item="a", quantity=1)], admission_token=token_for(sale, sub=admitted)
        )
        for customer, admitted in (("c-1", "c-1"), ("c-2", "c-1"), ("c-3", "c-3"))
    ]
    request = rs.SubmitRequest(parent=sale, commands=[rs.Command(create=each) for each in creates])
    answer = await caller.call(transport, METHODS["Submit"], request, f"Bearer {guarded.shop_secret}")
    assert ["reservation" in outcome for outcome in answer.body["outcomes"]] == [True, False, True]


@pytest.mark.parametrize("transport", REST)
async def test_a_browser_sends_the_token_in_a_header(caller, guarded, token_for, transport):
    sale, buyer = guarded.new_sale(admission_required=True), guarded.buyer()
    token = token_for(sale)
    right = {"Holdfast-Admission": token}
    calls = [caller.call(transport, CREATE, asking(sale, request_id=f"r-{n}"), buyer, **right) for n in range(20)]
    assert {answer.reason for answer in await asyncio.gather(*calls)} == {"OK"}
    other = await caller.call(transport, CREATE, asking(sale, token_for(sale, sub="c-2")), buyer, **right)
    assert other.reason == "INVALID_REQUEST"
    listed = await caller.call(transport, METHODS["GetSale"], ss.GetSaleRequest(name=sale), guarded.operator, **right)
    assert listed.body["admissionRequired"] is True


async def test_no_admission_token_gets_into_a_log(caller, guarded, token_for):
    sale = guarded.new_sale(admission_required=True)
    tokens = [token_for(sale), token_for(sale, sub="c-2"), token_for(sale, exp=1)]
    for transport in TRANSPORTS:
        for token in tokens:
            await caller.call(transport, CREATE, asking(sale, token), guarded.buyer())
    logs = "".join(service.output for service in guarded.services)
    assert not any(token[-16:] in logs for token in tokens)


# The rules themselves


@every_transport
async def test_who_is_admitted_is_changed_like_any_rule_and_on_record(caller, guarded, transport):
    sale = guarded.new_sale()
    rules = sale_pb2.Sale(name=sale, shop_confirms=True, admission_required=True, early_access=timedelta(minutes=5))
    update = ss.UpdateSaleRequest(sale=rules)
    changed = await caller.call(transport, METHODS["UpdateSale"], update, guarded.operator)
    assert {name: changed.body[name] for name in ("shopConfirms", "admissionRequired", "earlyAccess")} == {
        "shopConfirms": True,
        "admissionRequired": True,
        "earlyAccess": "300s",
    }
    listing = ss.ListSaleChangesRequest(parent=sale)
    listed = await caller.call(transport, METHODS["ListSaleChanges"], listing, guarded.operator)
    assert listed.body["changes"][-1]["fields"] == [
        {"field": "shop_confirms", "oldValue": "false", "newValue": "true"},
        {"field": "admission_required", "oldValue": "false", "newValue": "true"},
        {"field": "early_access", "oldValue": "0s", "newValue": "300s"},
    ]


@every_transport
async def test_the_changes_of_a_schedule_outlast_it(caller, guarded, transport):
    name = f"s-{time.time_ns()}"
    template = sale_pb2.Sale(
        items=[sale_pb2.Item(item="a")], admission_required=True, early_access=timedelta(minutes=5)
    )
    new = ss.CreateSaleScheduleRequest(
        schedule_id=name, sale_schedule=sale_pb2.SaleSchedule(period=timedelta(days=300), template=template)
    )
    created = await caller.call(transport, METHODS["CreateSaleSchedule"], new, guarded.operator)
    assert (created.body["template"]["admissionRequired"], created.body["template"]["earlyAccess"]) == (True, "300s")
    delete = ss.DeleteSaleScheduleRequest(name=f"saleSchedules/{name}")
    assert (await caller.call(transport, METHODS["DeleteSaleSchedule"], delete, guarded.operator)).reason == "OK"
    kinds, token = [], ""
    while not kinds or token:
        page = ss.ListSaleScheduleChangesRequest(parent=f"saleSchedules/{name}", page_size=1, page_token=token)
        listed = await caller.call(transport, METHODS["ListSaleScheduleChanges"], page, guarded.operator)
        kinds += [(change["kind"], change["actor"]) for change in listed.body["changes"]]
        token = listed.body.get("nextPageToken", "")
    assert kinds == [("CREATE", "keys/operator"), ("DELETE", "keys/operator")]
    missing = ss.ListSaleScheduleChangesRequest(parent="saleSchedules/nobody")
    answer = await caller.call(transport, METHODS["ListSaleScheduleChanges"], missing, guarded.operator)
    assert answer.reason == "NOT_FOUND"


# The recipe


@pytest.fixture
def waiting_room(free_port):
    port = free_port()
    program = subprocess.Popen(
        [sys.executable, str(WAITING_ROOM), str(port), "sales/drop-1"], stderr=subprocess.DEVNULL
    )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        program.kill()
        program.wait()


async def admitted(session, room, customer):
    """The token that the room gives, as soon as it does."""
    while True:
        try:
            async with session.get(f"{room}/?customer={customer}") as response:
                if response.status == 200:
                    return (await response.json(content_type=None))["token"]
        except aiohttp.ClientConnectionError:
            await asyncio.sleep(0.05)


async def test_the_waiting_room_of_the_documentation_admits_to_a_sale(waiting_room, database_url):
    timeout = aiohttp.ClientTimeout(total=30)
    async with aiohttp.ClientSession(timeout=timeout) as session, asyncio.timeout(60):
        tokens = {customer: await admitted(session, waiting_room, customer) for customer in ("c-1", "c-7")}
        settings = {"admission_jwks": f"{waiting_room}/jwks.json", **NO_DRAIN}
        with Inventory(database_url, migrate_on_start=True, **settings) as inventory:
            address = inventory.wait_until_serving().address
            with Gateway([address], **NO_DRAIN) as gateway:
                url = f"{gateway.wait_until_serving().url}/v1/sales"
                opens = (datetime.now(UTC) + timedelta(minutes=5)).isoformat()
                rules = {"openTime": opens, "earlyAccess": "600s", "admissionRequired": True}
                new = {**rules, "items": [{"item": "a", "onHand": 5}]}
                async with session.post(f"{url}?sale_id=drop-1", json=new) as response:
                    assert response.status == 200
                told = {}
                for customer, token in {**tokens, "c-2": tokens["c-7"]}.items():
                    body = {"customer": customer, "lines": [{"item": "a", "quantity": 1}]}
                    headers = {"Holdfast-Admission": token}
                    async with session.post(f"{url}/drop-1/reservations", json=body, headers=headers) as response:
                        told[customer] = (await response.json(content_type=None)).get("reason", "OK")
    assert told == {"c-1": "SALE_NOT_OPEN", "c-7": "OK", "c-2": "ADMISSION_REQUIRED"}
