"""Writes the SBOM of an image: what its lock pins, with hashes, and the Debian packages of its base.

    dpkg-query --show --showformat '${Package} ${Version} ${Architecture}\n' | scripts/sbom.py inventory 1.2.3

CycloneDX 1.6 in JSON. The packages of the lock come from cyclonedx-py; the list of Debian packages is read from stdin.
"""  # noqa: INP001

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

ROOT = Path(__file__).parents[1]


def sbom(service: str, version: str, debian_packages: Iterable[str]) -> dict[str, Any]:
    """Return the document of an image. `debian_packages` are lines of name, version and architecture."""
    lock = ROOT / "requirements" / f"{service}.txt"
    command = [str(Path(sys.executable).with_name("cyclonedx-py")), "requirements", str(lock), "--spec-version", "1.6"]
    written = subprocess.run([*command, "--output-reproducible"], capture_output=True, check=True)  # noqa: S603
    document: dict[str, Any] = json.loads(written.stdout)
    document["metadata"]["component"] = {
        "type": "container",
        "bom-ref": f"holdfast-{service}",
        "name": f"holdfast-{service}",
        "version": version,
    }
    document["components"] += [_debian(*line.split()) for line in debian_packages if line.strip()]
    return document


def _debian(name: str, version: str, architecture: str) -> dict[str, str]:
    purl = f"pkg:deb/debian/{quote(name)}@{quote(version, safe='')}?arch={architecture}"
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(sbom(sys.argv[1], sys.argv[2], sys.stdin), indent=2, sort_keys=True) + "\n")
