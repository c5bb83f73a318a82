"""Watchers of a state machine in the same process.

A watcher has no buffer of its own: it has a position in the state's event log, and reads on
from there whenever it is asked. So a slow watcher costs no memory, and the bound on how far
it may fall behind is compaction (or `max_lag` revisions): then it is told so, and must read
again. A watcher that is up to date sleeps; `WatchHub.advance` wakes it only for events in its
range. Watchers of the same range that stand at the same place get the same batch, the very
object: so that it is put together once, and whoever sends it can encode it once.
"""

import asyncio
from collections.abc import Callable, Sequence

from wherry.api.errors import UnavailableError
from wherry.store.conflict import covers
from wherry.store.kv import CompactedError, Event, WatchBatch
from wherry.store.mvcc import MvccState

MAX_BATCH_EVENTS = 500
MAX_BATCH_BYTES = 1 << 20
MAX_LAG = 100_000  # revisions
_SHARED_REVISIONS = 64  # who is further behind reads for himself: nobody else needs the same
_Where = tuple[bytes, bytes | None, int]  # key, end, position


class Watcher:
    """Changes of [key, end) after a revision. Use `WatchHub.watch` to make one."""

    def __init__(self, hub: "WatchHub", key: bytes, end: bytes | None, revision: int) -> None:
        self._hub = hub
        self.key = key
        self.end = end
        self.position = revision  # every change up to here was handed out
        self._due: Callable[[], None] | None = None

    def match(self, events: Sequence[Event]) -> list[Event]:
        """Return those events that are in the range."""
        key, end = self.key, self.end
        if end is None:
            return [event for event in events if event.kv.key == key]
        if end == b"\0":
            return [event for event in events if event.kv.key >= key]
        return [event for event in events if key <= event.kv.key < end]

    def poll(self) -> WatchBatch | None:
        """Return the next changes; None when there are none up to the current revision.

        Raises:
            CompactedError: the position is no longer in the event log.
            UnavailableError: the hub was closed.
        """
        if self._hub.closed:
            raise UnavailableError("the store is closed")
        state = self._hub.state
        if state.revision - self.position > self._hub.max_lag:
            raise CompactedError(max(state.compact_revision, state.revision - self._hub.max_lag))
        if state.revision - self.position > _SHARED_REVISIONS:
            self.position, batch = self._read(state)
            return batch
        shared = self._hub.shared()
        where = (self.key, self.end, self.position)
        if where not in shared:
            shared[where] = self._read(state)
        self.position, batch = shared[where]
        return batch

    def _read(self, state: MvccState) -> tuple[int, WatchBatch | None]:
        """Return the next changes, and the position behind them."""
        found: list[Event] = []
        size = 0
        position = self.position
        for events in state.events(position, state.revision):
            position += 1
            matched = self.match(events)
            if matched:
                found += matched
                size += sum(len(event.kv.value) for event in matched)
                if len(found) >= MAX_BATCH_EVENTS or size >= MAX_BATCH_BYTES:
                    break
        else:
            position = max(self.position, state.revision)
        return position, WatchBatch(position, found) if found else None

    def when_due(self, due: Callable[[], None]) -> None:
        """Call `due` once, as soon as there may be something to `poll`, or the hub was closed.

        It is called in the very turn in which the change was applied, and must not wait.
        """
        self._due = due

    async def next(self, timeout_s: float | None = None) -> WatchBatch:
        """Wait for changes, at most `timeout_s`; then return an empty batch: progress.

        Raises:
            CompactedError: too far behind.
        """
        loop = asyncio.get_running_loop()
        deadline = None if timeout_s is None else loop.time() + timeout_s
        while (batch := self.poll()) is None:
            due = asyncio.Event()
            self.when_due(due.set)
            try:
                async with asyncio.timeout_at(deadline):
                    await due.wait()
            except TimeoutError:
                return self.poll() or WatchBatch(self.position, [])
            finally:
                self._due = None
        return batch

    def advance(self, events: Sequence[Sequence[Event]], revision: int) -> None:
        """Called by the hub with the events of the revisions up to `revision`."""
        if self._due is None:
            return
        if any(covers(self.key, self.end, event.kv.key) for batch in events for event in batch):
            self.wake()
        elif self.position >= revision - len(events):
            self.position = max(self.position, revision)

    def wake(self) -> None:
        """Have it look at the state again, if it waits."""
        due, self._due = self._due, None
        if due is not None:
            due()

    def close(self) -> None:
        """Stop watching."""
        self._due = None
        self._hub.discard(self)


class WatchHub:
    """All watchers of one state."""

    def __init__(self, state: MvccState, max_lag: int = MAX_LAG) -> None:
        self.state = state
        self.max_lag = max_lag
        self._told = state.revision
        self._watchers: dict[Watcher, None] = {}
        self._shared: dict[_Where, tuple[int, WatchBatch | None]] = {}
        self._shared_at = 0  # the revision of the state for which that holds
        self.closed = False

    def __len__(self) -> int:
        return len(self._watchers)

    def watch(self, key: bytes, end: bytes | None, revision: int) -> Watcher:
        """Return a watcher of the changes after `revision`, which may lie in the future."""
        watcher = Watcher(self, key, end, revision)
        self._watchers[watcher] = None
        return watcher

    def shared(self) -> dict["_Where", tuple[int, WatchBatch | None]]:
        """Return what watchers of the same range found from the same position at this revision."""
        if self._shared_at != self.state.revision:
            self._shared_at = self.state.revision
            self._shared = {}
        return self._shared

    def discard(self, watcher: Watcher) -> None:
        """Forget a watcher."""
        self._watchers.pop(watcher, None)

    def advance(self) -> None:
        """Wake the watchers that what was applied since the last call concerns."""
        revision = self.state.revision
        if revision == self._told:
            return
        told, self._told = self._told, revision
        try:
            events = list(self.state.events(told, revision))
        except CompactedError:  # a snapshot replaced the state: let everybody look
            self.wake_all()
            return
        if revision < told:
            self.wake_all()
            return
        for watcher in list(self._watchers):  # who is woken may go
            watcher.advance(events, revision)

    def wake_all(self) -> None:
        """Make every sleeping watcher look at the state again."""
        for watcher in list(self._watchers):
            watcher.wake()

    def close(self) -> None:
        """End every watch with `UnavailableError`."""
        self.closed = True
        self.wake_all()
