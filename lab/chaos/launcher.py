"""`python -m lab.chaos.launcher MODULE ...` runs a service as `python -m MODULE ...` does, but one that takes orders.

The points at which it can be made to die, its clock and, when CHAOS_BUG names one, a planted bug are put into the
running program; the product has no such thing.
"""

import os
import runpy
import sys

from lab.chaos import failpoints
from lab.chaos.bugs import BUGS


def main():
    module = sys.argv[1]
    failpoints.install(int(os.environ["CHAOS_ORDERS_PORT"]), module)
    bug = os.environ.get("CHAOS_BUG")
    if bug and module == "holdfast_inventory":
        BUGS[bug].plant()
    # The services refuse what they do not know only among HOLDFAST_*; nobody else needs these.
    sys.argv = sys.argv[1:]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
