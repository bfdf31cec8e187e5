"""A reader of server-sent events."""

from typing import Protocol


class Lines(Protocol):
    """The body of an answer, with aiohttp's interface."""

    async def readline(self) -> bytes:
        """Return the next line with its line end; empty at the end of the body."""


async def next_block(content: Lines) -> dict[str, str] | None:
    """Return the next block, also a comment or a retry time, as a dict of its lines; None at the end.

    A comment's name is empty. The lines of a body must be shorter than its reader's limit.
    """
    block: dict[str, str] = {}
    while line := (await content.readline()).decode().rstrip("\n"):
        name, _, value = line.partition(": ")
        block[name] = value
    return block or None


async def next_event(content: Lines) -> dict[str, str] | None:
    """Return the next block with data; None at the end."""
    while (block := await next_block(content)) is not None:
        if "data" in block:
            return block
    return None
