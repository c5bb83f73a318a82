"""A local copy of one kind, kept current: list once, then watch for ever.

    list (pages, one revision) -> items, `synced` -> watch from that revision
      stream ends, nobody answers -> back off, watch on from the last revision seen
      revision compacted (410)    -> list again, and tell the difference as events

Listeners are called in the order of the revisions, after `items` has changed, and must not
block: they put a key into a queue. While every API server is dead the items stay as they
were last known.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from random import Random
from typing import Generic, Protocol, TypeVar

import msgspec

from wherry.api.errors import ExpiredError, StatusError, UnavailableError
from wherry.api.kinds import Kind
from wherry.api.objects import ObjectMeta
from wherry.client.api import Api, EventType, WatchEvent
from wherry.client.backoff import Backoff

log = logging.getLogger(__name__)


class HasMetadata(Protocol):
    """Any view that an informer can keep."""

    @property
    def metadata(self) -> ObjectMeta:
        """The object's metadata."""
        ...


T = TypeVar("T", bound=HasMetadata)
Listener = Callable[[T | None, T | None], None]


class Informer(Generic[T]):
    """Keeps `items`: views by `namespace/name`, or by name for cluster-scoped kinds.

    Args:
        api: Where to list and watch.
        kind: What.
        view_type: The msgspec Struct to decode into; must have `metadata: ObjectMeta`.
        namespace: One namespace, or "" for all.
        labels: Label selector, as text.
        fields: Field selector, as text.
        rng: Jitter of the back-off.
        page: Objects a list call.
    """

    def __init__(
        self,
        api: Api,
        kind: Kind,
        view_type: type[T],
        *,
        namespace: str = "",
        labels: str = "",
        fields: str = "",
        rng: Random,
        page: int = 500,
    ) -> None:
        self._api = api
        self.kind = kind
        self._decode = msgspec.json.Decoder(view_type).decode
        self._namespace = namespace
        self._labels = labels
        self._fields = fields
        self._page = page
        self._backoff = Backoff(rng, first_s=0.2, most_s=5.0)
        self._listeners: list[Listener[T]] = []
        self._indices: dict[str, tuple[Callable[[T], Iterable[str]], dict[str, dict[str, T]]]] = {}
        self._failing = False
        self.items: dict[str, T] = {}
        self.revision = 0
        self.synced = asyncio.Event()

    def get(self, key: str) -> T | None:
        """Return the object of that key as last seen."""
        return self.items.get(key)

    def values(self) -> list[T]:
        """Return all objects, in no order."""
        return list(self.items.values())

    def add_listener(self, listener: Listener[T]) -> None:
        """Call `listener(old, new)` at every change; None means absent."""
        self._listeners.append(listener)

    def add_index(self, name: str, keys_of: Callable[[T], Iterable[str]]) -> None:
        """Keep objects findable by the values that `keys_of` gives."""
        table: dict[str, dict[str, T]] = {}
        for obj in self.items.values():
            for value in keys_of(obj):
                table.setdefault(value, {})[obj.metadata.key] = obj
        self._indices[name] = (keys_of, table)

    def by_index(self, name: str, value: str) -> list[T]:
        """Return the objects that the index holds under `value`."""
        return list(self._indices[name][1].get(value, {}).values())

    async def run(self) -> None:
        """List and watch until cancelled."""
        while True:
            try:
                if not self.revision:
                    await self._relist()
                await self._watch()
            except ExpiredError as error:
                log.info("%s: %s; listing again", self.kind.qualified, error)
                self.revision = 0
            except (UnavailableError, StatusError) as error:
                # Told when it begins, not each time that it is tried again.
                level = logging.DEBUG if self._failing else logging.WARNING
                self._failing = True
                log.log(level, "%s: %s", self.kind.qualified, error)
                await asyncio.sleep(self._backoff.next_s())

    async def _relist(self) -> None:
        fresh: dict[str, T] = {}
        token = ""
        while True:
            page = await self._api.list(
                self.kind,
                self._namespace,
                labels=self._labels,
                fields=self._fields,
                limit=self._page,
                continue_token=token,
            )
            for raw in page.items:
                obj = self._decode(raw)
                fresh[obj.metadata.key] = obj
            token = page.continue_token
            if not token:
                break
        for key in [key for key in self.items if key not in fresh]:
            self._set(key, None)
        for key, obj in fresh.items():
            self._set(key, obj)
        self.revision = page.revision
        self.synced.set()
        self._succeeded()

    async def _watch(self) -> None:
        stream = self._api.watch(
            self.kind,
            self._namespace,
            labels=self._labels,
            fields=self._fields,
            revision=self.revision,
        )
        seen_any = False
        async for batch in stream:
            seen_any = True
            self._succeeded()
            for event in batch:
                self._apply(event)
        if (
            not seen_any
        ):  # a server that ends every stream at once must not be asked in a tight loop
            await asyncio.sleep(self._backoff.next_s())

    def _succeeded(self) -> None:
        self._backoff.reset()
        if self._failing:
            self._failing = False
            log.info("%s: following again", self.kind.qualified)

    def _apply(self, event: WatchEvent) -> None:
        if event.type is not EventType.BOOKMARK:
            obj = self._decode(event.object)
            self._set(obj.metadata.key, None if event.type is EventType.DELETED else obj)
        self.revision = max(self.revision, event.revision)

    def _set(self, key: str, new: T | None) -> None:
        old = self.items.get(key)
        if old is None and new is None:
            return
        if (
            old is not None
            and new is not None
            and old.metadata.resource_version == new.metadata.resource_version
            and old.metadata.uid == new.metadata.uid
        ):
            return
        if new is None:
            del self.items[key]
        else:
            self.items[key] = new
        for keys_of, table in self._indices.values():
            _reindex(keys_of, table, key, old, new)
        for listener in self._listeners:
            listener(old, new)


def _reindex(
    keys_of: Callable[[T], Iterable[str]],
    table: dict[str, dict[str, T]],
    key: str,
    old: T | None,
    new: T | None,
) -> None:
    for value in keys_of(old) if old is not None else ():
        bucket = table.get(value, {})
        bucket.pop(key, None)
        if not bucket:
            table.pop(value, None)
    for value in keys_of(new) if new is not None else ():
        table.setdefault(value, {})[key] = new  # type: ignore[assignment]  # new is not None here
