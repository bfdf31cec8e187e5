"""Time, chance and version."""

import functools
import operator
import os
import uuid
from datetime import UTC
from importlib import metadata

from holdfast_chassis.clock import SYSTEM_CLOCK
from holdfast_chassis.entropy import SYSTEM_ENTROPY
from holdfast_chassis.version import deployment_version


def test_the_clock_is_aware_in_utc_and_never_goes_back():
    assert SYSTEM_CLOCK.now().tzinfo is UTC
    assert SYSTEM_CLOCK.monotonic() <= SYSTEM_CLOCK.monotonic()


def test_entropy_gives_ids_bytes_and_numbers_in_range():
    assert isinstance(SYSTEM_ENTROPY.uuid4(), uuid.UUID)
    assert SYSTEM_ENTROPY.uuid4() != SYSTEM_ENTROPY.uuid4()
    assert len(SYSTEM_ENTROPY.token_bytes(16)) == 16
    assert len(bytes.fromhex(SYSTEM_ENTROPY.token_hex())) == 16
    assert 2.0 <= SYSTEM_ENTROPY.uniform(2.0, 3.0) <= 3.0


def test_ids_are_of_version_4_and_never_the_same():
    ids = [SYSTEM_ENTROPY.uuid4() for _ in range(2_000)]
    assert {(each.version, each.variant) for each in ids} == {(4, uuid.RFC_4122)}
    assert len(set(ids)) == len(ids)
    # Every other bit is sometimes set and sometimes not.
    union = functools.reduce(operator.or_, (each.int for each in ids))
    common = functools.reduce(operator.and_, (each.int for each in ids))
    assert (union.bit_count(), common.bit_count()) == (128 - 4, 2)


def test_a_forked_process_has_ids_of_its_own():
    SYSTEM_ENTROPY.uuid4()
    receiver, sender = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(sender, SYSTEM_ENTROPY.token_hex().encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(receiver, 32).decode() != SYSTEM_ENTROPY.token_hex()


def test_the_deployment_names_the_version_or_else_the_distribution_does(monkeypatch):
    monkeypatch.setenv("HOLDFAST_VERSION", "2026-11-27.1")
    assert deployment_version() == "2026-11-27.1"
    monkeypatch.delenv("HOLDFAST_VERSION")
    assert deployment_version() == metadata.version("holdfast")
