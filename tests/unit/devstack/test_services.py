"""The services get the runner's settings, and all others unchanged."""

import pytest

from holdfast_devstack.services import environment_of_services
from holdfast_devstack.settings import DevstackSettings


@pytest.fixture
def environment(monkeypatch):
    """The services' environment, for some environment of the runner."""

    def of(**variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        return environment_of_services(DevstackSettings.load(None), "postgresql://db", "redis://cache")

    return of


def test_servers_are_those_that_run(environment):
    given = environment(REDIS_URL="redis://other", DATABASE_URL="")
    assert (given["DATABASE_URL"], given["REDIS_URL"]) == ("postgresql://db", "redis://cache")


def test_gateway_is_pointed_at_the_inventory(environment):
    assert environment(HOLDFAST_GRPC_PORT="1234")["HOLDFAST_INVENTORY_TARGET"] == "dns:///127.0.0.1:1234"


def test_services_settings_are_passed_on(environment):
    assert environment(HOLDFAST_LOG_LEVEL="warning")["HOLDFAST_LOG_LEVEL"] == "warning"


def test_drain_is_quick_unless_told_otherwise(environment):
    assert environment()["HOLDFAST_DRAIN_QUIET_SECONDS"] == "0.5"
    assert environment(HOLDFAST_DRAIN_QUIET_SECONDS="3")["HOLDFAST_DRAIN_QUIET_SECONDS"] == "3.0"
