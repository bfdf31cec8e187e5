"""The scenarios, each beside its yardstick: on the same machine and within the same minutes."""

import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from uuid import uuid4

from holdfast.inventory.v1 import reservation_service_pb2 as pb
from lab.bench.load import ghz, wrk
from lab.bench.stack import SERVER_CORE, create_sale, get, resident_bytes
from lab.bench.yardsticks import EMPTY, NAIVE_SCHEMA

SUBMIT_COMMANDS = 100
QUERY_SECONDS = re.compile(r"^holdfast_query_seconds_sum\{[^}]*\} (\S+)$", re.MULTILINE)
CORE_TIMEOUT_SECONDS = 120


@dataclass
class Plan:
    """How long each measurement takes, in seconds, with how many callers, and how many reservations fill memory."""

    seconds: float = 5.0
    callers: tuple[int, ...] = (1, 16, 64, 256)
    memory_reservations: int = 100_000


@dataclass
class Results:
    """`loads`: scenario to one load for each number of callers, in requests a second."""

    loads: dict = field(default_factory=dict)
    core: dict = field(default_factory=dict)
    database_share: dict = field(default_factory=dict)
    memory: dict = field(default_factory=dict)


def measure(stack, plan, ghz_binary):
    stack.migrate()
    stack.execute(NAIVE_SCHEMA)
    results = Results(core=_core(stack, plan))
    grpc_port, metrics_port, inventory_pid = stack.inventory()
    yardstick_port = stack.yardstick("grpc", stack.database_url)
    _grpc(stack, plan, results, ghz_binary, grpc_port, metrics_port, yardstick_port)
    http_port, gateway_pid = stack.gateway(grpc_port)
    _rest(stack, plan, results, http_port, grpc_port, yardstick_port)
    _two_processes(stack, plan, results, ghz_binary, grpc_port)
    _memory(plan, results, http_port, grpc_port, {"inventory": inventory_pid, "gateway": gateway_pid})
    return results


def _core(stack, plan):
    command = ["taskset", "-c", str(SERVER_CORE), sys.executable, "-m", "lab.bench.core"]
    done = subprocess.run(
        [*command, stack.database_url, str(plan.seconds)],
        stdout=subprocess.PIPE,
        check=True,
        timeout=CORE_TIMEOUT_SECONDS,
    )
    return json.loads(done.stdout.splitlines()[-1])


def _grpc(stack, plan, results, ghz_binary, grpc_port, metrics_port, yardstick_port):
    def run(scenario, port, method, request, callers):
        load = ghz(ghz_binary, port, method, request, callers, plan.seconds)
        results.loads.setdefault(scenario, {})[callers] = load
        return load

    create_sale(grpc_port, "open")
    create_sale(grpc_port, "sold-out", on_hand=0)
    hold = _hold("sales/open")
    submit = pb.SubmitRequest(parent="sales/open", commands=[pb.Command(create=hold)] * SUBMIT_COMMANDS)
    warm_up = min(plan.seconds, 2.0)
    for port, sale in ((yardstick_port, EMPTY), (yardstick_port, "sales/naive"), (grpc_port, "sales/open")):
        ghz(ghz_binary, port, "CreateReservation", _hold(sale), 16, warm_up)
    for callers in plan.callers:
        run("empty handler", yardstick_port, "CreateReservation", _hold(EMPTY), callers)
        run("naive", yardstick_port, "CreateReservation", _hold("sales/naive"), callers)
        before = _query_seconds(metrics_port)
        load = run("reserve", grpc_port, "CreateReservation", hold, callers)
        if load.requests_per_second:
            results.database_share[callers] = (_query_seconds(metrics_port) - before) / plan.seconds
        run("sold out", grpc_port, "CreateReservation", _hold("sales/sold-out"), callers)
        keyed = _hold("sales/sold-out", request_id="7f3c")
        run("sold out, with request id", grpc_port, "CreateReservation", keyed, callers)
        run(f"submit of {SUBMIT_COMMANDS}", grpc_port, "Submit", submit, min(callers, 16))


def _rest(stack, plan, results, http_port, grpc_port, yardstick_port):
    rest_port = stack.yardstick("rest", f"127.0.0.1:{yardstick_port}")
    empty_port = stack.yardstick("http")
    create_sale(grpc_port, "rest")
    body = {"customer": "c-1", "lines": [{"item": "hot", "quantity": 1}]}

    def run(scenario, port, path, connections):
        run_id = uuid4().hex[:8]
        load = wrk(port, path, body, run_id, connections, plan.seconds)
        results.loads.setdefault(scenario, {})[connections] = load

    wrk(http_port, "/v1/sales/rest/reservations", body, uuid4().hex[:8], 16, min(plan.seconds, 2.0))
    for connections in plan.callers:
        run("REST: empty handler", empty_port, "/", connections)
        run("REST: naive stack", rest_port, "/v1/sales/naive/reservations", connections)
        run("REST: reserve", http_port, "/v1/sales/rest/reservations", connections)


def _two_processes(stack, plan, results, ghz_binary, first_port):
    """One sale, from one process and from two. Both servers share the server core, as they share the sale's row."""
    second_port, _, _ = stack.inventory()
    create_sale(first_port, "shared")
    hold, callers, seconds = _hold("sales/shared"), 64, plan.seconds
    one = ghz(ghz_binary, first_port, "CreateReservation", hold, callers, seconds)
    with ThreadPoolExecutor(2) as executor:
        halves = [
            executor.submit(ghz, ghz_binary, port, "CreateReservation", hold, callers // 2, seconds)
            for port in (first_port, second_port)
        ]
        loads = [half.result() for half in halves]
    results.loads["one process"] = {callers: one}
    results.loads["two processes, first"] = {callers: loads[0]}
    results.loads["two processes, second"] = {callers: loads[1]}


def _memory(plan, results, http_port, grpc_port, pids):
    """Resident megabytes after so many reservations through REST, and after as many again."""
    create_sale(grpc_port, "memory")
    body = {"customer": "c-1", "lines": [{"item": "hot", "quantity": 1}]}
    for stage in ("first", "second"):
        made = 0
        while made < plan.memory_reservations:
            load = wrk(http_port, "/v1/sales/memory/reservations", body, uuid4().hex[:8], 64, plan.seconds)
            made += max(1, int(load.requests_per_second * plan.seconds))
        results.memory[stage] = {name: resident_bytes(pid) / 1e6 for name, pid in pids.items()} | {"made": made}


def _hold(sale, request_id=""):
    lines = [pb.Line(item="hot", quantity=1)]
    return pb.CreateReservationRequest(parent=sale, customer="c-1", lines=lines, request_id=request_id)


def _query_seconds(metrics_port):
    page = get(f"http://127.0.0.1:{metrics_port}/metrics") or ""
    return sum(float(seconds) for seconds in QUERY_SECONDS.findall(page))
