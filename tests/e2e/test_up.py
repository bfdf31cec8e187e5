"""`holdfast up`, as a new user sees it: it serves, suggests commands, keeps its data, and stops in order."""

import asyncio
import json
import os
import re
import signal
import socket
import sys
from pathlib import Path

import aiohttp
import pytest

from tests.support.eventually import eventually
from tests.support.programs import shell

START_SECONDS = 60
STOP_SECONDS = 60
# A proxy for other machines, not for local services.
PROXIES = dict.fromkeys(("http_proxy", "https_proxy", "grpc_proxy", "HTTP_PROXY"), "http://127.0.0.1:9") | {
    "no_proxy": "",
    "NO_PROXY": "",
}
STOP_ORDER = ["gateway", "inventory", "Valkey", "PostgreSQL"]


class Up:
    """A running `holdfast up` and what it has printed so far."""

    def __init__(self, process):
        self.process = process
        self.output = ""

    async def read_until(self, pattern, timeout_seconds=START_SECONDS):
        """Read on until `pattern` has been printed, and return its match."""
        try:
            async with asyncio.timeout(timeout_seconds):
                while not (match := re.search(pattern, self.output)):
                    chunk = await self.process.stdout.read(4096)
                    assert chunk, f"it ended before it printed {pattern!r}:\n{self.output}"
                    self.output += chunk.decode()
                return match
        except TimeoutError:
            pytest.fail(f"it did not print {pattern!r} in {timeout_seconds} s:\n{self.output}")

    async def exit_code(self):
        """Read to the end and return the exit code."""
        async with asyncio.timeout(STOP_SECONDS):
            self.output += (await self.process.stdout.read()).decode()
            return await self.process.wait()

    @property
    def stopped(self):
        """The names of the parts that it reported as stopped, in order."""
        return re.findall(r"stopped (\S+) after", self.output)

    @property
    def tour(self):
        """The commands that it suggests."""
        return [line.strip() for line in self.output.splitlines() if re.match(r"  (curl|grpcurl|hold=|buyer=)", line)]


@pytest.fixture
def environment(tmp_path, free_port):
    """Free ports and a directory of its own."""
    edges = ["EDGE_HTTP", "EDGE_SHOPPERS", "EDGE_METRICS", "EDGE_ADMIN"]
    services = ["HTTP", "GRPC", "METRICS", "GATEWAY_METRICS", "PROMETHEUS", *edges]
    inherited = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "REDIS_URL")}
    return inherited | {
        "HOLDFAST_DATA_DIR": str(tmp_path / "data"),
        **{f"HOLDFAST_{port}_PORT": str(free_port()) for port in [*services, "POSTGRES", "VALKEY"]},
    }


@pytest.fixture
async def up(environment):
    """Start `holdfast up`, and at the end of the test kill it with its children."""
    started = []

    async def start(*options, within=None, **variables):
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "holdfast_cli", "up", *options),
            env=environment | variables,
            cwd=within,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        started.append(process)
        return Up(process)

    yield start
    for process in started:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_what_it_says_to_try_works_and_what_was_sold_is_kept(up, environment, tool):
    tools = tool("grpcurl").parent
    first = await up()
    await first.read_until("Ctrl-C stops it")
    reserve, confirm, look, reserve_over_grpc = first.tour
    bought = await shell(f"{reserve}\n{confirm}", tools)
    assert json.loads(bought.split("\n", 1)[1])["state"] == "CONFIRMED"
    held = json.loads(await shell(reserve_over_grpc, tools))
    assert held["state"] == "HELD"
    await first.read_until("demo .*sneaker-42 48/1/1", timeout_seconds=20)
    hourly = f"http://127.0.0.1:{environment['HOLDFAST_HTTP_PORT']}/v1/sales?schedule=saleSchedules/hourly&state=OPEN"
    await shell(f"until curl -fsS '{hourly}' | grep sales/hourly-; do sleep 0.2; done", tools)
    first.process.send_signal(signal.SIGINT)
    assert await first.exit_code() == 0, first.output
    assert first.stopped == STOP_ORDER

    second = await up()
    await second.read_until("Ctrl-C stops it")
    stock = json.loads(await shell(look, tools))
    assert (stock["onHand"], stock["sold"]) == (49, 1)
    second.process.send_signal(signal.SIGTERM)
    assert await second.exit_code() == 0, second.output


async def test_with_monitoring_prometheus_scrapes_every_service_and_has_the_rules(up):
    stack = await up("--monitoring")
    await stack.read_until("Ctrl-C stops it")
    url = re.search(r"Prometheus +(http://\S+)", stack.output)[1]
    async with aiohttp.ClientSession(url) as session:

        async def ask(path, **parameters):
            async with session.get(f"/api/v1/{path}", params=parameters) as answer:
                return (await answer.json())["data"]

        async def every_service_is_up():
            series = (await ask("query", query="up == 1"))["result"]
            return {each["metric"]["job"] for each in series} == {"inventory", "gateway"}

        await eventually(every_service_is_up, 30)
        groups = (await ask("rules"))["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        assert len(rules) > 5
        assert {rule["health"] for rule in rules} <= {"ok", "unknown"}
    stack.process.send_signal(signal.SIGINT)
    assert await stack.exit_code() == 0, stack.output
    assert stack.stopped == ["Prometheus", *STOP_ORDER]


async def test_with_auth_callers_are_asked_who_they_are_and_the_tour_has_what_they_need(up, environment, tool):
    tools = tool("grpcurl").parent
    stack = await up("--auth")
    await stack.read_until("Ctrl-C stops it")
    assert "-> 403 the caller needs the scope sales.write" in stack.output
    credentials, reserve, confirm, look, reserve_over_grpc, cancel = stack.tour
    bought = await shell(f"{credentials}\n{reserve}\n{confirm}", tools)
    assert json.loads(bought.split("\n", 1)[1])["state"] == "CONFIRMED"
    assert json.loads(await shell(f"{credentials}\n{reserve_over_grpc}", tools))["state"] == "HELD"
    assert json.loads(await shell(f"{credentials}\n{look}", tools))["sold"] == 1
    assert json.loads(await shell(f"{credentials}\n{cancel}", tools))["reason"] == "PERMISSION_DENIED"
    assert json.loads(await shell(look.replace("$operator", ""), tools))["reason"] == "UNAUTHENTICATED"
    await stack.read_until("demo .*sneaker-42 48/1/1", timeout_seconds=20)
    holdfast = f"{sys.executable} -m holdfast_cli"
    directory = f"HOLDFAST_DATA_DIR={environment['HOLDFAST_DATA_DIR']}"
    made = f'operator="$({directory} {holdfast} token --subject alice --scope stock.read)"'
    assert json.loads(await shell(f"{made}\n{look}", tools))["sold"] == 1
    stack.process.send_signal(signal.SIGTERM)
    assert await stack.exit_code() == 0, stack.output


async def test_dead_child_is_named_and_the_rest_stops_in_order(up, environment):
    stack = await up()
    await stack.read_until("Ctrl-C stops it")
    os.kill(child_of(stack.process.pid, "holdfast_inventory"), signal.SIGKILL)
    assert await stack.exit_code() == 1
    assert "inventory has ended by itself, with status -9" in stack.output
    assert stack.stopped == STOP_ORDER


async def test_it_starts_again_after_sigkill(up):
    first = await up()
    await first.read_until("Ctrl-C stops it")
    first.process.kill()
    await first.exit_code()
    second = await up()
    await second.read_until("Ctrl-C stops it")


async def test_stop_while_starting_stops_what_has_started(up):
    stack = await up()
    await stack.read_until("schema ")
    stack.process.send_signal(signal.SIGINT)
    assert await stack.exit_code() == 0, stack.output
    assert stack.stopped == ["Valkey", "PostgreSQL"]


async def test_second_user_of_the_directory_is_refused(up, environment):
    first = await up()
    await first.read_until("kept in")
    second = await up()
    assert await second.exit_code() == 1
    assert f"another `holdfast up` (process {first.process.pid})" in second.output


async def test_taken_port_is_named_with_the_setting_that_changes_it(up, environment):
    with socket.create_server(("127.0.0.1", int(environment["HOLDFAST_HTTP_PORT"]))):
        stack = await up()
        assert await stack.exit_code() == 1
    assert f"port {environment['HOLDFAST_HTTP_PORT']} (REST) is taken" in stack.output
    assert "HOLDFAST_HTTP_PORT" in stack.output


async def test_edge_comes_before_both_services_and_goes_first(up, environment, tool):
    stack = await up("--edge", **PROXIES)
    await stack.read_until("Ctrl-C stops it")
    port = environment["HOLDFAST_EDGE_HTTP_PORT"]
    assert all(f":{port}" in command for command in stack.tour)
    url = f"http://127.0.0.1:{port}/v1/sales/demo/items/cap"
    assert json.loads(await shell(f"curl -fsS {url}", tool("grpcurl").parent))["onHand"] == 500
    stack.process.send_signal(signal.SIGTERM)
    assert await stack.exit_code() == 0, stack.output
    assert stack.stopped == ["edge", *STOP_ORDER]


async def test_it_serves_over_ipv6_if_that_is_set(up, environment, tool):
    stack = await up(HOLDFAST_HTTP_HOST="::1", HOLDFAST_GRPC_HOST="::1", HOLDFAST_METRICS_HOST="::1")
    await stack.read_until("Ctrl-C stops it")
    reserve, *_ = stack.tour
    assert "[::1]" in reserve
    await shell(reserve, tool("grpcurl").parent)
    await stack.read_until("demo .*sneaker-42 49/1/0", timeout_seconds=20)


async def test_given_servers_are_used(up, empty_database_url, valkey_url, environment):
    stack = await up(DATABASE_URL=empty_database_url, REDIS_URL=valkey_url)
    await stack.read_until("Ctrl-C stops it")
    stack.process.send_signal(signal.SIGTERM)
    assert await stack.exit_code() == 0, stack.output
    assert stack.stopped == ["gateway", "inventory"]
    assert not (Path(environment["HOLDFAST_DATA_DIR"]) / "postgres").exists()


async def test_settings_come_from_an_environment_file_unless_the_environment_has_them(up, tmp_path):
    """Written on any system, and with quotes."""
    (tmp_path / ".env").write_text('\ufeffHOLDFAST_START_TIMEOUT_SECONDS="soon"\r\nHOLDFAST_HTTP_PORT=many\r\n')
    stack = await up(within=tmp_path)
    assert await stack.exit_code() == 2
    assert "HOLDFAST_START_TIMEOUT_SECONDS" in stack.output
    assert "HOLDFAST_HTTP_PORT" not in stack.output


async def test_faulty_settings_are_all_named(up):
    stack = await up(HOLDFAST_HTTP_PORT="many", HOLDFAST_HTPP_HOST="x", DATABASE_URL="mysql://shop:s3cret@db/shop")
    assert await stack.exit_code() == 2
    for name in ("HOLDFAST_HTTP_PORT", "HOLDFAST_HTPP_HOST", "DATABASE_URL: must be a URL like postgresql://"):
        assert name in stack.output
    assert "s3cret" not in stack.output


async def test_a_given_database_that_does_not_answer_is_reported_at_once_and_at_the_end(up, free_port, valkey_url):
    nowhere = f"postgresql://shop@127.0.0.1:{free_port()}/shop"
    stack = await up(DATABASE_URL=nowhere, REDIS_URL=valkey_url, HOLDFAST_DATABASE_WAIT_SECONDS="3")
    await stack.read_until("waiting for the database .*Connect call failed")
    assert await stack.exit_code() == 1
    assert re.search("could not be migrated: no database within 3 s: .*Connect call failed", stack.output)


def child_of(parent, module):
    """Return the process id of the child that runs a Python module."""
    for pid in map(int, Path(f"/proc/{parent}/task/{parent}/children").read_text().split()):
        if module.encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
            return pid
    pytest.fail(f"no child runs {module}")
