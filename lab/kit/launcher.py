"""Running a service with some parts replaced: faults are patched into the running program, not into the product."""

import runpy
import sys
from collections.abc import Callable, Mapping
from typing import NoReturn

from holdfast_inventory.ports import ServerLimits
from holdfast_inventory.transports import envoy_process

LAUNCHER_VARIABLE = "LAB_LAUNCHER"
"""The variable with the name of the launcher's module, inside an Envoy."""


def launch(prepare: Callable[[str], None]) -> None:
    """Run the module that is the first argument as `python -m` does, after `prepare(module)`."""
    module = sys.argv[1]
    prepare(module)
    _prepare_inside_envoy()
    sys.argv = sys.argv[1:]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _prepare_inside_envoy() -> None:
    """An inventory may replace its process by Envoy, which starts a new Python: patch that one as well."""
    become_envoy = envoy_process.become_envoy
    specification = sys.modules["__main__"].__spec__
    assert specification is not None
    launcher = {LAUNCHER_VARIABLE: specification.name}

    def become(limits: ServerLimits, application: str, variables: Mapping[str, str]) -> NoReturn:
        become_envoy(limits, "lab.kit.embedded:application", {**variables, **launcher})

    envoy_process.become_envoy = become
