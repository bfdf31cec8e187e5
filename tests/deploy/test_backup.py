"""A backup can be restored, and the restored ledger is the same."""

import asyncio
import os
import subprocess
import urllib.parse
import uuid
from datetime import timedelta

import pytest
import yaml

from holdfast_inventory.domain.commands import Confirm
from holdfast_inventory.domain.sale import NewItem, NewSale
from holdfast_inventory.postgres import migrations
from tests.deploy.render import REPOSITORY
from tests.support.postgres import on_every_version
from tests.support.replicas import Replica


@pytest.fixture
def binaries(postgres):
    """The directory of the server's own pg_dump and pg_restore."""
    return postgres._binaries


@pytest.fixture
def script(binaries):
    """Run a script with PostgreSQL's programs of the server's version."""

    def run(name, *arguments, **variables):
        return subprocess.run(
            [REPOSITORY / "deploy" / name, *arguments],
            env=os.environ | {"PATH": f"{binaries}:{os.environ['PATH']}"} | variables,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


@pytest.fixture
def other_database_url(postgres):
    name = f"restored_{uuid.uuid4().hex}"
    yield postgres.create_database(name)
    postgres.drop_database(name)


async def sell_some(url):
    """Create a sale of five units, sell one and hold two."""
    async with Replica(url) as one:
        hour = timedelta(hours=1)
        await one.catalog.create_sale(NewSale("drop", None, None, 0, hour, hour, (NewItem("shoe", 5, 0),)))
        sold = await one.execute(await one.bound_hold("r-1", shoe=1))
        await one.execute(Confirm(sold.reservation.reservation_id, "o-1", allow_late=False, customer=""))
        await one.execute(await one.bound_hold("r-2", shoe=2))


async def ledger_of(url):
    """Return the sale, the items whose movements do not sum up, its movements, and the missing migrations."""
    async with Replica(url) as one:
        async with one.database.reading() as connection:
            pending = await migrations.pending(connection)
        verification = await one.catalog.verify("drop")
        movements = await one.catalog.list_movements("drop", 0, 100)
        return await one.catalog.snapshot("drop"), verification.discrepancies, movements, pending


def dumps(directory):
    return sorted(path.name for path in directory.iterdir())


@on_every_version
def test_what_is_restored_is_consistent_and_what_it_was(postgres, database_url, other_database_url, script, tmp_path):
    asyncio.run(sell_some(database_url))
    backup = script("backup.sh", "--directory", str(tmp_path), DATABASE_URL=database_url)
    assert backup.returncode == 0, backup.stderr
    dump, checksum = dumps(tmp_path)
    assert checksum == f"{dump}.sha256"
    restored = script("restore.sh", str(tmp_path / dump), DATABASE_URL=other_database_url)
    assert restored.returncode == 0, restored.stderr
    before, after = asyncio.run(ledger_of(database_url)), asyncio.run(ledger_of(other_database_url))
    assert before == after
    (_, [item]), discrepancies, _, pending = after
    assert (item.on_hand, item.held, item.sold) == (4, 2, 1)
    assert not discrepancies
    assert not pending


def test_what_the_nightly_job_of_kubernetes_makes_can_be_restored(
    postgres, database_url, other_database_url, script, binaries, tmp_path
):
    asyncio.run(sell_some(database_url))
    resources = yaml.safe_load_all((REPOSITORY / "k8s/components/backup/backup.yaml").read_text())
    job = next(each for each in resources if each["kind"] == "CronJob")["spec"]["jobTemplate"]["spec"]["template"]
    container = job["spec"]["containers"][0]
    program = container["args"][0].replace("/backups", str(tmp_path))
    made = subprocess.run(
        [*container["command"], program],
        env=os.environ | {"PATH": f"{binaries}:{os.environ['PATH']}", "DATABASE_URL": database_url, "KEEP_DAYS": "14"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    restored = script("restore.sh", str(tmp_path / dumps(tmp_path)[0]), DATABASE_URL=other_database_url)
    assert (restored.returncode, restored.stderr) == (0, "")
    assert asyncio.run(ledger_of(database_url)) == asyncio.run(ledger_of(other_database_url))


def test_a_database_that_is_not_empty_is_left_alone(database_url, script, tmp_path):
    script("backup.sh", "--directory", str(tmp_path), DATABASE_URL=database_url)
    result = script("restore.sh", str(tmp_path / dumps(tmp_path)[0]), DATABASE_URL=database_url)
    assert result.returncode == 1
    assert "not empty" in result.stderr


def test_a_damaged_dump_is_refused_before_anything_is_restored(database_url, other_database_url, script, tmp_path):
    script("backup.sh", "--directory", str(tmp_path), DATABASE_URL=database_url)
    dump = tmp_path / dumps(tmp_path)[0]
    content = bytearray(dump.read_bytes())
    content[len(content) // 2] ^= 0xFF
    dump.write_bytes(content)
    result = script("restore.sh", str(dump), DATABASE_URL=other_database_url)
    assert result.returncode == 1
    assert "is not what was dumped" in result.stderr


def test_a_backup_that_fails_leaves_nothing_that_looks_like_one(database_url, script, tmp_path):
    gone = urllib.parse.urlsplit(database_url)._replace(path="/gone").geturl()
    result = script("backup.sh", "--directory", str(tmp_path), DATABASE_URL=gone)
    assert result.returncode != 0
    assert dumps(tmp_path) == []


def test_old_dumps_are_deleted_and_nothing_else(database_url, script, tmp_path):
    old, other = tmp_path / "holdfast-20200101T000000Z.dump", tmp_path / "notes.txt"
    for path in (old, other):
        path.touch()
        os.utime(path, (0, 0))
    assert script("backup.sh", "--directory", str(tmp_path), DATABASE_URL=database_url).returncode == 0
    assert not old.exists()
    assert other.exists()


def test_passwords_are_in_no_argument(script, tmp_path):
    url = "postgresql://holdfast:s%40fe@db.internal:5432/holdfast"
    (tmp_path / "a.dump").touch()
    backup = script("backup.sh", "--dry-run", DATABASE_URL=url)
    restore = script("restore.sh", "--dry-run", str(tmp_path / "a.dump"), DATABASE_URL=url)
    for result in (backup, restore):
        assert result.returncode == 0, result.stderr
        assert "--dbname=postgresql://holdfast@db.internal:5432/holdfast" in result.stdout
        assert "s%40fe" not in result.stdout
        assert "s@fe" not in result.stdout
