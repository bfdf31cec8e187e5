"""Reports of unexpected exceptions, as a receiver of Sentry's protocol gets them."""

import asyncio
import gzip
import json
import sys
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from lab.kit.web_server import serving
from tests.support.programs import run

PROGRAM = """
from holdfast_chassis import logs
logs.configure("inventory", "1", "info", "json")
log = logs.get_logger("holdfast.commands")
def fail(customer):
    raise LookupError(f"no row for {customer}")
try:
    fail("alice@example.org")
except LookupError:
    log.exception("command rejected", request_id="r-1", customer="alice@example.org", dsn="postgres://u:secret@h/d")
log.warning("a warning")
log.error("an error without an exception")
"""


@asynccontextmanager
async def receiver():
    """Yield the envelopes that come, and the DSN."""
    envelopes = asyncio.Queue()

    async def keep(request):
        body = await request.read()
        envelopes.put_nowait(gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body)
        return web.json_response({})

    app = web.Application()
    app.router.add_post("/api/1/envelope/", keep)
    async with serving(app) as url:
        yield envelopes, url.replace("//", "//key@") + "/1"


async def test_an_unexpected_exception_is_reported_without_customers_and_secrets():
    async with receiver() as (envelopes, dsn):
        ended = await run(sys.executable, "-c", PROGRAM, SENTRY_DSN=dsn)
        assert ended.status == 0, ended
        envelope = await asyncio.wait_for(envelopes.get(), 10)
        event = json.loads(envelope.splitlines()[2])
        [raised] = event["exception"]["values"]
        assert (raised["type"], raised["value"]) == ("LookupError", "(left out)")
        assert [frame["function"] for frame in raised["stacktrace"]["frames"]] == ["<module>", "fail"]
        assert event["tags"] == {"logger": "holdfast.commands", "event": "command rejected", "request_id": "r-1"}
        assert b"alice" not in envelope
        assert b"secret" not in envelope
        assert envelopes.empty(), "neither a warning nor an expected error is reported"


@pytest.mark.parametrize("dsn", ["", "http://key@127.0.0.1:1/1"])
async def test_a_receiver_that_is_away_harms_nothing(dsn):
    ended = await run(sys.executable, "-c", PROGRAM, SENTRY_DSN=dsn)
    assert ended.status == 0, ended


async def test_an_invalid_dsn_is_told_at_the_start():
    ended = await run(sys.executable, "-c", PROGRAM, SENTRY_DSN="nonsense:secret")
    assert ended.status == 1
    assert "SENTRY_DSN is not a valid DSN" in ended.output
    assert "secret" not in ended.output
