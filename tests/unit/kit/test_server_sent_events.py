"""Blocks of an event stream, as dicts of their lines."""

import asyncio

from lab.kit.server_sent_events import next_block, next_event

STREAM = b'retry: 1000\n\n: still here\n\nevent: change\nid: t-1\ndata: {"a": 1}\n\ndata: {}\n\n'


def body(content: bytes) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    reader.feed_data(content)
    reader.feed_eof()
    return reader


async def test_hints_and_comments_are_blocks_too():
    reader = body(STREAM)
    assert await next_block(reader) == {"retry": "1000"}
    assert await next_block(reader) == {"": "still here"}
    assert await next_block(reader) == {"event": "change", "id": "t-1", "data": '{"a": 1}'}


async def test_an_event_is_what_has_data():
    reader = body(STREAM)
    assert await next_event(reader) == {"event": "change", "id": "t-1", "data": '{"a": 1}'}
    assert await next_event(reader) == {"data": "{}"}
    assert await next_event(reader) is None


async def test_what_breaks_off_within_a_comment_is_no_event():
    assert await next_event(body(b": still here")) is None
