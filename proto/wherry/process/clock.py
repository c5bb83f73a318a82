"""The real clock; simulated worlds bring their own."""

import time


class SystemClock:
    """`wherry.api.clock.Clock` of this machine."""

    def now(self) -> float:
        """Return seconds since the epoch."""
        return time.time()  # noqa: TID251  # this is where the wall clock enters

    def monotonic(self) -> float:
        """Return seconds of the monotonic clock."""
        return time.monotonic()  # noqa: TID251  # likewise
