"""What any transport must do for its endpoints (`holdfast_inventory.ports`), asked by a real gRPC client."""

import asyncio
from contextlib import asynccontextmanager

import grpc
import pytest

from holdfast_inventory.ports import Ending, Endpoint
from holdfast_inventory.transports import grpc_aio
from tests.support.transports import LIMITS, served

TRANSPORTS = [grpc_aio.Server]
UNARY, STREAM, CHAT = "/test.Test/Unary", "/test.Test/Stream", "/test.Test/Chat"
DETAILS = ("grpc-status-details-bin", b"\x00\xff\x01")
FAILED_PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION.value[0]
# More than any buffer on the way holds.
LARGE = b"x" * 1_000_000


class Served:
    """The methods of a client, without serializers."""

    def __init__(self, channel):
        self.unary = channel.unary_unary(UNARY)
        self.stream = channel.unary_stream(STREAM)
        self.chat = channel.stream_stream(CHAT)


@pytest.fixture(params=TRANSPORTS, ids=lambda server: server.__module__.rpartition(".")[2])
def serving(request):
    """Serves one handler as a unary, a streaming and a chatting method; gives a client and the address."""

    @asynccontextmanager
    async def serve(handle, **limits):
        endpoints = [
            Endpoint(UNARY, False, False, handle),
            Endpoint(STREAM, False, True, handle),
            Endpoint(CHAT, True, True, handle),
        ]
        async with served(endpoints, request.param, **limits) as address, grpc.aio.insecure_channel(address) as channel:
            client = Served(channel)
            client.address = address
            client.channel = channel
            yield client

    return serve


async def echo(request, exchange):
    return Ending(b"echo " + request, ())


async def ended(call):
    """The status with which a call ends."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    return refused.value


async def test_a_request_is_answered(serving):
    async with serving(echo) as client:
        assert await client.unary(b"a\x00b") == b"echo a\x00b"
        assert await client.unary(b"") == b"echo "


async def test_what_comes_with_a_call_is_shown(serving):
    seen = []

    async def handle(request, exchange):
        seen.append((dict(exchange.metadata), exchange.peer, exchange.remaining_seconds()))
        return Ending(b"", ())

    async with serving(handle) as client:
        await client.unary(b"", metadata=(("x-request-id", "r-1"), ("some-bin", b"\xff\x00")))
        await client.unary(b"", timeout=5)
    (metadata, peer, unlimited), (_, _, limited) = seen
    assert (metadata["x-request-id"], metadata["some-bin"]) == ("r-1", b"\xff\x00")
    assert "127.0.0.1" in peer
    assert unlimited is None
    assert 0 < limited < 6


async def test_trailers_come_behind_an_answer(serving):
    async def handle(request, exchange):
        return Ending(b"done", (("idempotent-replayed", "true"), DETAILS))

    async with serving(handle) as client:
        call = client.unary(b"")
        assert await call == b"done"
        trailers = dict(await call.trailing_metadata())
        assert (trailers["idempotent-replayed"], trailers[DETAILS[0]]) == ("true", DETAILS[1])


async def test_a_refusal_has_its_code_its_text_and_its_trailers(serving):
    async def handle(request, exchange):
        return Ending(b"", (("x-request-id", "r-1"), DETAILS), FAILED_PRECONDITION, "ausverkauft \N{SNOWMAN}")

    async with serving(handle) as client:
        error = await ended(client.unary(b""))
        assert (error.code(), error.details()) == (grpc.StatusCode.FAILED_PRECONDITION, "ausverkauft \N{SNOWMAN}")
        trailers = dict(error.trailing_metadata())
        assert (trailers["x-request-id"], trailers[DETAILS[0]]) == ("r-1", DETAILS[1])


async def test_a_stream_comes_in_order_and_ends(serving):
    async def handle(request, exchange):
        for number in range(100):
            await exchange.write(b"%d" % number)
        return Ending(b"", (("x-request-id", "r-1"),))

    async with serving(handle) as client:
        call = client.stream(b"")
        assert [message async for message in call] == [b"%d" % number for number in range(100)]
        assert await call.code() == grpc.StatusCode.OK
        assert dict(await call.trailing_metadata())["x-request-id"] == "r-1"


async def test_a_stream_may_end_with_a_refusal(serving):
    async def handle(request, exchange):
        await exchange.write(b"one")
        return Ending(b"", (DETAILS,), FAILED_PRECONDITION, "over")

    async with serving(handle) as client:
        call = client.stream(b"")
        assert await call.read() == b"one"
        error = await ended(call.read())
        assert (error.code(), error.details()) == (grpc.StatusCode.FAILED_PRECONDITION, "over")
        assert dict(error.trailing_metadata())[DETAILS[0]] == DETAILS[1]


async def test_requests_of_a_stream_come_one_by_one(serving):
    async def handle(requests, exchange):
        async for request in requests:
            await exchange.write(b"echo " + request)
        return Ending(b"", ())

    async with serving(handle) as client:
        call = client.chat()
        for number in range(3):
            await call.write(b"%d" % number)
            assert await call.read() == b"echo %d" % number
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF


class Hanging:
    """A handler that never answers, and knows how it ended."""

    def __init__(self):
        self.began, self.ended = asyncio.Event(), asyncio.Event()

    async def __call__(self, request, exchange):
        self.began.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.remaining_seconds = exchange.remaining_seconds()
            self.cancelling = asyncio.current_task().cancelling()
            self.ended.set()


async def test_a_caller_that_goes_away_cancels_its_call(serving):
    handle = Hanging()
    async with serving(handle) as client, asyncio.timeout(20):
        call = client.unary(b"", timeout=60)
        await handle.began.wait()
        call.cancel()
        await handle.ended.wait()
    assert handle.cancelling
    assert handle.remaining_seconds > 0


async def test_a_deadline_that_passes_cancels_its_call(serving):
    handle = Hanging()
    async with serving(handle) as client, asyncio.timeout(20):
        assert (await ended(client.unary(b"", timeout=0.2))).code() == grpc.StatusCode.DEADLINE_EXCEEDED
        await handle.ended.wait()
    assert handle.cancelling
    assert handle.remaining_seconds <= 0


async def test_a_slow_reader_holds_up_its_own_stream_and_nobody_elses(serving):
    written, stuck = [], asyncio.Event()

    async def handle(request, exchange):
        if request == b"quick":
            return Ending(b"here", ())
        while True:
            stuck.clear()
            asyncio.get_running_loop().call_later(0.5, stuck.set)
            await exchange.write(LARGE)
            written.append(len(LARGE))

    async with serving(handle) as client, asyncio.timeout(30):
        call = client.stream(b"slow")
        await call.initial_metadata()
        while not stuck.is_set():
            await stuck.wait()
        assert await client.unary(b"quick") == b"here"
        assert sum(written) < 100 * len(LARGE)
        call.cancel()


async def test_a_path_without_an_endpoint_is_unimplemented(serving):
    async with serving(echo) as client:
        error = await ended(client.channel.unary_unary("/test.Test/Other")(b""))
        assert error.code() == grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("compression", [None, grpc.Compression.Gzip])
async def test_a_request_over_the_limit_reaches_no_handler(serving, compression):
    """However small it is on the wire."""
    seen = []

    async def handle(request, exchange):
        seen.append(len(request))
        return Ending(b"", ())

    async with serving(handle, max_request_bytes=100_000) as client:
        await client.unary(b"x" * 100_000, compression=compression)
        error = await ended(client.unary(b"x" * 100_001, compression=compression))
        assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert seen == [100_000]


async def test_many_calls_of_one_connection_are_served_at_a_time(serving):
    all_there, count = asyncio.Event(), 0

    async def handle(request, exchange):
        nonlocal count
        count += 1
        if count == 50:
            all_there.set()
        await all_there.wait()
        return Ending(request, ())

    async with serving(handle) as client, asyncio.timeout(20):
        answers = await asyncio.gather(*(client.unary(b"%d" % number) for number in range(50)))
    assert answers == [b"%d" % number for number in range(50)]


@pytest.mark.parametrize("server", TRANSPORTS)
async def test_what_is_under_way_is_answered_while_it_stops(server):
    began, may_answer = asyncio.Event(), asyncio.Event()

    async def handle(request, exchange):
        began.set()
        await may_answer.wait()
        return Ending(b"in time", ())

    running = server(LIMITS, [Endpoint(UNARY, False, False, handle)])
    await running.start()
    async with grpc.aio.insecure_channel(running.address) as channel, asyncio.timeout(20):
        call = asyncio.ensure_future(_answer(channel.unary_unary(UNARY)(b"")))
        await began.wait()
        stopping = asyncio.ensure_future(running.stop(10.0))
        await asyncio.sleep(0)
        may_answer.set()
        assert await call == b"in time"
        await stopping


async def _answer(call):
    return await call


@pytest.mark.parametrize("server", TRANSPORTS)
async def test_a_port_that_is_taken_is_an_error(server):
    async with served([], server) as address:
        port = int(address.rpartition(":")[2])
        with pytest.raises(OSError, match="cannot listen"):
            async with served([], server, port=port):
                pass
