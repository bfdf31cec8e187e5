"""The SBOM of an image lists exactly what its lock pins, and the packages of its base."""

import json
import re
import subprocess
import sys

import pytest

from tests.deploy.render import REPOSITORY

PIN = re.compile(r"^([a-z0-9._-]+)(?:\[.*?\])?==([^ ;\\]+)", re.MULTILINE)
BASE = "base-files 12.4+deb12u12 amd64\nlibc6 2.36-9+deb12u13 amd64\n"


@pytest.fixture(params=["inventory", "gateway", "edge"])
def service(request):
    return request.param


@pytest.fixture
def components(service):
    command = [sys.executable, REPOSITORY / "scripts" / "sbom.py", service, "1.2.3"]
    written = subprocess.run(command, input=BASE, capture_output=True, text=True, check=True)
    document = json.loads(written.stdout)
    assert document["metadata"]["component"]["version"] == "1.2.3"
    return document["components"]


def test_it_lists_the_lock_and_the_base(service, components):
    pins = PIN.findall((REPOSITORY / "requirements" / f"{service}.txt").read_text())
    base = [tuple(line.split()[:2]) for line in BASE.splitlines()]
    assert sorted((each["name"], each["version"]) for each in components) == sorted(set(pins) | set(base))


def test_a_package_of_the_lock_has_the_hashes_of_its_files(components):
    for component in components:
        kind = component["purl"].partition("/")[0]
        hashes = [each for file in component.get("externalReferences", []) for each in file["hashes"]]
        assert bool(hashes) is (kind == "pkg:pypi"), component["name"]
