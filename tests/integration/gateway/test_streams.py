"""Watches as server-sent events."""

import asyncio
import json

import pytest
from google.rpc import code_pb2

from holdfast.inventory.v1 import movement_pb2, sale_pb2
from holdfast.inventory.v1 import sale_service_pb2 as ss
from lab.kit.server_sent_events import next_block

WATCH = "/v1/sales/s:watch"


def snapshot(sequence=1, items=0):
    event = ss.WatchStockResponse(resume_token=f"t-{sequence}")
    event.snapshot.sequence = sequence
    event.snapshot.items.extend(sale_pb2.Item(item=f"i-{i}", on_hand=1) for i in range(items))
    return event


def change(sequence):
    event = ss.WatchStockResponse(resume_token=f"t-{sequence}")
    event.change.sequence = sequence
    return event


class Events:
    """Reads events from an answer, comments and hints included."""

    def __init__(self, response):
        self.content = response.content

    async def next(self):
        """Return the next block as a dict of its lines, or None at the end."""
        async with asyncio.timeout(5):
            return await next_block(self.content)


@pytest.fixture
async def open_stream(gateway):
    responses = []

    async def start(path=WATCH, client=None, **headers):
        client = client or gateway
        response = await client.session.get(client.url + path, headers=headers)
        responses.append(response)
        return response

    yield start
    for response in responses:
        response.close()


async def test_events_have_a_name_an_id_and_json(open_stream, inventory):
    async def watch(request, context):
        yield snapshot(1, items=1)
        yield change(2)

    inventory.answers["WatchStock"] = watch
    response = await open_stream()
    events = Events(response)
    assert response.headers["Content-Type"] == "text/event-stream"
    assert 1000 <= int((await events.next())["retry"]) <= 3000
    first, second = await events.next(), await events.next()
    assert (first["event"], first["id"]) == ("snapshot", "t-1")
    assert json.loads(first["data"])["snapshot"]["items"][0]["onHand"] == 1
    assert (second["event"], second["id"]) == ("change", "t-2")
    assert await events.next() is None


def watched_until_cancelled(inventory):
    """Let watches send a snapshot and nothing more. Return the event that is set when one ends."""
    ended = asyncio.Event()

    async def watch(request, context):
        try:
            yield snapshot()
            await asyncio.Event().wait()
        finally:
            ended.set()

    inventory.answers["WatchStock"] = watch
    return ended


async def test_head_of_a_stream_ends_at_once(gateway, inventory):
    ended = watched_until_cancelled(inventory)
    status, nothing, headers = await gateway.send("HEAD", WATCH)
    assert (status, nothing, headers["Content-Type"]) == (200, None, "text/event-stream")
    async with asyncio.timeout(5):
        await ended.wait()


async def test_a_stream_resumes_behind_the_last_event(open_stream, inventory):
    async def watch(request, context):
        yield change(8)

    inventory.answers["WatchStock"] = watch
    await open_stream(f"{WATCH}?resumeToken=t-3", **{"Last-Event-ID": "t-7"})
    assert inventory.requests[0].resume_token == "t-7"


async def test_movements_are_followed_from_a_sequence(open_stream, inventory):
    async def watch(request, context):
        movement = movement_pb2.Movement(sequence=6, kind=movement_pb2.Movement.HOLD)
        yield ss.WatchMovementsResponse(movements=[movement], resume_token="m-6")

    inventory.answers["WatchMovements"] = watch
    events = Events(await open_stream("/v1/sales/s/movements:watch?afterSequence=5"))
    await events.next()
    event = await events.next()
    assert json.loads(event["data"])["movements"][0]["sequence"] == "6"
    assert (event["id"], "event" in event) == ("m-6", False)
    assert inventory.requests[0].after_sequence == 5


async def test_a_refusal_before_the_first_event_is_an_ordinary_answer(gateway, inventory, refusal, abort):
    async def watch(request, context):
        await abort(context, refusal("NOT_FOUND", code_pb2.NOT_FOUND))
        yield

    inventory.answers["WatchStock"] = watch
    status, problem, _ = await gateway.send("GET", WATCH)
    assert (status, problem["reason"]) == (404, "NOT_FOUND")


async def test_a_stream_that_does_not_begin_is_refused_in_time(gateway, inventory):
    async def watch(request, context):
        await asyncio.Event().wait()
        yield

    inventory.answers["WatchStock"] = watch
    status, problem, _ = await gateway.send("GET", WATCH, headers={"X-Request-Timeout": "0.2"})
    assert (status, problem["reason"]) == (504, "DEADLINE_IN_QUEUE")


async def test_a_later_refusal_is_an_event(open_stream, inventory, refusal, abort):
    async def watch(request, context):
        yield snapshot()
        await abort(context, refusal("READER_TOO_SLOW", code_pb2.ABORTED))

    inventory.answers["WatchStock"] = watch
    events = Events(await open_stream())
    await events.next()
    await events.next()
    error = await events.next()
    problem = json.loads(error["data"])
    assert (error["event"], problem["reason"], problem["retryable"]) == ("error", "READER_TOO_SLOW", True)
    assert await events.next() is None


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("WATCH_EXPIRED", code_pb2.ABORTED),
        ("DRAINING", code_pb2.UNAVAILABLE),
        ("", code_pb2.UNAVAILABLE),
    ],
)
async def test_a_stream_goes_on_when_the_call_behind_it_ends(open_stream, inventory, refusal, abort, reason, code):
    async def watch(request, context):
        last = int((request.resume_token or "t-0").removeprefix("t-"))
        yield change(last + 1)
        if last == 4:
            await abort(context, refusal("READER_TOO_SLOW", code_pb2.ABORTED))
        await abort(context, refusal(reason, code))

    inventory.answers["WatchStock"] = watch
    events = Events(await open_stream())
    await events.next()
    assert [(await events.next())["id"] for _ in range(5)] == ["t-1", "t-2", "t-3", "t-4", "t-5"]
    assert (await events.next())["event"] == "error"


async def test_a_stream_that_goes_on_in_vain_ends_with_the_reason(open_stream, inventory, refusal, abort):
    async def watch(request, context):
        if request.resume_token:
            await abort(context, refusal("DATABASE_UNAVAILABLE", code_pb2.UNAVAILABLE))
        yield change(1)
        await abort(context, refusal("WATCH_EXPIRED", code_pb2.ABORTED))

    inventory.answers["WatchStock"] = watch
    events = Events(await open_stream())
    await events.next()
    await events.next()
    assert json.loads((await events.next())["data"])["reason"] == "DATABASE_UNAVAILABLE"
    assert await events.next() is None


async def test_a_stream_asks_proxies_not_to_hold_its_events_back(open_stream, inventory):
    async def watch(request, context):
        yield snapshot()

    inventory.answers["WatchStock"] = watch
    response = await open_stream()
    assert response.headers["X-Accel-Buffering"] == "no"


async def test_a_quiet_stream_is_kept_alive(start_gateway, open_stream, inventory):
    async def watch(request, context):
        yield snapshot()
        await asyncio.Event().wait()

    inventory.answers["WatchStock"] = watch
    gateway = await start_gateway(stream_heartbeat_seconds=0.05)
    events = Events(await open_stream(client=gateway))
    await events.next()
    await events.next()
    assert await events.next() == {"": "still here"}


async def test_a_client_that_goes_ends_the_call(open_stream, inventory):
    ended = watched_until_cancelled(inventory)
    response = await open_stream()
    await Events(response).next()
    response.close()
    async with asyncio.timeout(5):
        await ended.wait()


async def test_a_drain_ends_streams_cleanly(start_gateway, open_stream, inventory):
    async def watch(request, context):
        yield snapshot()
        await asyncio.Event().wait()

    inventory.answers["WatchStock"] = watch
    gateway = await start_gateway()
    events = Events(await open_stream(client=gateway))
    await events.next()
    await events.next()
    await gateway.app.lifecycle.stop()
    assert await events.next() is None


async def test_a_stream_ends_after_so_much_that_a_slow_reader_cannot_fill_memory(start_gateway, open_stream, inventory):
    async def watch(request, context):
        for sequence in range(10_000):
            yield snapshot(sequence, items=100)

    inventory.answers["WatchStock"] = watch
    gateway = await start_gateway(stream_limit_bytes=65_536)
    response = await open_stream(client=gateway)
    body = await response.read()
    assert 65_536 < len(body) < 131_072
    assert body.endswith(b"\n\n")
