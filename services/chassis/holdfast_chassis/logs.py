"""Logs: one line of JSON per event, or a readable line on a terminal."""

import asyncio
import atexit
import json
import logging
import os
from typing import Literal, NoReturn, cast

import orjson
import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

from holdfast_chassis.clock import SYSTEM_CLOCK, Clock
from holdfast_chassis.error_reports import reporting

_STDOUT = 1

Form = Literal["auto", "json", "console"]


def get_logger(name: str) -> FilteringBoundLogger:
    """Return the logger of that name. This may be called before configure()."""
    return cast("FilteringBoundLogger", structlog.get_logger(name))


def configure(service: str, version: str, level: str, form: Form, clock: Clock = SYSTEM_CLOCK) -> None:
    """Send the logs of this process and its libraries to stdout. Call it once, before anything else.

    `level` is a name of the standard library ("info"). Raises ValueError for any other name.
    """
    threshold = logging.getLevelNamesMapping().get(level.upper())
    if threshold is None:
        raise ValueError(f"no such log level: {level}")
    readable = form == "console" or (form == "auto" and os.isatty(_STDOUT))
    structlog.configure(
        processors=[*reporting(), *(_readable(clock) if readable else [_JsonLine(service, version, clock)])],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        context_class=dict,
        logger_factory=_Stdout,
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=threshold, handlers=[_FromLibraries()], force=True)
    logging.captureWarnings(True)


def exit_now(code: int) -> NoReturn:
    """End the process without any of its exit handlers, but with what it has logged."""
    _lines.flush()
    os._exit(code)


class _JsonLine:
    """A processor that renders an event as one line. Normally it is the only one, because every call logs an event."""

    def __init__(self, service: str, version: str, clock: Clock) -> None:
        self._about = {"service": service, "version": version}
        self._now = clock.now

    def __call__(self, logger: WrappedLogger, level: str, event: EventDict) -> bytes:
        if "exc_info" in event:
            event = structlog.processors.format_exc_info(logger, level, event)
        now = self._now()
        # The event comes before the other fields, for people who read the raw lines.
        line = {"time": now, "level": level, "event": "", "logger": logger.name, **self._about, **event}
        try:
            return orjson.dumps(line, default=str, option=orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE)
        except orjson.JSONEncodeError:
            # Lone surrogates (from undecodable input) and huge integers: slower, but logging must never fail a call.
            return json.dumps(line | {"time": now.isoformat()}, default=str).encode() + b"\n"


def _readable(clock: Clock) -> list[Processor]:
    def stamp(logger: WrappedLogger, level: str, event: EventDict) -> EventDict:
        time = clock.now().strftime("%H:%M:%S.%f")[:-3]
        return {"timestamp": time, "level": level, "logger": logger.name, **event}

    # Plain tracebacks, because others show local variables, which may be secrets.
    render = structlog.dev.ConsoleRenderer(colors=os.isatty(_STDOUT), exception_formatter=structlog.dev.plain_traceback)

    def line(logger: WrappedLogger, level: str, event: EventDict) -> bytes:
        return f"{render(logger, level, event)}\n".encode(errors="backslashreplace")

    return [stamp, line]


class _Stdout:
    """The output of a logger."""

    def __init__(self, name: str) -> None:
        self.name = name

    def msg(self, line: bytes) -> None:
        _lines.write(line)

    debug = info = warning = error = critical = msg


class _Lines:
    """An output that writes the lines of one turn of the event loop together, because every call logs a line."""

    def __init__(self) -> None:
        self._waiting: list[bytes] = []
        self._loop: asyncio.AbstractEventLoop | None = None

    def write(self, line: bytes) -> None:
        """Write now, or on an event loop at its next turn."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            _write(line)
            return
        if not self._waiting or loop is not self._loop:
            self._loop = loop
            loop.call_soon(self.flush)
        self._waiting.append(line)

    def flush(self) -> None:
        """Write the waiting lines."""
        lines, self._waiting = self._waiting, []
        _write(b"".join(lines))


def _write(lines: bytes) -> None:
    """Write whole lines to stdout. A closed pipe must never fail a sale."""
    try:
        while lines:
            lines = lines[os.write(_STDOUT, lines) :]
    except OSError:
        return


_lines = _Lines()
# Lines that were left by a loop that was closed.
atexit.register(_lines.flush)


class _FromLibraries(logging.Handler):
    """A handler that forwards the logs of libraries."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log the record as an event."""
        details = {"exc_info": record.exc_info} if record.exc_info else {}
        get_logger(record.name).log(record.levelno, record.getMessage(), **details)
