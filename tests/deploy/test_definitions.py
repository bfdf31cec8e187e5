"""Files for other platforms are valid by those platforms' own schemas."""

import json
import re
import shutil
import string
import subprocess

import botocore.session
import pytest
import yaml
from botocore.validate import ParamValidator

from holdfast_edge.settings import EdgeSettings
from tests.deploy.render import REPOSITORY, SERVICES

ECS = REPOSITORY / "deploy/ecs"
UNITS = sorted((REPOSITORY / "deploy/systemd").glob("holdfast*.service"))
OPERATIONS = {"task": "RegisterTaskDefinition", "service": "CreateService"}
SHOPPERS_PORTS = {EdgeSettings.model_fields[f"edge_shoppers_{name}"].default for name in ("port", "tls_port")}
COMPOSED = sorted([*REPOSITORY.glob("compose/*.yaml"), *REPOSITORY.glob("deploy/swarm/*.yaml")])


@pytest.fixture(scope="module")
def ecs():
    return botocore.session.get_session().get_service_model("ecs")


@pytest.mark.parametrize("path", sorted(ECS.glob("*.json")), ids=lambda path: path.name)
def test_ecs_definition_has_the_shape_that_aws_asks_for(path, ecs):
    kind = path.name.split(".")[1]
    document = json.loads(path.read_text())
    report = ParamValidator().validate(document, ecs.operation_model(OPERATIONS[kind]).input_shape)
    assert not report.has_errors(), report.generate_report()


def test_ecs_readme_names_every_value_that_is_to_be_filled_in():
    wanted = {
        name for path in ECS.glob("*.json") for _, _, name, _ in string.Template.pattern.findall(path.read_text())
    }
    assert wanted == set(re.findall(r"\b([A-Z][A-Z_]+)=", (ECS / "README.md").read_text()))


def test_ecs_inventory_starts_after_its_migration_succeeded():
    containers = json.loads((ECS / "inventory.task.json").read_text())["containerDefinitions"]
    by_name = {each["name"]: each for each in containers}
    assert by_name["inventory"]["dependsOn"] == [{"containerName": "migrate", "condition": "SUCCESS"}]
    assert by_name["migrate"]["essential"] is False


@pytest.fixture
def installed_units(tmp_path):
    """The units, with the programs where they are on this machine."""
    programs = REPOSITORY / ".venv/bin"
    for path in [*UNITS, REPOSITORY / "deploy/systemd/holdfast.target"]:
        text = path.read_text().replace("/opt/holdfast/bin", str(programs))
        # The files that it reads are not on this machine.
        text = text.replace("EnvironmentFile=/", "EnvironmentFile=-/")
        (tmp_path / path.name.replace("@", "@1")).write_text(text)
    return tmp_path


def systemd_analyze(*arguments):
    if shutil.which("systemd-analyze") is None:
        pytest.fail("systemd-analyze is missing: `make test` installs it")
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, timeout=60, check=False)


def test_systemd_finds_no_fault_with_the_units(installed_units):
    result = systemd_analyze("verify", "--man=no", "--recursive-errors=no", *sorted(installed_units.iterdir()))
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("unit", [path.name.replace("@", "@1") for path in UNITS])
def test_systemd_finds_the_units_hardly_exposed(unit, installed_units):
    result = systemd_analyze("security", "--no-pager", "--offline=true", "--threshold=15", installed_units / unit)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("path", COMPOSED, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_every_network_volume_and_secret_of_a_composition_is_defined(path):
    compositions = [yaml.safe_load(path.read_text())]
    if path.parent.name == "compose":
        compositions.append(yaml.safe_load((REPOSITORY / "compose/compose.yaml").read_text()))
    for kind in ("networks", "volumes", "secrets"):
        defined = set().union(*(each.get(kind, {}) for each in compositions))
        services = compositions[0]["services"].values()
        uses = [each if isinstance(each, str) else each["source"] for one in services for each in one.get(kind, [])]
        used = {each.split(":")[0] for each in uses if not each.startswith((".", "/", "$"))}
        assert used <= defined


@pytest.mark.parametrize("path", ["compose/compose.yaml", "deploy/swarm/stack.yaml"])
def test_containers_run_without_root_without_capabilities_and_read_only(path):
    services = yaml.safe_load((REPOSITORY / path).read_text())["services"]
    for name in (*SERVICES, "migrate"):
        definition = services[name]
        assert (definition["user"], definition["read_only"], definition["cap_drop"]) == ("10001:10001", True, ["ALL"])


def test_only_the_edge_is_published_and_the_database_has_no_way_out():
    core = yaml.safe_load((REPOSITORY / "compose/compose.yaml").read_text())
    assert [name for name, each in core["services"].items() if "ports" in each] == ["edge"]
    assert core["services"]["postgres"]["networks"] == ["database"]
    assert core["networks"]["database"] == {"internal": True}


@pytest.mark.parametrize("path", ["compose/compose.yaml", "compose/production.yaml"])
def test_only_shoppers_reach_the_edge_of_compose_from_elsewhere(path):
    published = yaml.safe_load((REPOSITORY / path).read_text())["services"]["edge"]["ports"]
    public = [each.rpartition(":")[2] for each in published if not each.startswith("127.0.0.1:")]
    assert set(public) <= {str(port) for port in SHOPPERS_PORTS}


def test_public_load_balancer_of_ecs_leads_to_the_shoppers_port():
    balanced = json.loads((ECS / "edge.service.json").read_text())["loadBalancers"]
    ports = {each["targetGroupArn"].split("/")[1]: each["containerPort"] for each in balanced}
    staff = EdgeSettings.model_fields["edge_http_port"].default
    assert ports == {"holdfast-edge": min(SHOPPERS_PORTS), "holdfast-edge-staff": staff}


def test_compose_stops_each_service_before_what_it_needs():
    services = yaml.safe_load((REPOSITORY / "compose/compose.yaml").read_text())["services"]
    needs = {name: set(each.get("depends_on", {})) for name, each in services.items()}
    assert {"gateway", "inventory"} <= needs["edge"]
    assert "inventory" in needs["gateway"]
    assert {"postgres", "valkey", "migrate"} <= needs["inventory"]
    assert services["inventory"]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}


@pytest.mark.parametrize("service", ["inventory", "gateway"])
def test_swarm_and_ecs_which_replace_what_is_unhealthy_ask_only_for_life(service):
    swarm = yaml.safe_load((REPOSITORY / "deploy/swarm/stack.yaml").read_text())["services"][service]
    task = json.loads((ECS / f"{service}.task.json").read_text())["containerDefinitions"]
    container = next(each for each in task if each["name"] == service)
    assert swarm["healthcheck"]["test"][-1] == "--live"
    assert container["healthCheck"]["command"][-1] == "--live"
