"""Time, chance and version."""

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
    assert 2.0 <= SYSTEM_ENTROPY.uniform(2.0, 3.0) <= 3.0


def test_the_deployment_names_the_version_or_else_the_distribution_does(monkeypatch):
    monkeypatch.setenv("HOLDFAST_VERSION", "2026-11-27.1")
    assert deployment_version() == "2026-11-27.1"
    monkeypatch.delenv("HOLDFAST_VERSION")
    assert deployment_version() == metadata.version("holdfast")
