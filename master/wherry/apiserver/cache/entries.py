"""Objects by key, and in key order."""

from bisect import bisect_left
from collections.abc import Iterable
from operator import attrgetter

from wherry.apiserver.storage import Entry

_key_of = attrgetter("key")


class Entries:
    """Every entry of one resource.

    A list walks through neighbours and looks nothing up: in memory as cold as that of a server with
    thousands of objects, each look-up cost as much as sending 500 bytes (ADR 14). A write
    finds its place in two plain lists, and moves what lies behind it only if the key is new.
    """

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        """Sort; no two may have the same key."""
        self._sorted = sorted(entries, key=_key_of)
        self._keys = [entry.key for entry in self._sorted]
        self._by_key = dict(zip(self._keys, self._sorted, strict=True))

    def get(self, key: bytes) -> Entry | None:
        """Return the entry at `key`."""
        return self._by_key.get(key)

    def put(self, entry: Entry) -> Entry | None:
        """Add or replace; return what was replaced."""
        at = bisect_left(self._keys, entry.key)
        old = self._by_key.get(entry.key)
        if old is None:
            self._keys.insert(at, entry.key)
            self._sorted.insert(at, entry)
        else:
            self._sorted[at] = entry
        self._by_key[entry.key] = entry
        return old

    def pop(self, key: bytes) -> Entry | None:
        """Remove and return the entry at `key`."""
        old = self._by_key.pop(key, None)
        if old is not None:
            at = bisect_left(self._keys, key)
            del self._keys[at], self._sorted[at]
        return old

    def between(self, start: bytes, end: bytes, most: int | None = None) -> list[Entry]:
        """Return the first entries, `most` of them or all, whose key is in [start, end)."""
        first, behind = self._span(start, end)
        return self._sorted[first : behind if most is None else min(behind, first + most)]

    def count(self, start: bytes, end: bytes) -> int:
        """Return how many keys are in [start, end)."""
        first, behind = self._span(start, end)
        return behind - first

    def _span(self, start: bytes, end: bytes) -> tuple[int, int]:
        first = bisect_left(self._keys, start)
        return first, bisect_left(self._keys, end, first)
