"""`python -m lab.chaos.launcher MODULE ...` runs a service as `python -m MODULE ...` does, but one that takes orders.

The points at which it can be made to die, its clock and, when CHAOS_BUG names one, a planted bug are put into the
running program; the product has no such thing.
"""

import os

from lab.chaos import failpoints
from lab.chaos.bugs import BUGS
from lab.kit.launcher import launch


def prepare(module):
    failpoints.install(int(os.environ["CHAOS_ORDERS_PORT"]), module)
    bug = os.environ.get("CHAOS_BUG")
    if bug and module == "holdfast_inventory":
        BUGS[bug].plant()


if __name__ == "__main__":
    launch(prepare)
