"""The ASGI application, told what a server may tell it, in every order."""

import asyncio
from dataclasses import replace

import pytest
from google.rpc.code_pb2 import Code

from holdfast_chassis.clock import SYSTEM_CLOCK
from holdfast_inventory.transports.asgi import Application
from holdfast_inventory.transports.grpc_wire import ARRIVAL, framed
from tests.support import transports
from tests.support.endpoints import Behaviour, path
from tests.support.eventually import eventually

LIMITS = replace(transports.LIMITS, max_request_bytes=1000)
LIMIT = LIMITS.max_request_bytes
GONE = {"type": "http.disconnect"}
HEADERS = [(b"content-type", b"application/grpc"), (b"te", b"trailers")]


def part(body, *, more=False):
    return {"type": "http.request", "body": body, "more_body": more}


def scope_of(name, *headers):
    return {
        "type": "http",
        "method": "POST",
        "path": path(name),
        "headers": [*HEADERS, *headers],
        "client": ("::1", 5),
    }


class Server:
    """Calls an application as a server of ASGI does."""

    def __init__(self, **limits):
        self.behaviour = Behaviour()
        self.application = Application(replace(LIMITS, **limits), self.behaviour.endpoints())

    async def call(self, name, *events, headers=HEADERS, method="POST"):
        """Return what was sent for a request, of which `events` come, and then nothing more."""
        sent, left = [], list(events)

        async def receive():
            return left.pop(0) if left else await asyncio.Future()

        async def send(event):
            sent.append(event)

        scope = scope_of(name) | {"method": method, "headers": headers}
        async with asyncio.timeout(20):
            await self.application(scope, receive, send)
        return sent


@pytest.fixture
async def server():
    return Server()


def status(sent):
    """Return the code that a call ended with; None: it was not told."""
    headers = [header for event in sent for header in event.get("headers", ())]
    return next((int(value) for name, value in headers if name == b"grpc-status"), None)


def body(sent):
    return b"".join(event.get("body", b"") for event in sent)


@pytest.mark.parametrize(
    "events",
    [
        [part(framed(b"one"))],
        [part(framed(b"one"), more=True), part(b"")],
        [part(b"", more=True), part(framed(b"one")[:3], more=True), part(framed(b"one")[3:])],
    ],
)
async def test_a_request_may_come_in_parts(server, events):
    sent = await server.call("echo", *events)
    assert (body(sent), status(sent)) == (framed(b"echo one"), Code.OK)


@pytest.mark.parametrize(
    ("events", "code"),
    [
        ([part(b"")], Code.UNIMPLEMENTED),
        ([part(framed(b"one") + framed(b"two"))], Code.UNIMPLEMENTED),
        ([part(framed(b"one"), more=True), part(framed(b"two"), more=True)], Code.UNIMPLEMENTED),
        ([part(framed(b"one")[:-1])], Code.INTERNAL),
        ([part(framed(b"x" * (LIMIT + 1))[:9], more=True)], Code.RESOURCE_EXHAUSTED),
    ],
)
async def test_what_is_not_one_request_is_refused_in_one_frame(server, events, code):
    sent = await server.call("echo", *events)
    assert status(sent) == code
    assert [event["type"] for event in sent] == ["http.response.start", "http.response.body"]
    assert body(sent) == b""
    assert server.behaviour.seen["sizes"] == []


@pytest.mark.parametrize("events", [[GONE], [part(framed(b"one")[:3], more=True), GONE]])
async def test_a_request_whose_sender_has_gone_is_not_served(server, events):
    assert await server.call("echo", *events) == []
    assert server.behaviour.seen["sizes"] == []


@pytest.mark.parametrize("events", [[GONE], [part(b""), GONE], [part(b""), part(b""), GONE]])
async def test_a_call_sees_that_its_caller_has_gone(server, events):
    """Whether the server says so when it happens, or only when it is asked."""
    assert await server.call("hang", part(framed(b"")), *events) == []
    assert server.behaviour.seen["cancelling"]


async def test_a_call_ends_at_its_deadline(server):
    sent = await server.call("hang", part(framed(b"")), headers=[*HEADERS, (b"grpc-timeout", b"10m")])
    assert status(sent) == Code.DEADLINE_EXCEEDED
    assert server.behaviour.seen["remaining"] <= 0


async def test_what_a_call_has_waited_counts_against_its_deadline(server):
    arrival = (ARRIVAL, b"%f" % (SYSTEM_CLOCK.now().timestamp() - 60))
    sent = await server.call("hang", part(framed(b"")), headers=[*HEADERS, (b"grpc-timeout", b"60S"), arrival])
    assert status(sent) == Code.DEADLINE_EXCEEDED


async def test_a_clock_that_was_set_back_lengthens_no_deadline(server):
    arrival = (ARRIVAL, b"%f" % (SYSTEM_CLOCK.now().timestamp() + 60))
    sent = await server.call("hang", part(framed(b"")), headers=[*HEADERS, (b"grpc-timeout", b"10m"), arrival])
    assert status(sent) == Code.DEADLINE_EXCEEDED


async def test_a_call_ends_when_its_connection_should_have():
    server = Server(max_connection_age_seconds=0.1, max_connection_age_grace_seconds=0.1)
    assert status(await server.call("hang", part(framed(b"")))) == Code.UNAVAILABLE
    assert server.behaviour.seen["cancelling"]


@pytest.mark.parametrize(
    ("events", "code"),
    [([GONE], None), ([part(framed(b"x" * (LIMIT + 1)))], Code.RESOURCE_EXHAUSTED), ([part(b"\0\0")], Code.INTERNAL)],
)
async def test_a_stream_of_requests_that_breaks_ends_the_call(server, events, code):
    sent = await server.call("chat", part(framed(b"one"), more=True), *events)
    assert body(sent) == framed(b"echo one")
    assert status(sent) == code


async def test_nothing_leaves_it_as_an_exception(server):
    assert status(await server.call("fail", part(framed(b"")))) == Code.INTERNAL


async def test_what_is_not_grpc_gets_an_answer_of_http(server):
    sent = await server.call("echo", part(b"{}"), headers=[(b"content-type", b"application/json")])
    assert sent[0]["status"] == 415


async def test_a_server_that_fails_to_send_fails_no_call(server):
    async def receive():
        return part(framed(b"one"))

    async def send(_):
        raise OSError

    await server.application(scope_of("echo"), receive, send)
    assert server.behaviour.seen["sizes"] == [3]


async def test_a_writer_whose_reader_has_gone_is_cancelled(server):
    async def receive():
        return part(framed(b""))

    async def send(event):
        if event.get("more_body"):
            raise OSError

    async with asyncio.timeout(20):
        await server.application(scope_of("flood"), receive, send)
    assert server.behaviour.seen["written"] == 0


async def test_what_comes_while_it_stops_is_refused_and_what_is_under_way_cut_off_in_the_end(server):
    hanging = asyncio.ensure_future(server.call("hang", part(framed(b""))))
    await eventually(lambda: server.behaviour.seen["began"])
    stopping = asyncio.ensure_future(server.application.stop(0.2))
    await asyncio.sleep(0)
    assert status(await server.call("echo", part(framed(b"one")))) == Code.UNAVAILABLE
    assert not hanging.done()
    await stopping
    assert status(await hanging) == Code.UNAVAILABLE


async def test_an_empty_stream_has_no_message(server):
    sent = await server.call("nothing", part(framed(b"")))
    assert (body(sent), status(sent)) == (b"", Code.OK)


async def test_a_look_for_the_caller_takes_no_request_from_a_stream(server):
    """However slowly they come."""
    left, sent = [part(framed(b"one"), more=True), part(framed(b"two"), more=True), part(b"")], []

    async def receive():
        await asyncio.sleep(0.25)
        return left.pop(0) if left else await asyncio.Future()

    async def send(event):
        sent.append(event)

    async with asyncio.timeout(20):
        await server.application(scope_of("chat"), receive, send)
    assert body(sent) == framed(b"echo one") + framed(b"echo two")


@pytest.mark.parametrize("name", ["chat", "flood"])
async def test_what_a_server_waits_by_is_not_cancelled_with_the_call(server, name):
    """Envoy's module would fail on it when the time has come."""
    given = []

    def never():
        given.append(asyncio.get_running_loop().create_future())
        return given[-1]

    async def request():
        return part(framed(b""))

    async def done():
        return None

    def receive():
        return never() if name == "chat" else request()

    def send(event):
        return never() if event.get("more_body") else done()

    async with asyncio.timeout(20):
        await server.application(scope_of(name, (b"grpc-timeout", b"50m")), receive, send)
    assert [future.cancelled() for future in given] == [False]


async def test_its_peer_is_written_as_grpc_does(server):
    sent = await server.call("show", part(framed(b"")))
    assert b'"ipv6:[::1]:5"' in body(sent)
