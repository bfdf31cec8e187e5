"""The inventory inside Envoy, patched by the launcher that started it."""

import os
from importlib import import_module

from lab.kit.launcher import LAUNCHER_VARIABLE

# Before the inventory is imported, as outside of Envoy.
import_module(os.environ[LAUNCHER_VARIABLE]).prepare("holdfast_inventory")

from holdfast_inventory.embedded import application  # noqa: E402

__all__ = ["application"]
