"""Facts about what runs Holdfast, rather than about Holdfast."""

import os
import subprocess
import uuid

import pytest

from tests.deploy.render import REPOSITORY
from tests.deploy.stack import Stack


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch):
    for name in list(os.environ):
        if name.startswith("HOLDFAST_") or name.removesuffix("_FILE") in ("DATABASE_URL", "REDIS_URL"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def stack(postgres18, valkey_server):
    """A stack that the tests of one process share."""
    name = f"stack_{uuid.uuid4().hex}"
    stack = Stack(postgres18.create_database(name), valkey_server.url, HOLDFAST_MIGRATE_ON_START="true")
    try:
        stack.start()
        yield stack
    finally:
        stack.stop()
        postgres18.drop_database(name)


@pytest.fixture
def smoke_test(tool):
    """Run deploy/smoke-test.sh against a stack."""

    def run(stack, *arguments):
        path = f"{tool('grpcurl').parent}:{os.environ['PATH']}"
        return subprocess.run(
            [REPOSITORY / "deploy/smoke-test.sh", "--rest", f"http://{stack.edge}", "--grpc", stack.edge, *arguments],
            env=os.environ | {"PATH": path},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run
