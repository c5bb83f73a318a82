"""Watches: they replay and continue without a gap, and never go back in time."""

import asyncio
import random
from collections.abc import Sequence

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from registry_world import ADMIN, World, in_world

from wherry.api import kinds
from wherry.api.errors import ExpiredError, StatusError
from wherry.apiserver.cache.cache import WatchCache
from wherry.apiserver.cache.selection import Selection
from wherry.apiserver.registry import RegistryConfig
from wherry.apiserver.resources import BY_KIND
from wherry.apiserver.storage import encode, with_revision
from wherry.apiserver.verbs import Context, ListOptions, WatchOptions
from wherry.client.api import EventType, WatchEvent

CONFIG_MAP = BY_KIND[kinds.CONFIG_MAP]
POD = BY_KIND[kinds.POD]


class Client:
    """A watch that is read as fast as it comes; `state` is what the client believes."""

    def __init__(self, labels: str = "", fields: str = "", namespace: str = "") -> None:
        self.selection = (namespace, labels, fields)
        self.state: dict[str, bytes] = {}
        self.events: list[WatchEvent] = []
        self.error: StatusError | None = None
        self.ended = False

    async def run(self, w: World, options: WatchOptions, resource: object = CONFIG_MAP) -> None:
        try:
            batches = w.registry.watch(Context(ADMIN), resource, self.selection[0], options)  # type: ignore[arg-type]
            async for batch in batches:
                self.take(batch)
        except StatusError as error:
            self.error = error
        self.ended = True

    def take(self, batch: Sequence[WatchEvent]) -> None:
        for event in batch:
            self.events.append(event)
            meta = orjson.loads(event.object)["metadata"]
            name = meta.get("name", "")
            match event.type:
                case EventType.ADDED:
                    assert name not in self.state
                    self.state[name] = event.object
                case EventType.MODIFIED:
                    assert name in self.state
                    self.state[name] = event.object
                case EventType.DELETED:
                    del self.state[name]
                case EventType.BOOKMARK:
                    pass


async def listed(w: World, labels: str, fields: str, revision: int) -> dict[str, bytes]:
    options = ListOptions(
        labels=labels, fields=fields, revision=str(revision), revision_match="Exact"
    )
    page = await w.registry.list(Context(ADMIN), CONFIG_MAP, "", options)
    return {orjson.loads(raw)["metadata"]["name"]: raw for raw in page.items}


SELECTORS = [
    ("", ""),
    ("color=red", ""),
    ("color!=red", ""),
    ("color in (red,blue),!size", ""),
    ("", "metadata.name=c1"),
    ("color", "metadata.name!=c2"),
]


@given(seed=st.integers(0, 2**32))
@settings(max_examples=25)
def test_a_watch_from_any_revision_replays_to_what_a_list_says(seed: int) -> None:
    """Random writes; watchers from random revisions with random selectors.

    After every event a watcher's state is what a list at that event's revision says.
    """

    async def run(w: World) -> None:
        rng = random.Random(seed)
        async with asyncio.TaskGroup() as tasks:
            watching = []
            first = w.store.state.revision
            for step in range(60):
                await random_write(w, rng)
                if rng.random() < 0.3:
                    await asyncio.sleep(0)
                if rng.random() < 0.2:
                    labels, fields = rng.choice(SELECTORS)
                    since = rng.randrange(first, w.store.state.revision + 1)
                    client = Client(labels, fields)
                    client.state = await listed(w, labels, fields, since)
                    options = WatchOptions(labels=labels, fields=fields, revision=str(since))
                    task = tasks.create_task(client.run(w, options))
                    watching.append((client, task, dict(client.state)))
                assert step < 60
            await asyncio.sleep(1)
            for client, task, before in watching:
                task.cancel()
                assert client.error is None
                await check_replay(w, client, before)

    in_world(run, slow=True, seed=seed)


async def random_write(w: World, rng: random.Random) -> None:
    name = f"c{rng.randrange(4)}"
    labels = {k: rng.choice(v) for k, v in LABELS.items() if rng.random() < 0.6}
    body = orjson.dumps(
        {"metadata": {"name": name, "labels": labels}, "data": {"n": str(rng.random())}}
    )
    try:
        match rng.randrange(3):
            case 0:
                await w.api.create(kinds.CONFIG_MAP, body, "default")
            case 1:
                await w.api.update(kinds.CONFIG_MAP, name, body, "default")
            case _:
                await w.api.delete(kinds.CONFIG_MAP, name, "default")
    except StatusError:
        return


LABELS = {"color": ["red", "blue"], "size": ["big"]}


async def check_replay(w: World, client: Client, before: dict[str, bytes]) -> None:
    replay = Client()
    replay.state = dict(before)
    last = 0
    for event in client.events:
        assert event.revision >= last
        last = event.revision
        replay.take([event])
        _, labels, fields = client.selection
        assert replay.state == await listed(w, labels, fields, event.revision)
    assert client.state == await listed(w, *client.selection[1:], w.store.state.revision)


def test_a_watch_from_before_the_ring_is_expired() -> None:
    async def run(w: World) -> None:
        first = w.store.state.revision
        for index in range(10):
            await w.create(kinds.CONFIG_MAP, "default", name=f"c{index}")
        await asyncio.sleep(0)
        client = Client()
        await client.run(w, WatchOptions(revision=str(first)))
        assert isinstance(client.error, ExpiredError)
        assert client.error.message == f"too old resource version: {first} ({first + 5})"

    in_world(run, config=RegistryConfig(ring_events=5))


def test_a_watch_without_a_revision_begins_with_the_state_oldest_change_first() -> None:
    async def run(w: World) -> None:
        for name in "bca":
            await w.create(kinds.CONFIG_MAP, "default", name=name)
        client = Client()
        options = WatchOptions(timeout_s=1, bookmarks=True, send_initial_events=True)
        await client.run(w, options)
        kinds_seen = [e.type for e in client.events]
        assert kinds_seen == [EventType.ADDED] * 3 + [EventType.BOOKMARK] * 2
        assert list(client.state) == ["b", "c", "a"]
        end = orjson.loads(client.events[3].object)
        assert end["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
        assert client.ended
        assert client.error is None

    in_world(run)


def test_bookmarks_move_on_while_nothing_happens_to_the_resource() -> None:
    async def run(w: World) -> None:
        client = Client()
        async with asyncio.TaskGroup() as tasks:
            options = WatchOptions(revision=str(w.store.state.revision), bookmarks=True)
            task = tasks.create_task(client.run(w, options))
            await w.create(kinds.SECRET, "default", name="s")
            await asyncio.sleep(61)
            task.cancel()
        assert client.events
        assert {e.type for e in client.events} == {EventType.BOOKMARK}
        assert client.events[-1].revision == w.store.state.revision

    in_world(run)


def test_compaction_of_what_the_cache_needs_ends_its_watches_and_it_recovers() -> None:
    async def run(w: World) -> None:
        client = Client()
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(
                client.run(w, WatchOptions(revision=str(w.store.state.revision)))
            )
            await asyncio.sleep(1)
            # All in one step of the loop: the feed cannot keep up.
            for index in range(3):
                await w.create(kinds.CONFIG_MAP, "default", name=f"c{index}")
            await w.store.compact(w.store.state.revision)
            await task
        assert isinstance(client.error, ExpiredError)
        assert len((await w.api.list(kinds.CONFIG_MAP)).items) == 3

    in_world(run)


def test_a_consumer_that_does_not_read_is_cut_off_and_nobody_else_is() -> None:
    cache = WatchCache(CONFIG_MAP, queue_events=10)
    cache.replace([], 1)

    async def run() -> None:
        everything = Selection(cache.codec, "", "", "")
        slow, quick = cache.watch(everything, 1), cache.watch(everything, 1)
        seen = 0
        for revision in range(2, 30):
            put(cache, f"c{revision}", revision)
            seen += len(await quick.next_batch())
            assert slow.ended is (seen > 10)
        assert seen == 28
        with pytest.raises(ExpiredError):
            await slow.next_batch()
        assert cache.watchers() == [quick]

    asyncio.run(run())


@given(taken=st.lists(st.booleans(), max_size=30), ring=st.integers(3, 40))
def test_what_is_pushed_and_what_is_queued_are_all_events_in_order(
    taken: list[bool], ring: int
) -> None:
    """A consumer that sometimes cannot take a push: nothing is lost, doubled or overtaken."""
    cache = WatchCache(CONFIG_MAP, queue_events=ring)
    cache.replace([], 1)
    got: list[int] = []
    pushed = 0

    async def consume() -> None:
        watcher = cache.watch(Selection(cache.codec, "", "", ""), 1)
        while batch := await watcher.next_batch(push):
            got.extend(event.revision for event in batch)

    def push(batch: Sequence[WatchEvent]) -> bool:
        nonlocal pushed
        if answers and answers.pop():
            pushed += 1
            got.extend(event.revision for event in batch)
            return True
        return False

    async def run() -> None:
        task = asyncio.ensure_future(consume())
        await asyncio.sleep(0)
        for revision in range(2, 32):
            put(cache, f"c{revision}", revision)
            if revision % 3 == 0:
                await asyncio.sleep(0)  # the consumer may run; between these it is asleep
        await asyncio.sleep(0)
        cache.end_watches()
        await task

    answers = list(reversed(taken))
    asyncio.run(run())
    assert got == list(range(2, 32))
    assert pushed <= sum(taken)


def test_who_takes_no_push_and_never_wakes_is_cut_off_and_holds_nothing() -> None:
    cache = WatchCache(CONFIG_MAP, queue_events=10)
    cache.replace([], 1)
    asked = 0

    def push(batch: Sequence[WatchEvent]) -> bool:
        nonlocal asked
        asked += 1
        return False

    async def run() -> None:
        watcher = cache.watch(Selection(cache.codec, "", "", ""), 1)
        waiting = asyncio.ensure_future(watcher.next_batch(push))
        await asyncio.sleep(0)
        for revision in range(2, 30):
            put(cache, f"c{revision}", revision)
        assert asked == 1
        assert cache.watchers() == []
        with pytest.raises(ExpiredError):
            await waiting

    asyncio.run(run())


def put(cache: WatchCache, name: str, revision: int, **more: object) -> None:
    kind = cache.resource.kind
    obj = {
        "metadata": {"name": name, "namespace": "ns"},
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        **more,
    }
    key = cache.resource.key("ns", name)
    entry = cache.codec.entry(key, encode(obj), revision)
    assert entry.object == with_revision(encode(obj), revision)
    assert entry.value == encode(obj)
    cache.apply([(key, entry, revision)], revision)


def test_watchers_of_other_nodes_are_not_even_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred agents watch their pods: a change concerns the old node, the new one, nobody else."""
    cache = WatchCache(POD)
    cache.replace([], 1)

    async def run() -> None:
        nodes = [f"n{i}" for i in range(100)]
        agents = {
            n: cache.watch(Selection(cache.codec, "", "", f"spec.nodeName={n}"), 1) for n in nodes
        }
        asked: list[Selection] = []
        matches = Selection.matches

        def counted(selection: Selection, entry: object) -> bool:
            asked.append(selection)
            return matches(selection, entry)  # type: ignore[arg-type]

        monkeypatch.setattr(Selection, "matches", counted)
        put(cache, "p", 2, spec={"nodeName": "n7"})
        assert len(asked) == 1
        put(cache, "p", 3, spec={"nodeName": "n8"})
        assert len(asked) <= 5
        assert [e.type for e in await agents["n7"].next_batch()] == ["ADDED", "DELETED"]
        assert [e.type for e in await agents["n8"].next_batch()] == ["ADDED"]

    asyncio.run(run())


def test_watchers_share_one_event() -> None:
    cache = WatchCache(CONFIG_MAP)
    cache.replace([], 1)

    async def run() -> None:
        watchers = [cache.watch(Selection(cache.codec, "", "", ""), 1) for _ in range(3)]
        watchers.append(cache.watch(Selection(cache.codec, "ns", "", ""), 1))
        put(cache, "c", 2)
        events = [(await w.next_batch())[0] for w in watchers]
        assert all(e is events[0] for e in events)

    asyncio.run(run())
