"""What any transport must do for its endpoints (`holdfast_inventory.ports`), asked by a real gRPC client."""

import asyncio
import json
from contextlib import asynccontextmanager

import grpc
import pytest

from holdfast_inventory.transports import grpc_aio
from tests.support.endpoints import CROWD, DETAILS, LARGE, SNOWMAN, Behaviour, path
from tests.support.eventually import eventually
from tests.support.transports import LIMITS, Envoy, served

TRANSPORTS = pytest.mark.parametrize("transport", [grpc_aio.Server, Envoy], ids=["grpc_aio", "envoy"])
PATIENCE_SECONDS = 40
# What a client of HTTP/2 begins with: the preface and empty settings.
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])


class Client:
    """Methods of `Behaviour` by their names, without serializers."""

    def __init__(self, address, channel):
        self.address = address
        self.channel = channel

    def unary(self, name, request=b"", **options):
        return self.channel.unary_unary(path(name))(request, **options)

    def stream(self, name, request=b""):
        return self.channel.unary_stream(path(name))(request)

    def chat(self):
        return self.channel.stream_stream(path("chat"))()

    async def seen(self):
        return json.loads(await self.unary("tell"))

    async def saw(self, **expected):
        """Return what the endpoints saw, once that is among it."""

        async def look():
            seen = await self.seen()
            return seen if expected.items() <= seen.items() else None

        return await eventually(look, within=PATIENCE_SECONDS)


@asynccontextmanager
async def client_of(address):
    async with grpc.aio.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        yield Client(address, channel)


@pytest.fixture(params=[grpc_aio.Server, Envoy], ids=["grpc_aio", "envoy"])
def serving(request):
    """Serve; gives a client."""

    @asynccontextmanager
    async def serve(**limits):
        async with served(Behaviour().endpoints(), request.param, **limits) as address, client_of(address) as client:
            yield client

    return serve


async def ended(call):
    """Return the status with which a call ends."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    return refused.value


async def test_a_request_is_answered(serving):
    async with serving() as client:
        assert await client.unary("echo", b"a\x00b") == b"echo a\x00b"
        assert await client.unary("echo", b"") == b"echo "
        assert await client.unary("echo", LARGE) == b"echo " + LARGE


async def test_what_comes_with_a_call_is_shown(serving):
    async with serving() as client:
        sent = (("x-request-id", "r-1"), ("some-bin", b"\xff\x00"), ("many", "1"), ("many", "2"))
        shown = json.loads(await client.unary("show", metadata=sent))
        limited = json.loads(await client.unary("show", timeout=5))
    ours = [[key, value] for key, value in shown["metadata"] if key in dict(sent)]
    assert ours == [["x-request-id", "r-1"], ["some-bin", "ff00"], ["many", "1"], ["many", "2"]]
    assert {key for key, _ in shown["metadata"]} == {*dict(sent), "user-agent"}
    assert shown["peer"].startswith("ipv4:127.0.0.1:")
    assert shown["remaining"] is None
    assert 0 < limited["remaining"] < 6


async def test_trailers_come_behind_an_answer(serving):
    async with serving() as client:
        call = client.unary("trailers")
        assert await call == b"done"
        trailers = dict(await call.trailing_metadata())
        assert (trailers["idempotent-replayed"], trailers[DETAILS[0]]) == ("true", DETAILS[1])


async def test_metadata_may_come_before_an_answer(serving):
    async with serving() as client:
        call = client.unary("greet")
        first = dict(await call.initial_metadata())
        assert (first["x-first"], first["x-first-bin"]) == ("1", b"\xff")
        assert await call == b"done"


async def test_metadata_may_come_before_a_refusal(serving):
    async with serving() as client:
        error = await ended(client.unary("greet", b"refuse"))
        assert (error.code(), error.details()) == (grpc.StatusCode.FAILED_PRECONDITION, "no")
        assert dict(error.initial_metadata())["x-first"] == "1"
        assert dict(error.trailing_metadata())[DETAILS[0]] == DETAILS[1]


async def test_a_refusal_has_its_code_its_text_and_its_trailers(serving):
    async with serving() as client:
        error = await ended(client.unary("refuse"))
        assert (error.code(), error.details()) == (grpc.StatusCode.FAILED_PRECONDITION, SNOWMAN)
        trailers = dict(error.trailing_metadata())
        assert (trailers["x-request-id"], trailers[DETAILS[0]]) == ("r-1", DETAILS[1])


async def test_an_endpoint_that_raises_is_no_success(serving):
    """This breaks the rules of the port, and must not affect other calls."""
    async with serving() as client:
        assert (await ended(client.unary("fail"))).code() in (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN)
        assert await client.unary("echo", b"on") == b"echo on"


async def test_a_stream_comes_in_order_and_ends(serving):
    async with serving() as client:
        call = client.stream("count")
        assert [message async for message in call] == [b"%d" % number for number in range(100)]
        assert await call.code() == grpc.StatusCode.OK
        assert dict(await call.trailing_metadata())["x-request-id"] == "r-1"


async def test_a_stream_may_be_empty(serving):
    async with serving() as client:
        call = client.stream("nothing")
        assert [message async for message in call] == []
        assert dict(await call.trailing_metadata())["x-request-id"] == "r-1"


async def test_a_stream_may_end_with_a_refusal(serving):
    async with serving() as client:
        call = client.stream("half")
        assert await call.read() == b"one"
        error = await ended(call.read())
        assert (error.code(), error.details()) == (grpc.StatusCode.FAILED_PRECONDITION, "over")
        assert dict(error.trailing_metadata())[DETAILS[0]] == DETAILS[1]


async def test_requests_of_a_stream_come_one_by_one(serving):
    async with serving() as client:
        call = client.chat()
        for number in range(3):
            await call.write(b"%d" % number)
            assert await call.read() == b"echo %d" % number
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF


async def test_a_stream_of_requests_may_have_one_answer(serving):
    async with serving() as client:
        call = client.channel.stream_unary(path("join"))()
        for part in (b"a", LARGE, b"b"):
            await call.write(part)
        await call.done_writing()
        assert await call == b"a" + LARGE + b"b"


async def test_a_caller_that_goes_away_cancels_its_call(serving):
    async with serving() as client:
        call = client.unary("hang", timeout=600)
        await client.saw(began=1)
        call.cancel()
        seen = await client.saw(ended=1)
    assert seen["cancelling"]
    assert seen["remaining"] > 0


async def test_a_deadline_that_passes_cancels_its_call(serving):
    async with serving() as client:
        assert (await ended(client.unary("hang", timeout=0.5))).code() == grpc.StatusCode.DEADLINE_EXCEEDED
        seen = await client.saw(ended=1)
    assert seen["cancelling"]
    assert seen["remaining"] <= 0


async def test_a_slow_reader_delays_only_its_own_stream(serving):
    async with serving() as client:
        call = client.stream("flood")
        await call.initial_metadata()
        seen = await client.saw(stuck=True)
        assert seen["written"] < 100
        assert await client.unary("echo", b"quick") == b"echo quick"
        call.cancel()


async def test_a_path_without_an_endpoint_is_unimplemented(serving):
    async with serving() as client:
        assert (await ended(client.unary("other"))).code() == grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("compression", [None, grpc.Compression.Gzip, grpc.Compression.Deflate])
async def test_a_request_over_the_limit_reaches_no_handler(serving, compression):
    """However small it is on the wire."""
    async with serving(max_request_bytes=100_000) as client:
        await client.unary("echo", b"x" * 100_000, compression=compression)
        for size in (100_001, 20_000_000):
            error = await ended(client.unary("echo", b"x" * size, compression=compression))
            assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert (await client.seen())["sizes"] == [100_000]


async def test_many_calls_of_one_connection_are_served_at_a_time(serving):
    async with serving() as client, asyncio.timeout(PATIENCE_SECONDS):
        answers = await asyncio.gather(*(client.unary("gather", b"%d" % number) for number in range(CROWD)))
    assert answers == [b"%d" % number for number in range(CROWD)]


async def test_metadata_has_a_limit(serving):
    async with serving() as client:
        assert await client.unary("echo", metadata=[("x-long", "x" * 60_000)]) == b"echo "
        await ended(client.unary("echo", metadata=[("x-long", "x" * 100_000)]))
        assert await client.unary("echo", wait_for_ready=True) == b"echo "


async def test_connections_over_the_limit_are_closed_at_once(serving):
    async with serving(max_connections=3) as client:
        assert await client.unary("echo") == b"echo "
        opened = [await asyncio.open_connection(*client.address.split(":")) for _ in range(6)]
        for _, writer in opened:
            writer.write(PREFACE)
        async with asyncio.timeout(PATIENCE_SECONDS):
            served_ones = [bool(await read(reader)) for reader, _ in opened]
        for _, writer in opened:
            writer.close()
        assert served_ones == [True, True, False, False, False, False]


async def read(reader):
    """Return the beginning of what comes; nothing when the connection is closed."""
    try:
        return await reader.read(9)
    except ConnectionError:
        return b""


async def test_calls_go_to_a_new_connection_when_theirs_has_grown_old(serving, tmp_path):
    """And what is under way on the old one is answered there."""
    may_answer = tmp_path / "may-answer"
    async with serving(max_connection_age_seconds=1.0) as client, asyncio.timeout(PATIENCE_SECONDS):
        call = asyncio.ensure_future(_answer(client.unary("hold", str(may_answer).encode())))
        await client.saw(began=1)
        first = await peer(client)

        async def has_moved():
            return await peer(client) != first

        await eventually(has_moved, within=PATIENCE_SECONDS)
        may_answer.touch()
        assert await call == b"in time"


async def peer(client):
    return json.loads(await client.unary("show"))["peer"]


async def test_a_call_ends_when_its_connection_has_had_its_grace(serving):
    ages = {"max_connection_age_seconds": 1.0, "max_connection_age_grace_seconds": 1.0}
    async with serving(**ages) as client, asyncio.timeout(PATIENCE_SECONDS):
        call = client.chat()
        await call.write(b"one")
        assert await call.read() == b"echo one"
        assert (await ended(call.read())).code() == grpc.StatusCode.UNAVAILABLE


@TRANSPORTS
async def test_what_is_under_way_is_answered_while_it_stops(transport, tmp_path):
    may_answer = tmp_path / "may-answer"
    running = transport(LIMITS, Behaviour().endpoints())
    await running.start()
    async with client_of(running.address) as client, asyncio.timeout(PATIENCE_SECONDS):
        call = asyncio.ensure_future(_answer(client.unary("hold", str(may_answer).encode())))
        await client.saw(began=1)
        stopping = asyncio.ensure_future(running.stop(10.0))
        await eventually(lambda: refuses(running.address))
        assert not call.done()
        may_answer.touch()
        assert await call == b"in time"
        await stopping


async def _answer(call):
    return await call


async def refuses(address):
    """Return whether new calls are refused there."""
    async with client_of(address) as client:
        try:
            await client.unary("echo")
        except grpc.aio.AioRpcError as error:
            return error.code() == grpc.StatusCode.UNAVAILABLE
    return False


@pytest.mark.parametrize(
    ("host", "reached_at"),
    [("localhost", ["localhost"]), ("::1", ["[::1]"]), ("::", ["[::1]", "127.0.0.1"]), ("0.0.0.0", ["127.0.0.1"])],
)
async def test_it_listens_at_the_given_address(serving, host, reached_at):
    async with serving(host=host) as client:
        port = client.address.rpartition(":")[2]
        for address in reached_at:
            async with client_of(f"{address}:{port}") as other:
                assert await other.unary("echo", b"here") == b"echo here"


@TRANSPORTS
async def test_a_port_that_is_taken_is_an_error(transport):
    async with served([], grpc_aio.Server) as address:
        port = int(address.rpartition(":")[2])
        with pytest.raises(OSError, match="cannot listen"):
            async with served([], transport, port=port):
                pass
