"""The output of `holdfast up`, on a terminal and in a file."""

import io

from holdfast_devstack.console import Console


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_on_a_terminal_the_live_line_is_drawn_over(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    stream = Terminal()
    console = Console(stream)
    console.show("50 left")
    console.show("49 left")
    assert stream.getvalue() == "\r\x1b[K50 left\r\x1b[K49 left"


def test_on_a_terminal_a_line_that_stays_goes_above_the_live_line(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    stream = Terminal()
    console = Console(stream)
    console.show("50 left")
    console.say("stopping")
    assert stream.getvalue().endswith("\r\x1b[Kstopping\n50 left")


def test_live_line_never_wraps(monkeypatch):
    monkeypatch.setenv("COLUMNS", "10")
    stream = Terminal()
    Console(stream).show("x" * 50)
    assert stream.getvalue() == "\r\x1b[K" + "x" * 9


def test_in_a_file_the_live_line_is_a_line_when_it_changes():
    stream = io.StringIO()
    console = Console(stream)
    for text in ("50 left", "50 left", "49 left"):
        console.show(text)
    assert stream.getvalue() == "50 left\n49 left\n"


def test_reader_that_went_away_is_no_failure():
    class Broken(io.StringIO):
        def write(self, _):
            raise BrokenPipeError

    Console(Broken()).say("anyone?")
