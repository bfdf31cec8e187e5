"""A service under a supervisor: when its process ends, the next one is started on the same ports."""

import asyncio
import os
import signal
from contextlib import suppress

import aiohttp

from holdfast_devstack.ports import LOOPBACK, free_port
from lab.kit.metrics import total
from lab.kit.service import ended, logged, program

INVENTORY, GATEWAY = "inventory", "gateway"
_MODULES = {INVENTORY: "holdfast_inventory", GATEWAY: "holdfast_gateway"}
_READY_SECONDS = 60.0
_LOOK_SECONDS = 0.05
_AGAIN_SECONDS = 0.2
_STOP_SECONDS = 25.0
_ANSWER_SECONDS = 1.0
_LINE_BYTES = 1000


class Service:
    """An inventory or a gateway. Whenever its process ends, another is started, until `stop` or `close`."""

    def __init__(self, kind, number, settings, log_directory, bug=None):
        self.kind, self.name = kind, f"{kind}-{number}"
        self.port, self.metrics_port, self.orders_port = free_port(), free_port(), free_port()
        self.process = None
        self.frozen = False
        self.starts = 0
        self.faults = []
        """What was wrong with the end of a process that no fault had harmed."""
        self._harmed = False
        self._settings, self._bug = settings, bug
        self._log_path = log_directory / f"{self.name}.log"
        self._stopping = False
        self._keeper: asyncio.Task[None] | None = None

    @property
    def address(self):
        return f"{LOOPBACK}:{self.port}"

    @property
    def url(self):
        return f"http://{self.address}"

    @property
    def metrics_url(self):
        return f"http://{LOOPBACK}:{self.metrics_port}/metrics"

    @property
    def is_running(self):
        return self.process is not None and self.process.is_running

    def set(self, **settings):
        """Set variables of the environment of its next processes."""
        self._settings.update(settings)

    async def start(self):
        self._spawn()
        self._keeper = asyncio.create_task(self._keep())

    async def until_ready(self):
        """Wait until it reports that it accepts calls. Raises TimeoutError."""
        async with asyncio.timeout(_READY_SECONDS):
            while not await self.is_ready():  # noqa: ASYNC110 - another process: there is no event
                await asyncio.sleep(_LOOK_SECONDS)

    async def is_ready(self):
        if self.kind == GATEWAY:
            return await _get(f"{self.url}/health/ready") is not None
        return total(await self.metrics(), "holdfast_ready") == 1

    async def metrics(self):
        return await _get(self.metrics_url) or ""

    def kill(self):
        """Send SIGKILL. Its successor follows."""
        self._harmed = True
        self._send(signal.SIGKILL)

    def freeze(self):
        self._harmed = True
        self._send(signal.SIGSTOP)

    def thaw(self):
        self._send(signal.SIGCONT)

    def was_harmed(self):
        """Note that a fault hit it, so that its exit code is not judged."""
        self._harmed = True

    async def restart(self):
        """Send SIGTERM, as a deployment does, and wait until its successor is ready."""
        process = self.process
        if not await self.is_ready():
            # While it starts it may not handle the signal yet.
            self._harmed = True
        self._send(signal.SIGTERM)
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await ended(process.pid)
        except TimeoutError:
            if not self._harmed:
                self.faults.append(f"{self.name} did not end within {_STOP_SECONDS:g} s of SIGTERM")
            self.kill()
        await self.until_ready()

    async def stop(self):
        """Stop it for good with SIGTERM, and with SIGKILL when it does not end in time."""
        self._stopping = True
        if self.process is None:
            return
        self.thaw()
        self._send(signal.SIGTERM)
        with suppress(TimeoutError):
            async with asyncio.timeout(_STOP_SECONDS):
                await ended(self.process.pid)
        self.close()
        if self._keeper is not None:
            await self._keeper

    def close(self):
        """Kill it for good."""
        self._stopping = True
        self._send(signal.SIGKILL)

    def _send(self, number):
        if self.process is not None:
            self.process.send_signal(number)

    def _spawn(self):
        self._harmed = False
        self.starts += 1
        command = program(_MODULES[self.kind], "serve", launcher="lab.chaos.launcher")
        self.process = logged(self._log_path, command, self._variables(), stop_signal=signal.SIGKILL)
        self.process.spawn()

    async def _keep(self):
        while True:
            await ended(self.process.pid)
            code = self.process.exit_status
            if code != 0 and not self._harmed and not self._stopping:
                self.faults.append(f"{self.name} ended with {code} though no fault had harmed it: {self._last_line()}")
            if self._stopping:
                return
            await asyncio.sleep(_AGAIN_SECONDS)
            self._spawn()

    def _last_line(self):
        with self._log_path.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - _LINE_BYTES))
            return log.read().decode(errors="replace").rstrip().rpartition("\n")[2]

    def _variables(self):
        of_kind = {
            INVENTORY: {
                "HOLDFAST_GRPC_HOST": LOOPBACK,
                "HOLDFAST_GRPC_PORT": self.port,
                "HOLDFAST_METRICS_HOST": LOOPBACK,
                "HOLDFAST_METRICS_PORT": self.metrics_port,
            },
            GATEWAY: {
                "HOLDFAST_HTTP_HOST": LOOPBACK,
                "HOLDFAST_HTTP_PORT": self.port,
                "HOLDFAST_METRICS_HOST": LOOPBACK,
                "HOLDFAST_GATEWAY_METRICS_PORT": self.metrics_port,
            },
        }
        ours = {"CHAOS_ORDERS_PORT": self.orders_port} | ({"CHAOS_BUG": self._bug} if self._bug else {})
        return of_kind[self.kind] | ours | self._settings


async def _get(url):
    """Return the body of a 200; None for anything else."""
    try:
        timeout = aiohttp.ClientTimeout(total=_ANSWER_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as answer:
            return await answer.text() if answer.status == 200 else None
    except (aiohttp.ClientError, TimeoutError, OSError):
        return None
