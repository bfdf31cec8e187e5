"""A child process starts, stops and fails in bounded time, and reports it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from holdfast_devstack.child_process import ChildProcess, StartError

IGNORES_SIGTERM = ["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done"]


@pytest.fixture
def child(tmp_path):
    """Create children, and kill those that still run at the end of the test."""
    made = []

    def make(*command, **options):
        made.append(ChildProcess("child", command, tmp_path / "child.log", **options))
        return made[-1]

    yield make
    for each in made:
        each.kill()


def wait_for_output(process, text="ready"):
    process.spawn()
    process.wait_until(lambda: text in process.log_tail(), 10)


def test_one_that_never_started_is_not_running_and_stops_at_once(child):
    process = child("sleep", "60")
    assert not process.is_running
    assert process.stop(1)


def test_missing_program_is_named(child):
    process = child("/nowhere/at-all", prefix=["/nowhere/prefix"])
    with pytest.raises(StartError, match="child cannot be executed"):
        process.spawn()


def test_one_that_ends_while_starting_gives_its_status_and_last_words(child):
    process = child("sh", "-c", "echo no such luck; exit 3")
    process.spawn()
    with pytest.raises(StartError, match=r"(?s)ended with status 3.*no such luck"):
        process.wait_until(lambda: False, 10)


def test_one_that_is_never_ready_is_given_up(child):
    process = child("sleep", "60")
    process.spawn()
    with pytest.raises(StartError, match=r"not ready after 0\.05 s"):
        process.wait_until(lambda: False, 0.05)


def test_stop_sends_the_stop_signal(child):
    process = child(
        "sh", "-c", "trap 'exit 7' USR1; echo ready; while :; do sleep 0.05; done", stop_signal=signal.SIGUSR1
    )
    wait_for_output(process)
    assert process.stop(10)
    assert process.exit_status == 7


def test_one_that_ignores_the_stop_signal_is_killed(child):
    process = child(*IGNORES_SIGTERM)
    wait_for_output(process)
    assert not process.stop(0.1)
    assert process.exit_status == -signal.SIGKILL


def test_it_has_a_process_group_of_its_own(child):
    process = child("sh", "-c", "echo ready; sleep 60")
    wait_for_output(process)
    assert os.getpgid(process.pid) == process.pid


def test_it_ends_with_its_parent(tmp_path):
    log = tmp_path / "child.log"
    parent = f"""
import os, pathlib, signal
from holdfast_devstack.child_process import ChildProcess
child = ChildProcess("child", ["sh", "-c", "echo ready; exec sleep 60"], pathlib.Path({str(log)!r}))
child.spawn()
child.wait_until(lambda: "ready" in child.log_tail(), 10)
print(child.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    output = subprocess.run([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True, timeout=30, check=False)
    orphan = int(output.stdout)
    deadline = time.monotonic() + 10
    while is_alive(orphan):
        assert time.monotonic() < deadline, "the child has survived its parent"
        time.sleep(0.01)


def is_alive(pid):
    """Return whether it runs; a zombie that was not reaped counts as dead."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
