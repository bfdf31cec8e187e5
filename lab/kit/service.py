"""How a service is started: its command, its environment, where its log goes, and how its end is awaited.

A `Service` is read for the events of its log; `logged` starts a service that writes its log to a file.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from holdfast_chassis.clock import SYSTEM_CLOCK
from holdfast_devstack.child_process import ChildProcess, stopped_with_parent

START_SECONDS = 60.0
STOP_SECONDS = 40.0
_LOG_LINES = 20_000
_LOOK_SECONDS = 0.5
_URLS = {"database_url", "redis_url"}
# The variables of Holdfast and of the lab's launchers, which are not inherited from the parent's environment.
_OURS = ("HOLDFAST_", "CHAOS_", "DRILL_", "LAB_", "DATABASE_URL", "REDIS_URL")
# Except this one: `HOLDFAST_TRANSPORT=envoy make drill`.
_INHERITED = "HOLDFAST_TRANSPORT"


def program(module: str, *arguments: str, launcher: str = "") -> list[str]:
    """Return `python -m MODULE ARGUMENTS`; a launcher is a module that runs it."""
    return [sys.executable, "-m", *([launcher] if launcher else []), module, *arguments]


def environment(wanted: Mapping[str, object]) -> dict[str, str]:
    """Return the parent's environment with the wanted variables; of Holdfast's settings only the transport."""
    inherited = {name: value for name, value in os.environ.items() if name == _INHERITED or not name.startswith(_OURS)}
    return inherited | {name: str(value) for name, value in wanted.items()}


def variables(settings: Mapping[str, object]) -> dict[str, object]:
    """Return settings by the names of their variables: `grpc_port` is HOLDFAST_GRPC_PORT."""
    return {name.upper() if name in _URLS else f"HOLDFAST_{name.upper()}": settings[name] for name in settings}


def logged(log_path: Path, command: list[str], wanted: Mapping[str, object], **options: Any) -> ChildProcess:
    """Return a program, not yet spawned, that appends its output to a file. `options` are those of a ChildProcess."""
    return ChildProcess(log_path.stem, command, log_path, environment=_logging_json(wanted), **options)


def migrate(wanted: Mapping[str, object]) -> str:
    """Bring the schema up to date, and return the output. Raises subprocess.SubprocessError."""
    return subprocess.run(
        program("holdfast_inventory", "migrate"),
        env=environment(wanted),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=START_SECONDS,
        check=True,
        text=True,
    ).stdout


async def ended(pid: int) -> None:
    """Wait until a child process has ended. Returns at once if it was waited for already."""
    over = asyncio.Event()
    with suppress(ProcessLookupError):
        descriptor = os.pidfd_open(pid)
        loop = asyncio.get_running_loop()
        loop.add_reader(descriptor, over.set)
        try:
            await over.wait()
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)


class Service:
    """A process of a service. Start it on the main thread; `with` kills it at the end."""

    def __init__(
        self,
        module: str,
        wanted: Mapping[str, object],
        *,
        launcher: str = "",
        stop_signal: signal.Signals = signal.SIGKILL,
        on_line: Callable[[str], None] | None = None,
    ) -> None:
        """`wanted` are variables of its environment. Its log is JSON, and is read for its events.

        `stop_signal` is sent to it when its parent ends. `on_line` is called with each line of its log, on a thread.
        """
        self._process = subprocess.Popen(
            [*stopped_with_parent(stop_signal), *program(module, "serve", launcher=launcher)],
            env=_logging_json(wanted),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            process_group=0,
        )
        self._on_line = on_line
        self._lines: deque[str] = deque(maxlen=_LOG_LINES)
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def output(self) -> str:
        """Its output so far."""
        with self._news:
            return "\n".join(self._lines)

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the log lines of that event so far."""
        return [line for line in map(_parsed, self.output.splitlines()) if line.get("event") == name]

    def wait_for(self, event: str, seconds: float = START_SECONDS, **fields: object) -> dict[str, Any]:
        """Return the first log line of that event with those fields, as soon as there is one.

        Raises AssertionError, with the end of the log, if there is none in time or the process ends first.
        """
        deadline = SYSTEM_CLOCK.monotonic() + seconds
        with self._news:
            seen = 0
            while True:
                lines = list(self._lines)
                for line in map(_parsed, lines[seen:]):
                    if line.get("event") == event and fields.items() <= line.items():
                        return line
                seen = len(lines)
                remaining = deadline - SYSTEM_CLOCK.monotonic()
                assert remaining > 0, f"it did not log {event!r}:\n{chr(10).join(lines[-40:])}"
                assert self._reader.is_alive(), f"it ended without {event!r}:\n{chr(10).join(lines[-40:])}"
                self._news.wait(min(remaining, _LOOK_SECONDS))

    async def says(self, event: str, seconds: float = START_SECONDS, **fields: object) -> dict[str, Any]:
        """Wait as `wait_for`, without blocking the event loop."""
        return await asyncio.to_thread(self.wait_for, event, seconds, **fields)

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def terminate(self) -> None:
        self.send(signal.SIGTERM)

    async def exit_code(self, seconds: float = STOP_SECONDS) -> int:
        """Wait until it has ended by itself. Raises TimeoutError."""
        async with asyncio.timeout(seconds):
            await ended(self.pid)
        return self._process.wait()

    def stop(self, seconds: float = STOP_SECONDS) -> None:
        """Stop it, or kill it after that time. Raises subprocess.TimeoutExpired in that case."""
        self.terminate()
        try:
            self._process.wait(seconds)
        finally:
            self.kill()

    def kill(self) -> None:
        """Send SIGKILL. Has no effect if it has ended."""
        self._process.kill()
        self._process.wait()
        self._reader.join(STOP_SECONDS)
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _read(self) -> None:
        for line in self._process.stdout or ():
            text = line.decode(errors="replace").rstrip("\n")
            if self._on_line is not None:
                self._on_line(text)
            with self._news:
                self._lines.append(text)
                self._news.notify_all()
        with self._news:
            self._news.notify_all()


def _logging_json(wanted: Mapping[str, object]) -> dict[str, str]:
    return environment({"HOLDFAST_LOG_FORMAT": "json", **wanted})


def _parsed(line: str) -> dict[str, Any]:
    """Return a line of a JSON log; empty for any other."""
    found: dict[str, Any] = json.loads(line) if line.startswith("{") else {}
    return found
