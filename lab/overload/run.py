"""The run: the capacity, multiples of it, the calm after that, and the share of others beside a greedy client."""

import asyncio
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from lab.overload.clients import Http1, Http2, Pool
from lab.overload.load import OpenLoop, Tally, closed_loop, milliseconds, recovery_seconds
from lab.overload.logs import LogReader
from lab.overload.shopping import Crowd, Shopping, open_sales
from lab.overload.system import System

SALES = tuple(f"sale-{number}" for number in range(3))
HOT_SALE = "sale-hot"
CALM = 0.5
SETTLE_SECONDS = 1.0
# A purchase needs a hold before: somewhat more than the share of purchases in the mix.
_SHARE_OF_HOLDS = 0.06
_MAX_HOLDS = 20_000


@dataclass(frozen=True)
class Plan:
    """`seconds`: the duration of each step. `core_share`: the share of their core that the services get."""

    seconds: float = 6.0
    multiples: tuple = (0.5, 1.0, 2.0, 10.0)
    callers: tuple = (64, 256)
    transports: tuple = ("grpc", "rest")
    core_share: float = 0.4
    request_limit: int = 48
    greed: float = 2.0
    """The load of one greedy customer, or of one hot sale, beside the others, in multiples of the capacity."""
    past_the_edge: float = 3.0
    """The load of clients that bypass the edge, in multiples of the capacity."""


@dataclass
class Step:
    """One load and its results."""

    transport: str
    name: str
    multiple: float | None
    tally: Tally
    service_ms: dict = field(default_factory=dict)
    """The 99th percentile of the duration of each service's refusals."""
    cpu: dict = field(default_factory=dict)
    is_judged: bool = True

    @property
    def p99_ms(self):
        return milliseconds(self.tally.accepted, 0.99)


@dataclass
class Result:
    plan: Plan
    confined: bool = False
    capacity: dict = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    recovery_seconds: dict = field(default_factory=dict)
    others: dict = field(default_factory=dict)
    """By transport: the results of the others alone, beside a greedy customer, and beside a hot sale."""
    before: dict = field(default_factory=dict)
    after: dict = field(default_factory=dict)

    def step(self, transport: str, multiple: float) -> Step:
        return next(step for step in self.steps if (step.transport, step.multiple) == (transport, multiple))


async def overload(plan):
    result = Result(plan)
    with (
        tempfile.TemporaryDirectory() as directory,
        System(Path(directory), plan.core_share, plan.request_limit) as system,
    ):
        system.start()
        result.confined = system.is_confined
        open_sales(system.grpc_port, (*SALES, HOT_SALE))
        await _Run(plan, system, result).all()
    return result


class _Run:
    def __init__(self, plan, system, result):
        self._plan, self._system, self._result = plan, system, result
        self._logs = LogReader(system)

    async def all(self):
        for transport in self._plan.transports:
            with self._pool(transport) as pool:
                await self._capacity(transport, pool)
        # Everything has been used once, so that growth from now on counts.
        self._result.before = self._system.sizes()
        for transport in self._plan.transports:
            with self._pool(transport) as pool:
                await self._multiples(transport, pool)
            await self._greedy(transport)
        if "grpc" in self._plan.transports:
            await self._past_the_edge()
        await asyncio.sleep(SETTLE_SECONDS)
        self._result.after = self._system.sizes()

    @contextmanager
    def _pool(self, transport, port=None):
        kind, limit = (Http2, 64) if transport == "grpc" else (Http1, 4000)
        pool = Pool(kind, port or self._system.edge_port, limit)
        try:
            yield pool
        finally:
            pool.close()

    async def _capacity(self, transport, pool):
        """Measure the capacity with callers that wait for their answers."""
        best = 0.0
        for callers in self._plan.callers:
            shopping = self._shopping(transport, holds=1000)
            tally = await closed_loop(pool, shopping, callers, self._plan.seconds / 2)
            best = max(best, tally.goodput)
        self._result.capacity[transport] = best

    async def _multiples(self, transport, pool):
        for multiple in self._plan.multiples:
            await self._step(transport, pool, f"x{multiple:g}", multiple)
        calm = await self._step(transport, pool, "after", CALM, keep=False)
        peak, usual_seconds = self._result.steps[-1], self._result.step(transport, CALM).p99_ms / 1000
        recovered = recovery_seconds(peak.tally, calm.tally, max(0.1, 3 * usual_seconds))
        self._result.recovery_seconds[transport] = recovered
        calm.multiple = None
        self._result.steps.append(calm)

    async def _step(self, transport, pool, name, multiple, *, keep=True):
        rate = self._result.capacity[transport] * multiple
        holds = min(_MAX_HOLDS, int(rate * self._plan.seconds * _SHARE_OF_HOLDS))
        # There is no preparation between the peak and the calm after it.
        shopping = self._shopping(transport, holds if keep else 0)
        self._logs.skip()
        cpu, began = self._system.cpu_seconds(), time.monotonic()
        tally = await OpenLoop(pool, shopping, rate, self._plan.seconds).run()
        seconds = time.monotonic() - began
        used = self._system.cpu_seconds()
        step = Step(
            transport,
            name,
            multiple,
            tally,
            self._logs.refusals_ms(),
            {service: (used[service] - cpu[service]) / seconds for service in used},
        )
        if keep:
            self._result.steps.append(step)
        return step

    async def _past_the_edge(self):
        """Measure what the edge keeps from the inventory. The only requirement is the recovery."""
        with self._pool("grpc", self._system.grpc_port) as pool:
            step = await self._step("grpc", pool, "past", self._plan.past_the_edge)
        step.multiple, step.is_judged = None, False

    async def _greedy(self, transport):
        """Measure others at half of the capacity: alone, beside a greedy customer, and beside a hot sale."""
        rate = self._result.capacity[transport]
        # With rates that an operator would set for this capacity: a tenth of it for an address, a quarter for a sale,
        # half of that for reads.
        port, _ = self._system.edge(*(max(1, rate * share) for share in (4, 0.1, 0.25)))
        greedy = {
            "alone": None,
            "beside a greedy customer": Crowd(SALES[:1], customers=1, prefix="greedy"),
            "beside a hot sale": Crowd((HOT_SALE,), prefix="hot"),
        }
        told = self._result.others[transport] = {}
        for name, crowd in greedy.items():
            with self._pool(transport, port) as pool, self._pool(transport, port) as greedy_pool:
                loads = [OpenLoop(pool, self._shopping(transport), rate * CALM, self._plan.seconds)]
                if crowd is not None:
                    shopping = Shopping(transport, crowd, seed=2)
                    loads.append(OpenLoop(greedy_pool, shopping, rate * self._plan.greed, self._plan.seconds, seed=3))
                told[name] = (await asyncio.gather(*(load.run() for load in loads)))[0]

    def _shopping(self, transport, holds=0):
        shopping = Shopping(transport, Crowd(SALES), seed=len(self._result.steps))
        shopping.prepare(self._system.grpc_port, holds)
        return shopping
