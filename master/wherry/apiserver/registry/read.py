"""Reading: lists, watches and nearly every get from the cache, once it is as new as the store.

Which revision a list is of, after Kubernetes' table for `resourceVersion`:

    resourceVersion  match            served
    ""               -                the cache, once it has reached the store's revision
    "0"              - NotOlderThan   the cache as it is, all of it (a limit is ignored)
    "N"              NotOlderThan, -  the cache, once it has reached N
    "N"              Exact            the store, at N (also: "N" without match, with a limit)
    continue token   -                the state of the first page: the cache while nothing has
                                      changed since, the store at that revision otherwise;
                                      410 when it is compacted, with a token that goes on
                                      with what is there by then

A get knows no match: "" is the object as it is now, "0" and "N" are served from the cache as above.
A watch from "N" sends what changed after N, however late that is; only one that begins with the
state at N is refused where N is not reached.
"""

import asyncio
import base64
import binascii
from collections.abc import AsyncIterator, Iterable, Sequence
from itertools import islice

import msgspec

from wherry.api.errors import (
    BadRequestError,
    Cause,
    ExpiredError,
    ServiceUnavailableError,
    TimeoutStatusError,
    UnavailableError,
)
from wherry.apiserver import refusal
from wherry.apiserver.cache.cache import WatchCache
from wherry.apiserver.cache.feed import Feed
from wherry.apiserver.cache.selection import Selection
from wherry.apiserver.cache.watcher import Watcher
from wherry.apiserver.registry.revision import RevisionReader
from wherry.apiserver.resources import Resource
from wherry.apiserver.storage import Entry, with_revision
from wherry.apiserver.verbs import ListOptions, Page, Push, WatchOptions
from wherry.client.api import WatchEvent
from wherry.store.kv import (
    CompactedError,
    FutureRevisionError,
    KeyValue,
    Range,
    RangeResult,
    Store,
    prefix_end,
)

_PAGE = 1_000
_PAGE_TOO_OLD = (
    "The provided continue parameter is too old to display a consistent list result. You can "
    "start a new list without the continue parameter, or use the continue token in this "
    "response to retrieve the remainder of the results. Continuing with the provided token "
    "results in an inconsistent list - objects that were created, modified, or deleted between "
    "the time the first chunk was returned and now may show up in the list."
)
_NOT_VALID = "invalid continue token: continue key is not valid"
_REVISION_TOO_OLD = "The resourceVersion for the provided list is too old."
_LONGEST_REVISION = 20  # digits; Python reads no number of thousands
_NOW = -1
"""The revision of a token that goes on with what is there when it is used."""


class _Token(msgspec.Struct):
    """A continue token: the next page begins at key `start`, at revision `rv` (or `_NOW`)."""

    rv: int
    start: str


def encode_token(revision: int, start: bytes) -> str:
    """Return an opaque continue token."""
    raw = msgspec.json.encode(_Token(revision, start.decode()))
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def decode_token(text: str) -> tuple[int, bytes]:
    """Read a continue token.

    Raises:
        BadRequestError: it is none of ours.
    """
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        token = msgspec.json.decode(raw, type=_Token)
    except (msgspec.MsgspecError, binascii.Error, ValueError) as error:
        raise BadRequestError(f"{_NOT_VALID}: {error}") from error
    if not token.rv:
        raise BadRequestError(
            f"{_NOT_VALID}: incorrect encoded start resourceVersion (version meta.k8s.io/v1)"
        )
    return token.rv, token.start.encode()


class Reader:
    """See the module."""

    def __init__(
        self,
        store: Store,
        feed: Feed,
        caches: dict[Resource, WatchCache],
        *,
        fresh_timeout_s: float,
    ) -> None:
        self._store = store
        self._feed = feed
        self._caches = caches
        self._revisions = RevisionReader(store)
        self._fresh_timeout_s = fresh_timeout_s

    async def range(self, request: Range) -> RangeResult:
        """Read from the store linearizably.

        Raises:
            ServiceUnavailableError: the store did not answer.
        """
        try:
            return await self._store.range(request)
        except UnavailableError as error:
            raise ServiceUnavailableError(f"the store is away: {error}", retry_after_s=1) from error

    async def find(self, key: bytes) -> KeyValue | None:
        """Return what the store has at `key` now."""
        answer = await self.range(Range(key))
        return answer.kvs[0] if answer.kvs else None

    async def get(self, resource: Resource, namespace: str, name: str, revision: str = "") -> bytes:
        """Return one object as it is now: the cache's bytes if they are not older than the question.

        The feed is not waited for, which may be behind or broken off; the store is asked then.
        With a `revision` the cache answers, once it has reached that.
        """
        key = resource.key(namespace, name)
        if revision:
            await self.catch_up(parse_revision(revision))
            cached = self._cache(resource).get(key)
            if cached is None:
                raise refusal.not_found(resource, name)
            return cached.object
        entry = self._cache(resource).get(key)
        if entry is not None and self._feed.current_at(await self._current()):
            entry = self._cache(resource).get(key)
            if entry is not None:
                return entry.object
        kv = await self.find(key)
        if kv is None:
            raise refusal.not_found(resource, name)
        return with_revision(kv.value, kv.mod_revision)

    # -- lists ------------------------------------------------------------------------------

    async def list(self, resource: Resource, namespace: str, options: ListOptions) -> Page:
        """Return a page."""
        cache = self._cache(resource)
        selection = Selection(cache.codec, namespace, options.labels, options.fields)
        if options.continue_token:
            if options.revision not in ("", "0"):
                raise BadRequestError(
                    "specifying resource version is not allowed when using continue"
                )
            revision, start = decode_token(options.continue_token)
            if not start.startswith(resource.prefix(selection.namespace)):
                raise BadRequestError(f"{_NOT_VALID}: {start.decode()}")
            if revision == _NOW:
                await self.catch_up_to_now()
                return _cached(cache, selection, cache.revision, options.limit, start)
            try:
                return await self._list_at(cache, selection, revision, start, options.limit)
            except ExpiredError as error:
                late = ExpiredError(_PAGE_TOO_OLD)
                late.continue_token = encode_token(_NOW, start)
                raise late from error
        wanted = parse_revision(options.revision, "invalid resource version: ")
        if wanted and (
            options.revision_match == "Exact" or (options.limit and not options.revision_match)
        ):
            start = resource.prefix(selection.namespace)
            return await self._list_at(cache, selection, wanted, start, options.limit)
        limit = options.limit
        if options.revision == "":
            wanted = await self._current()
        elif not wanted:
            limit = 0
        await self.catch_up(wanted)
        return _cached(cache, selection, cache.revision, limit)

    async def _current(self) -> int:
        try:
            return await self._revisions.current()
        except UnavailableError as error:
            raise ServiceUnavailableError(f"the store is away: {error}", retry_after_s=1) from error

    async def catch_up_to_now(self) -> None:
        """Wait until the caches contain every write acknowledged before the call."""
        await self.catch_up(await self._current())

    async def catch_up(self, revision: int) -> None:
        """Wait for the caches to reach `revision`.

        Raises:
            TimeoutStatusError: they did not; the revision may be from the future.
        """
        if await self._feed.wait_for(revision, self._fresh_timeout_s):
            return
        if not self._feed.synced.is_set():
            raise ServiceUnavailableError("the watch cache is not filled yet", retry_after_s=1)
        raise TimeoutStatusError(
            f"Too large resource version: {revision}, current: {self._feed.revision}",
            causes=[Cause("ResourceVersionTooLarge", "Too large resource version")],
            retry_after_s=1,
        )

    async def _list_at(
        self, cache: WatchCache, selection: Selection, revision: int, start: bytes, limit: int
    ) -> Page:
        if cache.changed <= revision <= cache.revision and self._feed.synced.is_set():
            return _cached(cache, selection, revision, limit, start)
        end = prefix_end(cache.resource.prefix(selection.namespace))
        found: list[Entry] = []
        remaining: int | None = None
        while True:
            page = await self._range_at(start, end, revision, limit)
            kvs = [kv for kv in page.kvs if cache.resource.owns(kv.key)]
            entries = (cache.codec.entry(kv.key, kv.value, kv.mod_revision) for kv in kvs)
            found += [e for e in entries if selection.matches(e)]
            if not page.more or (limit and len(found) > limit):
                break
            start = page.kvs[-1].key + b"\0"
        if selection.everything and limit and len(found) > limit:
            remaining = page.count - limit
        return _page(found, selection, revision, limit, remaining)

    async def _range_at(self, start: bytes, end: bytes, revision: int, limit: int) -> RangeResult:
        try:
            return await self.range(
                Range(start, end, limit=limit + 1 if limit else _PAGE, revision=revision)
            )
        except CompactedError as error:
            raise ExpiredError(_REVISION_TOO_OLD) from error
        except FutureRevisionError as error:
            raise TimeoutStatusError(
                f"Too large resource version: {revision}, current: {self._feed.revision}",
                causes=[Cause("ResourceVersionTooLarge", "Too large resource version")],
                retry_after_s=1,
            ) from error

    # -- watches ----------------------------------------------------------------------------

    async def watch(
        self, resource: Resource, namespace: str, options: WatchOptions, push: Push | None = None
    ) -> AsyncIterator[Sequence[WatchEvent]]:
        """Yield batches, or push them, until the client goes, the time is up or the cache is rebuilt."""
        cache = self._cache(resource)
        selection = Selection(cache.codec, namespace, options.labels, options.fields)
        since = parse_revision(options.revision)
        loop = asyncio.get_running_loop()
        end = None if options.timeout_s is None else loop.time() + options.timeout_s
        if since and not options.send_initial_events:
            if not await self._feed.wait_for(since, options.timeout_s):
                return  # what is to be told has not happened in the time
        else:
            await self.catch_up(since if options.revision else await self._current())
        watcher = _open(cache, selection, since, options)
        timer = None if end is None else loop.call_at(end, _time_is_up, cache, watcher)
        try:
            while batch := await watcher.next_batch(push):
                yield batch
        finally:
            if timer is not None:
                timer.cancel()
            cache.close(watcher)

    def _cache(self, resource: Resource) -> WatchCache:
        return self._caches[resource]


def _open(cache: WatchCache, selection: Selection, since: int, options: WatchOptions) -> Watcher:
    initial = options.send_initial_events
    if initial is False and not since:
        since = cache.revision
    if since and not initial:
        return cache.watch(selection, since, bookmarks=options.bookmarks)
    return cache.watch_state(
        selection, bookmarks=options.bookmarks, mark_end=bool(initial and options.bookmarks)
    )


def _time_is_up(cache: WatchCache, watcher: Watcher) -> None:
    """End a watch, after telling its client how far it has come."""
    if watcher.bookmarks and not watcher.ended:
        watcher.push([cache.bookmark()])
    watcher.end()


def _cached(
    cache: WatchCache, selection: Selection, revision: int, limit: int, start: bytes = b""
) -> Page:
    """Cut a page out of what the cache has from `start` on."""
    namespace = selection.namespace
    if not (limit and selection.everything):
        return _page(cache.scan(namespace, start), selection, revision, limit)
    remaining = cache.count(namespace, start) - limit
    return _page(cache.scan(namespace, start, limit + 1), selection, revision, limit, remaining)


def _page(
    entries: Iterable[Entry],
    selection: Selection,
    revision: int,
    limit: int,
    remaining: int | None = None,
) -> Page:
    """Cut a page out of entries in key order; one more than `limit` tells that there is more.

    Args:
        entries: Of the selection's namespace, from the beginning of the page on.
        selection: Of the list.
        revision: The state that this is of.
        limit: How many objects at most; 0 for all.
        remaining: How many follow the page, where that is known.
    """
    selected: Iterable[Entry] = entries
    if not selection.everything:
        selected = (e for e in entries if selection.matches(e))
    if not limit:
        return Page([e.object for e in selected], revision)
    found = list(islice(selected, limit + 1))
    if len(found) <= limit:
        return Page([e.object for e in found], revision)
    token = encode_token(revision, found[limit].key)
    return Page([e.object for e in found[:limit]], revision, token, remaining)


def parse_revision(text: str, said: str = "") -> int:
    """Read a resourceVersion as a client sends it, "" as 0; `said` begins the refusal.

    Raises:
        BadRequestError: it is not a number, or more than a store counts to.
    """
    if not text:
        return 0
    why = "invalid syntax"
    if text.isascii() and text.isdigit():
        if len(text) <= _LONGEST_REVISION and (revision := int(text)) < 2**63:
            return revision
        text, why = text[: _LONGEST_REVISION + 1], "value out of range"
    raise BadRequestError(
        f'{said}resourceVersion: Invalid value: "{text}": strconv.ParseUint: parsing "{text}": {why}'
    )
