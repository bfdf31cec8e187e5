"""The inventory inside Envoy: the module that Envoy's filter loads."""

import os
from pathlib import Path

from holdfast_chassis import logs
from holdfast_chassis.lifecycle import Lifecycle
from holdfast_chassis.memory import give_back_import_memory
from holdfast_chassis.version import deployment_version
from holdfast_inventory.app import App
from holdfast_inventory.ports import NewServer
from holdfast_inventory.settings import InventorySettings
from holdfast_inventory.transports.envoy import Embedded

CONFIG_VARIABLE = "INVENTORY_CONFIG"
"""Has what --config said, if anything."""


def _new_service(new_server: NewServer) -> Lifecycle:
    path = os.environ.get(CONFIG_VARIABLE)
    settings, version = InventorySettings.load(Path(path) if path else None), deployment_version()
    logs.configure("inventory", version, settings.log_level, settings.log_format)
    give_back_import_memory()
    return App(settings, version, new_server).lifecycle


application = Embedded(_new_service)
