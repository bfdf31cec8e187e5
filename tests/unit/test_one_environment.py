"""One environment file serves both services."""

from holdfast_gateway.settings import GatewaySettings
from holdfast_inventory.settings import InventorySettings


def test_inventory_tolerates_what_only_the_gateway_knows():
    assert (
        GatewaySettings.model_fields.keys() - InventorySettings.model_fields.keys() <= InventorySettings.sibling_names
    )


def test_gateway_tolerates_what_only_the_inventory_knows():
    assert InventorySettings.model_fields.keys() - GatewaySettings.model_fields.keys() <= GatewaySettings.sibling_names


def test_nothing_is_tolerated_that_neither_knows():
    known = GatewaySettings.model_fields.keys() | InventorySettings.model_fields.keys() | {"version"}
    assert known >= GatewaySettings.sibling_names | InventorySettings.sibling_names
