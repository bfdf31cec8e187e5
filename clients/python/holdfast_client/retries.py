"""Whether, and when, a failed call is sent again."""

import threading
from dataclasses import dataclass

import grpc

from holdfast_chassis.backoff import Backoff
from holdfast_chassis.clock import Clock
from holdfast_chassis.contract import REASONS, Method
from holdfast_chassis.entropy import Entropy
from holdfast_client.errors import HoldfastError, Refusal, Unanswered

_Code = grpc.StatusCode
# Refusals for lack of capacity or of a working part: Holdfast was not able to decide. The others are decisions, which
# the caller acts on, even if another attempt may succeed (FAILED_PRECONDITION, ABORTED).
_UNDECIDED = {_Code.RESOURCE_EXHAUSTED, _Code.UNAVAILABLE, _Code.DEADLINE_EXCEEDED}
# What gRPC and proxies answer when they lose a connection, or a server stops.
_BROKEN = {_Code.UNAVAILABLE, _Code.CANCELLED, _Code.DEADLINE_EXCEEDED, _Code.UNKNOWN, _Code.INTERNAL}
# "Nothing was done" by this attempt says nothing about the earlier one (ADR 15).
_SENT_BEFORE = ("holdfast-previous-attempts", "1")
_UNKNOWN = {"OUTCOME_UNKNOWN", "INVENTORY_UNAVAILABLE"} & REASONS.keys()

Metadata = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Policy:
    """How long a client tries.

    `timeout_seconds` limits a whole call, `attempt_seconds` each attempt of one that can be repeated. The delay between
    attempts begins with `first_delay_seconds` and doubles up to `most_delay_seconds`; it is longer if the refusal asks
    for that. A watch fails if it could not be resumed for `watch_patience_seconds`.
    """

    timeout_seconds: float = 15.0
    attempt_seconds: float = 5.0
    first_delay_seconds: float = 0.1
    most_delay_seconds: float = 2.0
    watch_patience_seconds: float = 60.0


class RetryBudget:
    """A client's tokens for retries, as in gRPC's retry throttling: an outage does not multiply the load.

    A call that Holdfast could not decide costs a token, another gives a tenth of one back. With half of the tokens or
    fewer, nothing is repeated. It may be used by several threads.
    """

    def __init__(self, tokens: float = 20.0, regained: float = 0.1) -> None:
        self._most = tokens
        self._tokens = tokens
        self._regained = regained
        self._lock = threading.Lock()

    @property
    def allows_another(self) -> bool:
        """Whether a call may be repeated."""
        return self._tokens > self._most / 2

    def note(self, error: HoldfastError | None) -> None:
        """Note the end of an attempt; None: it had an answer."""
        gain = -1.0 if error is not None and is_undecided(error) else self._regained
        with self._lock:
            self._tokens = min(self._most, max(0.0, self._tokens + gain))


class Attempts:
    """The attempts of one call."""

    def __init__(self, method: Method, policy: Policy, budget: RetryBudget, clock: Clock, entropy: Entropy) -> None:
        self._method = method
        self._policy = policy
        self._budget = budget
        self._clock = clock
        self._backoff = Backoff(policy.first_delay_seconds, policy.most_delay_seconds, entropy)
        self._deadline = clock.monotonic() + policy.timeout_seconds
        self._may_be_applied = False

    @property
    def timeout_seconds(self) -> float:
        """The time for the next attempt."""
        left = max(0.0, self._deadline - self._clock.monotonic())
        return min(left, self._policy.attempt_seconds) if self._method.repeatable else left

    @property
    def metadata(self) -> Metadata:
        """What the next attempt must tell the server."""
        return (_SENT_BEFORE,) if self._may_be_applied else ()

    def delay_after(self, error: HoldfastError) -> float | None:
        """Return the seconds to wait before the next attempt; None: there is none."""
        if not self._helps_against(error) or not self._budget.allows_another:
            return None
        self._may_be_applied |= not self._method.kind.changes_nothing and _may_be_applied_after(error)
        delay = max(self._backoff.next_seconds(), _wanted_delay(error))
        return delay if self._clock.monotonic() + delay < self._deadline else None

    def _helps_against(self, error: HoldfastError) -> bool:
        if not self._method.repeatable:
            # Over capacity, nothing was begun. After anything else an answer to the repetition could mislead.
            return isinstance(error, Refusal) and error.retryable and error.code is _Code.RESOURCE_EXHAUSTED
        return is_undecided(error)


class Resumption:
    """The attempts of one watch, which is resumed however it ends, unless the same request would be refused again."""

    def __init__(self, policy: Policy, clock: Clock, entropy: Entropy) -> None:
        self._patience_seconds = policy.watch_patience_seconds
        self._clock = clock
        self._backoff = Backoff(policy.first_delay_seconds, policy.most_delay_seconds, entropy)
        self._heard = clock.monotonic()
        self._heard_any = False

    def heard(self) -> None:
        """Note an event."""
        self._heard = self._clock.monotonic()
        self._heard_any = True
        self._backoff.reset()

    def delay_after(self, error: HoldfastError) -> float:
        """Return the seconds to wait before the watch is resumed. Raises the error if it is not to be."""
        if not _may_resume(error) or self._clock.monotonic() - self._heard > self._patience_seconds:
            raise error
        heard_any, self._heard_any = self._heard_any, False
        wanted = _wanted_delay(error)
        return wanted if heard_any and isinstance(error, Refusal) else max(wanted, self._backoff.next_seconds())


def is_undecided(error: HoldfastError) -> bool:
    """Return whether Holdfast was not able to decide, so that another attempt may have another result."""
    if isinstance(error, Refusal):
        return error.retryable and error.code in _UNDECIDED
    return isinstance(error, Unanswered) and error.code in _BROKEN


def _may_resume(error: HoldfastError) -> bool:
    if isinstance(error, Refusal):
        return error.retryable
    return isinstance(error, Unanswered) and error.code in _BROKEN


def _may_be_applied_after(error: HoldfastError) -> bool:
    return not isinstance(error, Refusal) or error.reason in _UNKNOWN


def _wanted_delay(error: HoldfastError) -> float:
    return (error.retry_after_seconds or 0.0) if isinstance(error, Refusal) else 0.0
