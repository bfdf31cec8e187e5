"""The load test passes against a correct Holdfast, and fails against one that oversells."""

import asyncio
import json

import pytest

from lab.kit import service as kit
from lab.load_test.report import write
from lab.load_test.run import Plan, RunError, run
from lab.load_test.verdict import Thresholds
from tests.support.services import _DEFAULTS, NO_DRAIN

# A busy machine may be slow; speed is not what is tested here.
PATIENT = Thresholds(p99_seconds=60.0, server_errors=0.0, lost_answers=0.0)


def plan(url, **settings):
    small = {"users": 40, "ramp_seconds": 1.0, "seconds": 5.0, "processes": 2, "units": 60, "thresholds": PATIENT}
    return Plan(url, **(small | settings))


@pytest.mark.parametrize("mix", ["load", "realistic"])
async def test_a_correct_holdfast_passes(cluster, tmp_path, mix):
    moments = []
    result = await asyncio.to_thread(run, plan(cluster.url, mix=mix), lambda *now: moments.append(now))
    assert result.faults == []
    assert 0 < result.shelf.sold <= 60
    assert max(moment.tally.users for _, moment, _ in moments) > 20
    write(result, tmp_path)
    assert json.loads((tmp_path / "load-test.json").read_text())["sold"] == result.shelf.sold
    assert (tmp_path / "load-test.png").stat().st_size > 10_000


async def test_a_planted_oversell_is_found(database_url, start_gateway):
    settings = kit.variables(_DEFAULTS | {"database_url": database_url} | NO_DRAIN)
    with kit.Service("holdfast_inventory", settings, launcher="lab.load_test.planted") as inventory:
        inventory.wait_for("serving")
        gateway = start_gateway(inventory.wait_for("listening")["address"]).wait_until_serving()
        result = await asyncio.to_thread(run, plan(gateway.url, units=9), lambda *_: None)
    assert {"OVERSOLD", "LEDGER"} <= {fault.split(":")[0] for fault in result.faults}


async def test_an_address_without_a_holdfast_is_reported(free_port):
    with pytest.raises(RunError, match="got no answer"):
        await asyncio.to_thread(run, plan(f"http://127.0.0.1:{free_port()}"), lambda *_: None)
