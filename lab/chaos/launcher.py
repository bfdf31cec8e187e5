"""`python -m lab.chaos.launcher MODULE ...` runs `python -m MODULE ...` with failpoints that take orders.

Failpoints, the clock and, if CHAOS_BUG names one, a planted bug are patched into the running program; the product
does not contain them.
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
