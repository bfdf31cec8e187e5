import pytest

from holdfast_inventory.postgres.migrations import (
    DatabaseUnreachableError,
    HistoryDiffersError,
    Migration,
    known,
    migrate,
    plan,
)

THREE = [Migration(version, f"m{version}", f"up {version}", f"down {version}") for version in (1, 2, 3)]


def test_versions_count_from_one_and_each_has_a_way_back():
    assert list(range(1, len(known()) + 1)) == [migration.version for migration in known()]
    assert all(migration.up.strip() and migration.down.strip() for migration in known())


def test_a_skipped_migration_is_a_difference():
    applied = {1: THREE[0].checksum, 3: THREE[2].checksum}

    with pytest.raises(HistoryDiffersError, match="0002_m2 was never applied, but version 3 was"):
        plan(THREE, applied, None)


def test_all_differences_are_reported_at_once():
    with pytest.raises(HistoryDiffersError) as caught:
        plan(THREE, {1: "other", 2: "other"}, None)

    assert "0001_m1.up.sql has changed since it was applied; 0002_m2.up.sql has changed" in str(caught.value)


def test_the_way_back_may_be_mended_after_release():
    mended = Migration(1, "m1", "up 1", "a better way down")

    assert THREE[0].checksum == mended.checksum


async def test_no_database_within_the_patience_is_an_error(free_port):
    with pytest.raises(DatabaseUnreachableError):
        await migrate(f"postgresql://nobody@127.0.0.1:{free_port()}/none", patience_seconds=0.3)
