"""REST calls, and their translation to gRPC."""

import asyncio

import grpc
import pytest
from google.rpc import code_pb2
from multidict import CIMultiDict
from yarl import URL

from holdfast.inventory.v1 import reservation_service_pb2 as rs
from holdfast.inventory.v1 import sale_pb2
from tests.support.eventually import eventually

RESERVATIONS = "/v1/sales/drop-1/reservations"
BODY = {"customer": "c-1", "lines": [{"item": "a", "quantity": 1}]}


async def test_a_reservation_is_created_by_the_idempotency_key(gateway, inventory):
    status, body, headers = await gateway.send("POST", RESERVATIONS, json=BODY, headers={"Idempotency-Key": "k-1"})
    assert status == 200
    assert body["name"] == "sales/drop-1/reservations/r-0"
    assert body["state"] == "HELD"
    assert body["expireTime"] == "2030-03-17T17:46:40Z"
    assert "Idempotent-Replayed" not in headers
    [submit] = inventory.submits
    assert submit.parent == "sales/drop-1"
    assert submit.commands[0].create.request_id == "k-1"
    assert submit.commands[0].create.parent == "sales/drop-1"


async def test_a_replay_is_marked(gateway):
    headers = {"Idempotency-Key": "k-1"}
    await gateway.send("POST", RESERVATIONS, json=BODY, headers=headers)
    status, body, answered = await gateway.send("POST", RESERVATIONS, json=BODY, headers=headers)
    assert (status, body["name"]) == (200, "sales/drop-1/reservations/r-0")
    assert answered["Idempotent-Replayed"] == "true"


async def test_a_request_without_a_key_gets_one_so_that_retries_are_safe(gateway, inventory):
    await gateway.send("POST", RESERVATIONS, json=BODY)
    await gateway.send("POST", "/v1/sales/s/items/i:adjust", json={"delta": 1, "reason": "RECEIVED"})
    command = {"create": BODY}
    await gateway.send("POST", f"{RESERVATIONS}:submit", json={"commands": [command, command]})
    made_up = [
        inventory.submits[0].commands[0].create.request_id,
        inventory.requests[0].request_id,
        *(command.create.request_id for command in inventory.submits[1].commands),
    ]
    assert all(len(request_id) == 32 for request_id in made_up)
    assert len(set(made_up)) == 4


async def test_a_key_that_differs_from_the_body_is_refused(gateway):
    status, body, _ = await gateway.send(
        "POST", RESERVATIONS, json=BODY | {"requestId": "other"}, headers={"Idempotency-Key": "k"}
    )
    assert (status, body["violations"][0]["field"]) == (400, "requestId")


@pytest.mark.parametrize("key", ["", "a b", "x" * 129])
async def test_a_malformed_key_is_refused(gateway, key):
    status, body, _ = await gateway.send("POST", RESERVATIONS, json=BODY, headers={"Idempotency-Key": key})
    assert (status, body["violations"][0]["field"]) == (400, "Idempotency-Key")


@pytest.mark.parametrize("keys", [["k", "k"], ["k", "other"], ["k", ""]])
async def test_two_keys_are_refused(gateway, inventory, keys):
    headers = CIMultiDict([("Idempotency-Key", key) for key in keys])
    status, body, _ = await gateway.send("POST", RESERVATIONS, json=BODY, headers=headers)
    assert (status, body["violations"][0]["field"]) == (400, "Idempotency-Key")
    assert inventory.submits == []


async def test_a_key_for_several_commands_at_once_is_refused(gateway):
    status, body, _ = await gateway.send(
        "POST", f"{RESERVATIONS}:submit", json={"commands": [{"create": BODY}]}, headers={"Idempotency-Key": "k"}
    )
    assert (status, body["violations"][0]["field"]) == (400, "Idempotency-Key")


async def test_calls_of_a_sale_that_come_together_travel_together(gateway, inventory):
    gate = asyncio.Event()

    async def slowly(request, context):
        await gate.wait()
        return rs.SubmitResponse(outcomes=[inventory.outcome(request.parent, c) for c in request.commands])

    inventory.answers["Submit"] = slowly
    calls = [
        asyncio.ensure_future(gateway.send("POST", RESERVATIONS, json=BODY | {"customer": f"c-{i}"})) for i in range(60)
    ]
    # A request in flight may still be on its way to the others.
    coalescer = gateway.app._api._coalescer
    await eventually(lambda: coalescer._waiting + sum(len(submit.commands) for submit in inventory.submits) == 60)
    assert len(inventory.submits) <= 2
    gate.set()
    answers = await asyncio.gather(*calls)
    assert {body["customer"] for _, body, _ in answers} == {f"c-{i}" for i in range(60)}
    assert sum(len(submit.commands) for submit in inventory.submits) == 60
    assert len(inventory.submits) <= 4


async def test_each_command_carries_its_own_correlation(gateway, inventory):
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    _, _, headers = await gateway.send(
        "POST",
        RESERVATIONS,
        json=BODY,
        headers={"X-Request-Id": "mine", "traceparent": trace, "X-Request-Timeout": "2.5"},
    )
    command = inventory.submits[0].commands[0]
    assert headers["X-Request-Id"] == command.correlation_id == "mine"
    assert command.traceparent == trace
    assert 2.0 < command.timeout.seconds + command.timeout.nanos / 1e9 <= 2.5


async def test_other_calls_carry_it_as_metadata(gateway, inventory):
    await gateway.send("GET", "/v1/sales/s/items/i", headers={"X-Request-Id": "mine", "traceparent": "nonsense"})
    assert inventory.metadata[0]["x-request-id"] == "mine"
    assert inventory.metadata[0]["traceparent"].startswith("00-")


async def test_zeros_are_reported_and_longs_are_strings(gateway, inventory):
    async def item(request, context):
        return sale_pb2.Item(name=request.name, item="i", on_hand=7, available=7, version=2**40)

    inventory.answers["GetItem"] = item
    _, body, _ = await gateway.send("GET", "/v1/sales/s/items/i")
    assert body == {
        "name": "sales/s/items/i",
        "item": "i",
        "onHand": 7,
        "held": 0,
        "available": 7,
        "sold": 0,
        "perCustomerLimit": 0,
        "version": str(2**40),
        "displayName": "",
        "labels": {},
    }


async def test_query_parameters_by_either_name(gateway, inventory):
    await gateway.send("GET", f"{RESERVATIONS}?page_size=5&customer=c&state=HELD")
    await gateway.send("GET", f"{RESERVATIONS}?pageSize=5&customer=c&state=1")
    first, second = inventory.requests
    assert first == second
    assert first == rs.ListReservationsRequest(parent="sales/drop-1", page_size=5, customer="c", state=1)


async def test_a_sale_is_created_from_query_and_body(gateway, inventory):
    sale = {"holdTime": "120s", "items": [{"item": "a", "onHand": 50}]}
    status, _, _ = await gateway.send("POST", "/v1/sales?sale_id=drop-1", json=sale)
    [request] = inventory.requests
    assert status == 200
    assert (request.sale_id, request.sale.hold_time.seconds, request.sale.items[0].on_hand) == ("drop-1", 120, 50)


async def test_an_update_without_a_mask_changes_what_the_body_has(gateway, inventory):
    await gateway.send("PATCH", "/v1/sales/s", json={"perCustomerLimit": 0, "close_time": None, "name": "sales/s"})
    [request] = inventory.requests
    assert request.sale.name == "sales/s"
    assert list(request.update_mask.paths) == ["per_customer_limit", "close_time"]


@pytest.mark.parametrize(
    "query", ["updateMask=openTime,holdTime", "update_mask=open_time,hold_time", "updateMask=open_time,holdTime"]
)
async def test_an_update_with_a_mask_keeps_it_in_either_spelling(gateway, inventory, query):
    await gateway.send("PATCH", f"/v1/sales/s?{query}", json={"perCustomerLimit": 3, "closeTime": None})
    assert list(inventory.requests[0].update_mask.paths) == ["open_time", "hold_time"]


async def test_an_empty_mask_is_none(gateway, inventory):
    await gateway.send("PATCH", "/v1/sales/s?updateMask=", json={"perCustomerLimit": 0})
    assert list(inventory.requests[0].update_mask.paths) == ["per_customer_limit"]


async def test_a_sale_may_be_sent_back_as_it_was_read(gateway, inventory):
    changeable = ["open_time", "close_time", "per_customer_limit", "hold_time", "max_hold_time"]
    changeable += ["shop_confirms", "admission_required", "display_name", "labels"]

    async def sale(request, context):
        known = sale_pb2.Sale(name="sales/s", state=sale_pb2.Sale.OPEN, schedule="saleSchedules/x", sequence=7)
        for field in known.DESCRIPTOR.fields:
            if field.name.endswith("_time"):
                getattr(known, field.name).seconds = 600
        return known

    inventory.answers["GetSale"] = sale
    _, read, _ = await gateway.send("GET", "/v1/sales/s")
    status, _, _ = await gateway.send("PATCH", "/v1/sales/s", json=read | {"perCustomerLimit": 3})
    assert (status, list(inventory.requests[1].update_mask.paths)) == (200, changeable)


@pytest.mark.parametrize(
    ("method", "path", "body", "field"),
    [
        ("POST", RESERVATIONS, {"customer": 5}, "customer"),
        ("POST", RESERVATIONS, BODY | {"colour": "red"}, "colour"),
        ("POST", RESERVATIONS, {"lines": [{"item": "a"}, {"quantity": 1.5}]}, "lines[1].quantity"),
        ("POST", RESERVATIONS, BODY | {"parent": "sales/other"}, "parent"),
        ("POST", RESERVATIONS, [BODY], "body"),
        ("POST", RESERVATIONS + "?customer=c", BODY, "customer"),
        ("GET", RESERVATIONS + "?pageSize=many", None, "pageSize"),
        ("GET", RESERVATIONS + "?colour=red", None, "colour"),
        ("GET", RESERVATIONS + "?customer=a&customer=b", None, "customer"),
        ("POST", "/v1/sales/s/items/i:adjust", {"delta": 2**31}, "delta"),
        ("POST", "/v1/sales/s/items/i:adjust", {"reason": "BORED"}, "reason"),
        ("POST", RESERVATIONS, BODY | {"requestId": "a", "request_id": "a"}, "request_id"),
        ("POST", RESERVATIONS, BODY | {"holdTime": "1_20s"}, "holdTime"),
        ("GET", RESERVATIONS + "?pageSize=\N{ARABIC-INDIC DIGIT THREE}", None, "pageSize"),
        ("GET", RESERVATIONS + "?pageSize=1_0", None, "pageSize"),
        ("GET", RESERVATIONS + "?pageSize=1&page_size=1", None, "page_size"),
        ("PATCH", "/v1/sales/s?updateMask=per__customer_limit", {}, "updateMask"),
    ],
)
async def test_what_does_not_fit_is_refused_by_name(gateway, method, path, body, field):
    status, problem, headers = await gateway.send(method, path, json=body)
    assert (status, problem["reason"]) == (400, "INVALID_REQUEST")
    assert problem["violations"][0]["field"] == field
    assert problem["retryable"] is False
    assert headers["Content-Type"] == "application/problem+json"


async def test_a_field_that_is_there_twice_is_refused_by_name(gateway, inventory):
    body = b'{"customer": "c", "lines": [{"item": "a", "quantity": 1, "quantity": 3}]}'
    headers = {"Content-Type": "application/json"}
    status, problem, _ = await gateway.send("POST", RESERVATIONS, data=body, headers=headers)
    assert (status, problem["violations"][0]["field"]) == (400, "lines[0].quantity")
    assert inventory.submits == []


@pytest.mark.parametrize("body", [b"{", b'{"customer": NaN}', b"\xff", b'{"customer": "\\ud800"}', b"[" * 5000])
async def test_what_is_not_json_is_refused(gateway, body):
    headers = {"Content-Type": "application/json"}
    status, problem, _ = await gateway.send("POST", RESERVATIONS, data=body, headers=headers)
    assert (status, problem["reason"]) == (400, "INVALID_REQUEST")


@pytest.mark.parametrize(
    ("method", "path", "headers", "status", "reason"),
    [
        ("GET", "/v1/nothing", {}, 404, "NOT_FOUND"),
        ("GET", "/v1/sales//items", {}, 404, "NOT_FOUND"),
        ("GET", "/v1/sales/s:dance", {}, 404, "NOT_FOUND"),
        ("DELETE", RESERVATIONS, {}, 405, "METHOD_NOT_ALLOWED"),
        ("BREW", RESERVATIONS, {}, 405, "METHOD_NOT_ALLOWED"),
        ("POST", RESERVATIONS, {"Content-Type": "text/xml"}, 415, "UNSUPPORTED_MEDIA_TYPE"),
        ("POST", RESERVATIONS, {"Content-Encoding": "gzip"}, 415, "UNSUPPORTED_MEDIA_TYPE"),
        ("GET", RESERVATIONS, {"Accept": "text/xml"}, 406, "NOT_ACCEPTABLE"),
        ("GET", RESERVATIONS, {"X-Request-Timeout": "soon"}, 400, "INVALID_REQUEST"),
        ("GET", RESERVATIONS, {"X-Request-Timeout": "0"}, 400, "INVALID_REQUEST"),
    ],
)
async def test_what_http_itself_refuses(gateway, method, path, headers, status, reason):
    answered, problem, answered_headers = await gateway.send(method, path, headers=headers)
    assert (answered, problem["reason"], problem["status"]) == (status, reason, status)
    if "Content-Encoding" in headers:
        assert answered_headers["Accept-Encoding"] == "identity"
    if status == 405:
        assert answered_headers["Allow"] == "POST, GET, HEAD, OPTIONS"


async def test_a_slash_within_a_segment_reaches_nothing(gateway, inventory):
    for path in ("/v1/sales/drop-1%2Fitems%2Fx", "/v1/sales/drop-1%2freservations"):
        async with gateway.session.get(URL(gateway.url + path, encoded=True)) as answer:
            problem = await answer.json(content_type=None)
        assert (answer.status, problem["violations"][0]["field"]) == (400, "path")
    assert inventory.requests == []


@pytest.mark.parametrize("path", ["/v1/sales", "/v1/sales/s/items/i", "/health/live", "/openapi.json", "/docs"])
async def test_head_is_answered_as_get_is_without_the_body(gateway, path):
    async with gateway.session.get(gateway.url + path) as got, gateway.session.head(gateway.url + path) as answer:
        body, nothing = await got.read(), await answer.read()
    assert (answer.status, nothing) == (got.status, b"")
    assert answer.headers["Content-Type"] == got.headers["Content-Type"]
    assert answer.headers["Content-Length"] == got.headers["Content-Length"] == str(len(body))


async def test_head_is_not_for_what_changes_something(gateway):
    status, _, headers = await gateway.send("HEAD", "/v1/sales/s:pause")
    assert (status, headers["Allow"]) == (405, "POST, OPTIONS")


async def test_a_refusal_tells_reason_metadata_and_when_to_try_again(gateway, inventory, refusal):
    async def refuse(request, context):
        error = refusal("SALE_NOT_OPEN", retry_seconds=2.1, metadata={"open_time": "2030-01-01T00:00:00Z"})
        return rs.SubmitResponse(outcomes=[rs.Outcome(error=error)] * len(request.commands))

    inventory.answers["Submit"] = refuse
    status, problem, headers = await gateway.send("POST", RESERVATIONS, json=BODY)
    assert (status, problem["reason"], problem["retryable"]) == (409, "SALE_NOT_OPEN", True)
    assert problem["metadata"] == {"open_time": "2030-01-01T00:00:00Z"}
    assert headers["Retry-After"] == "3"
    assert problem["instance"].endswith(headers["X-Request-Id"])


async def test_a_refusal_of_a_call_that_travels_alone(gateway, inventory, refusal, abort):
    async def refuse(request, context):
        await abort(context, refusal("NOT_FOUND", code_pb2.NOT_FOUND, metadata={"resource": request.name}))

    inventory.answers["GetItem"] = refuse
    status, problem, _ = await gateway.send("GET", "/v1/sales/s/items/i")
    assert (status, problem["reason"], problem["metadata"]) == (404, "NOT_FOUND", {"resource": "sales/s/items/i"})


async def test_a_refused_submit_refuses_all_its_calls(gateway, inventory, refusal, abort):
    async def refuse(request, context):
        await abort(context, refusal("NOT_FOUND", code_pb2.NOT_FOUND))

    inventory.answers["Submit"] = refuse
    answers = await asyncio.gather(*(gateway.send("POST", RESERVATIONS, json=BODY) for _ in range(5)))
    assert [(status, problem["reason"]) for status, problem, _ in answers] == [(404, "NOT_FOUND")] * 5


async def test_a_fault_of_inventory_leaks_nothing(gateway, inventory):
    async def fail(request, context):
        raise RuntimeError("password=hunter2")

    inventory.answers["GetItem"] = fail
    status, problem, _ = await gateway.send("GET", "/v1/sales/s/items/i")
    assert (status, problem["reason"]) == (500, "INTERNAL")
    assert "hunter2" not in str(problem)


async def test_a_method_that_inventory_does_not_know_yet(gateway):
    status, problem, _ = await gateway.send("GET", "/v1/sales/s:verify")
    assert (status, problem["reason"]) == (501, "NOT_IMPLEMENTED")


async def test_unavailable_is_tried_again_with_the_same_request_id(gateway, inventory, refusal, abort):
    async def at_last(request, context):
        if len(inventory.submits) < 3:
            await abort(context, refusal("DRAINING", code_pb2.UNAVAILABLE))
        return rs.SubmitResponse(outcomes=[inventory.outcome(request.parent, c) for c in request.commands])

    inventory.answers["Submit"] = at_last
    status, _, _ = await gateway.send("POST", RESERVATIONS, json=BODY)
    assert status == 200
    assert len({submit.commands[0].create.request_id for submit in inventory.submits}) == 1
    assert len(inventory.submits) == 3


async def test_what_must_not_be_sent_twice_is_not(gateway, inventory):
    async def cut(request, context):
        await context.abort(grpc.StatusCode.UNAVAILABLE, "gone")

    inventory.answers["CreateSale"] = cut
    status, problem, _ = await gateway.send("POST", "/v1/sales?saleId=s", json={})
    assert (status, problem["reason"]) == (503, "INVENTORY_UNAVAILABLE")
    assert len(inventory.requests) == 1


async def test_the_deadline_ends_a_wait_for_inventory(gateway, inventory):
    async def never(request, context):
        await asyncio.Event().wait()

    inventory.answers |= {"GetItem": never, "Submit": never}
    headers = {"X-Request-Timeout": "0.2"}
    read = await gateway.send("GET", "/v1/sales/s/items/i", headers=headers)
    write = await gateway.send("POST", RESERVATIONS, json=BODY, headers=headers)
    assert (read[0], read[1]["reason"]) == (504, "DEADLINE_IN_QUEUE")
    assert (write[0], write[1]["reason"]) == (503, "OUTCOME_UNKNOWN")


async def test_a_caller_that_goes_away_takes_its_command_back(start_gateway, inventory):
    gateway = await start_gateway(submit_concurrency=1)
    gate = asyncio.Event()

    async def slowly(request, context):
        await gate.wait()
        return rs.SubmitResponse(outcomes=[inventory.outcome(request.parent, c) for c in request.commands])

    inventory.answers["Submit"] = slowly
    under_way = asyncio.ensure_future(gateway.send("POST", RESERVATIONS, json=BODY))
    in_flight = gateway.app._gateway.in_flight
    await eventually(lambda: inventory.submits)
    leaving = asyncio.ensure_future(gateway.send("POST", RESERVATIONS, json=BODY | {"customer": "leaver"}))
    await eventually(lambda: in_flight.count == 2)
    leaving.cancel()
    await eventually(lambda: in_flight.count == 1)
    gate.set()
    assert (await under_way)[0] == 200
    status, _, _ = await gateway.send("POST", RESERVATIONS, json=BODY | {"customer": "next"})
    assert status == 200
    customers = [command.create.customer for submit in inventory.submits for command in submit.commands]
    assert customers == ["c-1", "next"]


async def test_a_full_queue_refuses_at_once(start_gateway, inventory):
    gateway = await start_gateway(submit_concurrency=1, submit_limit_commands=1, submit_queue_limit=1)
    gate = asyncio.Event()

    async def slowly(request, context):
        await gate.wait()
        return rs.SubmitResponse(outcomes=[inventory.outcome(request.parent, c) for c in request.commands])

    inventory.answers["Submit"] = slowly
    first = asyncio.ensure_future(gateway.send("POST", RESERVATIONS, json=BODY))
    await eventually(lambda: inventory.submits)
    second = asyncio.ensure_future(gateway.send("POST", RESERVATIONS, json=BODY))
    await eventually(lambda: gateway.app._gateway.in_flight.count == 2)
    status, problem, headers = await gateway.send("POST", RESERVATIONS, json=BODY)
    assert (status, problem["reason"], problem["retryable"]) == (429, "OVERLOADED", True)
    assert headers["Retry-After"] in {"1", "2", "3"}
    gate.set()
    assert [status for status, _, _ in await asyncio.gather(first, second)] == [200, 200]
