"""What a controller has written and its caches have not shown yet.

Between a write and its event the cache is behind: who counts in it then creates pods
twice. So each write is remembered until the cache is at least as new as its answer:

    created, patched   the cache has this uid at this revision, or has read beyond it
    deleted            the cache has no object of this uid, or shows it as being deleted

Unlike client-go's expectations, which count events, this compares states: an event that
is seen twice, merged or lost to a relist changes nothing. A write that does not show up in
`TIMEOUT_S` is forgotten.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from wherry.api.kinds import Kind
from wherry.api.objects import ObjectMeta

TIMEOUT_S: Final = 300.0
"""As client-go's `ExpectationsTimeout`."""


@dataclass(frozen=True, slots=True)
class Expected:
    """One write; `revision` 0 means that the object should go."""

    kind: Kind
    key: str
    uid: str
    revision: int
    until_s: float


@dataclass(frozen=True, slots=True)
class Seen:
    """What a cache knows about one object, and how far it has read."""

    meta: ObjectMeta | None
    revision: int


def is_met(expected: Expected, seen: Seen) -> bool:
    """Tell whether the cache shows the write."""
    meta = seen.meta
    if not expected.revision:
        return meta is None or meta.uid != expected.uid or meta.deleting
    if seen.revision >= expected.revision:
        return True
    return (
        meta is not None
        and meta.uid == expected.uid
        and meta.resource_version.isdigit()
        and int(meta.resource_version) >= expected.revision
    )


class Expectations:
    """Unmet writes by the key whose pass made them.

    Args:
        look: Reads a cache: (kind, object key) -> `Seen`; None where the kind is not cached,
            and then nothing is expected.
    """

    def __init__(self, look: Callable[[Kind, str], Seen | None]) -> None:
        self._look = look
        self._expected: dict[str, list[Expected]] = {}

    def wrote(self, key: str, kind: Kind, meta: ObjectMeta, *, now_s: float) -> None:
        """Expect a creation or a change; `meta` is the server's answer."""
        revision = int(meta.resource_version) if meta.resource_version.isdigit() else 0
        if revision:
            self._add(key, Expected(kind, meta.key, meta.uid, revision, now_s + TIMEOUT_S))

    def deleted(self, key: str, kind: Kind, object_key: str, uid: str, *, now_s: float) -> None:
        """Expect an object to go."""
        self._add(key, Expected(kind, object_key, uid, 0, now_s + TIMEOUT_S))

    def _add(self, key: str, expected: Expected) -> None:
        seen = self._look(expected.kind, expected.key)
        if seen is not None and not is_met(expected, seen):
            self._expected.setdefault(key, []).append(expected)

    def current(self, key: str, *, now_s: float) -> bool:
        """Tell whether the caches show everything that passes for `key` have written."""
        unmet = [e for e in self._expected.get(key, ()) if self._unmet(e, now_s)]
        if unmet:
            self._expected[key] = unmet
        else:
            self._expected.pop(key, None)
        return not unmet

    def _unmet(self, expected: Expected, now_s: float) -> bool:
        seen: Any = self._look(expected.kind, expected.key)
        return now_s < expected.until_s and not is_met(expected, seen)
