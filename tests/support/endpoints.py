"""Endpoints that do one thing each, for the comparison of transports in any process."""

import asyncio
import json
from pathlib import Path

from holdfast_inventory.ports import Ending, Endpoint
from tests.support.eventually import eventually

DETAILS = ("grpc-status-details-bin", b"\x00\xff\x01")
FAILED_PRECONDITION = 9
SNOWMAN = "ausverkauft \N{SNOWMAN}"
# More than all buffers on the way can hold.
LARGE = b"x" * 1_000_000
CROWD = 50
_STUCK_SECONDS = 0.5
_HOLD_SECONDS = 60.0


class Behaviour:
    """Handlers that record what they saw."""

    def __init__(self):
        self.seen = {"began": 0, "ended": 0, "sizes": [], "written": 0, "stuck": False}
        self._crowd_is_there = asyncio.Event()
        self._crowd = 0

    def endpoints(self):
        unary = (
            self.echo,
            self.show,
            self.trailers,
            self.refuse,
            self.hang,
            self.hold,
            self.gather,
            self.tell,
            self.fail,
            self.greet,
        )
        streams = (self.count, self.half, self.flood, self.nothing)
        return [
            *(Endpoint(path(handle.__name__), False, False, handle) for handle in unary),
            *(Endpoint(path(handle.__name__), False, True, handle) for handle in streams),
            Endpoint(path("chat"), True, True, self.chat),
            Endpoint(path("join"), True, False, self.join),
        ]

    async def tell(self, request, exchange):
        return Ending(json.dumps(self.seen).encode(), ())

    async def echo(self, request, exchange):
        self.seen["sizes"].append(len(request))
        return Ending(b"echo " + request, ())

    async def show(self, request, exchange):
        metadata = [(key, value if isinstance(value, str) else value.hex()) for key, value in exchange.metadata]
        shown = {"metadata": metadata, "peer": exchange.peer, "remaining": exchange.remaining_seconds()}
        return Ending(json.dumps(shown).encode(), ())

    async def trailers(self, request, exchange):
        return Ending(b"done", (("idempotent-replayed", "true"), DETAILS))

    async def refuse(self, request, exchange):
        return Ending(b"", (("x-request-id", "r-1"), DETAILS), FAILED_PRECONDITION, SNOWMAN)

    async def fail(self, request, exchange):
        raise RuntimeError("against the rules")

    async def count(self, request, exchange):
        for number in range(100):
            await exchange.write(b"%d" % number)
        return Ending(b"", (("x-request-id", "r-1"),))

    async def nothing(self, request, exchange):
        return Ending(b"", (("x-request-id", "r-1"),))

    async def half(self, request, exchange):
        await exchange.write(b"one")
        return Ending(b"", (DETAILS,), FAILED_PRECONDITION, "over")

    async def chat(self, requests, exchange):
        async for request in requests:
            await exchange.write(b"echo " + request)
        return Ending(b"", ())

    async def join(self, requests, exchange):
        return Ending(b"".join([request async for request in requests]), ())

    async def greet(self, request, exchange):
        """Send metadata before an answer, or before a refusal if one is requested."""
        await exchange.begin((("x-first", "1"), ("x-first-bin", b"\xff")))
        return Ending(b"done", ()) if not request else Ending(b"", (DETAILS,), FAILED_PRECONDITION, "no")

    async def hang(self, request, exchange):
        self.seen["began"] += 1
        try:
            await asyncio.Event().wait()
        finally:
            self.seen |= {"remaining": exchange.remaining_seconds(), "cancelling": asyncio.current_task().cancelling()}
            self.seen["ended"] += 1

    async def hold(self, request, exchange):
        """Answer when the file exists that the request names."""
        self.seen["began"] += 1
        await eventually(Path(request.decode()).exists, within=_HOLD_SECONDS)
        return Ending(b"in time", ())

    async def flood(self, request, exchange):
        while True:
            self.seen["stuck"] = False
            stuck = asyncio.get_running_loop().call_later(_STUCK_SECONDS, self.seen.update, {"stuck": True})
            await exchange.write(LARGE)
            stuck.cancel()
            self.seen["written"] += 1

    async def gather(self, request, exchange):
        """Answer when this many calls have arrived."""
        self._crowd += 1
        if self._crowd == CROWD:
            self._crowd_is_there.set()
        await self._crowd_is_there.wait()
        return Ending(request, ())


def path(name):
    return f"/test.Test/{name}"
