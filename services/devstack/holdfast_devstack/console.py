"""What a person sees: lines that stay, and below them one that is drawn again and again."""

import shutil
import sys
from typing import TextIO

_CLEAR_LINE = "\r\x1b[K"


class Console:
    """Writes to a terminal, or to a pipe or file, where the live line becomes a line now and then."""

    def __init__(self, stream: TextIO = sys.stdout) -> None:
        self._stream = stream
        self._is_terminal = stream.isatty()
        self._live = ""
        self.live_pause_seconds = 0.1 if self._is_terminal else 5.0

    def say(self, text: str = "") -> None:
        """Writes a line that stays."""
        if self._is_terminal and self._live:
            self._write(f"{_CLEAR_LINE}{text}\n{self._fitted(self._live)}")
        else:
            self._write(f"{text}\n")

    def show(self, text: str) -> None:
        """Replaces the live line. Call it at most once in `live_pause_seconds`."""
        if text == self._live:
            return
        self._live = text
        self._write(_CLEAR_LINE + self._fitted(text) if self._is_terminal else f"{text}\n")

    def end_live(self) -> None:
        """Leaves the live line as it is; what follows is written below it."""
        if self._is_terminal and self._live:
            self._write("\n")
        self._live = ""

    def _fitted(self, text: str) -> str:
        """A line that wraps could not be drawn over."""
        return text[: shutil.get_terminal_size().columns - 1]

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError:
            return  # Nobody reads any more; what runs goes on.
