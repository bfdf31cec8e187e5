"""What a buyer sees and does is its own, over every transport; what is another's is not there."""

import asyncio

import grpc
import pytest

from holdfast.inventory.v1 import reservation_service_pb2 as rs
from holdfast.inventory.v1 import sale_service_pb2 as ss
from lab.kit.grpc_client import create
from tests.e2e.access.conftest import REST, TRANSPORTS
from tests.support.sound_requests import METHODS, UNKNOWN_ID

every_transport = pytest.mark.parametrize("transport", TRANSPORTS)
LATER = 32_000_000_000
AFTER_THE_FACT = {
    "GetReservation": rs.GetReservationRequest,
    "ConfirmReservation": rs.ConfirmReservationRequest,
    "ReleaseReservation": rs.ReleaseReservationRequest,
    "ExtendReservation": rs.ExtendReservationRequest,
}


def about(method, name):
    request = AFTER_THE_FACT[method](name=name)
    if method == "ExtendReservation":
        request.expire_time.seconds = LATER
    return request


@every_transport
async def test_a_buyer_need_not_say_who_it_is(caller, guarded, transport):
    sale, _ = guarded.open_sale()
    answer = await caller.call(transport, METHODS["CreateReservation"], create(sale, "", a=1), guarded.buyer("c-7"))
    assert (answer.reason, answer.body["customer"]) == ("OK", "c-7")


@every_transport
@pytest.mark.parametrize("method", AFTER_THE_FACT)
async def test_a_foreign_reservation_and_a_missing_one_are_reported_alike(caller, guarded, stock, method, transport):
    sale, foreign = stock
    missing = f"{sale}/reservations/{UNKNOWN_ID}"
    answers = [
        await caller.call(transport, METHODS[method], about(method, name), guarded.buyer("c-2"))
        for name in (foreign, missing)
    ]
    told = [repr(answer).replace(name, "NAME") for answer, name in zip(answers, (foreign, missing), strict=True)]
    assert answers[0].reason == "NOT_FOUND"
    assert without_ids(told[0]) == without_ids(told[1])


def without_ids(text):
    head, _, rest = text.partition("urn:request:")
    return head + rest.partition("'")[2]


@every_transport
async def test_a_buyer_lists_its_own(caller, guarded, transport):
    sale, own = guarded.open_sale()
    await caller.call("grpc", METHODS["CreateReservation"], create(sale, "", a=1), guarded.buyer("c-2"))
    request = rs.ListReservationsRequest(parent=sale)
    answer = await caller.call(transport, METHODS["ListReservations"], request, guarded.buyer("c-1"))
    assert [each["name"] for each in answer.body["reservations"]] == [own]


@every_transport
async def test_the_request_ids_of_two_customers_do_not_meet(caller, guarded, transport):
    sale, _ = guarded.open_sale()
    names = [
        (
            await caller.call(
                transport, METHODS["CreateReservation"], create(sale, "", "the-same", a=1), guarded.buyer(customer)
            )
        ).body["name"]
        for customer in ("c-1", "c-2", "c-1")
    ]
    assert names[0] == names[2] != names[1]


@pytest.mark.parametrize("transport", REST)
async def test_calls_that_travel_together_keep_their_callers(caller, guarded, transport):
    """They arrive at once, so that the gateway sends them in few Submits; each is judged by its own credential."""
    sale, foreign = guarded.open_sale()
    customers = [f"c-{number}" for number in range(20)]
    expired, no_credential = guarded.buyer("c-1", exp=1), None
    release = about("ReleaseReservation", foreign)
    asked = [
        *(
            caller.call(transport, METHODS["CreateReservation"], create(sale, "", a=1), guarded.buyer(customer))
            for customer in customers
        ),
        caller.call(transport, METHODS["CreateReservation"], create(sale, "c-1", a=1), expired),
        caller.call(transport, METHODS["CreateReservation"], create(sale, "c-1", a=1), no_credential),
        caller.call(transport, METHODS["CreateReservation"], create(sale, "c-1", a=1), guarded.buyer("c-2")),
        caller.call(transport, METHODS["ReleaseReservation"], release, guarded.buyer("c-9")),
        caller.call(transport, METHODS["CreateReservation"], create(sale, "c-9", a=1), guarded.operator),
    ]
    answers = await asyncio.gather(*asked)
    assert [answer.body["customer"] for answer in answers[: len(customers)]] == customers
    assert [answer.reason for answer in answers[len(customers) :]] == [
        "UNAUTHENTICATED",
        "UNAUTHENTICATED",
        "PERMISSION_DENIED",
        "NOT_FOUND",
        "OK",
    ]


async def test_a_submit_may_carry_a_credential_for_each_command(caller, guarded):
    sale, _ = guarded.open_sale()

    def command(authorization, customer=""):
        return rs.Command(create=create(sale, customer, a=1), authorization=authorization or "")

    async def outcomes(authorization, *commands):
        request = rs.SubmitRequest(parent=sale, commands=commands)
        answer = await caller.call("grpc", METHODS["Submit"], request, authorization)
        if answer.reason != "OK":
            return answer.reason
        return [
            each.get("reservation", each.get("error", {})).get("customer", "refused")
            for each in answer.body["outcomes"]
        ]

    one, two = guarded.buyer("c-1"), guarded.buyer("c-2")
    assert await outcomes(None, command(one), command(two), command(None, "c-3")) == ["c-1", "c-2", "refused"]
    assert await outcomes(guarded.operator, command(one), command(None, "c-3")) == ["c-1", "c-3"]
    assert await outcomes(guarded.operator, command(one, "c-3")) == ["refused"]
    assert await outcomes(None, command(None, "c-3")) == "UNAUTHENTICATED"
    assert await outcomes(one, command(one)) == "PERMISSION_DENIED"


async def test_a_submit_without_any_caller_does_not_tell_whether_its_sale_exists(caller, guarded, stock):
    for sale in (stock[0], "sales/nobody"):
        command = rs.Command(create=create(sale, "c-1", a=1), authorization="Bearer let-me-in")
        request = rs.SubmitRequest(parent=sale, commands=[command])
        answer = await caller.call("grpc", METHODS["Submit"], request, None)
        [outcome] = answer.body["outcomes"]
        assert (answer.reason, outcome["error"]["code"]) == ("OK", grpc.StatusCode.UNAUTHENTICATED.value[0])


@every_transport
async def test_a_movement_has_its_caller_as_actor(caller, guarded, transport):
    sale, held = guarded.open_sale()
    create_method, buyer = METHODS["CreateReservation"], guarded.buyer("c-1")
    own = (await caller.call(transport, create_method, create(sale, "", a=1), buyer)).body["name"]
    for method, name in (("ConfirmReservation", own), ("ReleaseReservation", held)):
        assert (await caller.call(transport, METHODS[method], about(method, name), buyer)).reason == "OK"
    adjust = ss.AdjustStockRequest(name=f"{sale}/items/a", delta=5, reason="RECEIVED")
    assert (await caller.call(transport, METHODS["AdjustStock"], adjust, guarded.operator)).reason == "OK"
    listed = await caller.call(
        transport, METHODS["ListMovements"], ss.ListMovementsRequest(parent=sale), guarded.operator
    )
    actors = [movement.get("actor") for movement in listed.body["movements"]]
    assert actors == ["keys/operator"] * 2 + ["customers/c-1"] * 3 + ["keys/operator"]
