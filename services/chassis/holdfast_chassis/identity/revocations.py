"""Tokens that are refused before they expire: their ids (`jti`), one a line, in a file that is read again."""

from pathlib import Path

from holdfast_chassis.clock import SYSTEM_CLOCK, Clock
from holdfast_chassis.identity.reloaded import Reloaded, read_file

_MAX_IDS = 10_000


class Revocations:
    """The ids of a file. While it cannot be read, the last ones count."""

    def __init__(self, path: Path, clock: Clock = SYSTEM_CLOCK) -> None:
        nothing: frozenset[str] = frozenset()
        self._ids = Reloaded(str(path), lambda: read_file(path), parse_revocations, nothing, clock=clock)

    async def start(self) -> None:
        """Start reading the ids. Raises OSError or ValueError if they are unusable."""
        await self._ids.start()

    async def stop(self) -> None:
        """Stop reading the ids."""
        await self._ids.stop()

    def has(self, token_id: str) -> bool:
        """Return whether the token with this id is refused."""
        return token_id in self._ids.value


def parse_revocations(raw: bytes) -> frozenset[str]:
    """Return the ids of a file; empty lines and lines that begin with # do not count. Raises ValueError."""
    lines = (line.strip() for line in raw.decode().splitlines())
    ids = frozenset(line for line in lines if line and not line.startswith("#"))
    if len(ids) > _MAX_IDS:
        raise ValueError(f"more than {_MAX_IDS} ids: take out those of tokens that have expired")
    return ids
