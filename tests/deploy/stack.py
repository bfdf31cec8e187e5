"""Everything that sells, as processes of its own: inventory, gateway and edge, on real servers."""

import os
import subprocess
import sys
import threading

from holdfast_devstack.ports import free_port

START_SECONDS = 30
STOP_SECONDS = 30
VERSION = "1.2.3-test"
QUICK = {f"HOLDFAST_{prefix}DRAIN_{each}_SECONDS": "0" for prefix in ("", "EDGE_") for each in ("QUIET", "MIN")}


class Process:
    """`python -m MODULE serve`, and what it logs."""

    def __init__(self, module, environment):
        self._lines = []
        self._serving = threading.Event()
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, "serve"],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_until_serving(self):
        assert self._serving.wait(START_SECONDS), "".join(self._lines)
        assert self._process.poll() is None, "".join(self._lines)

    def stop(self):
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        finally:
            self._process.kill()
            self._reader.join(STOP_SECONDS)
            self._process.stdout.close()

    def _read(self):
        for line in self._process.stdout:
            self._lines.append(line)
            if '"event":"serving"' in line:
                self._serving.set()
        self._serving.set()  # There will be no more.


class Stack:
    """One of each. `environment` is theirs, and what programs need to reach them."""

    def __init__(self, database_url, redis_url, **variables):
        ports = {
            name: free_port()
            for name in ("GRPC", "METRICS", "HTTP", "GATEWAY_METRICS", "EDGE_HTTP", "EDGE_METRICS", "EDGE_ADMIN")
        }
        self.database_url = database_url
        self.edge = f"127.0.0.1:{ports['EDGE_HTTP']}"
        self.metrics = {
            "inventory": f"http://127.0.0.1:{ports['METRICS']}/metrics",
            "gateway": f"http://127.0.0.1:{ports['GATEWAY_METRICS']}/metrics",
            "edge": f"http://127.0.0.1:{ports['EDGE_METRICS']}/metrics",
        }
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("HOLDFAST_")}
        self.environment = (
            inherited
            | QUICK
            | {f"HOLDFAST_{name}_PORT": str(port) for name, port in ports.items()}
            | {
                "DATABASE_URL": database_url,
                "REDIS_URL": redis_url,
                "HOLDFAST_VERSION": VERSION,
                "HOLDFAST_LOG_FORMAT": "json",
                "HOLDFAST_INVENTORY_TARGET": f"ipv4:127.0.0.1:{ports['GRPC']}",
                "HOLDFAST_EDGE_INVENTORIES": f"127.0.0.1:{ports['GRPC']}",
                "HOLDFAST_EDGE_GATEWAYS": f"127.0.0.1:{ports['HTTP']}",
            }
            | variables
        )
        self._processes = []

    def start(self):
        for module in ("holdfast_inventory", "holdfast_gateway", "holdfast_edge"):
            process = Process(module, self.environment)
            self._processes.append(process)
            process.wait_until_serving()

    def stop(self):
        while self._processes:
            self._processes.pop().stop()
