"""A healthy link carries everything; a disturbed one has the chosen faults until it is healed."""

import asyncio

import pytest

from lab.kit.link import Link


@pytest.fixture
async def echo():
    """The port of an echo server."""

    async def serve(reader, writer):
        while data := await reader.read(100):
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


@pytest.fixture
async def link(echo):
    link = Link("client -> echo", echo)
    await link.start()
    yield link
    await link.close()


@pytest.fixture
async def dial(link):
    """Open connections through the link."""
    writers = []

    async def dial():
        reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
        writers.append(writer)
        return reader, writer

    yield dial
    for writer in writers:
        writer.transport.abort()


async def answer(reader, writer, said=b"hello"):
    writer.write(said)
    async with asyncio.timeout(5):
        return await reader.readexactly(len(said))


async def test_what_is_said_arrives(dial):
    assert await answer(*await dial()) == b"hello"


@pytest.mark.parametrize("swallow", [Link.swallow_requests, Link.swallow_answers])
async def test_what_a_black_hole_took_arrives_when_it_is_closed(link, dial, swallow):
    caller = await dial()
    await answer(*caller)
    swallow(link)
    answering = asyncio.ensure_future(answer(*caller))
    done, _ = await asyncio.wait({answering}, timeout=0.05)
    assert not done
    link.heal()
    assert await answering == b"hello"


async def test_what_is_reset_is_reset_at_the_callers_end(link, dial):
    reader, _ = caller = await dial()
    await answer(*caller)
    link.reset()
    with pytest.raises(ConnectionResetError):
        await reader.read(1)
    assert await answer(*await dial()) == b"hello"


async def test_nobody_gets_through_what_is_cut(link, dial):
    link.cut()
    with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
        await answer(*await dial())
    link.heal()
    assert await answer(*await dial()) == b"hello"


async def test_what_drips_or_is_delayed_arrives_whole(link, dial):
    caller = await dial()
    link.delay_seconds, link.drips = 0.01, True
    said = bytes(range(100))
    assert await answer(*caller, said=said) == said


async def test_a_link_that_is_aimed_elsewhere_leads_there(link, dial):
    async def serve(_reader, writer):
        writer.write(b"here")

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    link.aim(server.sockets[0].getsockname()[1])
    reader, _ = await dial()
    async with asyncio.timeout(5):
        assert await reader.readexactly(4) == b"here"
    server.close()


async def test_a_url_leads_through_the_link(link):
    assert (
        link.through("postgresql://shop:secret@10.0.0.1:5432/db?x=1")
        == f"postgresql://shop:secret@{link.address}/db?x=1"
    )
    assert link.through("redis://10.0.0.1:6379/0") == f"redis://{link.address}/0"
