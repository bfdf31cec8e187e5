"""A web server for receivers and other counterparts of tests."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from aiohttp import web

_STOP_SECONDS = 0.1


@asynccontextmanager
async def serving(app: web.Application) -> AsyncGenerator[str]:
    """Serve an application on a free port of the loopback interface. Yield its URL, without a slash at the end."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_STOP_SECONDS)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
