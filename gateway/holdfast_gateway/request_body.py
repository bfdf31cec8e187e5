"""Reads request bodies, with a limit of size and time."""

import asyncio

from holdfast_chassis.alarms import Alarms, TimeLimit
from holdfast_gateway.exchange import Scope, Transport
from holdfast_gateway.problems import BODY_TOO_LARGE, SLOW_SENDER, refuse

_CLOSE = (("connection", "close"),)


async def read_body(
    scope: Scope, transport: Transport, limit_bytes: int, timeout_seconds: float, alarms: Alarms
) -> bytes:
    """Read the body. Raises ProblemError if it is too large or too slow, ClientGoneError if it ends too soon."""
    length = scope.headers.get("content-length")
    if length is not None and int(length) > limit_bytes:
        _refuse_size(limit_bytes)
    try:
        with TimeLimit(alarms, asyncio.get_running_loop().time() + timeout_seconds):
            return await _read_bounded(transport, limit_bytes)
    except TimeoutError:
        refuse(SLOW_SENDER, f"It took longer than {timeout_seconds:g} s.", headers=_CLOSE)


async def _read_bounded(transport: Transport, limit_bytes: int) -> bytes:
    pieces, size_bytes = [], 0
    async for piece in transport.body():
        pieces.append(piece)
        size_bytes += len(piece)
        if size_bytes > limit_bytes:
            _refuse_size(limit_bytes)
    return b"".join(pieces)


def _refuse_size(limit_bytes: int) -> None:
    refuse(BODY_TOO_LARGE, f"The limit is {limit_bytes} bytes.", headers=_CLOSE)
