"""Every variable that is given to a service is one of its settings, and the values can be used."""

import json
import re

import pytest
import yaml

from holdfast_chassis.settings import SettingsError
from tests.deploy.budgets import SETTINGS
from tests.deploy.render import OVERLAYS, REPOSITORY, SERVICES, configuration, pods

SYSTEMD_UNITS = {"inventory": "holdfast-inventory@", "gateway": "holdfast-gateway@", "edge": "holdfast-edge"}


def kubernetes():
    for overlay in OVERLAYS:
        for service in SERVICES:
            container = pods(overlay)[f"Deployment {service}"]["containers"][0]
            yield f"{overlay}-{service}", service, configuration(overlay) | given(container.get("env", []))
        for job, specification in pods(overlay).items():
            if job.startswith("Job"):
                container = specification["containers"][0]
                yield f"{overlay}-migrate", "inventory", configuration(overlay) | given(container["env"])


# Values of secrets that are set elsewhere.
SECRETS = {"DATABASE_URL": "postgresql://given/elsewhere", "REDIS_URL": "redis://given/0"}


def given(variables):
    return {each["name"]: each.get("value") or SECRETS.get(each["name"], "given elsewhere") for each in variables}


def composed():
    for path in [*REPOSITORY.glob("compose/*.yaml"), *REPOSITORY.glob("deploy/swarm/*.yaml")]:
        services = yaml.safe_load(path.read_text())["services"]
        for name, definition in services.items():
            service = "inventory" if name == "migrate" else name
            if service in SERVICES and "environment" in definition:
                yield f"{path.relative_to(REPOSITORY)}-{name}", service, definition["environment"]


def ecs():
    for path in sorted((REPOSITORY / "deploy/ecs").glob("*.task.json")):
        for container in json.loads(path.read_text())["containerDefinitions"]:
            service = "inventory" if container["name"] == "migrate" else container["name"]
            yield f"ecs-{container['name']}", service, given(container["environment"] + container.get("secrets", []))


def systemd():
    shared = assignments((REPOSITORY / "deploy/systemd/holdfast.env").read_text().splitlines())
    for service, unit in SYSTEMD_UNITS.items():
        text = (REPOSITORY / f"deploy/systemd/{unit}.service").read_text().replace("%i", "1")
        own = assignments(
            word for line in re.findall(r"^Environment=(.*)$", text, re.MULTILINE) for word in line.split()
        )
        python_own = {name: value for name, value in own.items() if not name.startswith("PYTHON")}
        yield f"systemd-{service}", service, shared | python_own


def assignments(lines):
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


CASES = [
    pytest.param(service, env, id=name)
    for source in (kubernetes, composed, ecs, systemd)
    for name, service, env in source()
]


@pytest.mark.parametrize(("service", "environment"), CASES)
def test_settings_are_known_and_usable(service, environment, monkeypatch, tmp_path):
    for name, value in environment.items():
        monkeypatch.setenv(name, existing(name, value, tmp_path))
    if service == "inventory" and not {"DATABASE_URL", "DATABASE_URL_FILE"} & environment.keys():
        monkeypatch.setenv("DATABASE_URL", "postgresql://given/by-another-file")
    try:
        SETTINGS[service].load(None)
    except SettingsError as error:
        pytest.fail(str(error))


def existing(name, value, directory):
    """Return a file, or a directory with a certificate, in place of one that exists only in the deployment."""
    if name.endswith("_FILE"):
        path = directory / name
        path.write_text(SECRETS[name.removesuffix("_FILE")])
        return str(path)
    if name.endswith("_TLS_DIR"):
        for each in ("tls.crt", "tls.key", "ca.crt"):
            (directory / each).touch()
        return str(directory)
    return value
