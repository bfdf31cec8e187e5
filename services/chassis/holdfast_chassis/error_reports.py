"""Reports unexpected exceptions to Sentry, or to a receiver of its protocol, if SENTRY_DSN is set.

A report says which exceptions were raised where. It has no message of an exception, no local variable and no request,
because each of these could name a customer or contain a secret.
"""

import os
from typing import TYPE_CHECKING

from structlog.typing import EventDict, Processor, WrappedLogger

if TYPE_CHECKING:
    from sentry_sdk.types import Event, Hint

_LEVELS = {"error", "critical", "exception"}
_FIELDS = ("method", "request_id", "trace_id", "command", "work")
"""The fields of a log event that say where it happened."""
_STOP_SECONDS = 2
_LEFT_OUT = "(left out)"
_NOT_INSTALLED = "SENTRY_DSN is set, but sentry-sdk is not installed: install holdfast[errors]"


def reporting() -> list[Processor]:
    """Return the processor of log events that reports exceptions; nothing if SENTRY_DSN is not set.

    Ends the process with a message if the SDK is not installed or the DSN is not valid.
    """
    if not os.environ.get("SENTRY_DSN"):
        return []
    try:
        import sentry_sdk  # noqa: PLC0415 - only if errors are reported
        from sentry_sdk.integrations.atexit import AtexitIntegration  # noqa: PLC0415
    except ImportError as error:
        raise SystemExit(_NOT_INSTALLED) from error
    try:
        # SENTRY_DSN, SENTRY_ENVIRONMENT and SENTRY_RELEASE are read by the SDK.
        sentry_sdk.init(
            default_integrations=False,
            integrations=[AtexitIntegration(callback=lambda _waiting, _timeout: None)],
            include_local_variables=False,
            max_breadcrumbs=0,
            send_default_pii=False,
            shutdown_timeout=_STOP_SECONDS,
            before_send=_scrubbed,
        )
    except ValueError as error:
        raise SystemExit("SENTRY_DSN is not a valid DSN") from error
    return [_report]


def _report(logger: WrappedLogger, level: str, event: EventDict) -> EventDict:
    """Report the exception of a log event."""
    if level in _LEVELS and event.get("exc_info"):
        import sentry_sdk  # noqa: PLC0415

        raised = event["exc_info"]
        with sentry_sdk.new_scope() as scope:
            scope.set_tag("logger", logger.name)
            scope.set_tag("event", str(event.get("event", "")))
            for name in _FIELDS:
                if event.get(name):
                    scope.set_tag(name, str(event[name]))
            sentry_sdk.capture_exception(None if raised is True else raised)
    return event


def _scrubbed(event: "Event", _: "Hint") -> "Event":
    for raised in event.get("exception", {}).get("values", ()):
        raised["value"] = _LEFT_OUT
    for name in ("request", "user", "extra", "breadcrumbs", "logentry", "message"):
        event.pop(name, None)  # type: ignore[misc]
    return event
