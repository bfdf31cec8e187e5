"""Limits the rate of each caller, over all gateways together. See ADR 26."""

import hashlib
import math
from collections.abc import Iterator, Sequence
from typing import Protocol

from google.protobuf.message import Message
from prometheus_client import CollectorRegistry, Counter

from holdfast_chassis.clock import SYSTEM_CLOCK, Clock
from holdfast_chassis.identity.principal import ANONYMOUS, Principal
from holdfast_chassis.logs import get_logger
from holdfast_gateway.exchange import Headers
from holdfast_gateway.problems import RATE_LIMITED, Problem, ProblemError
from holdfast_gateway.rate_limit import Buckets, Rate, Verdict

log = get_logger(__name__)

_MICROSECONDS = 1_000_000
_MOST_BUCKETS = 100_000
_ALONE_SECONDS = 1.0
"""How long this gateway decides alone after a failure, so that no request waits for a server that does not answer."""


class Shared(Protocol):
    """Buckets that all gateways share."""

    replicas: int

    async def take(self, keys: Sequence[str]) -> list[Verdict]:
        """Take one request out of each bucket. Raises ConnectionError."""
        ...

    async def stop(self) -> None:
        """Close the connections."""
        ...


class RateLimiter:
    """A rate limiter that is exact while the shared buckets answer. Otherwise each gateway admits its share of the
    rate.
    """

    def __init__(
        self, rate: Rate, shared: Shared | None, registry: CollectorRegistry, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self._rate = rate
        self._shared = shared
        self._clock = clock
        self._own = Buckets(_MOST_BUCKETS)
        self._alone_until = 0.0
        self._policy = f'"default";q={rate.requests};w={rate.window // _MICROSECONDS}'
        self._refused = Counter("holdfast_rate_limited_requests", "Requests over a caller's rate.", registry=registry)
        self._alone = Counter(
            "holdfast_rate_limit_alone_requests",
            "Requests whose rate this gateway judged by its own count, because Redis did not answer.",
            registry=registry,
        )

    async def admit(self, keys: Sequence[str]) -> Headers:
        """Count a request of the caller with these keys. Return the headers with the rest of its rate.

        Raises ProblemError if a rate is used up.
        """
        verdict = max(await self._verdicts(keys), key=lambda each: (each.retry_in, each.full_in))
        headers = self._headers(verdict)
        if not verdict.retry_in:
            return headers
        self._refused.inc()
        detail = f"At most {self._rate.requests} requests in {self._rate.window / _MICROSECONDS:g} s."
        seconds = verdict.retry_in / _MICROSECONDS
        raise ProblemError(Problem(RATE_LIMITED, detail, retry_after_seconds=seconds, headers=tuple(headers)))

    async def stop(self) -> None:
        """Close the connections."""
        if self._shared is not None:
            await self._shared.stop()

    async def _verdicts(self, keys: Sequence[str]) -> Sequence[Verdict]:
        rate, now = self._rate, self._clock.monotonic()
        if self._shared is not None:
            if now >= self._alone_until:
                try:
                    return await self._shared.take(keys)
                except ConnectionError as error:
                    self._alone_until = now + _ALONE_SECONDS
                    log.warning("rate_limits_not_shared", error=str(error), replicas=self._shared.replicas)
            rate = rate.share(self._shared.replicas)
            self._alone.inc()
        return [self._own.take(rate, key, int(now * _MICROSECONDS)) for key in keys]

    def _headers(self, verdict: Verdict) -> Headers:
        """Return the headers of draft-ietf-httpapi-ratelimit-headers-10."""
        seconds = math.ceil((verdict.retry_in or verdict.full_in) / _MICROSECONDS)
        told = f'"default";r={verdict.remaining(self._rate)};t={seconds}'
        return [("ratelimit-policy", self._policy), ("ratelimit", told)]


def keys_of(kind: str, principal: Principal, address: str, request: Message) -> list[str]:
    """Return the keys of a request's buckets. They are hashes, because names may be long and private.

    Methods of each kind are counted apart, so that what begins purchases uses up nothing of what ends them. A buyer is
    counted as the customer that it is; a shop's backend for each customer that it names, else as itself; a caller
    without a credential by its address and, since addresses are easy to come by, by the customer that it names.
    """
    return [hashlib.sha256(f"{kind} {who}".encode()).hexdigest()[:32] for who in _callers(principal, address, request)]


def _callers(principal: Principal, address: str, request: Message) -> Iterator[str]:
    customer = principal.customer or getattr(request, "customer", "")
    if principal == ANONYMOUS:
        yield f"address {address}"
    elif not customer:
        yield f"principal {principal.name}"
    if customer:
        yield f"customer {customer}"
