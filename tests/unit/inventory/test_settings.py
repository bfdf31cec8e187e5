"""The inventory's settings reach the parts that they limit."""

from dataclasses import fields

import pytest

from holdfast_inventory.api.calls import CallLimits
from holdfast_inventory.app import server_limits
from holdfast_inventory.background.refusals import RefusalLimits
from holdfast_inventory.ports import ServerLimits
from holdfast_inventory.postgres.database import DatabaseLimits
from holdfast_inventory.settings import InventorySettings
from holdfast_inventory.stock.group_commit import GroupCommitLimits
from holdfast_inventory.watches.feed import FeedLimits

PARTS = {
    part.__name__: part
    for part in (CallLimits, DatabaseLimits, FeedLimits, GroupCommitLimits, RefusalLimits, ServerLimits)
}
LINKS = [
    (name, *place.split("."))
    for name, field in InventorySettings.model_fields.items()
    for place in (field.json_schema_extra or {}).get("limits", ())
]


@pytest.mark.parametrize(("name", "part", "limited"), LINKS)
def test_a_setting_has_the_type_of_its_limit(name, part, limited):
    (field,) = (field for field in fields(PARTS[part]) if field.name == limited)
    assert InventorySettings.model_fields[name].annotation is field.type


def test_every_limit_of_a_server_has_a_setting():
    assert {limited for _, part, limited in LINKS if part == "ServerLimits"} | {
        "host",
        "port",
        "plain_port",
        "certificate",
    } == {field.name for field in fields(ServerLimits)}


def test_limits_are_those_that_are_set():
    settings = InventorySettings(database_url="postgresql://127.0.0.1/holdfast", grpc_port=7, connection_limit=9)
    limits = server_limits(settings)
    assert (limits.port, limits.max_connections) == (7, 9)
