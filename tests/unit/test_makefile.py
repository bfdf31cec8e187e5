"""Every target works in a fresh clone: it first requires what is missing, and all that it runs exists."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
TARGETS = re.findall(r"^([a-z-]+):.*## ", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
# They do without a virtual environment.
BARE = {"help", "clean", "images", "bare-test"}


def recipe(target, virtual_environment):
    """Return the commands that a target would run, in order, with the virtual environment at that place."""
    command = ["make", "--dry-run", "--no-print-directory", f"VENV={virtual_environment}", target]
    # Without what a `make test` around this test hands down, a jobserver among it.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.mark.parametrize("target", sorted(set(TARGETS) - BARE))
def test_in_a_fresh_clone_what_is_missing_is_asked_for_before_anything_runs(target, tmp_path):
    _, first, second, *_ = recipe(target, tmp_path / ".venv")
    assert first == f"python3 scripts/prerequisites.py {target}"
    assert second == f"python3 -m venv {tmp_path}/.venv"


@pytest.mark.parametrize("target", TARGETS)
def test_what_a_target_runs_is_there(target, tmp_path):
    commands = "\n".join(recipe(target, tmp_path / ".venv"))
    for script in re.findall(r"\bscripts/[a-z-]+\.(?:sh|py)", commands):
        assert os.access(REPOSITORY / script, os.X_OK)
    installed = Path(sys.executable).parent
    for program in re.findall(rf"{tmp_path}/\.venv/bin/([a-z-]+)", commands):
        assert os.access(installed / program, os.X_OK)


@pytest.mark.parametrize("module", sorted(set(re.findall(r"-m (lab\.\w+)", (REPOSITORY / "Makefile").read_text()))))
def test_what_the_lab_has_tells_how_it_is_used(module):
    done = subprocess.run([sys.executable, "-m", module, "--help"], cwd=REPOSITORY, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
