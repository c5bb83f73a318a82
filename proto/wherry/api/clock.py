"""Time as an argument.

Decisions take `now` as a number. Components take a `Clock`: `now()` is the date that is
written into objects, `monotonic()` measures. To *wait*, a component uses asyncio's own
timers (`asyncio.sleep`, `asyncio.timeout`): the event loop's clock is real in a process
and virtual in the simulated world, so nothing else is needed.
"""

from typing import Protocol


class Clock(Protocol):
    """Where a component reads the time."""

    def now(self) -> float:
        """Return seconds since the Unix epoch, UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds on a clock that never jumps; only differences mean anything."""
        ...
