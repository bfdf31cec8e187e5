"""What an answer tells about its caller's rate."""

import math

from google.protobuf.message import Message

from holdfast_chassis.contract import Kind
from holdfast_chassis.identity.principal import Principal
from holdfast_chassis.rates.callers import is_counted, keys_of
from holdfast_chassis.rates.gcra import MICROSECONDS, Verdict
from holdfast_chassis.rates.limiter import RateLimiter
from holdfast_gateway.exchange import Headers
from holdfast_gateway.problems import RATE_LIMITED, Problem, ProblemError


class Rates:
    """The rates of all callers."""

    def __init__(self, limiter: RateLimiter) -> None:
        self._limiter = limiter
        self._rate = limiter.rate
        self._policy = f'"default";q={self._rate.requests};w={self._rate.window // MICROSECONDS}'

    async def admit(self, kind: Kind, principal: Principal, address: str, request: Message) -> Headers:
        """Count a request. Return the headers with the rest of its rate. Raises ProblemError if it is used up."""
        if not is_counted(kind):
            return []
        verdict = await self._limiter.take(keys_of(kind, principal, address, request))
        headers = self._headers(verdict)
        if not verdict.retry_in:
            return headers
        detail = f"At most {self._rate.requests} requests in {self._rate.window / MICROSECONDS:g} s."
        seconds = verdict.retry_in / MICROSECONDS
        raise ProblemError(Problem(RATE_LIMITED, detail, retry_after_seconds=seconds, headers=tuple(headers)))

    def _headers(self, verdict: Verdict) -> Headers:
        """Return the headers of draft-ietf-httpapi-ratelimit-headers-10."""
        seconds = math.ceil((verdict.retry_in or verdict.full_in) / MICROSECONDS)
        told = f'"default";r={verdict.remaining(self._rate)};t={seconds}'
        return [("ratelimit-policy", self._policy), ("ratelimit", told)]
