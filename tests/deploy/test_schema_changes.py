"""The previous release works with the schema of this one, so that a rollout and a rollback need no pause.

Before the first release, the last commit stands for it. Two planted migrations prove that this test can fail.
"""

import os
import shutil
import subprocess
import sys

import pytest

from tests.deploy.render import REPOSITORY
from tests.deploy.stack import Stack

SOURCES = ("protos/gen", "services/chassis", "services/inventory", "gateway", "gateway/edge")
MIGRATIONS = "services/inventory/holdfast_inventory/postgres/migrations"


def release_before():
    """Return the last tag of a version, or the last commit."""
    describe = ["git", "describe", "--tags", "--abbrev=0", "--match", "v[0-9]*", "HEAD^"]
    described = subprocess.run(describe, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    return described.stdout.strip() or "HEAD"


@pytest.fixture
def code_before(tmp_path):
    """The code of the previous release, as a PYTHONPATH."""
    root = tmp_path / "before"
    root.mkdir()
    archive = subprocess.run(
        ["git", "archive", release_before(), "protos/gen", "services", "gateway"],
        cwd=REPOSITORY,
        capture_output=True,
        check=True,
    )
    subprocess.run(["tar", "--extract", "--directory", root], input=archive.stdout, check=True)
    return python_path(root)


@pytest.fixture
def migrate(tmp_path, empty_database_url):
    """Migrate with the migrations of the working tree, and with planted ones after them."""

    def run(**planted):
        root = tmp_path / "now"
        for source in SOURCES:
            shutil.copytree(REPOSITORY / source, root / source, dirs_exist_ok=True)
        directory = root / MIGRATIONS
        for name, sql in planted.items():
            version = len(list(directory.glob("*.up.sql"))) + 1
            (directory / f"{version:04d}_{name}.up.sql").write_text(sql)
            (directory / f"{version:04d}_{name}.down.sql").write_text("-- nothing\n")
        result = subprocess.run(
            [sys.executable, "-m", "holdfast_inventory", "migrate"],
            env=os.environ | {"PYTHONPATH": python_path(root), "DATABASE_URL": empty_database_url},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert result.returncode == 0, result.stderr

    return run


def python_path(root):
    return os.pathsep.join(str(root / source) for source in SOURCES)


@pytest.fixture
def buy_with_the_code_before(code_before, empty_database_url, valkey_url, smoke_test):
    """Run the services of the previous release on the migrated database, and buy something."""

    def buy():
        stack = Stack(empty_database_url, valkey_url, PYTHONPATH=code_before)
        try:
            stack.start()
            return smoke_test(stack)
        finally:
            stack.stop()

    return buy


def test_the_release_before_sells_on_this_schema(migrate, buy_with_the_code_before):
    migrate()
    result = buy_with_the_code_before()
    assert result.returncode == 0, result.stderr


def test_the_release_before_sells_on_a_schema_that_was_expanded(migrate, buy_with_the_code_before):
    migrate(expand="ALTER TABLE reservations ADD COLUMN channel text;\n")
    result = buy_with_the_code_before()
    assert result.returncode == 0, result.stderr


def test_a_schema_that_was_contracted_too_early_is_noticed(migrate, buy_with_the_code_before):
    migrate(contract="ALTER TABLE reservations RENAME COLUMN customer TO buyer;\n")
    result = buy_with_the_code_before()
    assert (result.returncode, "smoke-test: POST /v1/sales" in result.stderr) == (1, True), result.stderr
