"""The edge's own answers: problem+json or a gRPC status, each with the information whether a retry can help."""

import asyncio
import io

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from holdfast.inventory.v1 import reservation_service_pb2, reservation_service_pb2_grpc
from tests.support.eventually import eventually


async def refused_rest(answer):
    """Check the fields that every problem has, and return the problem."""
    assert answer.headers["content-type"] == "application/problem+json"
    problem = await answer.json(content_type=None)
    assert problem["status"] == answer.status
    # A request with incomplete headers has no id.
    assert problem["instance"] == f"urn:request:{answer.headers.get('x-request-id', '-')}"
    assert ("retry-after" in answer.headers) == (answer.status in (429, 503))
    return problem["reason"], problem["retryable"]


async def refused_grpc(channel, name="sales/a/reservations/b", metadata=()):
    """Code, reason, and whether the status tells when to try again."""
    stub = reservation_service_pb2_grpc.ReservationServiceStub(channel)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.GetReservation(
            reservation_service_pb2.GetReservationRequest(name=name), timeout=10, metadata=metadata
        )
    packed = dict(refused.value.trailing_metadata()).get("grpc-status-details-bin", b"")
    status = status_pb2.Status.FromString(packed)
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    unpacked = [detail.Unpack(info) or detail.Unpack(retry) for detail in status.details]
    assert all(unpacked)
    return refused.value.code(), info.reason, retry.retry_delay.seconds > 0


async def test_no_replica_within_reach(start_edge, rest, channel, free_port):
    unreachable = f"127.0.0.1:{free_port()}"
    edge = await start_edge([unreachable], [unreachable])
    async with rest.post(f"{edge.url}/v1/sales", json={}) as answer:
        assert await refused_rest(answer) == ("INVENTORY_UNAVAILABLE", True)
        assert answer.status == 503
    assert await refused_grpc(channel(edge.target)) == (grpc.StatusCode.UNAVAILABLE, "INVENTORY_UNAVAILABLE", True)


async def test_a_lost_answer_leaves_the_outcome_unknown_and_is_not_asked_for_twice(edge, gateway, rest):
    async with rest.post(f"{edge.url}/v1/lost", json={}) as answer:
        assert await refused_rest(answer) == ("OUTCOME_UNKNOWN", True)
    assert gateway.paths == ["/v1/lost"]


async def test_a_lost_answer_to_a_reader_is_asked_for_again(edge, gateway, rest):
    async with rest.get(f"{edge.url}/v1/lost") as answer:
        assert await refused_rest(answer) == ("OUTCOME_UNKNOWN", True)
    assert gateway.paths == ["/v1/lost"] * 3


async def test_what_the_services_themselves_answer_is_left_alone(edge, gateway, rest, channel):
    for status in (404, 429, 503, 504):
        async with rest.get(f"{edge.url}/v1/sales?status={status}") as answer:
            assert (answer.status, answer.content_type) == (status, "application/json")
    assert len(gateway.requests) == 4
    assert await refused_grpc(channel(edge.target), "refuse") == (grpc.StatusCode.UNAVAILABLE, "", False)


async def test_application_errors_eject_no_replica(edge, gateway, rest):
    for _ in range(20):
        async with rest.get(f"{edge.url}/v1/sales?status=503"):
            pass
    async with rest.get(f"{edge.url}/v1/sales") as answer:
        assert answer.status == 200
    assert await edge.stat("cluster.gateways.outlier_detection.ejections_active") == 0


async def test_too_many_requests_of_one_client(start_edge, gateway, inventory, rest, channel):
    edge = await start_edge([gateway], [inventory], client_requests_per_second=2)
    answers = []
    for _ in range(4):
        async with rest.get(f"{edge.url}/v1/sales") as answer:
            answers.append(answer.status)
            if answer.status == 429:
                assert await refused_rest(answer) == ("RATE_LIMITED", True)
    assert answers[:2] == [200, 200]
    assert 429 in answers[2:]
    opened = channel(edge.target)
    refused = await refused_grpc(opened) if 429 in answers else None
    assert refused == (grpc.StatusCode.RESOURCE_EXHAUSTED, "RATE_LIMITED", True)


async def test_clients_do_not_use_up_each_others_share(start_edge, gateway, inventory, rest):
    edge = await start_edge([gateway], [inventory], client_requests_per_second=1, trusted_hops=1)
    for client in ("203.0.113.1", "203.0.113.2", "203.0.113.3"):
        async with rest.get(f"{edge.url}/v1/sales", headers={"x-forwarded-for": client}) as answer:
            assert answer.status == 200
    async with rest.get(f"{edge.url}/v1/sales", headers={"x-forwarded-for": "203.0.113.1"}) as answer:
        assert answer.status == 429


@pytest.fixture
async def sparing_edge(start_edge, gateway, inventory):
    """An edge that allows, each second and sale, one request that begins a purchase and one that reads."""
    return await start_edge([gateway], [inventory], sale_requests_per_second=1, trusted_hops=1)


async def test_a_sale_does_not_use_up_what_is_there_for_others(sparing_edge, rest):
    async def ask(path, client):
        async with rest.get(f"{sparing_edge.url}{path}", headers={"x-forwarded-for": f"203.0.113.{client}"}) as answer:
            return answer.status

    hot = [await ask(f"/v1/sales/hot{rest_of_path}", number) for number, rest_of_path in enumerate(HOT_PATHS)]
    assert hot[0] == 200
    assert 429 in hot
    assert await ask("/v1/sales/calm/items/i", 8) == 200
    assert [await ask("/v1/sales", 9) for _ in range(3)] == [200, 200, 200]


HOT_PATHS = ("/items/i", "?x=1", "/reservations/r", "", "/items/j", "/items/k")


async def test_over_rest_a_sale_that_is_bought_too_fast_is_still_looked_at_and_paid_for(sparing_edge, rest):
    async def post(path):
        async with rest.post(f"{sparing_edge.url}/v1/sales/{path}", json={}) as answer:
            return answer.status

    begun = [await post(f"hot/reservations{kind}") for kind in ("", ":submit", "?x=1", "%3Asubmit")]
    assert begun[0] == 200
    assert 429 in begun
    assert [await post("hot/reservations/r:confirm") for _ in range(5)] == [200] * 5
    assert await post("calm/reservations") == 200
    async with rest.get(f"{sparing_edge.url}/v1/sales/hot") as answer:
        assert answer.status == 200


async def outcome(call):
    try:
        await call
    except grpc.aio.AioRpcError as refused:
        return refused.code()
    return grpc.StatusCode.OK


def create(stub, sale, compression=None):
    # An answer that would not become smaller is not compressed.
    customer = "c" * (1 if compression is None else 1000)
    request = reservation_service_pb2.CreateReservationRequest(parent=f"sales/{sale}", customer=customer)
    return outcome(stub.CreateReservation(request, timeout=10, compression=compression))


async def test_over_grpc_a_sale_that_is_bought_too_fast_is_still_looked_at_and_paid_for(sparing_edge, channel):
    stub = reservation_service_pb2_grpc.ReservationServiceStub(channel(sparing_edge.target))
    begun = [await create(stub, "hot") for _ in range(5)]
    assert begun[0] == grpc.StatusCode.OK
    assert grpc.StatusCode.RESOURCE_EXHAUSTED in begun
    confirm = reservation_service_pb2.ConfirmReservationRequest(name="sales/hot/reservations/r", order="o")
    assert [await outcome(stub.ConfirmReservation(confirm, timeout=10)) for _ in range(5)] == [grpc.StatusCode.OK] * 5
    look = reservation_service_pb2.GetReservationRequest(name="sales/hot/reservations/r")
    looked = [await outcome(stub.GetReservation(look, timeout=10)) for _ in range(5)]
    assert looked[0] == grpc.StatusCode.OK
    assert grpc.StatusCode.RESOURCE_EXHAUSTED in looked
    assert await create(stub, "calm") == grpc.StatusCode.OK


async def test_a_sale_has_one_rate_over_both_transports(sparing_edge, rest, channel):
    stub = reservation_service_pb2_grpc.ReservationServiceStub(channel(sparing_edge.target))
    begun = []
    for _ in range(5):
        begun.append(await create(stub, "hot") == grpc.StatusCode.OK)
        async with rest.post(f"{sparing_edge.url}/v1/sales/hot/reservations", json={}) as answer:
            begun.append(answer.status == 200)
    assert begun[:2] == [True, False]


async def test_messages_that_cannot_be_read_have_the_rate_of_a_sale_together(sparing_edge, channel):
    stub = reservation_service_pb2_grpc.ReservationServiceStub(channel(sparing_edge.target))
    begun = [await create(stub, f"sale-{number}", grpc.Compression.Gzip) for number in range(5)]
    assert begun[0] == grpc.StatusCode.OK
    assert grpc.StatusCode.RESOURCE_EXHAUSTED in begun
    assert await create(stub, "sale-9") == grpc.StatusCode.OK


async def test_the_longest_name_is_read(sparing_edge, channel):
    stub = reservation_service_pb2_grpc.ReservationServiceStub(channel(sparing_edge.target))
    looks = [reservation_service_pb2.GetReservationRequest(name=name) for name in LONG_NAMES]
    looked = [await outcome(stub.GetReservation(look, timeout=10)) for look in looks]
    assert looked[0] == grpc.StatusCode.OK
    assert grpc.StatusCode.RESOURCE_EXHAUSTED in looked


LONG_NAMES = [f"sales/{'s' * 63}/reservations/{number}{'r' * 62}" for number in range(5)]


async def test_a_batch_may_be_as_large_as_a_body_over_rest(edge, inventory, channel):
    stub = reservation_service_pb2_grpc.ReservationServiceStub(channel(edge.target))

    def submit(sale, size):
        command = reservation_service_pb2.Command(create={"customer": "c" * size})
        request = reservation_service_pb2.SubmitRequest(parent=f"sales/{sale}", commands=[command])
        return outcome(stub.Submit(request, timeout=10))

    assert await submit("large", 1_000_000) == grpc.StatusCode.OK
    assert await submit("too-large", 1_100_000) == grpc.StatusCode.INVALID_ARGUMENT
    assert inventory.calls == ["sales/large"]


async def test_too_many_requests_of_all_clients(start_edge, gateway, inventory, rest):
    edge = await start_edge([gateway], [inventory], requests_per_second=3, trusted_hops=1)
    answers = []
    for number in range(6):
        async with rest.get(f"{edge.url}/v1/sales", headers={"x-forwarded-for": f"203.0.113.{number}"}) as answer:
            answers.append(answer.status)
    assert answers[:3] == [200, 200, 200]
    assert 429 in answers[3:]


async def test_each_kind_of_request_has_places_of_its_own(start_edge, gateway, inventory, rest):
    """Eight places for requests that begin or end a purchase, one for reads, and queues of the same lengths."""
    edge = await start_edge([gateway], [inventory], request_limit=16)
    waiting = []

    async def send(method, count, cluster):
        """As many requests as a gateway may have, then as many that wait."""
        before = len(gateway.requests)
        for number in range(2 * count):
            waiting.append(asyncio.ensure_future(rest.request(method, f"{edge.url}/v1/wait")))
            if number == count - 1:
                await eventually(lambda: len(gateway.requests) == before + count)

        async def all_wait():
            return await edge.stat(f"cluster.{cluster}.upstream_rq_pending_active") == count

        await eventually(all_wait)

    await send("GET", 1, "gateways_looks")
    await send("POST", 8, "gateways")
    for method in ("GET", "POST"):
        async with rest.request(method, f"{edge.url}/v1/sales") as answer:
            assert await refused_rest(answer) == ("OVERLOADED", True)
    async with rest.post(f"{edge.url}/v1/sales/a/reservations/b:confirm") as answer:
        assert answer.status == 200
    gateway.let_go.set()
    assert {(await answer).status for answer in waiting} == {200}


async def test_those_who_are_refused_together_do_not_come_back_together(start_edge, gateway, inventory, rest, channel):
    edge = await start_edge([gateway], [inventory], client_requests_per_second=1)
    over_rest, over_grpc = set(), set()
    for _ in range(40):
        async with rest.get(f"{edge.url}/v1/sales") as answer:
            over_rest.add(answer.headers.get("retry-after"))
        over_grpc.add(await retry_seconds(channel(edge.target)))
    assert over_rest >= {"1", "2", "3"}
    assert over_grpc >= {1, 2, 3}


async def retry_seconds(channel):
    """Return the retry delay; None if it is served."""
    stub = reservation_service_pb2_grpc.ReservationServiceStub(channel)
    try:
        await stub.GetReservation(reservation_service_pb2.GetReservationRequest(name="a"), timeout=10)
    except grpc.aio.AioRpcError as error:
        status = status_pb2.Status.FromString(dict(error.trailing_metadata())["grpc-status-details-bin"])
        retry = error_details_pb2.RetryInfo()
        assert status.details[1].Unpack(retry)
        return retry.retry_delay.seconds
    return None


async def test_a_body_that_is_too_large(edge, gateway, rest):
    async with rest.post(f"{edge.url}/v1/sales", data=io.BytesIO(b"x" * (1024 * 1024))) as answer:
        assert answer.status == 200
    async with rest.post(f"{edge.url}/v1/sales", data=io.BytesIO(b"x" * (1024 * 1024 + 1))) as answer:
        assert answer.status == 413
        assert await refused_rest(answer) == ("BODY_TOO_LARGE", False)
    assert len(gateway.requests) == 1


@pytest.mark.parametrize("headers", [{"x-long": "x" * 13_000}, {f"x-{number}": "1" for number in range(120)}])
async def test_headers_that_are_too_many_or_too_large(edge, gateway, rest, headers):
    async with rest.get(f"{edge.url}/v1/sales", headers=headers) as answer:
        assert answer.status == 431
        assert await refused_rest(answer) == ("HEADERS_TOO_LARGE", False)
    assert gateway.requests == []


@pytest.mark.parametrize(("request_line", "status"), [(b"GET / HTTP/1.0", b"200"), (b"nonsense", b"400")])
async def test_http_1_0_is_served_and_what_is_no_http_is_not(edge, request_line, status):
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.ports["http"])
    writer.write(request_line + b"\r\n\r\n")
    async with asyncio.timeout(5):
        answer = await reader.read()
    assert answer.split()[1] == status
    writer.close()
    await writer.wait_closed()
