"""Remembers when leases end. Kept by the leader only, in its memory.

The replicated state knows that a lease exists and its TTL; when it was last renewed is known
to the leader alone, on its own monotonic clock, and a renewal costs no log entry. A new leader
gives every lease its full TTL again. When a lease is over the leader proposes `Expire`, with
the serial of the grant, so that a lease which was meanwhile granted anew is not hit.
"""

import heapq
from collections.abc import Mapping

from wherry.store.keyspace import Lease


class Lessor:
    """Deadlines of leases, on a clock that the caller reads."""

    def __init__(self) -> None:
        self._epoch = -1
        self._deadlines: dict[int, tuple[float, int]] = {}  # lease -> (deadline, serial)
        self._queue: list[tuple[float, int, int]] = []  # (deadline, lease, serial), some outdated

    def sync(self, leases: Mapping[int, Lease], epoch: int, now: float) -> None:
        """Learn about leases granted and ended since; new ones get their full TTL.

        `epoch` changes whenever `leases` does.
        """
        if epoch == self._epoch:
            return
        self._epoch = epoch
        self._deadlines = {
            lease: kept for lease, kept in self._deadlines.items() if lease in leases
        }
        for lease, one in leases.items():
            known = self._deadlines.get(lease)
            if known is None or known[1] != one.serial:
                self._set(lease, one.serial, now + one.ttl_s)

    def renew(self, lease: int, one: Lease, now: float) -> None:
        """Give a lease its full TTL again."""
        self._set(lease, one.serial, now + one.ttl_s)

    def _set(self, lease: int, serial: int, deadline: float) -> None:
        self._deadlines[lease] = (deadline, serial)
        heapq.heappush(self._queue, (deadline, lease, serial))
        if len(self._queue) > 64 + 4 * len(self._deadlines):
            self._queue = [(at, each, no) for each, (at, no) in self._deadlines.items()]
            heapq.heapify(self._queue)

    def remaining_s(self, lease: int, now: float) -> float:
        """Return the seconds that a lease has left; 0 when it is over or unknown."""
        known = self._deadlines.get(lease)
        return max(0.0, known[0] - now) if known else 0.0

    def next_deadline(self) -> float | None:
        """Return when the next lease ends."""
        while self._queue:
            deadline, lease, serial = self._queue[0]
            if self._deadlines.get(lease) == (deadline, serial):
                return deadline
            heapq.heappop(self._queue)
        return None

    def expired(self, now: float) -> list[tuple[int, int]]:
        """Return (lease, serial) of every lease that is over; again each time until it ended."""
        over: list[tuple[float, int, int]] = []
        while (deadline := self.next_deadline()) is not None and deadline <= now:
            over.append(heapq.heappop(self._queue))
        for entry in over:  # stays due until the state no longer has it
            heapq.heappush(self._queue, entry)
        return sorted((lease, serial) for _, lease, serial in over)

    def clear(self) -> None:
        """Forget everything: no longer the leader."""
        self._epoch = -1
        self._deadlines.clear()
        self._queue.clear()
