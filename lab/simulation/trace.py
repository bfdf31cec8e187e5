"""The events of a run: a hash of all lines, and the last lines."""

import asyncio
from collections import deque
from hashlib import blake2b

_LAST_LINES = 80


class Trace:
    def __init__(self, loop: asyncio.AbstractEventLoop, *, keep_all: bool = False) -> None:
        self._loop = loop
        self._hash = blake2b(digest_size=16)
        self.lines: deque[str] = deque(maxlen=None if keep_all else _LAST_LINES)

    def note(self, what: str) -> None:
        line = f"{self._loop.time():.6f} {what}"
        self._hash.update(line.encode())
        self.lines.append(line)

    def remark(self, what: str) -> None:
        """Add a line that is not part of the hash."""
        self.lines.append(f"{self._loop.time():.6f}     {what}")

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()
