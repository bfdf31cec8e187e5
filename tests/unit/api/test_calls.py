"""What happens around a call, over a real server."""

import asyncio

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from structlog.testing import capture_logs

from holdfast.inventory.v1 import reservation_service_pb2 as pb
from holdfast.inventory.v1 import sale_service_pb2
from holdfast_inventory.api.calls import snake_case
from holdfast_inventory.domain import errors

REQUEST = pb.GetReservationRequest(name="sales/x")
METHOD = {
    "grpc_type": "unary",
    "grpc_service": "holdfast.inventory.v1.ReservationService",
    "grpc_method": "GetReservation",
}
TRACE_PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


async def answer(_, call):
    return pb.Reservation(name="sales/x/reservations/y")


def raises(error):
    async def handle(_, call):
        raise error

    return handle


async def refusal(awaitable):
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await awaitable
    return refused.value


def reason(error):
    status = Status.FromString(dict(error.trailing_metadata())["grpc-status-details-bin"])
    info = ErrorInfo()
    status.details[0].Unpack(info)
    return info.reason


def retry_seconds(error):
    status = Status.FromString(dict(error.trailing_metadata())["grpc-status-details-bin"])
    retry = RetryInfo()
    assert status.details[1].Unpack(retry)
    return retry.retry_delay.ToTimedelta().total_seconds()


def test_methods_have_snake_case_names():
    assert [snake_case(name) for name in ("Submit", "GetSaleSchedule")] == ["submit", "get_sale_schedule"]


async def test_an_answer_comes_through(stage):
    stage.handle = answer
    assert (await stage.get(REQUEST)).name == "sales/x/reservations/y"


async def test_a_refusal_has_its_code_and_reason(stage):
    stage.handle = raises(errors.SalePaused())
    error = await refusal(stage.get(REQUEST))
    assert (error.code(), error.details(), reason(error)) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "the sale is paused",
        "SALE_PAUSED",
    )


async def test_a_fault_of_ours_tells_nothing_but_is_logged(stage):
    stage.handle = raises(ValueError("the secret is 42"))
    with capture_logs() as logs:
        error = await refusal(stage.get(REQUEST))
    assert (error.code(), error.details()) == (grpc.StatusCode.INTERNAL, "internal error")
    assert "42" not in str(error.trailing_metadata())
    assert [line["event"] for line in logs if line.get("exc_info")] == ["call_failed"]


async def test_a_cancellation_from_within_does_not_leave_the_caller_waiting(stage):
    stage.handle = raises(asyncio.CancelledError())
    error = await refusal(stage.get(REQUEST, timeout=10))
    assert (error.code(), reason(error)) == (grpc.StatusCode.INTERNAL, "INTERNAL")


async def test_a_request_that_cannot_be_decoded_names_its_field(stage):
    stage.handle = answer
    error = await refusal(stage.get_raw(b"\x0a\x01\xff"))
    status = Status.FromString(dict(error.trailing_metadata())["grpc-status-details-bin"])
    bad = BadRequest()
    status.details[1].Unpack(bad)
    assert (error.code(), bad.field_violations[0].field) == (grpc.StatusCode.INVALID_ARGUMENT, "name")


async def test_the_handlers_deadline_leaves_time_to_answer(stage):
    seen = []

    async def handle(_, call):
        seen.append(call.deadline - asyncio.get_running_loop().time())
        return pb.Reservation()

    stage.handle = handle
    await stage.get(REQUEST, timeout=5)
    await stage.get(REQUEST)
    await stage.get(REQUEST, timeout=100_000)
    assert [4.0 < seen[0] < 4.99, seen[1] < 0.2, seen[2] < 60] == [True, True, True]


@pytest.mark.parametrize(("method", "expected"), [("get", "DEADLINE_IN_QUEUE"), ("release", "OUTCOME_UNKNOWN")])
async def test_a_call_without_a_deadline_does_not_wait_for_ever(stage, method, expected):
    async def handle(_, call):
        await asyncio.sleep(60)

    stage.handle = handle
    request = REQUEST if method == "get" else pb.ReleaseReservationRequest()
    assert reason(await refusal(getattr(stage, method)(request))) == expected


async def test_a_replay_and_the_callers_request_id_are_in_the_trailers(stage):
    async def handle(_, call):
        call.replayed = True
        return pb.Reservation()

    stage.handle = handle
    call = stage.get(REQUEST, metadata=(("x-request-id", "abc"),))
    await call
    assert set(await call.trailing_metadata()) >= {("x-request-id", "abc"), ("idempotent-replayed", "true")}


async def test_a_refusal_has_the_callers_request_id_too(stage):
    stage.handle = raises(errors.SalePaused())
    error = await refusal(stage.get(REQUEST, metadata=(("x-request-id", "abc"),)))
    assert dict(error.trailing_metadata())["x-request-id"] == "abc"


async def test_a_call_is_one_line_in_the_log(stage):
    stage.handle = raises(errors.SalePaused())
    with capture_logs() as logs:
        await refusal(stage.get(REQUEST, metadata=(("x-request-id", "abc"), ("traceparent", TRACE_PARENT))))
    [line] = logs
    assert line.pop("duration_ms") >= 0
    assert line.pop("peer").startswith("ipv4:127.0.0.1:")
    assert line == {
        "event": "call",
        "log_level": "info",
        "method": "holdfast.inventory.v1.ReservationService.GetReservation",
        "code": "FAILED_PRECONDITION",
        "reason": "SALE_PAUSED",
        "request_id": "abc",
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
        "replayed": False,
        "caller": "",
        "left_out": 0,
    }


@pytest.mark.parametrize("metadata", [("x-request-id", "a b"), ("x-request-id", "x" * 129), ("traceparent", "00-zz")])
async def test_metadata_that_makes_no_sense_is_ignored(stage, metadata):
    stage.handle = answer
    with capture_logs() as logs:
        await stage.get(REQUEST, metadata=(metadata,))
    assert (logs[0]["request_id"], logs[0]["trace_id"]) == (None, None)


async def test_calls_are_counted_by_code_and_reason(stage):
    stage.handle = answer
    await stage.get(REQUEST)
    stage.handle = raises(errors.SalePaused())
    await refusal(stage.get(REQUEST))
    assert stage.count("grpc_server_started_total", **METHOD) == 2
    assert stage.count("grpc_server_handled_total", **METHOD, grpc_code="OK") == 1
    assert stage.count("grpc_server_handled_total", **METHOD, grpc_code="FAILED_PRECONDITION") == 1
    assert stage.count("grpc_server_handling_seconds_count", **METHOD) == 2
    assert stage.count("grpc_server_handling_seconds_bucket", **METHOD, le="+Inf") == 2
    assert stage.count("holdfast_outcomes_total", method="GetReservation", reason="SALE_PAUSED") == 1


@pytest.fixture
async def crowd(stage):
    """Fill the six places of the stage with calls of a method, which are answered at the end."""
    entered, leave, calls = asyncio.Semaphore(0), asyncio.Event(), []

    async def handle(_, call):
        entered.release()
        await leave.wait()
        return pb.Reservation()

    async def fill(method, request, count):
        calls.extend(asyncio.ensure_future(method(request, timeout=10)) for _ in range(count))
        for _ in range(count):
            await entered.acquire()

    stage.handle = handle
    yield fill
    leave.set()
    await asyncio.gather(*calls)


async def test_more_calls_than_the_limit_are_refused_at_once(stage, crowd):
    await crowd(stage.release, pb.ReleaseReservationRequest(), 6)
    error = await refusal(stage.release(pb.ReleaseReservationRequest(), timeout=10))
    assert (error.code(), reason(error)) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")


async def test_reads_are_refused_before_creates_and_these_before_what_ends_a_purchase(stage, crowd):
    await crowd(stage.get, REQUEST, 3)
    assert reason(await refusal(stage.get(REQUEST, timeout=10))) == "OVERLOADED"
    await crowd(stage.create, pb.CreateReservationRequest(), 1)
    assert reason(await refusal(stage.create(pb.CreateReservationRequest(), timeout=10))) == "OVERLOADED"
    await crowd(stage.release, pb.ReleaseReservationRequest(), 2)


async def test_every_refusal_has_a_retry_delay_and_they_differ(stage, crowd):
    await crowd(stage.get, REQUEST, 3)
    refusals = await asyncio.gather(*(refusal(stage.get(REQUEST, timeout=10)) for _ in range(30)))
    delays = {retry_seconds(error) for error in refusals}
    assert len(delays) > 5
    assert min(delays) >= 0.5
    assert max(delays) <= 2.05


async def test_watches_take_no_place_from_calls(stage, crowd):
    async def follow(_, call):
        while True:
            yield sale_service_pb2.WatchStockResponse()
            await asyncio.sleep(60)

    serve, stage.handle = stage.handle, follow
    watches = [stage.watch(sale_service_pb2.WatchStockRequest()) for _ in range(6)]
    for watch in watches:
        await watch.read()
    stage.handle = serve
    await crowd(stage.release, pb.ReleaseReservationRequest(), 6)
    for watch in watches:
        watch.cancel()


async def test_a_call_that_was_refused_or_failed_leaves_its_place(stage):
    stage.handle = raises(errors.SalePaused())
    for _ in range(10):
        assert reason(await refusal(stage.get(REQUEST))) == "SALE_PAUSED"
    assert reason(await refusal(stage.get_raw(b"\xff"))) == "INVALID_REQUEST"
    assert stage.calls.admission.admitted == 0


async def test_a_caller_that_goes_away_is_counted_and_forgotten(stage):
    entered = asyncio.Event()

    async def handle(_, call):
        entered.set()
        await asyncio.sleep(60)

    stage.handle = handle
    call = asyncio.ensure_future(stage.get(REQUEST, timeout=10))
    await entered.wait()
    call.cancel()
    assert await stage.calls.in_flight.wait_until_empty(5, asyncio.Event())
    assert stage.count("grpc_server_handled_total", **METHOD, grpc_code="CANCELLED") == 1


NOTHING_DONE = [errors.Overloaded(1.0), errors.DatabaseUnavailable(), errors.Draining(), errors.DeadlineInQueue()]
SENT_AGAIN = (("holdfast-previous-attempts", "1"),)


@pytest.mark.parametrize("error", NOTHING_DONE, ids=lambda error: error.reason)
async def test_a_second_attempt_does_not_speak_for_the_first(stage, error):
    """A retry that did nothing proves nothing about the attempt whose answer was lost."""
    stage.handle = raises(error)
    release = pb.ReleaseReservationRequest()
    assert reason(await refusal(stage.release(release))) == error.reason
    assert reason(await refusal(stage.release(release, metadata=SENT_AGAIN))) == "OUTCOME_UNKNOWN"


async def test_grpc_tells_of_attempts_that_it_makes_by_itself(stage):
    refusals = iter([errors.Draining(), errors.Overloaded(1.0)])

    async def handle(_, call):
        raise next(refusals)

    stage.handle = handle
    assert reason(await refusal(stage.release_with_retries(pb.ReleaseReservationRequest()))) == "OUTCOME_UNKNOWN"


async def test_a_second_attempt_that_the_ledger_refuses_is_refused(stage):
    stage.handle = raises(errors.ReservationReleased())
    assert reason(await refusal(stage.release(pb.ReleaseReservationRequest(), metadata=SENT_AGAIN))) == (
        "RESERVATION_RELEASED"
    )


async def test_a_second_attempt_to_read_is_refused_as_the_first(stage):
    stage.handle = raises(errors.DatabaseUnavailable())
    assert reason(await refusal(stage.get(REQUEST, metadata=SENT_AGAIN))) == "DATABASE_UNAVAILABLE"


async def test_every_call_is_an_arrival(stage):
    stage.handle = answer
    await stage.get(REQUEST)
    await stage.get(REQUEST)
    assert stage.calls.arrivals.count == 2


async def test_a_watch_streams_its_events_and_ends_with_its_refusal(stage):
    async def handle(_, call):
        for sequence in range(3):
            yield sale_service_pb2.WatchStockResponse(resume_token=str(sequence))
        raise errors.Draining

    stage.handle = handle
    watch = stage.watch(sale_service_pb2.WatchStockRequest())
    assert [(await watch.read()).resume_token for _ in range(3)] == ["0", "1", "2"]
    ended = await refusal(watch.read())
    assert (ended.code(), reason(ended)) == (grpc.StatusCode.UNAVAILABLE, "DRAINING")


async def test_a_watch_whose_reader_is_stuck_is_ended(stage):
    async def handle(_, call):
        while True:
            yield sale_service_pb2.WatchStockResponse(resume_token="x" * 100_000)

    stage.handle = handle
    watch = stage.watch(sale_service_pb2.WatchStockRequest())
    await watch.read()
    assert await stage.calls.in_flight.wait_until_empty(10, asyncio.Event())
    labels = METHOD | {
        "grpc_type": "server_stream",
        "grpc_service": "holdfast.inventory.v1.SaleService",
        "grpc_method": "WatchStock",
    }
    assert stage.count("grpc_server_handled_total", **labels, grpc_code="ABORTED") == 1
    watch.cancel()


async def test_a_watch_that_its_reader_leaves_is_closed(stage):
    closed = asyncio.Event()

    async def handle(_, call):
        try:
            while True:
                yield sale_service_pb2.WatchStockResponse()
                await asyncio.sleep(60)
        finally:
            closed.set()

    stage.handle = handle
    watch = stage.watch(sale_service_pb2.WatchStockRequest())
    await watch.read()
    watch.cancel()
    async with asyncio.timeout(5):
        await closed.wait()
