"""The overloaded system: services and database on a part of one core; the edge on the other, as if elsewhere."""

import os
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from holdfast_devstack.ports import free_port
from lab.bench.load import CLIENT_CORE, SERVER_CORE
from lab.bench.stack import Stack, family, get
from lab.kit.service import program

CPU_GROUP = Path("/sys/fs/cgroup/cpu") / f"holdfast-overload-{os.getpid()}"
PERIOD_MICROSECONDS = 50_000
MOST_SHARES = 262_144
_ANY = 1_000_000


@dataclass(frozen=True)
class Size:
    """The size of a process: resident memory, threads and connections."""

    resident_bytes: int
    threads: int
    connections: int


class System(Stack):
    """An inventory with its PostgreSQL, a gateway, and the edge in front of both."""

    def __init__(self, directory, core_share, requests_in_flight):
        super().__init__(directory)
        self._core_share = core_share
        self._requests_in_flight = requests_in_flight
        self.is_confined = False
        self.grpc_port = self.edge_port = 0
        self._pids = {}

    def start(self):
        postmaster = self._postgres.child.pid
        subprocess.run(
            ["taskset", "-a", "-p", "-c", str(SERVER_CORE), str(postmaster)], check=True, capture_output=True
        )
        self.migrate()
        self.grpc_port, _, inventory = self.inventory()
        self.http_port, gateway = self.gateway(self.grpc_port)
        self.edge_port, edge = self.edge()
        self._pids = {"inventory": inventory, "gateway": gateway, "edge": edge, "postgres": postmaster}
        self._confine([inventory, gateway, postmaster])

    def sizes(self):
        """Return the size of each process with its children, by name."""
        return {name: _size(pid) for name, pid in self._pids.items()}

    def cpu_seconds(self):
        """Return the CPU seconds of each, by name."""
        return {name: sum(sum(each.cpu_times()[:2]) for each in family(pid)) for name, pid in self._pids.items()}

    def log(self, name):
        """Return the path of a service's log."""
        return min(self._directory.glob(f"{name}-*.log"), key=lambda path: path.stat().st_ctime)

    def edge(self, requests_per_second=_ANY, client_requests_per_second=_ANY, sale_requests_per_second=_ANY):
        """Start an edge. Return its port and its pid. By default it has no rate limits, which would refuse the load."""
        ports = {name: free_port() for name in ("HTTP", "SHOPPERS", "METRICS", "ADMIN")}
        pid = self._spawn(
            f"edge-{ports['HTTP']}",
            program("holdfast_edge", "serve"),
            CLIENT_CORE,
            lambda: get(f"http://127.0.0.1:{ports['ADMIN']}/ready") is not None,
            HOLDFAST_EDGE_HOST="127.0.0.1",
            HOLDFAST_EDGE_METRICS_HOST="127.0.0.1",
            HOLDFAST_EDGE_THREADS=1,
            HOLDFAST_EDGE_GATEWAYS=f"127.0.0.1:{self.http_port}",
            HOLDFAST_EDGE_INVENTORIES=f"127.0.0.1:{self.grpc_port}",
            HOLDFAST_EDGE_TRUSTED_HOPS=1,
            HOLDFAST_EDGE_REQUEST_LIMIT=self._requests_in_flight,
            HOLDFAST_EDGE_REQUESTS_PER_SECOND=int(requests_per_second),
            HOLDFAST_EDGE_CLIENT_REQUESTS_PER_SECOND=int(client_requests_per_second),
            HOLDFAST_EDGE_SALE_REQUESTS_PER_SECOND=int(sale_requests_per_second),
            **{f"HOLDFAST_EDGE_{name}_PORT": port for name, port in ports.items()},
        )
        return ports["HTTP"], pid

    def _variables(self, **more):
        # So that one sale, which may use half of the queue, cannot use all places at the edge.
        return super()._variables(HOLDFAST_QUEUE_LIMIT_COMMANDS=self._requests_in_flight, **more)

    def _confine(self, pids):
        """Limit the services to a part of their core if possible, so that ten times their capacity can be offered."""
        if self._core_share >= 1.0:
            return
        with suppress(OSError):
            CPU_GROUP.mkdir()
            self._exit.callback(_release)
            (CPU_GROUP / "cpu.cfs_period_us").write_text(str(PERIOD_MICROSECONDS))
            (CPU_GROUP / "cpu.cfs_quota_us").write_text(str(int(PERIOD_MICROSECONDS * self._core_share)))
            # They get their share at once, regardless of other load.
            (CPU_GROUP / "cpu.shares").write_text(str(MOST_SHARES))
            for pid in pids:
                for process in family(pid):
                    (CPU_GROUP / "cgroup.procs").write_text(str(process.pid))
            self.is_confined = True


def _release():
    for pid in (CPU_GROUP / "cgroup.procs").read_text().split():
        with suppress(OSError):
            (CPU_GROUP.parent / "cgroup.procs").write_text(pid)
    with suppress(OSError):
        CPU_GROUP.rmdir()


def _size(pid):
    processes = family(pid)
    return Size(
        sum(each.memory_info().rss for each in processes),
        sum(each.num_threads() for each in processes),
        sum(len(each.net_connections(kind="tcp")) for each in processes),
    )
