"""Wait for a condition with a deadline: the lab watches other processes, so it polls."""

import time
from collections.abc import Callable
from typing import Final, TypeVar

from lablib.errors import LabError
from wherry.process.clock import SystemClock

CLOCK: Final = SystemClock()

T = TypeVar("T")


def until(
    condition: Callable[[], T | None],
    what: str,
    *,
    timeout_s: float,
    interval_s: float = 0.05,
    advice: str = "",
    details: Callable[[], str] = str,
    alive: Callable[[], object] = str,
) -> T:
    """Call `condition` until it returns something true, and return that.

    A `LabError` that it raises counts as "not yet", and is named if it never changes. One that
    `alive` raises ends the wait: what died will not come to be.

    Raises:
        LabError: it did not within `timeout_s`; `what` says what was waited for.
    """
    deadline = CLOCK.monotonic() + timeout_s
    reason = ""
    while True:
        alive()
        try:
            result = condition()
            reason = ""
        except LabError as failed:
            result, reason = None, f": {failed.what}"
        if result:
            return result
        if CLOCK.monotonic() >= deadline:
            raise LabError(
                f"{what} did not happen within {timeout_s:g} s{reason}", advice, details()
            )
        time.sleep(interval_s)
