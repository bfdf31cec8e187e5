"""The rendered manifests, as Kubernetes would get them."""

import subprocess
from functools import cache
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
OVERLAYS = sorted(path.name for path in (REPOSITORY / "k8s/overlays").iterdir() if path.is_dir())
SERVICES = ("inventory", "gateway", "edge")


@cache
def rendered(overlay):
    """Return all resources of an overlay."""
    kustomize = REPOSITORY / ".tools/bin/kustomize"
    if not kustomize.is_file():
        pytest.fail(f"{kustomize} is missing: make tools")
    command = [kustomize, "build", REPOSITORY / "k8s/overlays" / overlay]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    # kustomize warns of deprecated fields.
    assert result.stderr == ""
    return list(yaml.safe_load_all(result.stdout))


def resource(overlay, kind, name):
    """One resource of an overlay."""
    return next(each for each in of_kind(overlay, kind) if each["metadata"]["name"] == name)


def of_kind(overlay, *kinds):
    """Its resources of these kinds."""
    return [each for each in rendered(overlay) if each["kind"] in kinds]


def pods(overlay):
    """Return the specification of every pod, by the kind and the name of its owner."""
    specifications = {}
    for each in of_kind(overlay, "Deployment", "StatefulSet", "Job"):
        specifications[f"{each['kind']} {each['metadata']['name']}"] = each["spec"]["template"]["spec"]
    for each in of_kind(overlay, "CronJob"):
        template = each["spec"]["jobTemplate"]["spec"]["template"]
        specifications[f"CronJob {each['metadata']['name']}"] = template["spec"]
    return specifications


def configuration(overlay):
    """Return the variables that all services get there."""
    maps = [each for each in of_kind(overlay, "ConfigMap") if each["metadata"]["name"].startswith("holdfast-")]
    return maps[0]["data"]
