"""The format of log lines, and logging that never fails a call."""

import asyncio
import json
import logging
import os
import warnings
from datetime import UTC, datetime

import pytest
import structlog

from holdfast_chassis import logs


class FixedClock:
    def monotonic(self):
        return 0.0

    def now(self):
        return datetime(2026, 11, 27, 12, 30, 0, 250_000, tzinfo=UTC)


SECRET = "hunter2"


def refuse():
    password = SECRET
    raise ConnectionError("refused" if password else "let in")


@pytest.fixture
def configure():
    """Configure as a service does, and undo it."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level

    def configure(level="info", form="json"):
        logs.configure("inventory", "1.2.3", level, form, FixedClock())

    yield configure
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture
def line(capfd):
    """The one line written."""

    def line():
        (text,) = capfd.readouterr().out.splitlines()
        return json.loads(text)

    return line


def test_an_event_is_one_json_line_with_who_and_when(configure, line):
    log = logs.get_logger("rpc")
    configure()
    log.info("call", code="OK", milliseconds=1.5)
    assert line() == {
        "time": "2026-11-27T12:30:00.250000Z",
        "level": "info",
        "event": "call",
        "logger": "rpc",
        "service": "inventory",
        "version": "1.2.3",
        "code": "OK",
        "milliseconds": 1.5,
    }


def test_events_below_the_level_are_not_written(configure, capfd):
    configure(level="warning")
    logs.get_logger("rpc").info("call")
    assert capfd.readouterr().out == ""


def test_an_unknown_level_is_refused(configure):
    with pytest.raises(ValueError, match="loud"):
        configure(level="loud")


def test_exceptions_are_part_of_the_line(configure, line):
    configure()
    try:
        refuse()
    except ConnectionError:
        logs.get_logger("rpc").exception("failed")
    written = line()
    assert written["level"] == "error"
    assert written["exception"].endswith("ConnectionError: refused")


@pytest.mark.parametrize("value", ["\ud800", 2**70, object(), b"\xff", {1: 2}, {"x"}])
def test_nothing_is_too_odd_to_be_logged(configure, line, value):
    configure()
    logs.get_logger("rpc").info("odd", value=value)
    assert line()["event"] == "odd"


def test_a_reader_that_went_away_fails_no_call(configure, monkeypatch):
    configure()
    reader, writer = os.pipe()
    os.close(reader)
    monkeypatch.setattr(logs, "_STDOUT", writer)
    logs.get_logger("rpc").info("call")
    os.close(writer)


def test_what_libraries_log_is_in_the_same_form(configure, line):
    configure()
    logging.getLogger("asyncpg.pool").warning("%d left", 3, exc_info=OSError("gone"))
    written = line()
    assert (written["logger"], written["level"], written["event"]) == ("asyncpg.pool", "warning", "3 left")
    assert written["exception"] == "OSError: gone"


def test_warnings_are_logged(configure, line):
    configure()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    assert "DeprecationWarning: old" in line()["event"]


def test_a_terminal_gets_readable_lines_without_local_variables(configure, capfd):
    configure(form="console")
    try:
        refuse()
    except ConnectionError:
        logs.get_logger("rpc").exception("failed", sale="drop-1", odd="\ud800")
    written = capfd.readouterr().out
    assert "12:30:00.250" in written
    assert "sale=drop-1" in written
    assert "ConnectionError: refused" in written
    assert SECRET not in written


def test_auto_is_json_unless_stdout_is_a_terminal(configure, capfd, monkeypatch):
    configure(form="auto")
    logs.get_logger("rpc").info("call")
    assert capfd.readouterr().out.startswith("{")
    monkeypatch.setattr(os, "isatty", lambda descriptor: descriptor == 1)
    configure(form="auto")
    logs.get_logger("rpc").info("call")
    assert not capfd.readouterr().out.startswith("{")


async def test_the_lines_of_one_turn_of_the_event_loop_are_written_together_and_in_order(configure, monkeypatch):
    configure()
    written = []
    monkeypatch.setattr(os, "write", lambda _descriptor, data: written.append(bytes(data)) or len(data))
    log = logs.get_logger("rpc")
    log.info("first")
    log.info("second")
    assert written == []
    turned = asyncio.Event()
    asyncio.get_running_loop().call_soon(turned.set)
    await turned.wait()
    (together,) = written
    assert [json.loads(line)["event"] for line in together.splitlines()] == ["first", "second"]
