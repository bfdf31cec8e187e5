#!/usr/bin/env python3
"""What goals of the Makefile need and only the system has: installs it where it may, else says all of it at once.

It runs before anything else does, thus with the standard library alone, and on a Python that is too old as well.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

OLDEST_PYTHON = (3, 11)
_INSTALL = ("apt-get", "install", "--yes", "--quiet", "--no-install-recommends")
_REPOSITORY = Path(__file__).resolve().parent.parent


class Need(NamedTuple):
    """Something to run, Debian's package that has it, and how to tell that it is there."""

    name: str
    package: str
    is_there: Callable[[], bool]


def _program(name: str, package: str) -> Need:
    # Servers are where the PATH of an ordinary user often does not lead.
    places = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin"
    return Need(name, package, lambda: shutil.which(name, path=places) is not None)


def _shared_python() -> Need:
    """Python as a library, which Envoy loads when the inventory is inside it (HOLDFAST_TRANSPORT=envoy)."""
    variables = sysconfig.get_config_vars()
    name = str(variables.get("INSTSONAME"))
    places = [Path(str(variables.get("LIBDIR"))) / multiarch for multiarch in ("", str(variables.get("MULTIARCH")))]
    return Need(
        "Python as a shared library",
        f"libpython{sys.version_info[0]}.{sys.version_info[1]}",
        lambda: ".so" in name and any((place / name).is_file() for place in places),
    )


_GIT = _program("git", "git")
_SYSTEMD_ANALYZE = _program("systemd-analyze", "systemd")
_H2LOAD = _program("h2load", "nghttp2-client")
_NGINX = _program("nginx", "nginx")
_PGBOUNCER = _program("pgbouncer", "pgbouncer")
_PROMETHEUS = _program("prometheus", "prometheus")
_POSTGRESQL_15 = Need("PostgreSQL 15", "postgresql-15", Path("/usr/lib/postgresql/15/bin/postgres").is_file)
_OF_CHECK = (_GIT, _SYSTEMD_ANALYZE)

BY_GOAL = {
    "bench": (_H2LOAD,),
    "check": _OF_CHECK,
    "conformance": (_shared_python(),),
    "contract": (_GIT,),
    "files": _OF_CHECK,
    "test": (
        _POSTGRESQL_15,
        _PGBOUNCER,
        _H2LOAD,
        _NGINX,
        _shared_python(),
        _program("curl", "curl"),
        _PROMETHEUS,
        _program("openssl", "openssl"),
        *_OF_CHECK,
    ),
}
"""What each goal needs beside Python; PyPI and Go's module proxy bring the rest."""


def virtual_environment() -> Need:
    """Return the need for what creates a virtual environment, which Debian does not install with Python."""
    package = f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"
    return Need("venv", package, lambda: find_spec("ensurepip") is not None)


def missing(needs: Iterable[Need]) -> list[Need]:
    """Return the needs that are not met, each once, in order."""
    return [need for need in dict.fromkeys(needs) if not need.is_there()]


class Plan(NamedTuple):
    """What to run, one command after the other, or the sentence that asks a person for it."""

    commands: list[list[str]]
    request: str


def plan(goals: Sequence[str], absent: Sequence[Need], *, has_apt: bool, privilege: Sequence[str] | None) -> Plan:
    """Return how to install what is missing. `privilege` makes this user root; None if nothing can."""
    packages = [need.package for need in absent]
    if has_apt and privilege is not None:
        install = [*privilege, "env", "DEBIAN_FRONTEND=noninteractive", *_INSTALL, *packages]
        return Plan([[*privilege, "apt-get", "update", "--quiet"], install], "")
    how = f"as root, run: apt-get update && {' '.join([*_INSTALL, *packages])}"
    if not has_apt:
        how = f"install what Debian 12 has as {' '.join(packages)}"
    names = ", ".join(need.name for need in absent)
    return Plan([], f"`make {' '.join(goals)}` needs what this machine lacks, {names}: {how}")


def main(goals: Sequence[str]) -> int:
    """Install or report what is missing. Return the exit code."""
    if sys.version_info < OLDEST_PYTHON:
        return _refuse(f"Python 3.11 or later is needed, not {sys.version.split()[0]}: make PYTHON=python3.12 ...")
    needs = [need for goal in goals for need in BY_GOAL.get(goal, ())]
    if not os.access(_REPOSITORY / ".venv/bin/python", os.X_OK):
        needs.insert(0, virtual_environment())
    absent = missing(needs)
    if not absent:
        return 0
    commands, request = plan(goals, absent, has_apt=shutil.which("apt-get") is not None, privilege=_privilege())
    return _refuse(request) if request else _install(absent, commands)


def _privilege() -> list[str] | None:
    if os.geteuid() == 0:
        return []
    sudo = ["sudo", "--non-interactive"]
    return sudo if shutil.which("sudo") and _run([*sudo, "true"]).returncode == 0 else None


def _install(needs: Sequence[Need], commands: Sequence[Sequence[str]]) -> int:
    print(f"installing {', '.join(need.name for need in needs)}", flush=True)  # noqa: T201 - for a person
    for command in commands:
        result = _run(command)
        if result.returncode != 0:
            return _refuse(f"{result.stdout.strip()}\nnot installed: `{' '.join(command)}` failed")
    return 0


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)  # noqa: S603


def _refuse(sentence: str) -> int:
    print(sentence, file=sys.stderr)  # noqa: T201 - for a person
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
