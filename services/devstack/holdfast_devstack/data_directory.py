"""The directory that keeps data and logs between runs, used by one `holdfast up` at a time."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from holdfast_devstack.child_process import StartError


class DataDirectory(NamedTuple):
    """The directory, and whether the previous run was killed, so that its children may still be ending."""

    path: Path
    was_abandoned: bool


@contextmanager
def exclusively(directory: Path) -> Iterator[DataDirectory]:
    """Create the directory if it is missing, and lock it. The lock ends with the process.

    Raises StartError if another process has locked it or it cannot be written.
    """
    lock = directory / "lock"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise StartError(
            f"{directory} cannot be used ({error.strerror}): choose another directory with HOLDFAST_DATA_DIR"
        ) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StartError(
                f"another `holdfast up` (process {lock.read_text().strip() or 'unknown'}) uses {directory}: "
                "stop it, or choose another directory with HOLDFAST_DATA_DIR"
            ) from error
        was_abandoned = os.fstat(descriptor).st_size > 0
        os.truncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        try:
            yield DataDirectory(directory, was_abandoned)
        finally:
            os.truncate(descriptor, 0)
    finally:
        os.close(descriptor)
