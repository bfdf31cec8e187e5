"""A place where a service runs: a process, and after its death the next, on the same ports, as supervisors do it."""

import asyncio
import signal
from contextlib import suppress
from pathlib import Path

import aiohttp

from holdfast_devstack.ports import LOOPBACK, free_port
from lab.kit.metrics import total
from lab.kit.service import command, environment

INVENTORY, GATEWAY = "inventory", "gateway"
_MODULES = {INVENTORY: "holdfast_inventory", GATEWAY: "holdfast_gateway"}
_READY_SECONDS = 60.0
_LOOK_SECONDS = 0.05
_AGAIN_SECONDS = 0.2
_STOP_SECONDS = 25.0
_ANSWER_SECONDS = 1.0


class Service:
    """An inventory or a gateway. Whenever its process ends, another is started, until `stop`."""

    def __init__(self, kind, number, settings, log_directory, bug=None):
        self.kind, self.name = kind, f"{kind}-{number}"
        self.port, self.metrics_port, self.orders_port = free_port(), free_port(), free_port()
        self.process = None
        self.frozen = False
        self.starts = 0
        self.faults = []
        """What was not as it must be about the end of a process that nobody had harmed."""
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
        return self.process is not None and self.process.returncode is None

    def set(self, **settings):
        """Settings of its next processes, as variables of the environment."""
        self._settings.update(settings)

    async def start(self):
        await self._spawn()
        self._keeper = asyncio.create_task(self._keep())

    async def until_ready(self):
        """Returns once it says that it takes calls. Raises TimeoutError."""
        async with asyncio.timeout(_READY_SECONDS):
            while not await self.is_ready():  # noqa: ASYNC110 - another process, which does not tell
                await asyncio.sleep(_LOOK_SECONDS)

    async def is_ready(self):
        if self.kind == GATEWAY:
            return await _get(f"{self.url}/health/ready") is not None
        return total(await self.metrics(), "holdfast_ready") == 1

    async def metrics(self):
        return await _get(self.metrics_url) or ""

    def kill(self):
        """SIGKILL. Its successor follows."""
        self._harmed = True
        self._send(signal.SIGKILL)

    def freeze(self):
        self._harmed = True
        self._send(signal.SIGSTOP)

    def thaw(self):
        self._send(signal.SIGCONT)

    def was_harmed(self):
        """Somebody else did something to it: how it ends is not held against it."""
        self._harmed = True

    async def restart(self):
        """SIGTERM, as a deployment sends it, and its successor."""
        process = self.process
        if not await self.is_ready():
            # One that is only starting may not even know the signal yet.
            self._harmed = True
        self._send(signal.SIGTERM)
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            if not self._harmed:
                self.faults.append(f"{self.name} did not end within {_STOP_SECONDS:g} s of SIGTERM")
            self.kill()
        await self.until_ready()

    async def stop(self):
        """Ends it for good, in order if it can."""
        self._stopping = True
        if self.process is None:
            return
        self.thaw()
        self._send(signal.SIGTERM)
        with suppress(TimeoutError):
            async with asyncio.timeout(_STOP_SECONDS):
                await self.process.wait()
        self.close()
        if self._keeper is not None:
            await self._keeper

    def close(self):
        """Ends it for good, at once."""
        self._stopping = True
        self._send(signal.SIGKILL)

    def _send(self, number):
        if self.is_running:
            with suppress(ProcessLookupError):
                self.process.send_signal(number)

    async def _spawn(self):
        self._harmed = False
        self.starts += 1
        with self._log_path.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *command(_MODULES[self.kind], "serve", launcher="lab.chaos.launcher"),
                env=self._environment(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=asyncio.subprocess.STDOUT,
                cwd=Path(__file__).parents[2],
            )

    async def _keep(self):
        while True:
            code = await self.process.wait()
            if code != 0 and not self._harmed and not self._stopping:
                self.faults.append(f"{self.name} ended with {code} though nobody had harmed it")
            if self._stopping:
                return
            await asyncio.sleep(_AGAIN_SECONDS)
            await self._spawn()

    def _environment(self):
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
        return environment({"HOLDFAST_LOG_FORMAT": "json"} | of_kind[self.kind] | ours | self._settings)


async def _get(url):
    """The body of a 200; None for anything else."""
    try:
        timeout = aiohttp.ClientTimeout(total=_ANSWER_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as answer:
            return await answer.text() if answer.status == 200 else None
    except (aiohttp.ClientError, TimeoutError, OSError):
        return None
