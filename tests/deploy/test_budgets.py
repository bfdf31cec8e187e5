"""Every orchestrator allows a service the time of its drain."""

import json
import re

import pytest
import yaml

from tests.deploy.budgets import stop_seconds
from tests.deploy.render import OVERLAYS, REPOSITORY, SERVICES, configuration, pods

FARGATE_LIMIT_SECONDS = 120


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("overlay", OVERLAYS)
async def test_kubernetes_grace_is_longer_than_pre_stop_and_all_steps_of_the_stop(overlay, service, monkeypatch):
    pod = pods(overlay)[f"Deployment {service}"]
    pre_stop = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    needed = pre_stop + stop_seconds(service, configuration(overlay), monkeypatch)
    assert pod["terminationGracePeriodSeconds"] >= needed


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("path", ["compose/compose.yaml", "deploy/swarm/stack.yaml"])
async def test_stop_grace_period_is_longer_than_all_steps_of_the_stop(path, service, monkeypatch):
    definition = yaml.safe_load((REPOSITORY / path).read_text())["services"][service]
    variables = {name: value for name, value in definition["environment"].items() if name.startswith("HOLDFAST_")}
    grace = int(definition["stop_grace_period"].removesuffix("s"))
    assert grace >= stop_seconds(service, variables, monkeypatch)


@pytest.mark.parametrize("service", SERVICES)
async def test_ecs_stop_timeout_is_longer_than_all_steps_of_the_stop_and_no_longer_than_fargate_allows(
    service, monkeypatch
):
    task = json.loads((REPOSITORY / f"deploy/ecs/{service}.task.json").read_text())
    container = next(each for each in task["containerDefinitions"] if each["name"] == service)
    variables = {each["name"]: each["value"] for each in container["environment"]}
    assert stop_seconds(service, variables, monkeypatch) <= container["stopTimeout"] <= FARGATE_LIMIT_SECONDS


@pytest.mark.parametrize(
    ("service", "unit"),
    [("inventory", "holdfast-inventory@"), ("gateway", "holdfast-gateway@"), ("edge", "holdfast-edge")],
)
async def test_systemd_waits_longer_than_all_steps_of_the_stop(service, unit, monkeypatch):
    text = (REPOSITORY / f"deploy/systemd/{unit}.service").read_text()
    timeout = int(re.search(r"^TimeoutStopSec=(\d+)$", text, re.MULTILINE)[1])
    assert timeout >= stop_seconds(service, {}, monkeypatch)
