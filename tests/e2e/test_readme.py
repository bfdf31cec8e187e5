"""The README's commands do what the README says."""

import json
import re
import sys
import uuid
from pathlib import Path

import pytest

from tests.support.programs import run, shell

README = (Path(__file__).parents[2] / "README.md").read_text()
WATCH_SECONDS = 3
TIMED_OUT = 124


def blocks(language, heading):
    """Return the code blocks of that language under a heading."""
    section = README.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    return re.findall(rf"^```{language}\n(.*?)^```", section, re.MULTILINE | re.DOTALL)


def commands(block):
    """Yield each command of a shell block: lines until one that ends without a continuation or an open quote."""
    command = ""
    for line in block.splitlines():
        command += line + "\n"
        complete = not line.endswith("\\") and command.count("'") % 2 == 0
        if complete and not re.fullmatch(r"\s*(#.*)?\s*", command):
            yield command
        command = "" if complete else command


@pytest.fixture
def paste(cluster, tool):
    """Run a command with the shared cluster's ports and a sale of this test. Return its output."""
    sale_id = f"tour-{uuid.uuid4().hex[:8]}"

    async def run_it(command):
        command = command.replace("drop-1", sale_id)
        _, grpc_port = cluster.addresses[0].split(":")
        command = command.replace("localhost:8080", cluster.url.removeprefix("http://"))
        command = command.replace("localhost:50051", f"127.0.0.1:{grpc_port}")
        if ":watch" not in command and "WatchStock" not in command:
            return await shell(command, tool("grpcurl").parent)
        # A watch has no end, so it is stopped.
        watch = ["timeout", WATCH_SECONDS, "bash", "-c", "exec " + command.strip()]
        finished = await run(*watch, path=tool("grpcurl").parent)
        assert finished.status == TIMED_OUT, finished.output
        return finished.output

    return run_it


async def test_the_tour_works_as_it_stands(paste, tmp_path):
    """REST, then gRPC, then Python, in the README's order: each continues with the state of the one before."""
    await take_rest_tour(paste)
    await take_grpc_tour(paste)
    await run_python(paste, tmp_path)
    stock = json.loads(await paste("curl -s localhost:8080/v1/sales/drop-1/items/sneaker-42"))
    assert (stock["onHand"], stock["held"], stock["sold"]) == (48, 1, 2)


async def take_rest_tour(paste):
    [block] = blocks("sh", "Five minutes, in REST")
    create, reserve, confirm, item, movements, verify, report, watch = commands(block)
    assert json.loads(await paste(create))["state"] == "OPEN"
    held = json.loads(await paste(reserve))
    assert held["state"] == "HELD"
    assert json.loads(await paste(reserve))["name"] == held["name"]
    sold = json.loads(await paste(confirm.replace("sales/drop-1/reservations/{id}", held["name"])))
    assert (sold["state"], sold["order"]) == ("CONFIRMED", "o-77")
    promised = json.loads(re.search(r"# (\{.*), …\}", item)[1] + "}")
    stock = json.loads(await paste(item))
    assert promised == {name: stock[name] for name in promised}
    assert [int(each["sequence"]) for each in json.loads(await paste(movements))["movements"]] == [1, 2, 3]
    assert json.loads(await paste(verify))["consistent"] is True
    told = json.loads(await paste(report))
    assert told["sequence"] == told["saleSequence"] == "3"
    assert "event: snapshot" in await paste(watch)
    await check_refusal(paste, reserve)


async def check_refusal(paste, reserve):
    """The third pair for the same customer is refused; the second pair is released."""
    second = json.loads(await paste(reserve.replace("7f3c", "second")))
    refusal = json.loads(await paste(reserve.replace("7f3c", "third")))
    [block] = blocks("json", "Five minutes, in REST")
    promised = json.loads(block.replace(", …", "").replace('"…"', json.dumps(refusal["type"])))
    assert promised == {name: refusal[name] for name in promised}
    await paste(f"curl -fsS localhost:8080/v1/{second['name']}:release -X POST")


async def take_grpc_tour(paste):
    [block] = blocks("sh", "Five minutes, in gRPC")
    listing, reserve, watch, health = commands(block)
    assert "holdfast.inventory.v1.ReservationService" in await paste(listing)
    assert json.loads(await paste(reserve))["state"] == "HELD"
    assert '"snapshot"' in await paste(watch)
    assert json.loads(await paste(health))["status"] == "SERVING"


async def run_python(paste, tmp_path):
    [program] = blocks("python", "Five minutes, in gRPC")
    script = tmp_path / "tour.py"
    script.write_text(program)
    # Through `paste`, which replaces the ports: the script is pasted as it is.
    output = await paste(f"cat > {script} <<'END'\n{program}END\n{sys.executable} {script}")
    assert "state: CONFIRMED" in output


def test_settings_table_says_what_is_the_default():
    """The README's table agrees with .env.example, which another test compares with the code."""
    example = (Path(__file__).parents[2] / ".env.example").read_text()
    rows = re.findall(r"^\| `(HOLDFAST_\w+)` \| `?([^`|]+?)`? \|", README, re.MULTILINE)
    assert len(rows) >= 5
    for name, default in rows:
        assert f"#{name}={default}" in example, name
