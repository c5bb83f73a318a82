"""Pods that wait for a node, in three places.

    active         ready to be tried, by priority, then by age
    backing off    tried in vain lately: 1 s, 2 s, 4 s, ... 10 s, then active
    unschedulable  no node fits; waits until something changes that one of the plugins
                   that rejected it cares about, or 5 minutes have passed

    add -> active -> pop -> (bound) gone
                         -> park: unschedulable --wake(event)--> backing off -> active
                         -> retry: backing off

Time is an argument; the caller sleeps until `next_due`. Source: kubernetes
`pkg/scheduler/backend/queue/scheduling_queue.go`.
"""

import heapq
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from wherry.scheduler.framework import ClusterEvent
from wherry.scheduler.node_info import PodInfo

FIRST_BACKOFF_S: Final = 1.0
MOST_BACKOFF_S: Final = 10.0
LONGEST_PARKED_S: Final = 300.0


class Place(Enum):
    """Where a queued pod waits."""

    ACTIVE = "active"
    BACKOFF = "backoff"
    UNSCHEDULABLE = "unschedulable"


@dataclass(slots=True)
class Queued:
    """A pod and what has happened to it in the queue."""

    info: PodInfo
    serial: int
    attempts: int = 0
    tried_s: float = 0.0
    place: Place = Place.ACTIVE
    wakes: ClusterEvent = field(default=ClusterEvent(0))

    @property
    def backoff_s(self) -> float:
        """How long to wait after the last attempt."""
        if not self.attempts:
            return 0.0
        return min(FIRST_BACKOFF_S * 2.0 ** min(self.attempts - 1, 30), MOST_BACKOFF_S)


class SchedulingQueue:
    """See the module. Entries are known by the pod's uid."""

    def __init__(self) -> None:
        self._entries: dict[str, Queued] = {}
        self._active: list[tuple[int, int, str]] = []
        self._backoff: list[tuple[float, int, str]] = []
        self._parked: dict[str, Queued] = {}
        self._serial = 0

    def __len__(self) -> int:
        return len(self._entries)

    def count(self, place: Place) -> int:
        """Return how many pods wait there."""
        return sum(entry.place is place for entry in self._entries.values())

    def add(self, info: PodInfo) -> None:
        """Queue a new pod, or take over a change of one that waits."""
        entry = self._entries.get(info.uid)
        if entry is None:
            self._serial += 1
            entry = Queued(info, self._serial)
            self._entries[info.uid] = entry
            self._activate(entry)
        elif entry.info.pod.spec != info.pod.spec or entry.info.group != info.group:
            entry.info = info
            if entry.place is Place.UNSCHEDULABLE:  # it may ask for less now
                self._back_off(entry)
        else:
            entry.info = info

    def remove(self, uid: str) -> None:
        """Forget a pod: it is gone, or bound."""
        self._entries.pop(uid, None)
        self._parked.pop(uid, None)

    def pop(self, now_s: float) -> Queued | None:
        """Take the next pod to try, None if there is none now; it counts as an attempt."""
        self._move_due(now_s)
        while self._active:
            _, serial, uid = heapq.heappop(self._active)
            entry = self._entries.get(uid)
            if entry is not None and entry.serial == serial and entry.place is Place.ACTIVE:
                del self._entries[uid]
                entry.attempts += 1
                entry.tried_s = now_s
                return entry
        return None

    def park(self, entry: Queued, wakes: ClusterEvent) -> None:
        """Put a popped pod aside until one of the events `wakes`."""
        entry.wakes = wakes
        entry.place = Place.UNSCHEDULABLE
        self._entries[entry.info.uid] = entry
        self._parked[entry.info.uid] = entry

    def retry(self, entry: Queued) -> None:
        """Try a popped pod again after its back-off."""
        self._entries[entry.info.uid] = entry
        self._back_off(entry)

    def wake(self, event: ClusterEvent) -> None:
        """Let pods go that may be schedulable now."""
        if event:
            for entry in [e for e in self._parked.values() if e.wakes & event]:
                self._back_off(entry)

    def next_due(self) -> float | None:
        """Return when `pop` may have something again; a time past means now, None never."""
        if self._active:
            return 0.0
        due = [self._backoff[0][0]] if self._backoff else []
        due += [entry.tried_s + LONGEST_PARKED_S for entry in self._longest_parked()]
        return min(due, default=None)

    def _longest_parked(self) -> list[Queued]:
        """Return the pod that has been parked longest: pods are parked in the order of trying."""
        return [next(iter(self._parked.values()))] if self._parked else []

    def _move_due(self, now_s: float) -> None:
        while (oldest := self._longest_parked()) and oldest[0].tried_s + LONGEST_PARKED_S <= now_s:
            self._back_off(oldest[0])
        while self._backoff and self._backoff[0][0] <= now_s:
            _, serial, uid = heapq.heappop(self._backoff)
            entry = self._entries.get(uid)
            if entry is not None and entry.serial == serial and entry.place is Place.BACKOFF:
                self._activate(entry)

    def _activate(self, entry: Queued) -> None:
        entry.place = Place.ACTIVE
        priority = entry.info.pod.spec.priority or 0
        heapq.heappush(self._active, (-priority, entry.serial, entry.info.uid))

    def _back_off(self, entry: Queued) -> None:
        self._parked.pop(entry.info.uid, None)
        entry.place = Place.BACKOFF
        due = entry.tried_s + entry.backoff_s
        heapq.heappush(self._backoff, (due, entry.serial, entry.info.uid))

    def check_invariants(self) -> None:
        """Check that every entry can be found where it says that it is."""
        active = {(serial, uid) for _, serial, uid in self._active}
        backoff = {(serial, uid) for _, serial, uid in self._backoff}
        for uid, entry in self._entries.items():
            found = {
                Place.ACTIVE: (entry.serial, uid) in active,
                Place.BACKOFF: (entry.serial, uid) in backoff,
                Place.UNSCHEDULABLE: self._parked.get(uid) is entry,
            }
            if not found[entry.place]:
                raise AssertionError(f"pod {entry.info.key} is lost: {entry.place}")
        if any(e.place is not Place.UNSCHEDULABLE for e in self._parked.values()):
            raise AssertionError("a pod is parked twice")
