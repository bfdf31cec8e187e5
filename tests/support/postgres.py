"""Marks for tests on PostgreSQL."""

import pytest

on_every_version = pytest.mark.parametrize("postgres", [18, 15], indirect=True)
"""Runs a test on the newest PostgreSQL and on Debian's."""
