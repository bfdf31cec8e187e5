"""One environment file serves the services and `holdfast up`."""

import pytest

from holdfast_chassis.settings import environment_name
from holdfast_devstack.settings import DevstackSettings
from holdfast_edge.settings import EdgeSettings
from holdfast_gateway.settings import GatewaySettings
from holdfast_inventory.settings import InventorySettings


def test_inventory_tolerates_what_only_the_gateway_knows():
    assert (
        GatewaySettings.model_fields.keys() - InventorySettings.model_fields.keys() <= InventorySettings.sibling_names
    )


def test_gateway_tolerates_what_only_the_inventory_knows():
    assert InventorySettings.model_fields.keys() - GatewaySettings.model_fields.keys() <= GatewaySettings.sibling_names


@pytest.mark.parametrize("service", [InventorySettings, GatewaySettings, EdgeSettings])
def test_services_tolerate_what_only_the_runner_knows(service, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "postgresql://127.0.0.1/holdfast")
    for name in DevstackSettings.model_fields.keys() - DevstackSettings.sibling_names:
        monkeypatch.setenv(environment_name(name), "1234")
    service.load(None)


def test_nothing_is_tolerated_that_neither_knows():
    known = GatewaySettings.model_fields.keys() | InventorySettings.model_fields.keys() | {"version"}
    assert known >= GatewaySettings.sibling_names | InventorySettings.sibling_names
