"""The scenarios, each compared with its yardstick on the same machine and within the same minutes."""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from holdfast.inventory.v1 import reservation_service_pb2 as pb
from lab.bench.delay import DatabaseLink
from lab.bench.load import CLIENT_CORE, SERVER_CORE, SERVICE, Call, Load, ghz, h2load
from lab.bench.promises import Ledger, Promises
from lab.bench.service_metrics import Batches, batches, outcomes, overloaded
from lab.bench.stack import create_sale, family, get, resident_megabytes
from lab.bench.yardsticks import EMPTY, NAIVE_SCHEMA

SUBMIT_COMMANDS, SUBMIT_CALLERS = 100, 16
FEW, MANY = 64, 256
DELAY_MS = 1
SOLD_OUT = "sales/sold-out"
_INVENTORY, _GATEWAY = ("inventory", "PostgreSQL"), ("gateway", "inventory", "PostgreSQL")
_EMPTY, _NAIVE = ("yardstick-grpc",), ("yardstick-rest", "yardstick-grpc", "PostgreSQL")
_WARM_UP_SHARE = 0.2
_INSERT_TIMEOUT_SECONDS = 60


@dataclass(frozen=True)
class Plan:
    """The duration of each measurement in seconds, and the number of reservations after which memory is measured."""

    seconds: float = 5.0
    memory_reservations: int = 100_000
    least_requests_each: int = 4
    """The requests of each caller, regardless of the time."""


@dataclass(frozen=True)
class Scenario:
    """The result of one load. A Submit is one request with many commands; any other request has one."""

    callers: int
    requests_per_second: float
    p50_ms: float
    p99_ms: float
    refused: int
    """Commands that were refused by overload. Rates exclude them; their CPU time counts for the other commands."""
    commands: int
    cpu_us: dict[str, float]
    """The CPU time of a command, by kind of process; `load` is the client."""
    batches: Batches | None = None


@dataclass
class Results:
    """All results. `resident_mb`: by the number of reservations and the kind of process."""

    scenarios: dict[str, Scenario] = field(default_factory=dict)
    insert_p50_ms: float = 0.0
    link_insert_p50_ms: dict[int, float] = field(default_factory=dict)
    """The same over the delayed link, by its measured delay in milliseconds."""
    resident_mb: dict[int, dict[str, float]] = field(default_factory=dict)
    has_envoy_embedded: bool = False
    ledgers: list[Ledger] = field(default_factory=list)
    broken_promises: list[str] = field(default_factory=list)


def measure(stack, plan):
    stack.migrate()
    stack.execute(NAIVE_SCHEMA)
    bench = _Bench(stack, plan)
    bench.grpc()
    bench.lone_caller()
    bench.rest()
    bench.two_inventories()
    bench.late_database()
    bench.memory()
    bench.drift()
    bench.promises()
    return bench.results


class _Bench:
    """One run: its measurements and their yardsticks, in order."""

    def __init__(self, stack, plan):
        self.results = Results()
        self._stack, self._plan = stack, plan
        self._promises = Promises(SOLD_OUT)
        self._inventory = stack.inventory()
        self._yardstick = stack.yardstick("grpc", stack.database_url)
        self._rest_yardstick = stack.yardstick("rest", f"127.0.0.1:{self._yardstick}")
        self._http_port, self._gateway_pid = stack.gateway(self._inventory.port)
        for sale in ("hot", "shared", "late", "rest", "memory"):
            create_sale(self._inventory.port, sale)
        create_sale(self._inventory.port, SOLD_OUT.removeprefix("sales/"), on_hand=0)

    def grpc(self):
        hot, port = _reserve(self._inventory.port, "sales/hot"), self._inventory.port
        for callers in (FEW, MANY):
            self._measure(f"empty_{callers}", [self._empty()], callers, _EMPTY)
            self._measure(f"reserve_{callers}", [hot], callers, _INVENTORY, [self._inventory])
        self._measure("sold_out_256", [_reserve(port, SOLD_OUT)], MANY, _INVENTORY, [self._inventory])
        self._measure("submit_of_100", [_submit(port)], SUBMIT_CALLERS, _INVENTORY, [self._inventory])
        self._measure("ghz_with_request_ids_64", [hot], FEW, _INVENTORY, [self._inventory], by_ghz=True)

    def lone_caller(self):
        """Measure one caller, compared with one connection that inserts rows."""
        self.results.insert_p50_ms = self._insert_p50_ms(self._stack.database_url)
        call = _reserve(self._inventory.port, "sales/hot")
        self._measure("reserve_1", [call], 1, _INVENTORY, [self._inventory])

    def rest(self):
        naive, ours = _rest(self._rest_yardstick, ""), _rest(self._http_port, "sales/rest")
        for callers in (FEW, MANY):
            self._measure(f"naive_rest_{callers}", [naive], callers, _NAIVE)
            self._measure(f"rest_{callers}", [ours], callers, _GATEWAY, [self._inventory])

    def two_inventories(self):
        """Measure one hot sale with one process and with two: on one core, and on two, one of them PostgreSQL's."""
        first = self._inventory
        one = _reserve(first.port, "sales/shared")
        self._measure("one_inventory_256", [one], MANY, _INVENTORY, [first])
        for name, core in (("two_on_one_core_256", SERVER_CORE), ("two_on_two_cores_256", CLIENT_CORE)):
            second = self._stack.inventory(core)
            calls = [one, one._replace(port=second.port)]
            self._measure(name, calls, MANY, _INVENTORY, [first, second])
            self._stack.end(second.pid)

    def late_database(self):
        """Measure a hot sale through a link, without and with a delay."""
        with DatabaseLink(self._stack.database_port) as link:
            url = link.through(self._stack.database_url)
            inventory = self._stack.inventory(database_url=url)
            call = _reserve(inventory.port, "sales/late")
            for milliseconds in (0, DELAY_MS):
                link.request_delay_seconds = milliseconds / 1000
                self.results.link_insert_p50_ms[milliseconds] = self._insert_p50_ms(url)
                self._measure(f"delay_{milliseconds}ms_256", [call], MANY, _INVENTORY, [inventory])
            self._stack.end(inventory.pid)

    def memory(self):
        """Measure resident memory after a number of reservations over REST, and after the same number again."""
        pids = {"inventory": self._inventory.pid, "gateway": self._gateway_pid}
        call, each = _rest(self._http_port, "sales/memory"), self._plan.memory_reservations
        for made in (each, 2 * each):
            _progress(f"memory after {made:,} reservations")
            load = h2load([call], FEW, each)
            self._promises.note(call.sale, load.requests - load.refused)
            self.results.resident_mb[made] = {name: resident_megabytes(pid) for name, pid in pids.items()}
        processes = family(self._inventory.pid)
        self.results.has_envoy_embedded = any("envoy" in process.name() for process in processes)

    def drift(self):
        """Repeat the first measurement, to see whether the machine is still as fast."""
        self._measure("empty_256_again", [self._empty()], MANY, _EMPTY)

    def promises(self):
        self.results.ledgers = self._promises.ledgers(self._inventory.port)
        said = outcomes([self._page(self._inventory)])
        self.results.broken_promises = self._promises.broken(self.results.ledgers, said)

    def _insert_p50_ms(self, database_url):
        seconds = self._plan.seconds
        command = ["taskset", "-c", str(SERVER_CORE), sys.executable, "-m", "lab.bench.yardsticks", "insert"]
        done = subprocess.run(
            [*command, str(seconds), database_url],
            stdout=subprocess.PIPE,
            check=True,
            timeout=seconds + _INSERT_TIMEOUT_SECONDS,
        )
        return json.loads(done.stdout)["p50_ms"]

    def _empty(self):
        return _reserve(self._yardstick, EMPTY)._replace(sale="")

    def _measure(self, name, calls, callers, kinds, inventories=(), *, by_ghz=False):
        _progress(name)
        send = partial(ghz, calls[0], _ghz_data(calls[0].sale), callers) if by_ghz else partial(h2load, calls, callers)
        noted = partial(self._noted, calls[0], send, inventories)
        requests = self._warm_up(callers, noted)
        spent, before = self._stack.cpu_seconds(), batches(self._pages(inventories))
        load, accepted = noted(requests)
        after, spent_then = batches(self._pages(inventories)), self._stack.cpu_seconds()
        self.results.scenarios[name] = Scenario(
            callers=callers,
            requests_per_second=accepted / calls[0].commands / load.seconds,
            p50_ms=load.latency_ms(0.5),
            p99_ms=load.latency_ms(0.99),
            refused=load.requests * calls[0].commands - accepted,
            commands=accepted,
            cpu_us={kind: (spent_then[kind] - spent[kind]) / accepted * 1e6 for kind in (*kinds, "load")},
            batches=after.since(before) if after.number > before.number else None,
        )

    def _noted(self, call: Call, send: Callable[[int], Load], inventories: Sequence, requests: int) -> tuple[Load, int]:
        """Send a call that many times, and record the number of commands that were not refused by overload."""
        before = overloaded(self._pages(inventories))
        load = send(requests)
        # Over gRPC the client does not see the refusal.
        refused = overloaded(self._pages(inventories)) - before if call.is_grpc else load.refused
        accepted = load.requests * call.commands - refused
        self._promises.note(call.sale, accepted)
        return load, accepted

    def _warm_up(self, callers: int, noted: Callable[[int], tuple[Load, int]]) -> int:
        """Return the number of requests for the planned time: an estimate from a few, then from more, as a warm-up."""
        least: int = self._plan.least_requests_each * callers
        requests = least
        for seconds in (self._plan.seconds * _WARM_UP_SHARE, self._plan.seconds):
            load, _ = noted(requests)
            requests = max(least, int(load.requests_per_second * seconds))
        return requests

    def _pages(self, inventories: Sequence) -> list[str]:
        return [self._page(inventory) for inventory in inventories]

    def _page(self, inventory):
        return get(f"http://127.0.0.1:{inventory.metrics_port}/metrics")


def _reserve(port, sale):
    return Call(port, f"/{SERVICE}/CreateReservation", _hold(sale).SerializeToString(), sale=sale)


def _submit(port):
    commands = [pb.Command(create=_hold("sales/hot"))] * SUBMIT_COMMANDS
    body = pb.SubmitRequest(parent="sales/hot", commands=commands).SerializeToString()
    return Call(port, f"/{SERVICE}/Submit", body, sale="sales/hot", commands=SUBMIT_COMMANDS)


def _rest(port, sale):
    """Return a message for a sale, or for a yardstick if there is no sale."""
    body = json.dumps({"customer": "c-1", "lines": [{"item": "hot", "quantity": 1}]}).encode()
    return Call(port, f"/v1/{sale or 'sales/naive'}/reservations", body, is_grpc=False, sale=sale)


def _hold(sale):
    return pb.CreateReservationRequest(parent=sale, customer="c-1", lines=[pb.Line(item="hot", quantity=1)])


def _ghz_data(sale):
    """Return requests, each with a request id, as a shop's backend sends them."""
    return {
        "parent": sale,
        "customer": "c-{{.RequestNumber}}",
        "lines": [{"item": "hot", "quantity": 1}],
        "requestId": "{{newUUID}}",
    }


def _progress(what):
    print(f"measuring {what}", file=sys.stderr, flush=True)
