"""One environment file serves the services and `holdfast up`."""

import pytest

from holdfast_chassis.settings import SettingsError, environment_name
from holdfast_devstack.settings import DevstackSettings
from holdfast_edge.settings import EdgeSettings
from holdfast_gateway.settings import GatewaySettings
from holdfast_inventory.settings import InventorySettings
from scripts import setting_names

SERVICES = (DevstackSettings, EdgeSettings, GatewaySettings, InventorySettings)


def test_list_of_all_settings_is_up_to_date():
    assert setting_names.LIST.read_text() == setting_names.rendered(), "run `make generate`"


@pytest.mark.parametrize("service", SERVICES)
def test_services_tolerate_the_settings_of_others(service, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "postgresql://127.0.0.1/holdfast")
    for other in SERVICES:
        for name in other.model_fields.keys() - service.model_fields.keys():
            monkeypatch.setenv(environment_name(name), "1234")
    service.load(None)


@pytest.mark.parametrize("service", SERVICES)
def test_no_service_tolerates_a_name_that_is_no_setting(service, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "postgresql://127.0.0.1/holdfast")
    monkeypatch.setenv(f"{service.own_prefix}NAME", "1")
    with pytest.raises(SettingsError, match=f"{service.own_prefix}NAME: unknown"):
        service.load(None)
