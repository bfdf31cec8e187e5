"""Moves a listening socket from one server of this process to the next, without losing a connection.

A server that has a duplicate of the socket cannot be told to accept no more and yet to continue with its connections.
So its duplicates are replaced by another socket, to which nobody connects.
"""

import asyncio
import os
import socket
from collections.abc import Collection

_LOOK_SECONDS = 0.01
_LISTEN_SECONDS = 2.0


def duplicates_of(listener: socket.socket) -> set[int]:
    """Return the other descriptors of this process for the same socket."""
    wanted = os.fstat(listener.fileno()).st_ino
    return {each for each in _open_descriptors() if each != listener.fileno() and _inode(each) == wanted}


async def wait_for_duplicate(listener: socket.socket, known: Collection[int]) -> None:
    """Wait until another server has a duplicate. Raises TimeoutError."""
    async with asyncio.timeout(_LISTEN_SECONDS):
        while duplicates_of(listener) <= set(known):  # noqa: ASYNC110 - granian does not tell
            await asyncio.sleep(_LOOK_SECONDS)


def replace(descriptors: Collection[int]) -> None:
    """Replace these descriptors by a socket on which no connection arrives."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(1)
        silent.setblocking(False)
        for descriptor in descriptors:
            os.dup2(silent.fileno(), descriptor, inheritable=False)


def _open_descriptors() -> set[int]:
    return {int(name) for name in os.listdir("/dev/fd")}  # noqa: PTH208 - names, not files


def _inode(descriptor: int) -> int | None:
    try:
        return os.fstat(descriptor).st_ino
    except OSError:
        return None
