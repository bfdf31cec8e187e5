"""The part of a service's life in which its callers become known."""

from typing import Protocol

from holdfast_chassis.identity.authenticator import Authenticator
from holdfast_chassis.identity.settings import IdentitySettings, require_safe_listener
from holdfast_chassis.lifecycle import Step

_START_SECONDS = 10.0
_STOP_SECONDS = 1.0
"""Enough, because stopping only cancels tasks."""


class _Source(Protocol):
    """What proves somebody's identity, and is read again when it changes."""

    async def start(self) -> None:
        """Start reading it. Raises CannotStartError."""

    async def stop(self) -> None:
        """Stop reading it."""


def identity_step(
    settings: IdentitySettings, host: str, authenticator: Authenticator | None, *others: _Source | None
) -> Step:
    """Return the step that starts the authenticator and `others`, or refuses to start without one beyond loopback.

    Its start raises CannotStartError.
    """
    sources: list[_Source] = [source for source in (authenticator, *others) if source is not None]

    async def start() -> None:
        require_safe_listener(settings, host)
        for source in sources:
            await source.start()

    async def stop() -> None:
        for source in sources:
            await source.stop()

    return Step("identity", start, stop, _START_SECONDS, _STOP_SECONDS)
