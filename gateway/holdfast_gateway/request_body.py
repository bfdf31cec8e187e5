"""Reads request bodies, of a bounded size and in a bounded time."""

from holdfast_gateway.exchange import ClientGoneError, Scope, Transport
from holdfast_gateway.interruption import Within
from holdfast_gateway.problems import BODY_TOO_LARGE, SLOW_SENDER, refuse

_CLOSE = (("connection", "close"),)


async def read_body(scope: Scope, transport: Transport, limit_bytes: int, timeout_seconds: float) -> bytes:
    """Read the body. Raises ProblemError when it is too large or too slow, ClientGoneError when it ends too soon."""
    length = scope.headers.get("content-length")
    if length is None and scope.headers.get("transfer-encoding") is None:
        return b""
    if length is not None and int(length) > limit_bytes:
        _refuse_size(limit_bytes)
    try:
        with Within(timeout_seconds):
            return await (transport() if length is not None else _read_bounded(transport, limit_bytes))
    except TimeoutError:
        refuse(SLOW_SENDER, f"It took longer than {timeout_seconds:g} s.", headers=_CLOSE)
    except RuntimeError as error:  # the server's word for a connection that has ended
        raise ClientGoneError from error


async def _read_bounded(transport: Transport, limit_bytes: int) -> bytes:
    body = bytearray()
    async for piece in transport:
        body += piece
        if len(body) > limit_bytes:
            _refuse_size(limit_bytes)
    return bytes(body)


def _refuse_size(limit_bytes: int) -> None:
    refuse(BODY_TOO_LARGE, f"At most {limit_bytes} bytes are taken.", headers=_CLOSE)
