"""The data directory is used by one runner at a time."""

import os

import pytest

from holdfast_devstack.child_process import StartError
from holdfast_devstack.data_directory import exclusively


def test_second_user_is_reported_who_has_it(tmp_path):
    with (
        exclusively(tmp_path / "data"),
        pytest.raises(StartError, match=rf"process {os.getpid()}.*HOLDFAST_DATA_DIR"),
        exclusively(tmp_path / "data"),
    ):
        pass


def test_it_is_free_again_afterwards(tmp_path):
    for _ in range(2):
        with exclusively(tmp_path / "data") as directory:
            assert directory.path.is_dir()
            assert not directory.was_abandoned


def test_run_that_was_killed_is_noticed(tmp_path):
    (tmp_path / "lock").write_text("1234\n")
    with exclusively(tmp_path) as directory:
        assert directory.was_abandoned


def test_place_that_cannot_be_a_directory_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StartError, match="file/data cannot be used"), exclusively(tmp_path / "file" / "data"):
        pass
