"""The smoke test buys through every layer, and reports what is wrong."""

import json
import shutil
import subprocess
import urllib.request

from tests.deploy.render import REPOSITORY
from tests.deploy.stack import VERSION, Stack


def available(stack):
    with urllib.request.urlopen(f"http://{stack.edge}/v1/sales/canary/items/unit", timeout=10) as answer:
        return json.load(answer)["available"]


def test_it_passes_on_a_stack_that_works_and_leaves_the_stock_as_it_was(stack, smoke_test):
    first = smoke_test(stack, "--version", VERSION)
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout == f"smoke-test: passed, version {VERSION}\n"
    before = available(stack)
    second = smoke_test(stack)
    assert (second.returncode, second.stderr) == (0, "")
    assert available(stack) == before


def test_with_a_key_it_passes_where_callers_authenticate_and_never_shows_the_key(
    postgres18, valkey_server, smoke_test, tmp_path
):
    """The key and its hash are those that compose/make-secrets.sh makes, and the listeners those of a container."""
    shutil.copy(REPOSITORY / "compose/make-secrets.sh", tmp_path)
    subprocess.run([tmp_path / "make-secrets.sh"], check=True, capture_output=True)
    secrets = tmp_path / "secrets"
    known = {"HOLDFAST_API_KEYS_PATH": secrets / "api_keys.json"}
    exposed = {"HOLDFAST_GRPC_HOST": "0.0.0.0", "HOLDFAST_HTTP_HOST": "0.0.0.0"}
    url = postgres18.create_database("guarded_stack")
    stack = Stack(url, valkey_server.url, HOLDFAST_MIGRATE_ON_START="true", **known, **exposed)
    try:
        stack.start()
        result = smoke_test(stack, "--version", VERSION, "--key", secrets / "operator_key")
        assert (result.returncode, result.stderr) == (0, "")
        refused = smoke_test(stack)
        assert (refused.returncode, "401" in refused.stderr) == (1, True)
    finally:
        stack.stop()
        postgres18.drop_database("guarded_stack")


def test_it_fails_when_another_version_answers(stack, smoke_test):
    result = smoke_test(stack, "--version", "9.9.9")
    assert (result.returncode, result.stderr) == (1, f"smoke-test: version {VERSION} answers, not 9.9.9\n")


def test_it_fails_without_an_answer(stack, smoke_test, free_port):
    result = smoke_test(stack, "--rest", f"http://127.0.0.1:{free_port()}")
    assert result.returncode == 1
    assert "no answer" in result.stderr


def test_it_fails_when_grpc_does_not_answer(stack, smoke_test, free_port):
    result = smoke_test(stack, "--grpc", f"127.0.0.1:{free_port()}")
    assert result.returncode == 1
    assert "smoke-test: ReservationService/CreateReservation" in result.stderr


def test_a_dry_run_sends_nothing(stack, smoke_test, free_port):
    result = smoke_test(stack, "--rest", f"http://127.0.0.1:{free_port()}", "--dry-run")
    assert result.returncode == 0, result.stderr
    assert "/v1/sales/canary/reservations" in result.stdout
