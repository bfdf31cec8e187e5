"""`.env.example` is complete and tells the truth."""

import re
from pathlib import Path

import pytest
from pydantic import SecretStr

from holdfast_chassis.settings import environment_name
from holdfast_devstack.settings import DevstackSettings
from holdfast_edge.settings import EdgeSettings
from holdfast_gateway.settings import GatewaySettings
from holdfast_inventory.settings import InventorySettings

EXAMPLE = (Path(__file__).parents[2] / ".env.example").read_text()
DOCUMENTED = dict(re.findall(r"^#([A-Z_]+)=(.*)$", EXAMPLE, re.MULTILINE))

# Where the services, or `make up`, have defaults of their own, the comment above it says so.
DEFAULTS = {
    environment_name(name): field.default
    for settings in (DevstackSettings, EdgeSettings, GatewaySettings, InventorySettings)
    for name, field in settings.model_fields.items()
}
EXAMPLES = {"DATABASE_URL", "REDIS_URL"}


def test_every_setting_is_in_it():
    assert set(DOCUMENTED) == {*DEFAULTS, "HOLDFAST_VERSION"}


@pytest.mark.parametrize("name", sorted(DEFAULTS.keys() - EXAMPLES))
def test_default_is_the_real_one(name):
    assert DOCUMENTED[name] == as_written(DEFAULTS[name])


def as_written(default):
    if default is None:
        return ""
    if isinstance(default, tuple):
        return ",".join(default)
    if isinstance(default, SecretStr):
        return default.get_secret_value()
    return str(default).lower() if isinstance(default, bool) else str(default)
