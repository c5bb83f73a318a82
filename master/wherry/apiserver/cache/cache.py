"""One resource in memory, and everybody who watches it.

The cache holds, at revision `revision`:

* `entries`: each object's bytes and index, ordered by key, exactly the store's state;
* a ring of the latest changes (old and new entry of each), so that a watch can begin in the
  past: at any revision not older than `floor`;
* the watchers, grouped by equal selection. A change is matched once for each group, its
  event is built once for all, and a watcher's share of the work is one list append.

Nothing here waits or does I/O: `wherry.apiserver.cache.feed` brings the changes.

Selector transitions (a pod that gets a label a watcher selects) become ADDED and DELETED,
the latter with the object's last selected state, as kube-apiserver's cacher does.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import orjson

from wherry.api.errors import ExpiredError
from wherry.apiserver.cache.entries import Entries
from wherry.apiserver.cache.selection import TRIGGERS, Selection
from wherry.apiserver.cache.watcher import Watcher
from wherry.apiserver.resources import Resource
from wherry.apiserver.storage import Codec, Entry, at_revision
from wherry.client.api import EventType, WatchEvent
from wherry.store.kv import prefix_end


class Change:
    """One object's step from `old` to `new` (None: absent); its events are shared by all watchers."""

    __slots__ = ("_added", "_deleted", "_modified", "new", "old", "revision")

    def __init__(self, revision: int, old: Entry | None, new: Entry | None) -> None:
        self.revision = revision
        self.old = old
        self.new = new
        self._added: WatchEvent | None = None
        self._modified: WatchEvent | None = None
        self._deleted: WatchEvent | None = None

    def event(self, selection: Selection) -> WatchEvent | None:
        """Return what the change looks like through a selection, None where it cannot be seen."""
        was = self.old is not None and selection.matches(self.old)
        if self.new is not None and selection.matches(self.new):
            return self._put(self.new, was=was)
        if was and self.old is not None:
            if self._deleted is None:
                last = at_revision(self.old.object, self.revision)
                self._deleted = WatchEvent(EventType.DELETED, last, self.revision)
            return self._deleted
        return None

    def _put(self, new: Entry, *, was: bool) -> WatchEvent:
        if was:
            if self._modified is None:
                self._modified = WatchEvent(EventType.MODIFIED, new.object, self.revision)
            return self._modified
        if self._added is None:
            self._added = WatchEvent(EventType.ADDED, new.object, self.revision)
        return self._added

    @property
    def size(self) -> int:
        """Return the bytes that only the ring keeps alive."""
        return len(self.old.object) if self.old is not None else 0


class _Group:
    """Watchers of one selection, and the events of the batch being delivered."""

    __slots__ = ("batch", "selection", "watchers")

    def __init__(self, selection: Selection) -> None:
        self.selection = selection
        self.watchers: dict[Watcher, None] = {}  # in the order of their arrival, always
        self.batch: list[WatchEvent] = []


class Progress:
    """The revision that caches have reached: one for all that a feed fills.

    Otherwise each write, which concerns one of them, would have to be told to the other sixty.
    """

    __slots__ = ("revision",)

    def __init__(self) -> None:
        self.revision = 0

    def reach(self, revision: int) -> None:
        """Go on to `revision`, never back."""
        if revision > self.revision:
            self.revision = revision


class WatchCache:
    """See the module."""

    def __init__(
        self,
        resource: Resource,
        *,
        ring_events: int = 10_000,
        ring_bytes: int = 16 << 20,
        queue_events: int = 10_000,
    ) -> None:
        self.resource = resource
        self.codec = Codec(resource)
        self.entries = Entries()
        self.progress = Progress()
        self.floor = 0
        """Watches may begin at this revision or later."""
        self.changed = 0
        """Revision of the last change: from it to `revision` the state is the same."""
        self._ring: deque[Change] = deque()
        self._ring_events = ring_events
        self._ring_bytes_limit = ring_bytes
        self._ring_bytes = 0
        self._queue_events = queue_events
        self._broad: dict[Any, _Group] = {}
        self._narrow: dict[tuple[str, str], dict[Any, _Group]] = {}
        self._triggers = [path for path in TRIGGERS if self.codec.serves(path)]

    # -- what the feed brings -------------------------------------------------------------

    def replace(self, entries: Iterable[Entry], revision: int) -> None:
        """Begin anew from a list at `revision`; every watch ends, because history was lost."""
        self.end_watches(ExpiredError("the watch cache was rebuilt: list again"))
        self.entries = Entries(entries)
        self._ring.clear()
        self._ring_bytes = 0
        self.progress.revision = self.floor = self.changed = revision

    def apply(self, changes: Sequence[tuple[bytes, Entry | None, int]], revision: int) -> None:
        """Apply (key, new entry or None, revision) in order; the state is then at `revision`."""
        touched: dict[int, _Group] = {}
        for key, new, at in changes:
            old = self.entries.pop(key) if new is None else self.entries.put(new)
            if new is None and old is None:
                continue
            change = Change(at, old, new)
            self._remember(change)
            for group in self._candidates(change):
                event = change.event(group.selection)
                if event is not None:
                    group.batch.append(event)
                    touched[id(group)] = group
        self.progress.reach(revision)
        for group in touched.values():
            self._deliver(group, group.batch)
            group.batch = []

    @property
    def revision(self) -> int:
        """Return the revision whose state this is."""
        return self.progress.revision

    def _remember(self, change: Change) -> None:
        self._ring.append(change)
        self._ring_bytes += change.size
        self.changed = change.revision
        while len(self._ring) > self._ring_events or self._ring_bytes > self._ring_bytes_limit:
            oldest = self._ring.popleft()
            self._ring_bytes -= oldest.size
            self.floor = oldest.revision

    def _candidates(self, change: Change) -> Iterator[_Group]:
        yield from self._broad.values()
        if not self._narrow:
            return
        for path in self._triggers:
            read = self.codec.field(path)
            values = {read(entry.index) for entry in (change.old, change.new) if entry is not None}
            for value in values:
                yield from self._narrow.get((path, value), {}).values()

    def _deliver(self, group: _Group, events: Sequence[WatchEvent]) -> None:
        lost = [watcher for watcher in group.watchers if not watcher.push(events)]
        for watcher in lost:
            self.close(watcher)

    # -- reading --------------------------------------------------------------------------

    def get(self, key: bytes) -> Entry | None:
        """Return one object as the cache has it."""
        return self.entries.get(key)

    def scan(self, namespace: str = "", start: bytes = b"", most: int | None = None) -> list[Entry]:
        """Return the objects of a namespace ("": all) in key order, from `start` on, `most` of them."""
        return self.entries.between(*self._range(namespace, start), most)

    def count(self, namespace: str = "", start: bytes = b"") -> int:
        """Return how many objects `scan` finds."""
        return self.entries.count(*self._range(namespace, start))

    def _range(self, namespace: str, start: bytes) -> tuple[bytes, bytes]:
        prefix = self.resource.prefix(namespace)
        return max(prefix, start), prefix_end(prefix)

    def select(self, selection: Selection) -> list[Entry]:
        """Return every selected object in key order."""
        found = self.scan(selection.namespace)
        return found if selection.everything else [e for e in found if selection.matches(e)]

    # -- watching -------------------------------------------------------------------------

    def watch(self, selection: Selection, since: int, *, bookmarks: bool = False) -> Watcher:
        """Open a watch of the changes after revision `since`.

        Raises:
            ExpiredError: those changes are no longer all in the ring.
        """
        if since < self.floor:
            raise ExpiredError(f"too old resource version: {since} ({self.floor})")
        missed: list[WatchEvent] = []
        for change in reversed(self._ring):
            if change.revision <= since:
                break
            event = change.event(selection)
            if event is not None:
                missed.append(event)
        missed.reverse()
        return self._open(selection, missed, bookmarks=bookmarks)

    def watch_state(
        self, selection: Selection, *, bookmarks: bool = False, mark_end: bool = False
    ) -> Watcher:
        """Open a watch that begins with everything there is, as ADDED.

        Oldest change first, so that a client which loses the stream half-way may resume
        from the last revision it saw and misses nothing. `mark_end` adds the bookmark that
        WatchList clients wait for.
        """
        entries = sorted(self.select(selection), key=lambda e: e.revision)
        events = [WatchEvent(EventType.ADDED, e.object, e.revision) for e in entries]
        if mark_end:
            events.append(self.bookmark(initial_events_end=True))
        return self._open(selection, events, bookmarks=bookmarks)

    def _open(self, selection: Selection, events: list[WatchEvent], *, bookmarks: bool) -> Watcher:
        watcher = Watcher(selection, bookmarks=bookmarks, limit=self._queue_events)
        watcher.start(events)
        groups = self._groups_of(selection)
        group = groups.get(selection.key)
        if group is None:
            group = groups[selection.key] = _Group(selection)
        group.watchers[watcher] = None
        return watcher

    def _groups_of(self, selection: Selection) -> dict[Any, _Group]:
        if selection.trigger is None:
            return self._broad
        return self._narrow.setdefault(selection.trigger, {})

    def close(self, watcher: Watcher) -> None:
        """Forget a watcher; twice is harmless."""
        watcher.end()
        groups = self._groups_of(watcher.selection)
        group = groups.get(watcher.selection.key)
        if group is not None:
            group.watchers.pop(watcher, None)
            if not group.watchers:
                del groups[watcher.selection.key]
        trigger = watcher.selection.trigger
        if trigger is not None and not groups:
            del self._narrow[trigger]

    def end_watches(self, error: ExpiredError | None = None) -> None:
        """End every watch, with an error or as a server does that goes away."""
        for watcher in self.watchers():
            watcher.end(error)
        self._broad.clear()
        self._narrow.clear()

    def watchers(self) -> list[Watcher]:
        """Return all open watches."""
        groups = [*self._broad.values()]
        for narrow in self._narrow.values():
            groups += narrow.values()
        return [watcher for group in groups for watcher in group.watchers]

    def bookmark(self, *, initial_events_end: bool = False) -> WatchEvent:
        """Return an event that says only how far the cache has come."""
        metadata: dict[str, Any] = {"resourceVersion": str(self.revision)}
        if initial_events_end:
            metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
        kind = self.resource.kind
        metadata["creationTimestamp"] = None
        obj = {"metadata": metadata, "apiVersion": kind.api_version, "kind": kind.kind}
        return WatchEvent(EventType.BOOKMARK, orjson.dumps(obj), self.revision)

    def send_bookmarks(self) -> None:
        """Tell every watcher that asked for it how far the cache has come."""
        batch = [self.bookmark()]
        for watcher in self.watchers():
            if watcher.bookmarks and not watcher.push(batch):
                self.close(watcher)
