"""Keys that need work: client-go's workqueue.

* A key that is added many times before somebody gets to it is handed out once.
* A key is never handed out to two workers at once: if it is added while it is worked on,
  it comes again after `done`.
* `add_rate_limited` waits longer for a key that keeps failing: 5 ms, doubling, at most
  1000 s; `forget` ends that.
"""

import asyncio
from collections import deque
from random import Random
from typing import Final

FIRST_DELAY_S: Final = 0.005
MOST_DELAY_S: Final = 1000.0


class WorkQueue:
    """See the module; all methods are called from the event loop's thread."""

    def __init__(self, rng: Random, *, most_delay_s: float = MOST_DELAY_S) -> None:
        self._rng = rng
        self._most_delay_s = most_delay_s
        self._queue: deque[str] = deque()
        self._dirty: set[str] = set()
        self._busy: set[str] = set()
        self._failures: dict[str, int] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._wake = asyncio.Event()

    def __len__(self) -> int:
        return len(self._queue)

    def add(self, key: str) -> None:
        """Say that `key` needs work."""
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
        if key in self._dirty:
            return
        self._dirty.add(key)
        if key not in self._busy:
            self._queue.append(key)
            self._wake.set()

    def add_after(self, key: str, delay_s: float) -> None:
        """Add `key` in `delay_s` seconds; the earliest of several times counts."""
        if delay_s <= 0:
            self.add(key)
            return
        loop = asyncio.get_running_loop()
        due = loop.time() + delay_s
        timer = self._timers.get(key)
        if timer is not None:
            if timer.when() <= due:
                return
            timer.cancel()
        self._timers[key] = loop.call_at(due, self._due, key)

    def _due(self, key: str) -> None:
        self._timers.pop(key, None)
        self.add(key)

    def add_rate_limited(self, key: str) -> float:
        """Add `key` after the delay that its failures have earned; return that delay."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        delay_s = min(FIRST_DELAY_S * 2.0 ** min(failures, 40), self._most_delay_s)
        delay_s *= 1 + 0.1 * self._rng.random()
        self.add_after(key, delay_s)
        return delay_s

    def forget(self, key: str) -> None:
        """Say that work on `key` succeeded."""
        self._failures.pop(key, None)

    def failures(self, key: str) -> int:
        """Return how often `key` has failed in a row."""
        return self._failures.get(key, 0)

    async def get(self) -> str:
        """Wait for a key and take it; the caller must call `done`."""
        while not self._queue:
            self._wake.clear()
            await self._wake.wait()
        key = self._queue.popleft()
        self._dirty.discard(key)
        self._busy.add(key)
        return key

    def done(self, key: str) -> None:
        """Say that work on `key` has ended, well or not."""
        self._busy.discard(key)
        if key in self._dirty:
            self._queue.append(key)
            self._wake.set()
