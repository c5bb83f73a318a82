"""When a member has its next round: when something is due, or when something has come up."""

import asyncio
from collections.abc import Callable


class Rounds:
    """One timer, and one wake-up for all that comes up in one turn of the event loop.

    Args:
        tick_s: By how much a round may be late; things due at once are put together.
        due: Returns when a round must come though nothing happens (loop time); None: never more.
        perform: Has a round.
    """

    def __init__(
        self, tick_s: float, due: Callable[[], float | None], perform: Callable[[], None]
    ) -> None:
        self._tick_s = tick_s
        self._due = due
        self._perform = perform
        self._woken = False
        self._timer: asyncio.TimerHandle | None = None

    def wake(self) -> None:
        """Have what was queued in this turn of the loop handled in the next."""
        if not self._woken:
            self._woken = True
            asyncio.get_running_loop().call_soon(self._on_wake)

    def arrange(self) -> None:
        """Have a round when the next thing is due. A timer that is early is left as it is.

        For a follower's deadline moves with every sign of life of the leader: so it wakes
        once in a while to see that, and not ten times a second.
        """
        due = self._due()
        if due is None:
            return
        loop = asyncio.get_running_loop()
        now = loop.time()
        at = max(due, now) + self._tick_s
        if self._timer is not None:
            if now < self._timer.when() <= at:
                return
            self._timer.cancel()
        self._timer = loop.call_at(at, self._on_timer)

    def end(self) -> None:
        """Have no more because of the time."""
        if self._timer is not None:
            self._timer.cancel()

    def _on_wake(self) -> None:
        self._woken = False
        self._perform()

    def _on_timer(self) -> None:
        self._timer = None
        due = self._due()
        if due is not None and due > asyncio.get_running_loop().time():
            self.arrange()
        elif due is not None:
            self._perform()
