"""The processes that are measured: servers on one core, PostgreSQL and the clients on the other."""

import resource
import signal
import socket
import subprocess
import urllib.request
from collections import defaultdict
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NamedTuple

import grpc
import psutil

from holdfast.inventory.v1 import sale_pb2, sale_service_pb2
from holdfast.inventory.v1.sale_service_pb2_grpc import SaleServiceStub
from holdfast_devstack.ports import free_port
from holdfast_devstack.postgres import PostgresServer
from lab.bench.load import CLIENT_CORE, SERVER_CORE
from lab.kit.service import START_SECONDS, logged, migrate, program

STOP_SECONDS = 60
UNITS = 2_000_000_000


class Inventory(NamedTuple):
    """The ports and the process id of an inventory."""

    port: int
    metrics_port: int
    pid: int


class Stack:
    """Starts processes, and stops them in reverse order."""

    def __init__(self, directory: Path, settings: Iterable[tuple[str, object]] = ()):
        """`settings` are variables for every service, by their names."""
        self._directory = directory
        self._settings = dict(settings)
        self._exit = ExitStack()
        self._processes = {}
        self.database_url = ""

    def __enter__(self):
        postgres = PostgresServer(self._directory / "postgres", settings={"max_wal_size": "4GB"})
        postgres.start()
        self._exit.callback(postgres.stop)
        pin = ["taskset", "-a", "-p", "-c", str(CLIENT_CORE), str(postgres.child.pid)]
        subprocess.run(pin, check=True, capture_output=True)
        postgres.create_database("bench")
        self.database_url = postgres.url("bench")
        self._postgres = postgres
        return self

    def __exit__(self, *exception):
        self._exit.close()

    def execute(self, sql):
        return self._postgres.execute(sql, "bench")

    def migrate(self):
        migrate(self._variables())

    @property
    def database_port(self):
        return self._postgres.port

    def cpu_seconds(self):
        """Return the CPU time, user and system, of each kind of process; `load`: of clients that have ended."""
        spent = defaultdict(float, {"PostgreSQL": _cpu_seconds(self._postgres.child.pid)})
        for process, kind in self._processes.items():
            spent[kind] += _cpu_seconds(process.pid)
        clients = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent["load"] = clients.ru_utime + clients.ru_stime
        return spent

    def inventory(self, core=SERVER_CORE, database_url=None):
        """Start an inventory. Return its gRPC and metrics ports, and its pid."""
        grpc_port, metrics_port = free_port(), free_port()
        pid = self._spawn(
            f"inventory-{grpc_port}",
            program("holdfast_inventory", "serve"),
            core,
            lambda: _serves(grpc_port),
            HOLDFAST_GRPC_PORT=grpc_port,
            HOLDFAST_METRICS_PORT=metrics_port,
            DATABASE_URL=database_url or self.database_url,
        )
        return Inventory(grpc_port, metrics_port, pid)

    def end(self, pid):
        """End a process before all others."""
        process = next(process for process in self._processes if process.pid == pid)
        del self._processes[process]
        process.stop(STOP_SECONDS)

    def gateway(self, grpc_port, core=SERVER_CORE):
        """Start a gateway for the inventory on `grpc_port`. Return its port and its pid."""
        http_port = free_port()
        pid = self._spawn(
            f"gateway-{http_port}",
            program("holdfast_gateway", "serve"),
            core,
            lambda: get(f"http://127.0.0.1:{http_port}/health/ready") is not None,
            HOLDFAST_HTTP_PORT=http_port,
            HOLDFAST_GATEWAY_METRICS_PORT=free_port(),
            HOLDFAST_INVENTORY_TARGET=f"ipv4:127.0.0.1:{grpc_port}",
        )
        return http_port, pid

    def yardstick(self, kind, *arguments, core=SERVER_CORE):
        """Start one of the servers of `bench.yardsticks`. Return its port."""
        port = free_port()
        yardstick = program("lab.bench.yardsticks", kind, str(port), *arguments)
        self._spawn(f"yardstick-{kind}-{port}", yardstick, core, lambda: _listens(port))
        return port

    def _spawn(self, name, command, core, is_ready, **variables):
        pinned = ["taskset", "-c", str(core)]
        log = self._directory / f"{name}.log"
        process = logged(log, command, self._variables(**variables), prefix=pinned, stop_signal=signal.SIGTERM)
        process.spawn()
        self._exit.callback(process.stop, STOP_SECONDS)
        self._processes[process] = name.rpartition("-")[0]
        process.wait_until(is_ready, START_SECONDS)
        return process.pid

    def _variables(self, **more):
        # There is nothing to drain at the end.
        quiet = {
            "HOLDFAST_DRAIN_QUIET_SECONDS": "0",
            "HOLDFAST_DRAIN_MIN_SECONDS": "0",
            "HOLDFAST_GRPC_HOST": "127.0.0.1",
            "HOLDFAST_HTTP_HOST": "127.0.0.1",
            "HOLDFAST_METRICS_HOST": "127.0.0.1",
        }
        return quiet | self._settings | {"DATABASE_URL": self.database_url} | more


def create_sale(grpc_port, sale_id, on_hand=UNITS):
    with grpc.insecure_channel(f"127.0.0.1:{grpc_port}") as channel:
        sale = sale_pb2.Sale(items=[sale_pb2.Item(item="hot", on_hand=on_hand)])
        sale.hold_time.FromSeconds(3600)
        SaleServiceStub(channel).CreateSale(sale_service_pb2.CreateSaleRequest(sale_id=sale_id, sale=sale), timeout=10)


def get(url):
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.read().decode()
    except OSError:
        return None


def resident_megabytes(pid):
    """Return the resident memory of a process and of its children."""
    return sum(process.memory_info().rss for process in family(pid)) / 1e6


def family(pid):
    """Return a process and its children, if they run. `taskset` replaces itself by the program that it runs."""
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _cpu_seconds(pid):
    """Return the user and system time of a process and of its children, including those that have ended."""
    spent = 0.0
    for process in family(pid):
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            spent += times.user + times.system + times.children_user + times.children_system
    return spent


def _serves(port):
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        try:
            request = sale_service_pb2.ListSalesRequest(page_size=1)
            SaleServiceStub(channel).ListSales(request, timeout=2)
        except grpc.RpcError:
            return False
        return True


def _listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
