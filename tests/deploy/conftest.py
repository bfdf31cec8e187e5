"""Facts about what runs Holdfast, rather than about Holdfast."""

import os

import pytest


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch):
    for name in list(os.environ):
        if name.startswith("HOLDFAST_") or name.removesuffix("_FILE") in ("DATABASE_URL", "REDIS_URL"):
            monkeypatch.delenv(name)
