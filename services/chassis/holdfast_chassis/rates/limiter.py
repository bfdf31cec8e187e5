"""Limits the rate of each caller, over all replicas of a tier together."""

from collections.abc import Sequence
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter

from holdfast_chassis.clock import SYSTEM_CLOCK, Clock
from holdfast_chassis.entropy import SYSTEM_ENTROPY, Entropy
from holdfast_chassis.lifecycle import Step
from holdfast_chassis.logs import get_logger
from holdfast_chassis.rates.gcra import MICROSECONDS, Buckets, Rate, Verdict
from holdfast_chassis.rates.settings import RateSettings
from holdfast_chassis.rates.shared_buckets import SharedBuckets

log = get_logger(__name__)

_STEP_SECONDS = 1.0
_MOST_BUCKETS = 100_000
_ALONE_SECONDS = 1.0
"""How long this replica decides alone after a failure, so that no request waits for a server that does not answer."""


class Shared(Protocol):
    """Buckets that all replicas share."""

    replicas: int

    async def take(self, keys: Sequence[str]) -> list[Verdict]:
        """Take one request out of each bucket. Raises ConnectionError."""
        ...

    async def stop(self) -> None:
        """Close the connections."""
        ...


class RateLimiter:
    """A rate limiter that is exact while the shared buckets answer. Otherwise each replica admits its share of the
    rate.
    """

    def __init__(
        self, rate: Rate, shared: Shared | None, registry: CollectorRegistry, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self.rate = rate
        self._shared = shared
        self._clock = clock
        self._own = Buckets(_MOST_BUCKETS)
        self._alone_until = 0.0
        self._refused = Counter("holdfast_rate_limited_requests", "Requests over a caller's rate.", registry=registry)
        self._alone = Counter(
            "holdfast_rate_limit_alone_requests",
            "Requests whose rate this replica judged by its own count, because Redis did not answer.",
            registry=registry,
        )

    async def take(self, keys: Sequence[str]) -> Verdict:
        """Count a request of the caller with these keys. Return the verdict of its strictest bucket."""
        verdict = max(await self._verdicts(keys), key=lambda each: (each.retry_in, each.full_in))
        if verdict.retry_in:
            self._refused.inc()
        return verdict

    async def stop(self) -> None:
        """Close the connections."""
        if self._shared is not None:
            await self._shared.stop()

    async def _verdicts(self, keys: Sequence[str]) -> Sequence[Verdict]:
        rate, now = self.rate, self._clock.monotonic()
        if self._shared is not None:
            if now >= self._alone_until:
                try:
                    return await self._shared.take(keys)
                except ConnectionError as error:
                    self._alone_until = now + _ALONE_SECONDS
                    log.warning("rate_limits_not_shared", error=str(error), replicas=self._shared.replicas)
            rate = rate.share(self._shared.replicas)
            self._alone.inc()
        return [self._own.take(rate, key, int(now * MICROSECONDS)) for key in keys]


def rates_step(limiter: RateLimiter | None) -> Step:
    """Return the step of a lifecycle that ends the connections of a limiter, if there is one."""

    async def start() -> None:
        """Do nothing: the first request opens the connection to Redis, which may be down."""

    async def stop() -> None:
        if limiter is not None:
            await limiter.stop()

    return Step("rates", start, stop, _STEP_SECONDS, _STEP_SECONDS)


def rate_limiter(
    settings: RateSettings,
    tier: str,
    registry: CollectorRegistry,
    clock: Clock = SYSTEM_CLOCK,
    entropy: Entropy = SYSTEM_ENTROPY,
) -> RateLimiter | None:
    """Return the limiter that the settings ask for, or None. `tier`: whose replicas share the rate without Redis."""
    if not settings.rate_limit_requests:
        return None
    rate = Rate(settings.rate_limit_requests, round(settings.rate_limit_window * MICROSECONDS))
    shared = None
    if settings.redis_url is not None:
        prefix = f"{settings.redis_channel_prefix}:rate"
        shared = SharedBuckets(settings.redis_url.get_secret_value(), rate, prefix, tier, entropy)
    return RateLimiter(rate, shared, registry, clock)
