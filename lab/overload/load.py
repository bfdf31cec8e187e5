"""Load: a closed loop to find the capacity, then an open loop, which does not wait for answers."""

import asyncio
import random
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from lab.kit.percentile import percentile

TICK_SECONDS = 0.001
PATIENCE_SECONDS = 15.0

# Answers that leave the outcome unknown; gRPC's codes are of errors without a reason of Holdfast.
INDEFINITE = frozenset(
    {"LOST", "UNANSWERED", "OUTCOME_UNKNOWN", "INTERNAL", "DEADLINE_EXCEEDED", "CANCELLED", "UNKNOWN"}
)


@dataclass
class Tally:
    """The outcomes of requests. Times in seconds, latencies from when a request was due to its answer."""

    seconds: float = 0.0
    outcomes: Counter = field(default_factory=Counter)
    """The numbers by kind and reason."""
    accepted: array = field(default_factory=lambda: array("d"))
    refused: array = field(default_factory=lambda: array("d"))
    delays: Counter = field(default_factory=Counter)
    """The retry delays of refusals."""
    without_delay: int = 0
    sent_late: array = field(default_factory=lambda: array("d"))
    begun: float = 0.0
    history: list = field(default_factory=list)
    """For each request: when it was due since the beginning, whether it was accepted, and its latency."""

    def count(self, kind, due, now, answer):
        self.outcomes[kind, answer.reason] += 1
        accepted = answer.reason == "OK"
        latency = now - due
        (self.accepted if accepted else self.refused).append(latency)
        self.history.append((due - self.begun, accepted, latency))
        if answer.reason in ("OVERLOADED", "RATE_LIMITED"):
            if answer.retry_seconds is None:
                self.without_delay += 1
            else:
                self.delays[answer.retry_seconds] += 1

    @property
    def offered(self):
        return sum(self.outcomes.values())

    def with_reason(self, *reasons):
        return sum(count for (_, reason), count in self.outcomes.items() if reason in reasons)

    @property
    def goodput(self):
        return self.with_reason("OK") / self.seconds

    @property
    def indefinite(self):
        return self.with_reason(*INDEFINITE)

    def share_accepted(self, kind: str) -> float | None:
        all_of_kind = sum(count for (each, _), count in self.outcomes.items() if each == kind)
        return self.outcomes[kind, "OK"] / all_of_kind if all_of_kind else None


def milliseconds(seconds: Sequence[float], share: float) -> float:
    """Return the percentile of latencies in seconds, as milliseconds; 0 when there are none."""
    return percentile(seconds, share) * 1000 if seconds else 0.0


async def closed_loop(pool, shopping, callers, seconds):
    """Run a closed loop: each of the callers sends its next request after the answer."""
    loop = asyncio.get_running_loop()
    tally = Tally(seconds=seconds, begun=loop.time())
    end, finished, left = loop.time() + seconds, loop.create_future(), callers

    def ask():
        kind, request, identity = shopping.next()
        asked = loop.time()

        def answered(answer):
            nonlocal left
            now = loop.time()
            if now < end:
                tally.count(kind, asked, now, answer)
                if kind == "create" and answer.reason == "OK":
                    shopping.granted(identity)
                loop.call_soon(ask)
                return
            left -= 1
            if not left and not finished.done():
                finished.set_result(None)

        pool.send(request, answered)

    for _ in range(callers):
        ask()
    async with asyncio.timeout(seconds + PATIENCE_SECONDS):
        await finished
    return tally


class OpenLoop:
    """An open loop: requests at random times, with an average rate, regardless of earlier answers."""

    def __init__(self, pool, shopping, rate, seconds, *, seed=1):
        self._pool, self._shopping = pool, shopping
        self._rate, self._seconds = rate, seconds
        self._random = random.Random(seed)
        self._waiting = 0
        self.tally = Tally(seconds=seconds)

    async def run(self):
        loop = asyncio.get_running_loop()
        tally = self.tally
        tally.begun = due = loop.time()
        end = due + self._seconds
        while due < end:
            now = loop.time()
            while due <= now and due < end:
                tally.sent_late.append(now - due)
                self._send(due, loop)
                due += self._random.expovariate(self._rate)
            await asyncio.sleep(TICK_SECONDS)
        give_up = loop.time() + PATIENCE_SECONDS
        while self._waiting and loop.time() < give_up:  # noqa: ASYNC110 - an event would cost every request a look
            await asyncio.sleep(0.01)
        if self._waiting:
            tally.outcomes["any", "UNANSWERED"] += self._waiting
        return tally

    def _send(self, due, loop):
        kind, request, identity = self._shopping.next()
        self._waiting += 1

        def answered(answer):
            self._waiting -= 1
            self.tally.count(kind, due, loop.time(), answer)
            if kind == "create" and answer.reason == "OK":
                self._shopping.granted(identity)

        self._pool.send(request, answered)


def recovery_seconds(peak, calm, calm_seconds):
    """Return how long after a peak requests were still refused or delayed.

    The calm begins when the last request of the peak has its answer.
    """
    disturbed = [due for due, accepted, latency in calm.history if not accepted or latency > calm_seconds]
    return calm.begun - peak.begun - peak.seconds + max(disturbed, default=0.0)
