"""Running a service with some parts replaced: faults are patched into the running program, not into the product."""

import runpy
import sys
from collections.abc import Callable


def launch(prepare: Callable[[str], None]) -> None:
    """Run the module that is the first argument as `python -m` does, after `prepare(module)`."""
    module = sys.argv[1]
    prepare(module)
    sys.argv = sys.argv[1:]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
