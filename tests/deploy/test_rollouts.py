"""deploy.sh and rollback.sh do the right things in the right order, and stop, or go back, when one of them fails."""

import re

import pytest
import yaml

from tests.deploy.fake_cluster import FakeCluster
from tests.deploy.stack import VERSION


@pytest.fixture
def cluster(tmp_path):
    return FakeCluster(tmp_path)


def changes(cluster):
    """Return the changes that were made, in short, without the queries."""
    done = []
    for call in cluster.calls:
        if match := re.search(r" apply --selector \S+ ((?:not)?in \(.*?\))", call):
            done.append(f"apply {match[1]}")
        elif match := re.search(r"(delete job|rollout undo|rollout status) (\S+)(?: (--to-revision=\d+))?", call):
            done.append(" ".join(part for part in match.groups() if part))
    return done


ROLLOUT = [
    "delete job migrate",
    "apply notin (inventory, gateway, edge)",
    "apply in (inventory)",
    "rollout status deployment/inventory",
    "apply in (gateway)",
    "rollout status deployment/gateway",
    "apply in (edge)",
    "rollout status deployment/edge",
]


def test_a_deploy_migrates_then_rolls_out_what_is_needed_first_and_buys_something(cluster, stack):
    result = cluster.run("deploy.sh", "--images", "registry.internal/shop/", "production", VERSION, edge=stack.edge)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == f"deploy: {VERSION} serves in production"
    assert f"smoke-test: passed, version {VERSION}" in result.stdout
    assert changes(cluster) == ROLLOUT
    images = re.findall(r"image: (\S*holdfast-\S+)", cluster.manifests)
    assert set(images) == {
        f"registry.internal/shop/holdfast-{name}:{VERSION}" for name in ("inventory", "gateway", "edge")
    }


def test_a_migration_that_fails_rolls_nothing_out(cluster):
    cluster.answer("migration", "FailureTarget Failed ")
    result = cluster.run("deploy.sh", "production", "2.0.0")
    assert (result.returncode, result.stderr) == (1, "deploy: the migration failed: nothing was rolled out\n")
    assert changes(cluster) == ROLLOUT[:2]


def test_a_rollout_that_gets_stuck_takes_back_what_it_changed_and_nothing_else(cluster):
    cluster.has_revisions(inventory=7, gateway=5, edge=3)
    cluster.answer("stuck.gateway")
    result = cluster.run("deploy.sh", "production", "2.0.0")
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == "deploy: 2.0.0 was rolled back in production"
    assert changes(cluster) == [
        *ROLLOUT[:6],
        "rollout undo deployment/gateway --to-revision=5",
        "rollout status deployment/gateway",
        "rollout undo deployment/inventory --to-revision=7",
        "rollout status deployment/inventory",
    ]


def test_a_smoke_test_that_fails_takes_everything_back(cluster, stack):
    cluster.has_revisions(inventory=7, gateway=5, edge=3)
    result = cluster.run("deploy.sh", "production", "2.0.0", edge=stack.edge)
    assert result.returncode == 1
    assert f"smoke-test: version {VERSION} answers, not 2.0.0" in result.stderr
    assert [each for each in changes(cluster) if "undo" in each] == [
        "rollout undo deployment/edge --to-revision=3",
        "rollout undo deployment/gateway --to-revision=5",
        "rollout undo deployment/inventory --to-revision=7",
    ]


def test_a_first_deploy_that_fails_has_nothing_to_go_back_to(cluster):
    cluster.answer("stuck.inventory")
    result = cluster.run("deploy.sh", "staging", "1.0.0")
    assert result.returncode == 1
    told = "deploy: 1.0.0 failed in staging, and was left as it is: there is nothing to roll back"
    assert result.stderr.splitlines()[-1] == told
    assert not [each for each in changes(cluster) if "undo" in each]


def test_no_rollback_leaves_a_failure_to_look_at(cluster):
    cluster.has_revisions(inventory=7)
    cluster.answer("stuck.inventory")
    result = cluster.run("deploy.sh", "--no-rollback", "production", "2.0.0")
    assert (result.returncode, result.stderr) == (1, "deploy: 2.0.0 failed in production, and was left as it is\n")
    assert not [each for each in changes(cluster) if "undo" in each]


@pytest.mark.parametrize("environment", ["dev", "staging", "production"])
def test_every_environment_can_be_rendered_with_a_version(environment, cluster):
    cluster.answer("migration", "Failed ")
    cluster.run("deploy.sh", environment, "2.0.0")
    resources = list(yaml.safe_load_all(cluster.manifests))
    images = {
        container["image"]
        for each in resources
        if each["kind"] == "Deployment" and each["metadata"]["name"] in ("inventory", "gateway", "edge")
        for container in each["spec"]["template"]["spec"]["containers"]
    }
    assert images == {f"holdfast-{name}:2.0.0" for name in ("inventory", "gateway", "edge")}


@pytest.mark.parametrize("script", ["deploy.sh", "rollback.sh"])
def test_an_unknown_environment_is_an_error_that_names_the_known_ones(script, cluster):
    result = cluster.run(script, "moon", *(["1.0.0"] if script == "deploy.sh" else []))
    assert result.returncode == 2
    assert result.stderr.endswith("there is no environment moon: dev, staging, production or swarm\n")
    assert cluster.calls == []


@pytest.mark.parametrize("version", ["latest", "", "a b", "-x"])
def test_what_is_no_version_is_not_deployed(version, cluster):
    assert cluster.run("deploy.sh", "production", version).returncode in (1, 2)
    assert cluster.calls == []


@pytest.mark.parametrize(
    "arguments", [["deploy.sh", "--dry-run", "production", "2.0.0"], ["rollback.sh", "--dry-run", "dev"]]
)
def test_a_dry_run_changes_nothing_and_says_what_it_would(arguments, cluster):
    result = cluster.run(*arguments)
    assert result.returncode == 0, result.stderr
    assert cluster.calls == []
    assert "deployment/inventory" in result.stdout


def test_a_rollback_goes_the_other_way_round(cluster):
    result = cluster.run("rollback.sh", "production")
    assert result.returncode == 0, result.stderr
    assert changes(cluster) == [
        f"rollout {verb} deployment/{name}{suffix}"
        for name in ("edge", "gateway", "inventory")
        for verb, suffix in (("undo", " --to-revision=0"), ("status", ""))
    ]


def test_a_rollback_that_fails_goes_on_with_the_others_and_says_so(cluster):
    cluster.answer("stuck.gateway")
    result = cluster.run("rollback.sh", "production")
    assert (result.returncode, result.stderr) == (1, "rollback: not rolled back: gateway\n")
    assert "rollout undo deployment/inventory --to-revision=0" in changes(cluster)


def test_in_a_swarm_what_was_updated_is_taken_back_when_another_update_failed_and_was(cluster):
    for name in ("inventory", "gateway", "edge"):
        cluster.answer(f"image.holdfast_{name}", "old")
    cluster.answer("state.holdfast_gateway", "rollback_completed")
    result = cluster.run("deploy.sh", "swarm", "2.0.0")
    assert result.returncode == 1
    assert "deploy: not updated: gateway (rollback_completed)" in result.stderr
    rolled_back = [call.rpartition("_")[2] for call in cluster.calls if call.startswith("docker service rollback")]
    assert rolled_back == ["edge", "inventory"]
