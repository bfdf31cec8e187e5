"""Missing system packages are installed if that is allowed; otherwise the message names all of them at once."""

import re
import subprocess
from pathlib import Path

import pytest

from scripts import prerequisites
from scripts.prerequisites import BY_GOAL, Need, missing, plan

REPOSITORY = Path(__file__).parents[2]
SERVER = Need("PostgreSQL 15", "postgresql-15", lambda: False)
LOAD = Need("h2load", "nghttp2-client", lambda: False)
THERE = Need("git", "git", lambda: True)


def test_what_two_goals_lack_is_missing_once():
    assert missing([SERVER, THERE, LOAD, SERVER]) == [SERVER, LOAD]


@pytest.mark.parametrize("privilege", [[], ["sudo", "--non-interactive"]], ids=["root", "sudo"])
def test_those_who_may_install_are_not_asked(privilege):
    update, install = plan(["test"], [SERVER, LOAD], has_apt=True, privilege=privilege).commands
    assert [*privilege, "apt-get", "update"] == update[: len(privilege) + 2]
    assert install[: len(privilege)] == privilege
    assert install[-2:] == ["postgresql-15", "nghttp2-client"]


def test_others_get_one_sentence_with_all_that_is_missing_and_what_installs_it():
    commands, request = plan(["check", "test"], [SERVER, LOAD], has_apt=True, privilege=None)
    assert commands == []
    assert request.startswith("`make check test` needs what this machine lacks, PostgreSQL 15, h2load: as root, run: ")
    assert re.search(r"apt-get install .* postgresql-15 nghttp2-client$", request)
    assert "\n" not in request


def test_without_debians_packages_their_names_are_reported():
    commands, request = plan(["bench"], [LOAD], has_apt=False, privilege=[])
    assert commands == []
    assert request.endswith("install what Debian 12 has as nghttp2-client")


def test_a_refusal_comes_before_anything_is_run(monkeypatch, capsys):
    monkeypatch.setattr(prerequisites, "BY_GOAL", {"test": (SERVER, LOAD)})
    monkeypatch.setattr(prerequisites, "_privilege", lambda: None)
    monkeypatch.setattr(prerequisites, "_run", lambda command: pytest.fail(f"ran {command}"))
    assert prerequisites.main(["test"]) == 1
    assert "PostgreSQL 15, h2load" in capsys.readouterr().err


def test_an_older_python_is_reported_which_is_needed(monkeypatch, capsys):
    monkeypatch.setattr(prerequisites.sys, "version_info", (3, 10, 1, "final", 0))
    assert prerequisites.main(["up"]) == 1
    assert "Python 3.11 or later is needed" in capsys.readouterr().err


def test_every_goal_that_needs_something_is_one_of_the_makefile():
    explained = subprocess.run(["make", "help"], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    assert set(BY_GOAL) <= set(re.findall(r"make (\S+)", re.sub(r"\x1b\[\d*m", "", explained)))
