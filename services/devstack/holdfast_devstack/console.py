"""The console: permanent lines, and below them one line that is redrawn."""

import shutil
import sys
from typing import TextIO

_CLEAR_LINE = "\r\x1b[K"


class Console:
    """A console on a terminal. In a pipe or file, the live line becomes an occasional normal line."""

    def __init__(self, stream: TextIO = sys.stdout) -> None:
        self._stream = stream
        self._is_terminal = stream.isatty()
        self._live = ""
        self.live_pause_seconds = 0.1 if self._is_terminal else 5.0

    def say(self, text: str = "") -> None:
        """Write a line that stays."""
        if self._is_terminal and self._live:
            self._write(f"{_CLEAR_LINE}{text}\n{self._fitted(self._live)}")
        else:
            self._write(f"{text}\n")

    def show(self, text: str) -> None:
        """Replace the live line. Call it at most once in `live_pause_seconds`."""
        if text == self._live:
            return
        self._live = text
        self._write(_CLEAR_LINE + self._fitted(text) if self._is_terminal else f"{text}\n")

    def end_live(self) -> None:
        """Keep the live line as it is; later lines are written below it."""
        if self._is_terminal and self._live:
            self._write("\n")
        self._live = ""

    def _fitted(self, text: str) -> str:
        """Shorten the line, because a wrapped line could not be redrawn."""
        return text[: shutil.get_terminal_size().columns - 1]

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError:
            return  # The output was closed; the servers keep running.
