"""One line of JSON for every event, or a readable one on a terminal."""

import json
import logging
import os
import sys
from typing import Literal, cast

import orjson
import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

from holdfast_chassis.clock import SYSTEM_CLOCK, Clock

Form = Literal["auto", "json", "console"]


def get_logger(name: str) -> FilteringBoundLogger:
    """Return the logger of that name; it may be made before configure() is called."""
    return cast("FilteringBoundLogger", structlog.get_logger(logger=name))


def configure(service: str, version: str, level: str, form: Form, clock: Clock = SYSTEM_CLOCK) -> None:
    """Send what this process logs, libraries included, to stdout. Call it once, first of all.

    `level` is a name of the standard library's ("info"). Raises ValueError for another.
    """
    threshold = logging.getLevelNamesMapping().get(level.upper())
    if threshold is None:
        raise ValueError(f"no such log level: {level}")
    readable = form == "console" or (form == "auto" and sys.stdout.isatty())
    structlog.configure(
        processors=_readable(clock) if readable else [_JsonLine(service, version, clock)],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        context_class=dict,
        logger_factory=_Stdout,
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=threshold, handlers=[_FromLibraries()], force=True)
    logging.captureWarnings(True)


class _JsonLine:
    """Renders an event as one line: a single processor, because every call that is served logs one."""

    def __init__(self, service: str, version: str, clock: Clock) -> None:
        self._about = {"service": service, "version": version}
        self._now = clock.now

    def __call__(self, _logger: WrappedLogger, level: str, event: EventDict) -> bytes:
        if "exc_info" in event:
            event = structlog.processors.format_exc_info(_logger, level, event)
        line = {"time": self._now(), "level": level, **self._about, **event}
        try:
            return orjson.dumps(line, default=str, option=orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE)
        except orjson.JSONEncodeError:
            # Lone surrogates (from undecodable input) and huge integers: slower, but it must never fail a call.
            return json.dumps(line, default=str).encode() + b"\n"


def _readable(clock: Clock) -> list[Processor]:
    def stamp(_logger: WrappedLogger, level: str, event: EventDict) -> EventDict:
        return {"timestamp": clock.now().strftime("%H:%M:%S.%f")[:-3], "level": level, **event}

    render = structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty())

    def line(logger: WrappedLogger, level: str, event: EventDict) -> bytes:
        return f"{render(logger, level, event)}\n".encode(errors="backslashreplace")

    return [stamp, line]


class _Stdout:
    """Writes whole lines to stdout, unbuffered. A reader that went away must never fail a sale."""

    def __init__(self, *_: object) -> None:
        self._descriptor = sys.stdout.fileno()

    def msg(self, line: bytes) -> None:
        try:
            while line:
                line = line[os.write(self._descriptor, line) :]
        except OSError:
            return

    debug = info = warning = error = critical = msg


class _FromLibraries(logging.Handler):
    """Passes on what libraries log through the standard library's logging."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log the record as an event of ours."""
        details = {"exc_info": record.exc_info} if record.exc_info else {}
        get_logger(record.name).log(record.levelno, record.getMessage(), **details)
