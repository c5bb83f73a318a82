"""Lists and watches while others write: nothing twice, nothing missed, and what is left when it is too late."""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from registry_world import ADMIN, World, in_world

from wherry.api import kinds
from wherry.api.errors import BadRequestError, ExpiredError, NotFoundError, TimeoutStatusError
from wherry.apiserver.resources import BY_KIND
from wherry.apiserver.verbs import Context, ListOptions, Page, WatchOptions
from wherry.client.api import EventType, PatchType

CONFIG_MAPS = BY_KIND[kinds.CONFIG_MAP]
CTX = Context(ADMIN)
State = dict[str, str]


async def page(w: World, **options: Any) -> Page:
    return await w.registry.list(CTX, CONFIG_MAPS, "default", ListOptions(**options))


def state(items: Sequence[bytes]) -> State:
    """Return what each object says: its name, and the version that it is of."""
    metas = [orjson.loads(raw)["metadata"] for raw in items]
    assert len({m["name"] for m in metas}) == len(metas), "an object is in the list twice"
    return {m["name"]: m["resourceVersion"] for m in metas}


async def write(w: World, number: int, name: str) -> None:
    """Create, change or delete one object; its label says whether the number is odd."""
    if number % 3 == 0:
        with contextlib.suppress(NotFoundError):
            await w.api.delete(kinds.CONFIG_MAP, name, "default")
        return
    labels = {"odd": "yes" if number % 2 else "no"}
    body = orjson.dumps({"metadata": {"labels": labels}, "data": {"n": str(number)}})
    try:
        await w.api.patch(kinds.CONFIG_MAP, name, body, "default", patch_type=PatchType.MERGE)
    except NotFoundError:
        metadata = {"name": name, "labels": labels}
        await w.create(kinds.CONFIG_MAP, "default", metadata=metadata, data={"n": str(number)})


a_write = st.tuples(st.integers(0, 99), st.sampled_from("abcdefgh"))
writes = st.lists(a_write, max_size=8)
some_writes = st.lists(a_write, min_size=4, max_size=12)


@settings(max_examples=25)
@given(
    some_writes,
    st.lists(st.tuples(st.booleans(), writes), min_size=8, max_size=8),
    st.integers(1, 3),
    st.sampled_from(["", "odd=yes"]),
)
def test_pages_under_writes_are_one_revision(
    before: list[tuple[int, str]],
    between: list[tuple[bool, list[tuple[int, str]]]],
    limit: int,
    labels: str,
) -> None:
    """Whether the cache has the writes already (a list waits for that), or has them still to come."""

    async def run(w: World) -> None:
        for number, name in before:
            await write(w, number, name)
        whole = await page(w, labels=labels)
        expected = state(whole.items)
        found: list[bytes] = []
        token = ""
        for in_cache, some in between:
            part = await page(w, labels=labels, limit=limit, continue_token=token)
            found += part.items
            assert len(part.items) <= limit
            assert part.revision == whole.revision
            token = part.continue_token
            if not token:
                break
            for number, name in some:
                await write(w, number, name)
            if in_cache:
                await page(w)
        assert not token
        assert state(found) == expected

    in_world(run)


def test_a_page_of_a_few_among_many_is_read_on_where_the_store_stopped() -> None:
    async def run(w: World) -> None:
        for name in "abcdefghi":
            labels = {"found": "yes"} if name in "abceh" else {}
            await w.create(kinds.CONFIG_MAP, "default", metadata={"name": name, "labels": labels})
        first = await page(w, labels="found", limit=3)
        await w.create(kinds.CONFIG_MAP, "default", name="j")
        await page(w)  # the cache has moved on: what was then is the store's to say
        rest = await page(w, labels="found", limit=3, continue_token=first.continue_token)
        assert [*state(first.items), *state(rest.items)] == [*"abceh"]

    in_world(run)


@settings(max_examples=25)
@given(writes, some_writes, st.sampled_from(["", "odd=yes", "odd!=yes"]))
def test_a_watch_is_the_list_at_every_revision(
    before: list[tuple[int, str]], after: list[tuple[int, str]], labels: str
) -> None:
    """Also through a selector: what begins to be selected is added, what ceases to be is deleted."""

    async def run(w: World) -> None:
        for number, name in before:
            await write(w, number, name)
        begin = await page(w, labels=labels)
        shown = state(begin.items)
        options = WatchOptions(revision=str(begin.revision), labels=labels)
        events = w.registry.watch(CTX, CONFIG_MAPS, "default", options)
        for number, name in after:
            await write(w, number, name)
        last = (await page(w)).revision
        seen = begin.revision
        changed = [k async for k in _until(w, events, last)]
        for event in changed:
            meta = orjson.loads(event.object)["metadata"]
            assert event.revision > seen
            seen = event.revision
            assert (event.type is EventType.ADDED) == (meta["name"] not in shown)
            if event.type is EventType.DELETED:
                del shown[meta["name"]]
            else:
                shown[meta["name"]] = meta["resourceVersion"]
            listed = await page(w, labels=labels, revision=str(seen), revision_match="Exact")
            assert state(listed.items) == shown
        assert state((await page(w, labels=labels)).items) == shown

    in_world(run)


async def _until(w: World, events: Any, revision: int) -> Any:
    """Yield the events up to a revision; a watch that has none left says so by its silence."""
    try:
        while True:
            async with asyncio.timeout(2):  # of virtual time
                batch = await anext(events)
            for event in batch:
                yield event
                if event.revision >= revision:
                    return
    except TimeoutError:
        return
    finally:
        await events.aclose()


def test_a_token_of_a_compacted_revision_comes_back_with_one_that_goes_on() -> None:
    async def run(w: World) -> None:
        for name in "abcd":
            await w.create(kinds.CONFIG_MAP, "default", name=name)
        first = await page(w, limit=2)
        await w.api.delete(kinds.CONFIG_MAP, "c", "default")
        await w.create(kinds.CONFIG_MAP, "default", name="e")
        now = await page(w)
        await w.store.compact(now.revision)
        with pytest.raises(ExpiredError, match="too old to display a consistent list") as late:
            await page(w, limit=2, continue_token=first.continue_token)
        status = late.value.to_status()
        assert (status["code"], status["reason"]) == (410, "Expired")
        rest = await page(w, limit=2, continue_token=status["metadata"]["continue"])
        assert list(state(rest.items)) == ["d", "e"]
        assert (rest.revision, rest.continue_token) == (now.revision, "")
        with pytest.raises(
            ExpiredError, match="The resourceVersion for the provided list is too old"
        ):
            await page(w, revision=str(first.revision), revision_match="Exact")
        with pytest.raises(BadRequestError, match="incorrect encoded start resourceVersion"):
            await page(w, continue_token="eyJydiI6MCwic3RhcnQiOiIvIn0")

    in_world(run)


@pytest.mark.parametrize(
    ("options", "kinds_of_events"),
    [
        ({}, ["ADDED", "ADDED"]),
        ({"revision": "0"}, ["ADDED", "ADDED"]),
        ({"send_initial_events": True, "bookmarks": True}, ["ADDED", "ADDED", "BOOKMARK"]),
        ({"send_initial_events": True}, ["ADDED", "ADDED"]),
        ({"send_initial_events": False}, []),
        ({"send_initial_events": False, "revision": "0"}, []),
    ],
)
def test_what_a_watch_begins_with(options: dict[str, Any], kinds_of_events: list[str]) -> None:
    async def run(w: World) -> None:
        for name in "ab":
            await w.create(kinds.CONFIG_MAP, "default", name=name)
        await page(w)
        events = w.registry.watch(
            CTX, CONFIG_MAPS, "default", WatchOptions(timeout_s=1.0, **options)
        )
        found = [event async for batch in events for event in batch]
        wanted = [str(e.type) for e in found]
        if options.get("bookmarks"):  # the last one says that the time is up
            assert wanted.pop() == "BOOKMARK"
            end = orjson.loads(found[2].object)["metadata"]["annotations"]
            assert end == {"k8s.io/initial-events-end": "true"}
        assert wanted == kinds_of_events

    in_world(run)


FUTURE = 1_000_000


@pytest.mark.parametrize("revision", ["0", "1", "now"])
def test_a_get_is_not_older_than_it_was_asked_to_be(revision: str) -> None:
    async def run(w: World) -> None:
        made = await w.create(kinds.CONFIG_MAP, "default", name="a")
        wanted = made["metadata"]["resourceVersion"] if revision == "now" else revision
        if revision == "now":  # what the cache has not heard of yet is waited for
            raw = await w.registry.get(CTX, CONFIG_MAPS, "default", "a", "", wanted)
        else:
            await page(w)
            raw = await w.registry.get(CTX, CONFIG_MAPS, "default", "a", revision=wanted)
        assert orjson.loads(raw) == made
        with pytest.raises(NotFoundError, match='configmaps "b" not found'):
            await w.registry.get(CTX, CONFIG_MAPS, "default", "b", revision=wanted)

    in_world(run)


def test_a_cached_get_asks_no_store() -> None:
    """Whatever the store has by now, "0" is what the cache has."""

    async def run(w: World) -> None:
        await w.create(kinds.CONFIG_MAP, "default", name="a")
        await page(w)
        await w.api.delete(kinds.CONFIG_MAP, "a", "default")
        old = orjson.loads(await w.registry.get(CTX, CONFIG_MAPS, "default", "a", revision="0"))
        assert old["metadata"]["name"] == "a"
        with pytest.raises(NotFoundError):
            await w.registry.get(CTX, CONFIG_MAPS, "default", "a")

    in_world(run)


def test_a_get_from_the_future_or_from_nowhere() -> None:
    async def run(w: World) -> None:
        await w.create(kinds.CONFIG_MAP, "default", name="a")
        now = (await page(w)).revision
        with pytest.raises(TimeoutStatusError) as late:
            await w.registry.get(CTX, CONFIG_MAPS, "default", "a", revision=str(FUTURE))
        assert late.value.to_status() == {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": f"Too large resource version: {FUTURE}, current: {now}",
            "reason": "Timeout",
            "details": {
                "causes": [
                    {
                        "reason": "ResourceVersionTooLarge",
                        "message": "Too large resource version",
                    }
                ],
                "retryAfterSeconds": 1,
            },
            "code": 504,
        }
        with pytest.raises(BadRequestError) as refused:
            await w.registry.get(CTX, CONFIG_MAPS, "default", "a", revision="x")
        assert refused.value.message == (
            'resourceVersion: Invalid value: "x": strconv.ParseUint: parsing "x": invalid syntax'
        )

    in_world(run)


def test_a_watch_from_the_future_waits_for_it() -> None:
    """It tells what comes after that revision, and nothing of what comes before."""

    async def run(w: World) -> None:
        now = (await page(w)).revision
        options = WatchOptions(revision=str(now + 2), timeout_s=60.0)
        told: list[str] = []

        async def listen() -> None:
            async for batch in w.registry.watch(CTX, CONFIG_MAPS, "default", options):
                told.extend(orjson.loads(event.object)["metadata"]["name"] for event in batch)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(listen())
            for name in "abcd":
                await asyncio.sleep(1)
                await w.create(kinds.CONFIG_MAP, "default", name=name)
        assert told == ["c", "d"]

    in_world(run)


@pytest.mark.parametrize("bookmarks", [True, False])
def test_a_watch_from_the_far_future_ends_with_its_time(bookmarks: bool) -> None:
    async def run(w: World) -> None:
        options = WatchOptions(revision=str(FUTURE), timeout_s=30.0, bookmarks=bookmarks)
        began = w.clock.monotonic()
        events = w.registry.watch(CTX, CONFIG_MAPS, "default", options)
        assert [batch async for batch in events] == []
        assert w.clock.monotonic() - began == pytest.approx(30)

    in_world(run)


def test_the_state_at_a_future_revision_cannot_be_told() -> None:
    async def run(w: World) -> None:
        options = WatchOptions(revision=str(FUTURE), send_initial_events=True, bookmarks=True)
        with pytest.raises(TimeoutStatusError, match="Too large resource version"):
            async for _ in w.registry.watch(CTX, CONFIG_MAPS, "default", options):
                pass

    in_world(run)
