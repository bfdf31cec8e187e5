"""Both services as they are deployed: processes that get signals and say on stdout what they do."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import deque

START_SECONDS = 60
STOP_SECONDS = 40

NO_DRAIN = {"drain_quiet_seconds": 0, "drain_min_seconds": 0}
"""For processes whose end is not what is tested."""

# A killed test run leaves nobody behind.
_WITH_PARENT = ["setpriv", "--pdeathsig", "KILL", "--"] if shutil.which("setpriv") else []
_URLS = {"database_url", "redis_url"}
_LOG_LINES = 20_000


class Service:
    """A process of ours, from its start until it was waited for. Start it on the main thread."""

    def __init__(self, module, **settings):
        local = {"grpc_host": "127.0.0.1", "http_host": "127.0.0.1", "metrics_host": "127.0.0.1"}
        ports = {"grpc_port": 0, "metrics_port": 0, "http_port": 0, "gateway_metrics_port": 0}
        self._process = subprocess.Popen(
            [*_WITH_PARENT, sys.executable, "-m", module, "serve"],
            env=_environment({**local, **ports, "log_format": "json", **settings}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self._lines = deque(maxlen=_LOG_LINES)
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self):
        return self._process.pid

    @property
    def output(self):
        """All that it has said so far."""
        with self._news:
            return "\n".join(self._lines)

    def events(self, name):
        """The log lines of that event."""
        lines = [json.loads(line) for line in self.output.splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == name]

    def wait_for(self, event, seconds=START_SECONDS, **fields):
        """The first log line of that event with those fields, now or as soon as it is there."""
        deadline = time.monotonic() + seconds
        with self._news:
            seen = 0
            while True:
                lines = list(self._lines)
                for text in lines[seen:]:
                    line = json.loads(text) if text.startswith("{") else {}
                    if line.get("event") == event and fields.items() <= line.items():
                        return line
                seen = len(lines)
                remaining = deadline - time.monotonic()
                assert remaining > 0, f"it did not say {event!r}:\n{chr(10).join(lines[-40:])}"
                assert self._reader.is_alive(), f"it ended without {event!r}:\n{chr(10).join(lines[-40:])}"
                self._news.wait(min(remaining, 0.5))

    async def says(self, event, seconds=START_SECONDS, **fields):
        """As `wait_for`, for tests that have an event loop to run meanwhile."""
        return await asyncio.to_thread(self.wait_for, event, seconds, **fields)

    def send(self, number):
        self._process.send_signal(number)

    def terminate(self):
        self.send(signal.SIGTERM)

    async def exit_code(self, seconds=STOP_SECONDS):
        """Waits until it has ended by itself."""
        return await asyncio.to_thread(self._process.wait, seconds)

    def kill(self):
        """SIGKILL, whatever state it is in; harmless when it has ended."""
        self._process.kill()
        self._process.wait()
        self._reader.join(STOP_SECONDS)
        self._process.stdout.close()

    def _read(self):
        for line in self._process.stdout:
            with self._news:
                self._lines.append(line.decode(errors="replace").rstrip("\n"))
                self._news.notify_all()
        with self._news:
            self._news.notify_all()


class Inventory(Service):
    def __init__(self, database_url, redis_url=None, **settings):
        urls = {"database_url": database_url} | ({"redis_url": redis_url} if redis_url else {})
        super().__init__("holdfast_inventory", **urls, **settings)

    def wait_until_serving(self):
        self.wait_for("serving")
        return self

    async def is_serving(self):
        await self.says("serving")
        return self

    @property
    def address(self):
        """Where gRPC is served."""
        return self.wait_for("listening")["address"]

    @property
    def metrics_url(self):
        return f"http://{self.wait_for('metrics listening')['address']}/metrics"


class Gateway(Service):
    def __init__(self, addresses, **settings):
        super().__init__("holdfast_gateway", inventory_target="ipv4:" + ",".join(addresses), **settings)

    def wait_until_serving(self):
        self.wait_for("serving")
        return self

    async def is_serving(self):
        await self.says("serving")
        return self

    @property
    def url(self):
        """Where REST is served."""
        return self.wait_for("listening")["address"]


class Cluster:
    """Replicas of the inventory on one database and one Valkey, and a gateway before them."""

    def __init__(self, database_url, redis_url, replicas):
        self.database_url, self.redis_url = database_url, redis_url
        self._started = []
        try:
            # All at once: they agree on who migrates.
            self.inventories = [self.add_inventory(migrate_on_start=True) for _ in range(replicas)]
            self.addresses = [inventory.wait_until_serving().address for inventory in self.inventories]
            self.gateway = self._keep(Gateway(self.addresses, **NO_DRAIN)).wait_until_serving()
        except BaseException:
            self.stop()
            raise

    @property
    def url(self):
        return self.gateway.url

    def add_inventory(self, **settings):
        """Another replica, which need not serve yet."""
        impatient = {"watch_heartbeat_seconds": 1}
        return self._keep(Inventory(self.database_url, self.redis_url, **(NO_DRAIN | impatient | settings)))

    def stop(self):
        for service in self._started:
            service.kill()

    def _keep(self, service):
        self._started.append(service)
        return service


def _environment(settings):
    ours = ("HOLDFAST_", "DATABASE_URL", "REDIS_URL")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    prefixed = {name.upper() if name in _URLS else f"HOLDFAST_{name.upper()}": str(settings[name]) for name in settings}
    return inherited | prefixed
