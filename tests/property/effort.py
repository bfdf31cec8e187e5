"""How many examples a property gets: `HYPOTHESIS_PROFILE` is `dev`, `ci` (the default) or `thorough`."""

import os
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, Phase, settings

PROFILES = {"dev": 100, "ci": 800, "thorough": 20_000}


def effort(share: float = 1.0) -> Callable[[Any], Any]:
    """Settings for a property that gets `share` of the profile's examples.

    Hypothesis prints the failing program, and how to replay it; seeds differ from run to run.
    """
    examples = PROFILES[os.environ.get("HYPOTHESIS_PROFILE", "ci")]
    return settings(
        max_examples=max(10, int(examples * share)),
        deadline=None,
        derandomize=False,
        print_blob=True,
        phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
