"""A named child process that logs to a file, starts and stops within bounds, and never outlives its parent."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from holdfast_chassis.clock import SYSTEM_CLOCK

_LOG_LIMIT_BYTES = 16 * 1024 * 1024
_POLL_SECONDS = 0.02
_AFTER_KILL_SECONDS = 5.0


class StartError(Exception):
    """A child could not be started. The message says why, for people."""


class ChildProcess:
    """One child in a process group of its own, so that a terminal's Ctrl-C reaches only its parent.

    Call `spawn` on the main thread: the kernel sends the child its stop signal when the thread that
    made it ends, which is what keeps a killed parent from leaving children behind.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log_path: Path,
        *,
        environment: Mapping[str, str] | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        prefix: Sequence[str] = (),
    ) -> None:
        """`prefix` is a program that changes its privileges and then executes the command."""
        self.name = name
        self.log_path = log_path
        self._command = [*prefix, *stopped_with_parent(stop_signal), *command]
        self._environment = environment
        self._stop_signal = stop_signal
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id. Raises RuntimeError before the first `spawn`."""
        return self._spawned().pid

    @property
    def is_running(self) -> bool:
        """Whether it was spawned and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def exit_status(self) -> int | None:
        """Exit code, negative for a signal; None while it runs or before it was spawned."""
        return None if self._process is None else self._process.poll()

    def spawn(self) -> None:
        """Start the program without waiting. Raises StartError if it cannot be executed."""
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        _keep_log_small(self.log_path)
        with self.log_path.open("ab") as log:
            try:
                self._process = subprocess.Popen(  # noqa: S603 - a command of ours, without a shell
                    self._command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=self._environment,
                    process_group=0,
                )
            except OSError as error:
                raise StartError(f"{self.name} cannot be executed: {error}") from error

    def wait_until(self, is_ready: Callable[[], bool], timeout_seconds: float) -> None:
        """Wait for `is_ready()`. Raises StartError, with the end of the log, on exit or after the timeout."""
        deadline = SYSTEM_CLOCK.monotonic() + timeout_seconds
        while not is_ready():
            if not self.is_running:
                raise StartError(f"{self.name} ended with status {self.exit_status} while starting.{self._evidence()}")
            if SYSTEM_CLOCK.monotonic() > deadline:
                raise StartError(f"{self.name} was not ready after {timeout_seconds:g} s.{self._evidence()}")
            time.sleep(_POLL_SECONDS)

    def stop(self, timeout_seconds: float, *, insist: Sequence[signal.Signals] = ()) -> bool:
        """Send signals until it ends, SIGKILL last. Return whether the first one was enough.

        Wait `timeout_seconds` after each signal. Has no effect if it is not running.
        """
        for attempt, number in enumerate([self._stop_signal, *insist]):
            self.send_signal(number)
            if self.wait(timeout_seconds):
                return attempt == 0
        self.kill()
        return False

    def ask_to_stop(self) -> None:
        """Send its stop signal, for the first time or to hurry it."""
        self.send_signal(self._stop_signal)

    def kill(self) -> None:
        """Send SIGKILL to it and its children, and wait until it is gone."""
        if self._process is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self.wait(_AFTER_KILL_SECONDS)

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the process itself. Has no effect if it has ended."""
        if self._process is not None:
            self._process.send_signal(number)

    def wait(self, timeout_seconds: float) -> bool:
        """Wait for its end. Return whether it ended in time."""
        if self._process is None:
            return True
        try:
            self._process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def log_tail(self, lines: int = 15) -> str:
        """Return the last lines of its log."""
        try:
            text = self.log_path.read_bytes()[-64 * 1024 :].decode(errors="replace")
        except FileNotFoundError:
            return ""
        return "\n".join(text.splitlines()[-lines:])

    def _evidence(self) -> str:
        return f" The end of {self.log_path}:\n{self.log_tail()}"

    def _spawned(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError(f"{self.name} was never spawned")
        return self._process


def stopped_with_parent(stop_signal: signal.Signals) -> list[str]:
    """Return a prefix that makes the kernel send `stop_signal` when the parent dies, where setpriv exists (Linux)."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", stop_signal.name.removeprefix("SIG"), "--"] if setpriv else []


def _keep_log_small(path: Path) -> None:
    if path.exists() and path.stat().st_size > _LOG_LIMIT_BYTES:
        path.replace(path.with_name(path.name + ".1"))
