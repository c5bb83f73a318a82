"""For all tests: how hypothesis looks for examples.

No example has a time limit, nor has making one, for machines are slow when they are busy. In CI
the same examples come each time, so that what lands does not depend on chance; everywhere else
new ones do.
"""

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "wherry",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=bool(os.environ.get("CI")),
)
settings.load_profile("wherry")
