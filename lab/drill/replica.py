"""One process of a service: its log, its phase, whether it can be scraped, and how it ended."""

import asyncio
import json
import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum

import aiohttp
import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from lab.kit.service import Service, ended

PROBE_SECONDS = 1.0
SCRAPE_EVERY_SECONDS = 0.25
_SCRAPE_SECONDS = 2.0
# The event loop of the drill is busy, too: a scrape this close to the end may come after it.
_LAST_SCRAPE_SECONDS = 0.75

# Each probe connects again soon: by default, a channel waits longer after each failure.
_PROBE_OPTIONS = [
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 200),
]

_LIFECYCLE_EVENTS = ('"event":"serving"', '"event":"drained"', '"event":"step_', '"event":"hurrying"')


class Phase(StrEnum):
    STARTING = "starting"
    SERVING = "serving"
    DRAINING = "draining"
    STOPPING = "stopping"
    ENDED = "ended"


@dataclass(frozen=True)
class Kind:
    """A service: how it is run, and how long it may take to end."""

    name: str
    module: str
    port: int
    metrics_port: int
    budget_seconds: float
    last_step: str
    """The step that stops the metrics."""


class Replica:
    """A process from its start to its end. Times are those of `time.monotonic`."""

    def __init__(self, kind, name, address, version, variables, log_path):
        self.kind, self.name, self.address, self.version = kind, name, address, version
        self.phases = []
        self.events = []
        self.scrapes = []
        self.metrics = ""
        self.ready = False
        self.terminated_at = None
        self.ended_at = None
        self.exit_code = None
        self.expected_exit_code = 0
        self.killed_because = ""
        self.must_be_quiet = True
        self.lag_seconds = None
        self._variables, self._log_path = variables, log_path
        self._service = None
        self._tasks = []
        self._exited = asyncio.Event()
        self._channel = None
        self._session = None

    @property
    def target(self):
        return f"{self.address}:{self.kind.port}"

    @property
    def url(self):
        return f"http://{self.target}"

    @property
    def metrics_url(self):
        # Envoy has thousands of metrics; the services ignore the query.
        return f"http://{self.address}:{self.kind.metrics_port}/metrics?usedonly&filter=downstream_rq"

    @property
    def is_running(self):
        return self._service is not None and not self._exited.is_set()

    async def start(self):
        """Start the process, and the tasks that observe it. It need not serve yet."""
        self._enter(Phase.STARTING)
        loop, self._log = asyncio.get_running_loop(), self._log_path.open("w")

        def on_line(text):
            print(text, file=self._log)
            if any(event in text for event in _LIFECYCLE_EVENTS):
                loop.call_soon_threadsafe(self._hear, json.loads(text))

        self._service = Service(
            self.kind.module,
            self._variables,
            launcher="lab.drill.launcher",
            stop_signal=signal.SIGTERM,
            on_line=on_line,
        )
        self._channel = grpc.aio.insecure_channel(self.target, options=_PROBE_OPTIONS)
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_SCRAPE_SECONDS))
        self._tasks = [asyncio.create_task(self._wait_for_exit()), asyncio.create_task(self._scrape())]

    def send(self, number):
        if self.is_running:
            self._service.send(number)

    def terminate(self):
        """Send SIGTERM, as the first or as a further one."""
        if self.terminated_at is None:
            self.terminated_at = time.monotonic()
            self._enter(Phase.DRAINING)
        self.send(signal.SIGTERM)

    def kill(self, because):
        """Send SIGKILL to it and to what it started. A drill that passes never needs this."""
        self.killed_because = self.killed_because or because
        if self.is_running:
            with suppress(ProcessLookupError):
                os.killpg(self._service.pid, signal.SIGKILL)

    async def ended(self, seconds):
        """Return whether it ends within the time."""
        try:
            async with asyncio.timeout(seconds):
                await self._exited.wait()
        except TimeoutError:
            return False
        return True

    async def close(self):
        """Kill it, and release what it used."""
        self.kill("the drill was over")
        await self._exited.wait()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._session.close()
        await self._channel.close()

    # Probes

    async def is_ready(self):
        if self.kind.name == "inventory":
            return await self._serves("holdfast.inventory.v1.ReservationService")
        return await self._answers("/health/ready")

    async def is_alive(self):
        if self.kind.name == "inventory":
            return await self._serves("liveness")
        return await self._answers("/health/live")

    async def _serves(self, name):
        request = health_pb2.HealthCheckRequest(service=name)
        try:
            answer = await health_pb2_grpc.HealthStub(self._channel).Check(request, timeout=PROBE_SECONDS)
        except grpc.aio.AioRpcError:
            return False
        return answer.status == health_pb2.HealthCheckResponse.SERVING

    async def _answers(self, path):
        base = self.url if self.kind.name == "gateway" else f"http://{self.address}:{self.kind.metrics_port}"
        try:
            timeout = aiohttp.ClientTimeout(total=PROBE_SECONDS)
            async with self._session.get(base + path, timeout=timeout) as answer:
                return answer.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    # Observations

    def said(self, event, **fields):
        """Return the lines of that event with those fields."""
        return [line for line in self.events if line["event"] == event and fields.items() <= line.items()]

    def faults(self) -> list[str]:
        """Return what was wrong with its end; nothing while it runs."""
        if self.exit_code is None:
            return []
        faults = []
        if self.killed_because:
            faults.append(f"{self.name} was killed: {self.killed_because}")
        elif self.exit_code != self.expected_exit_code:
            faults.append(f"{self.name} ended with {self.exit_code}, not {self.expected_exit_code}")
        elif self.terminated_at is None:
            faults.append(f"{self.name} ended without being asked to")
        if self.must_be_quiet and self.said("drained", quiet=False):
            faults.append(f"{self.name} never became quiet: its clients did not know that it drained")
        return faults + self._faults_of_metrics()

    def _faults_of_metrics(self) -> list[str]:
        if self.terminated_at is None or self.killed_because:
            return []
        # The exit takes time, too, on a busy machine.
        stopping = [line["at"] for line in self.said("step_stopping", step=self.kind.last_step)]
        until = min([self.ended_at, *stopping]) - _LAST_SCRAPE_SECONDS
        draining = [done for at, done in self.scrapes if self.terminated_at < at < until]
        if not all(draining):
            return [
                f"{self.name} could not be scraped {draining.count(False)} times of {len(draining)} while it drained"
            ]
        return []

    async def _wait_for_exit(self):
        await ended(self._service.pid)
        # It counts as ended when its log has been read to the end.
        await asyncio.to_thread(self._service.kill)
        self._log.close()
        self.exit_code = await self._service.exit_code()
        self.ended_at = time.monotonic()
        self._enter(Phase.ENDED)
        self._exited.set()

    def _hear(self, line):
        self.events.append(line | {"at": time.monotonic()})
        if line["event"] == "drained":
            self._enter(Phase.STOPPING)

    def _enter(self, phase):
        self.phases.append((time.monotonic(), phase))

    def be_ready(self):
        """Note that its readiness probe succeeded."""
        if not self.ready:
            self._enter(Phase.SERVING)
        self.ready = True

    async def _scrape(self):
        """Scrape the metrics, as a monitoring system does but more often."""
        while not self._exited.is_set():
            at = time.monotonic()
            try:
                async with self._session.get(self.metrics_url) as answer:
                    self.metrics = await answer.text()
                    done = answer.status == 200
            except (aiohttp.ClientError, TimeoutError):
                done = False
            self.scrapes.append((at, done))
            await asyncio.sleep(SCRAPE_EVERY_SECONDS)
