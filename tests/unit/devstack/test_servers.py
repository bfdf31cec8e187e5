"""The embedded servers start, recover from a crash, and keep their data."""

import asyncpg
import pytest

from holdfast_devstack.child_process import StartError
from holdfast_devstack.postgres import PostgresServer
from tests.support.postgres import on_every_version


@on_every_version
async def test_database_is_fresh_and_durable(postgres, empty_database_url):
    connection = await asyncpg.connect(empty_database_url)
    try:
        assert await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0
        assert [await connection.fetchval(f"SHOW {name}") for name in ("fsync", "synchronous_commit")] == ["on", "on"]
    finally:
        await connection.close()


@pytest.mark.timeout(60)
def test_postgres_recovers_from_sigkill_with_its_data(tmp_path):
    server = PostgresServer(tmp_path / "pg")
    server.start()
    try:
        server.create_database("kept")
        server.kill()
        assert not server.child.is_running
        server.start()
        assert server.has_database("kept")
    finally:
        server.stop()
    assert server.child.exit_status == 0


@pytest.mark.timeout(60)
def test_pid_file_naming_a_stranger_does_not_prevent_the_start(tmp_path):
    server = PostgresServer(tmp_path / "pg")
    server.prepare()
    (tmp_path / "pg" / "cluster" / "postmaster.pid").write_text("1\n/elsewhere\n0\n5432\n")
    server.start()
    server.stop()


def test_missing_binaries_are_named(tmp_path):
    with pytest.raises(StartError, match="not in /nowhere"):
        PostgresServer(tmp_path / "pg", binaries=tmp_path.__class__("/nowhere")).start()


def test_valkey_answers(valkey_server, valkey_url):
    assert valkey_url.startswith("redis://127.0.0.1:")
    assert valkey_server.child.is_running
