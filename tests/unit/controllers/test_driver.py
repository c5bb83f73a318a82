"""The driver: expectations, retries, telling, and what it does when the server fails."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Any

import orjson
import pytest
from virtual_loop import VirtualClock, run, until
from workload_objects import NOW, meta, view

from wherry.api import kinds
from wherry.api.errors import Cause, ForbiddenError, InvalidError, UnavailableError, WherryError
from wherry.api.kinds import CONFIG_MAP, NAMESPACE, POD, Kind
from wherry.api.objects import Meta
from wherry.client.events import EventRecorder
from wherry.client.fake import FakeApi
from wherry.controllers.caches import InformerSet
from wherry.controllers.driver import Driver
from wherry.controllers.expectations import TIMEOUT_S, Expectations, Expected, Seen, is_met
from wherry.controllers.framework import (
    Action,
    Create,
    Delete,
    Emit,
    Environment,
    Index,
    Patch,
    Result,
    Source,
    Telling,
    own_key,
)


def seen(uid: str = "", revision: str = "1", *, read_to: int = 1, deleting: bool = False) -> Seen:
    if not uid:
        return Seen(None, read_to)
    date = {"deletionTimestamp": "2026-01-01T00:00:00Z"} if deleting else {}
    obj = view(Meta, {"metadata": meta("x", uid=uid, resourceVersion=revision, **date)})
    return Seen(obj.metadata, read_to)


@pytest.mark.parametrize(
    ("revision", "look", "met"),
    [
        pytest.param(7, seen(), False, id="created, not seen"),
        pytest.param(7, seen("u", "7"), True, id="created, seen"),
        pytest.param(7, seen("u", "6"), False, id="patched, old state seen"),
        pytest.param(7, seen("u", "8"), True, id="patched, changed again since"),
        pytest.param(7, seen("other", "8"), False, id="another of that name"),
        pytest.param(7, seen(read_to=7), True, id="created and gone again"),
        pytest.param(0, seen("u"), False, id="deleted, still seen"),
        pytest.param(0, seen("u", deleting=True), True, id="deleted, going"),
        pytest.param(0, seen(), True, id="deleted, gone"),
        pytest.param(0, seen("other"), True, id="deleted and made again"),
    ],
)
def test_expectations_compare_states(revision: int, look: Seen, met: bool) -> None:
    assert is_met(Expected(POD, "default/x", "u", revision, NOW), look) is met


def test_an_expectation_that_is_never_met_is_forgotten() -> None:
    expectations = Expectations(lambda _kind, _key: seen())
    written = view(Meta, {"metadata": meta("x", resourceVersion="7")}).metadata
    expectations.wrote("key", POD, written, now_s=0.0)
    assert not expectations.current("key", now_s=TIMEOUT_S - 1)
    assert expectations.current("other", now_s=0.0)
    assert expectations.current("key", now_s=TIMEOUT_S)


class Scripted:
    """A controller over ConfigMaps that does what a function says."""

    name = "scripted"
    sources = (Source(CONFIG_MAP, own_key), Source(POD, lambda *_: ()))
    indices: Sequence[Index] = ()

    def __init__(self, decide: Callable[[str, Environment], Sequence[Action]]) -> None:
        self._decide = decide
        self.passes: list[tuple[float, bool, str]] = []
        self._loop = asyncio.get_running_loop()

    async def reconcile(self, key: str, env: Environment) -> Result:
        self.passes.append((self._loop.time(), env.current, env.failure))
        return Result(self._decide(key, env))


class Refusing(FakeApi):
    """A FakeApi whose creations of pods fail as long as `error` is set."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__(clock)
        self.error: WherryError | None = None
        self.attempts = 0

    async def create(self, kind: Kind, body: bytes, *args: Any, **named: Any) -> bytes:
        if kind == POD:
            self.attempts += 1
            if self.error is not None:
                raise self.error
        return await super().create(kind, body, *args, **named)


Story = Callable[[Refusing, Scripted], Awaitable[None]]


def play(
    decide: Callable[[str, Environment], Sequence[Action]],
    story: Story,
    *,
    api: type[Refusing] = Refusing,
) -> None:
    async def main() -> None:
        clock = VirtualClock()
        server, rng = api(clock), Random(1)
        controller, caches = Scripted(decide), InformerSet(server, rng)
        events = EventRecorder(server, clock, "test", rng=rng)
        driver = Driver(controller, server, caches, clock=clock, rng=rng, events=events)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(m()) for m in (caches.run, events.run, driver.run)]
            await story(server, controller)
            for task in tasks:
                task.cancel()

    run(main())


async def put(api: FakeApi, name: str = "c") -> None:
    await api.create(CONFIG_MAP, orjson.dumps({"metadata": {"name": name}}), "default")


REF = {"kind": "ConfigMap", "namespace": "default", "name": "c", "uid": "u"}
TELLING = Telling(REF, ("Made", "Created pod: {name}"), ("NotMade", "Error creating: {error}"))


def a_pod(count: int = 1, name: str = "p") -> Create:
    body = {"metadata": {"generateName" if count > 1 else "name": name}}
    return Create(POD, "default", body, count, telling=TELLING)


def told(api: FakeApi) -> list[tuple[str, str, str, int]]:
    return [(e["type"], e["reason"], e["message"], e["count"]) for e in api.objects(kinds.EVENT)]


def test_it_creates_once_and_tells() -> None:
    def decide(_key: str, env: Environment) -> Sequence[Action]:
        return [] if not env.current or env.caches[POD].values() else [a_pod(20)]

    async def story(api: Refusing, controller: Scripted) -> None:
        await put(api)
        for n in range(5):  # woken again and again while its writes are under way
            await api.patch(CONFIG_MAP, "c", orjson.dumps({"data": {"n": str(n)}}), "default")
        await asyncio.sleep(30)
        assert api.attempts == 20
        assert len(told(api)) == 20
        assert controller.passes[-1][1]

    play(decide, story)


def test_a_refusal_is_told_remembered_and_retried_later_and_later() -> None:
    def decide(_key: str, env: Environment) -> Sequence[Action]:
        return [] if env.caches[POD].values() else [a_pod()]

    async def story(api: Refusing, controller: Scripted) -> None:
        api.error = InvalidError("no such thing")
        await put(api)
        await asyncio.sleep(10)
        times = [t for t, _, _ in controller.passes]
        gaps = [b - a for a, b in itertools.pairwise(times)]
        assert len(gaps) >= 8
        assert all(b > 1.5 * a for a, b in itertools.pairwise(gaps))
        assert {failure for _, _, failure in controller.passes[1:]} == {"no such thing"}
        [(type_, reason, message, count)] = told(api)
        assert (type_, reason, message) == ("Warning", "NotMade", "Error creating: no such thing")
        assert count > 5
        api.error = None
        await until(lambda: bool(api.objects(POD)))
        await put(api, "d")
        await until(lambda: controller.passes[-1][2] == "")

    play(decide, story)


def test_a_slow_start_stops_at_the_first_failure() -> None:
    async def story(api: Refusing, controller: Scripted) -> None:
        api.error = InvalidError("quota")
        await put(api)
        await until(lambda: len(controller.passes) > 3)
        assert api.attempts == len(controller.passes)  # one each, not 500

    play(lambda *_: [a_pod(500)], story)


def test_while_nobody_answers_it_tries_at_a_steady_pace() -> None:
    def decide(_key: str, env: Environment) -> Sequence[Action]:
        return [] if env.caches[POD].values() else [a_pod()]

    async def story(api: Refusing, controller: Scripted) -> None:
        api.error = UnavailableError("connection refused")
        await put(api)
        await asyncio.sleep(120)
        assert 50 <= len(controller.passes) <= 125
        api.error = None
        back_s = asyncio.get_running_loop().time()
        await until(lambda: bool(api.objects(POD)))
        assert asyncio.get_running_loop().time() - back_s < 3
        assert [t for t in told(api) if t[0] == "Warning"] == []

    play(decide, story)


def test_a_terminating_namespace_is_no_failure() -> None:
    async def story(api: Refusing, controller: Scripted) -> None:
        api.error = ForbiddenError("being terminated", causes=[Cause("NamespaceTerminating", "")])
        await put(api)
        await asyncio.sleep(60)
        assert len(controller.passes) == 1
        assert told(api) == []

    play(lambda *_: [a_pod()], story)


def test_conflicts_and_vanished_objects_only_mean_to_look_again() -> None:
    stale: Action = Patch(CONFIG_MAP, "default", "c", {"data": {"a": "1"}}, revision="999")
    gone: list[Action] = [
        Patch(CONFIG_MAP, "default", "gone", {"data": {}}),
        Delete(CONFIG_MAP, "default", "gone", "u"),
        Delete(CONFIG_MAP, "default", "c", "another uid"),
    ]
    turns = iter([[stale]])

    async def story(api: Refusing, controller: Scripted) -> None:
        await put(api)
        await asyncio.sleep(60)
        assert len(controller.passes) == 2
        assert len(api.objects(CONFIG_MAP)) == 1
        assert told(api) == []

    play(lambda *_: next(turns, gone), story)


def test_a_bug_in_a_controller_is_retried_and_stops_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def decide(key: str, _env: Environment) -> Sequence[Action]:
        if key == "default/c":
            raise ZeroDivisionError
        return [Emit(REF, "Normal", "Fine", key)]

    async def story(api: Refusing, controller: Scripted) -> None:
        await put(api)
        await put(api, "d")
        await until(lambda: ("Normal", "Fine", "default/d", 1) in told(api))
        await asyncio.sleep(1)
        assert len(controller.passes) > 5
        assert "ZeroDivisionError" in caplog.text

    play(decide, story)


def test_a_name_that_exists_is_an_error_unless_it_may() -> None:
    exists = Create(CONFIG_MAP, "default", {"metadata": {"name": "c"}}, exists_ok=True)

    async def story(api: Refusing, controller: Scripted) -> None:
        await put(api)
        await asyncio.sleep(10)
        assert len(controller.passes) == 1

    play(lambda *_: [exists], story)


def test_a_pass_that_was_cancelled_is_done_again() -> None:
    """Losing the lead in the middle of a pass must not lose the key."""

    async def main() -> None:
        clock = VirtualClock()
        api, rng = FakeApi(clock), Random(1)
        started: list[str] = []

        class Slow(Scripted):
            async def reconcile(self, key: str, env: Environment) -> Result:
                started.append(key)
                await asyncio.sleep(10)
                return await super().reconcile(key, env)

        controller, caches = Slow(lambda *_: ()), InformerSet(api, rng)
        events = EventRecorder(api, clock, "test", rng=rng)
        driver = Driver(controller, api, caches, clock=clock, rng=rng, events=events)
        async with asyncio.TaskGroup() as group:
            informers = group.create_task(caches.run())
            first = group.create_task(driver.run())
            await put(api)
            await until(lambda: bool(started))
            first.cancel()
            await asyncio.sleep(1)
            second = group.create_task(driver.run())
            await until(lambda: bool(controller.passes))
            second.cancel()
            informers.cancel()

    run(main())


def test_fetching_asks_the_server() -> None:
    async def story(api: Refusing, _controller: Scripted) -> None:
        await api.create(NAMESPACE, b'{"metadata":{"name":"n"}}')
        await put(api)
        await until(lambda: bool(found))
        assert found == [True, True, 1]

    found: list[object] = []

    class Asking(Scripted):
        async def reconcile(self, key: str, env: Environment) -> Result:
            found.append((await env.fetch(NAMESPACE, "n")) is not None)
            found.append((await env.fetch(NAMESPACE, "m")) is None)
            found.append(len(await env.fetch_all(CONFIG_MAP, "default")))
            return Result()

    async def main() -> None:
        clock = VirtualClock()
        api, rng = Refusing(clock), Random(1)
        caches = InformerSet(api, rng)
        events = EventRecorder(api, clock, "test", rng=rng)
        controller = Asking(lambda *_: ())
        driver = Driver(controller, api, caches, clock=clock, rng=rng, events=events)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(m()) for m in (caches.run, driver.run)]
            await story(api, controller)
            for task in tasks:
                task.cancel()

    run(main())


class Lossy(Refusing):
    """Creates pods but loses the first answers, and shows pods to watchers seconds later."""

    lost = 2
    lag_s = 8.0

    async def create(self, kind: Kind, body: bytes, *args: Any, **named: Any) -> bytes:
        answer = await super().create(kind, body, *args, **named)
        if kind == POD and self.lost:
            self.lost -= 1
            raise UnavailableError("connection reset by peer")
        return answer

    async def watch(self, kind: Kind, *args: Any, **named: Any) -> Any:
        async for batch in super().watch(kind, *args, **named):
            if kind == POD:
                await asyncio.sleep(self.lag_s)
            yield batch


def test_a_creation_whose_answer_was_lost_is_not_repeated() -> None:
    """It is looked for past the cache first: the cache may not show it for a while."""
    wanted = 3

    def decide(_key: str, env: Environment) -> Sequence[Action]:
        missing = wanted - len(env.caches[POD].values())
        return [a_pod(missing, "p-")] if env.current and missing > 0 else []

    async def story(api: Refusing, _controller: Scripted) -> None:
        await put(api)
        most = 0
        for _ in range(600):
            await asyncio.sleep(0.1)
            most = max(most, len(api.objects(POD)))
        assert most == wanted
        assert len(api.objects(POD)) == wanted

    play(decide, story, api=Lossy)
