"""A process that cannot become Envoy says so, and what to do about it."""

import sys
from pathlib import Path

import find_libpython
import pytest

from holdfast_inventory import __main__
from holdfast_inventory.__main__ import serve_by_envoy
from holdfast_inventory.settings import InventorySettings
from holdfast_inventory.transports.envoy_process import UnusableError, launch
from tests.support.transports import LIMITS

ADMIN = Path("/run/admin")


@pytest.fixture
def no_shared_library(monkeypatch):
    monkeypatch.setattr(find_libpython, "find_libpython", lambda: None)


def test_without_the_extra_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyvoy", None)
    with pytest.raises(UnusableError, match="extra `envoy`"):
        launch(LIMITS, "module:application", ADMIN)


def test_without_a_shared_library_its_package_is_named(no_shared_library):
    with pytest.raises(UnusableError, match=r"libpython3\.\d+"):
        launch(LIMITS, "module:application", ADMIN)


def test_where_envoy_is_asked_for_it_is_an_unusable_setting(no_shared_library, capsys):
    assert serve_by_envoy(settings_with("envoy"), None) == 2
    assert "HOLDFAST_TRANSPORT=grpc_aio can" in capsys.readouterr().err


def test_by_default_grpc_aio_takes_its_place_and_says_why(no_shared_library, monkeypatch):
    served = []
    monkeypatch.setattr(__main__, "serve", lambda _, notice: served.append(notice) or 0)
    assert serve_by_envoy(settings_with("auto"), None) == 0
    (notice,) = served
    assert "libpython3" in notice


def settings_with(transport):
    return InventorySettings(database_url="postgresql://127.0.0.1/holdfast", transport=transport)


def test_nothing_that_it_passes_on_looks_like_a_setting():
    """Which settings would refuse as misspelt."""
    _, environment = launch(LIMITS, "module:application", ADMIN)
    assert [name for name in environment if name.startswith("HOLDFAST_")] == []
