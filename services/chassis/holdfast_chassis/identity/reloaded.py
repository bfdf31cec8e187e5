"""The content of a file or a URL, read again at intervals, and kept while it cannot be read."""

import asyncio
import urllib.error
import urllib.request
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Generic, NoReturn, TypeVar
from urllib.parse import urlsplit

from holdfast_chassis.clock import SYSTEM_CLOCK, Clock
from holdfast_chassis.entropy import SYSTEM_ENTROPY, Entropy
from holdfast_chassis.logs import get_logger

log = get_logger("holdfast.identity")

T = TypeVar("T")

_FILE_SECONDS = 2.0
_FILE_PAUSE_SECONDS = 0.5
_JITTER = 0.1
_FETCH_SECONDS = 3.0
"""The longest wait for a part of an answer."""
_READ_SECONDS = 5.0
"""The longest that reading may take."""
_CHUNK_BYTES = 64 * 1024
_MAX_BYTES = 1024 * 1024


class Reloaded(Generic[T]):
    """The latest usable value. `read` may block; `read` and `parse` may raise OSError or ValueError."""

    def __init__(
        self,
        name: str,
        read: Callable[[], bytes],
        parse: Callable[[bytes], T],
        empty: T,
        *,
        interval_seconds: float | None = None,
        pause_seconds: float | None = None,
        stale_seconds: float | None = None,
        clock: Clock = SYSTEM_CLOCK,
        entropy: Entropy = SYSTEM_ENTROPY,
    ) -> None:
        """Read every `interval_seconds`, and on `refresh` at most every `pause_seconds`; None: as for files.

        After `stale_seconds` without success the value becomes `empty`; None: it is kept forever.
        """
        self.value = empty
        self.failed = False
        """Whether the latest attempt failed."""
        self.on_change: Callable[[], None] = _nothing
        """Called after each change of the value by what was read."""
        self._name = name
        self._read = read
        self._parse = parse
        self._empty = empty
        self._interval_seconds = _FILE_SECONDS if interval_seconds is None else interval_seconds
        self.pause_seconds = _FILE_PAUSE_SECONDS if pause_seconds is None else pause_seconds
        self._stale_seconds = stale_seconds
        self._clock = clock
        self._entropy = entropy
        self._raw: bytes | None = None
        self._tried_at: float | None = None
        self._read_at = clock.monotonic()
        self._reading: asyncio.Task[None] | None = None
        self._loop: asyncio.Task[None] | None = None

    def usable_until(self) -> datetime | None:
        """Return when the value becomes empty unless it is read again; None: never."""
        if self._stale_seconds is None:
            return None
        unread_seconds = self._clock.monotonic() - self._read_at
        return self._clock.now() + timedelta(seconds=self._stale_seconds - unread_seconds)

    async def start(self) -> None:
        """Read it now and then at intervals. Raises OSError or ValueError if it is unusable."""
        self._take(await asyncio.to_thread(self._read))
        self.follow()

    def follow(self) -> None:
        """Start reading it at intervals."""
        self._loop = asyncio.create_task(self._again_and_again(), name=f"reload {self._name}")

    async def stop(self) -> None:
        """Stop reading it."""
        tasks = {task for task in (self._loop, self._reading) if task is not None}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def refresh(self) -> None:
        """Read it now, unless that was just tried. Concurrent callers share one attempt."""
        if self._reading is None or self._reading.done():
            now = self._clock.monotonic()
            if self._tried_at is not None and now - self._tried_at < self.pause_seconds:
                return
            self._tried_at = now
            self._reading = asyncio.create_task(self._try())
        await asyncio.shield(self._reading)

    async def _again_and_again(self) -> None:
        while True:
            seconds = self.pause_seconds if self.failed else self._interval_seconds
            await asyncio.sleep(seconds * self._entropy.uniform(1 - _JITTER, 1 + _JITTER))
            await self.refresh()

    async def _try(self) -> None:
        try:
            async with asyncio.timeout(_READ_SECONDS):
                self._take(await asyncio.to_thread(self._read))
        except Exception as error:  # noqa: BLE001 - after any error it is read again later
            self._keep(error)

    def _take(self, raw: bytes) -> None:
        if raw != self._raw:
            self.value = self._parse(raw)
            self._raw = raw
            log.info("credentials_read", source=self._name)
            self.on_change()
        self._read_at = self._clock.monotonic()
        self.failed = False

    def _keep(self, error: Exception) -> None:
        if not self.failed:
            log.warning("credentials_not_read", source=self._name, error=repr(error))
        self.failed = True
        if self._stale_seconds is not None and self._clock.monotonic() - self._read_at > self._stale_seconds:
            self.value, self._raw = self._empty, None


def read_file(path: Path) -> bytes:
    """Return the content of a file. Raises OSError, and ValueError if it is too large."""
    with path.open("rb") as file:
        body = file.read(_MAX_BYTES + 1)
    _require_bounded(body)
    return body


def fetch(url: str) -> bytes:
    """Return the content of a URL. Raises OSError, http.client.HTTPException, and ValueError if it is too large."""
    # Through the proxy of the environment, if there is one, unless the issuer is on this machine.
    opener = _opener if url.startswith("https:") else _direct_opener
    ends_at = SYSTEM_CLOCK.monotonic() + _READ_SECONDS
    body = bytearray()
    with opener.open(url, timeout=_FETCH_SECONDS) as answer:
        while chunk := answer.read1(_CHUNK_BYTES):
            body += chunk
            if SYSTEM_CLOCK.monotonic() > ends_at:
                raise TimeoutError(f"not read within {_READ_SECONDS:g} s")
            _require_bounded(body)
    return bytes(body)


def is_fetchable(url: str) -> bool:
    """Return whether keys may come from this URL: over TLS, or from this machine; without a user and password, which
    would be logged.
    """
    parts = urlsplit(url)
    if "@" in parts.netloc:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in ("127.0.0.1", "::1", "localhost"))


def _nothing() -> None:
    """Do nothing on a change."""


def _require_bounded(body: bytes | bytearray) -> None:
    if len(body) > _MAX_BYTES:
        raise ValueError(f"more than {_MAX_BYTES} bytes")


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A handler that refuses redirects, because only the configured URL is trusted."""

    def redirect_request(self, *arguments: object) -> NoReturn:
        raise urllib.error.URLError("it redirects elsewhere")


_opener = urllib.request.build_opener(_NoRedirects)
_direct_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirects)
