"""The part of a service's life in which its callers become known."""

from holdfast_chassis.identity.authenticator import Authenticator
from holdfast_chassis.identity.settings import IdentitySettings, require_safe_listener
from holdfast_chassis.lifecycle import Step

_START_SECONDS = 10.0
_STOP_SECONDS = 1.0
"""Enough, because stopping only cancels tasks."""


def identity_step(settings: IdentitySettings, host: str, authenticator: Authenticator | None) -> Step:
    """Return the step that starts the authenticator, or refuses to start without one on a `host` beyond loopback.

    Its start raises CannotStartError.
    """

    async def start() -> None:
        require_safe_listener(settings, host)
        if authenticator is not None:
            await authenticator.start()

    async def stop() -> None:
        if authenticator is not None:
            await authenticator.stop()

    return Step("identity", start, stop, _START_SECONDS, _STOP_SECONDS)
