"""Writes the names of all services' settings where each service finds them: services do not import each other."""  # noqa: INP001

from pathlib import Path

import holdfast_chassis
from holdfast_devstack.settings import DevstackSettings
from holdfast_edge.settings import EdgeSettings
from holdfast_gateway.settings import GatewaySettings
from holdfast_inventory.settings import InventorySettings

LIST = Path(holdfast_chassis.__file__).with_name("setting_names.txt")
_SERVICES = (DevstackSettings, EdgeSettings, GatewaySettings, InventorySettings)


def rendered() -> str:
    """Return the list, a name a line."""
    return "\n".join(sorted({name for service in _SERVICES for name in service.model_fields})) + "\n"


if __name__ == "__main__":
    LIST.write_text(rendered(), encoding="utf-8")
