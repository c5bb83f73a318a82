"""The scheduler on a fake API server, in virtual time."""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import orjson
from schedule_objects import node_object, pod_object
from virtual_loop import VirtualClock, run, until

from wherry.api import kinds
from wherry.api.errors import UnavailableError
from wherry.api.kinds import NODE, POD, Kind
from wherry.client.fake import FakeApi
from wherry.scheduler.binder import DefaultBinder
from wherry.scheduler.component import Scheduler, SchedulerConfig
from wherry.scheduler.node_info import PodInfo

Json = dict[str, Any]


class Cluster:
    """A FakeApi with a scheduler on it."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.api = FakeApi(self.clock)

    async def create(self, kind: Kind, obj: Json) -> None:
        obj["metadata"].pop("uid", None)
        await self.api.create(kind, orjson.dumps(obj), "default" if kind.namespaced else "")

    async def add_nodes(self, *names: str, **fields: Any) -> None:
        for name in names:
            await self.create(NODE, node_object(name, **fields))

    async def add_pods(self, *names: str, **fields: Any) -> None:
        for name in names:
            await self.create(POD, pod_object(name, **fields))

    def pod(self, name: str) -> Json:
        return next(p for p in self.api.objects(POD) if p["metadata"]["name"] == name)

    def placed(self) -> dict[str, str]:
        """Return the node of each pod that has one."""
        return {
            p["metadata"]["name"]: p["spec"]["nodeName"]
            for p in self.api.objects(POD)
            if p["spec"].get("nodeName")
        }

    def events(self, reason: str) -> list[str]:
        return [e["message"] for e in self.api.objects(kinds.EVENT) if e["reason"] == reason]


def play(
    story: Callable[[Cluster], Awaitable[None]],
    *,
    binder: Callable[[FakeApi], Any] = DefaultBinder,
    **config: Any,
) -> None:
    async def main() -> None:
        cluster = Cluster()
        scheduler = Scheduler(
            SchedulerConfig(identity="test", **config),
            cluster.api,
            clock=cluster.clock,
            rng=Random(1),
            binder=binder(cluster.api),
        )
        async with asyncio.TaskGroup() as group:
            task = group.create_task(scheduler.run())
            await story(cluster)
            task.cancel()

    run(main())


def test_a_pod_is_bound_and_told() -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.add_nodes("node-1")
        await cluster.add_pods("web-1")
        await until(lambda: cluster.placed() == {"web-1": "node-1"})
        await until(
            lambda: cluster.events("Scheduled") == ["Successfully assigned default/web-1 to node-1"]
        )

    play(story)


def test_a_pod_waits_until_there_is_room_and_says_why() -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.add_nodes("small", cpu="1")
        await cluster.add_pods("first", cpu="1")
        await until(lambda: "first" in cluster.placed())
        await cluster.add_pods("second", cpu="1")
        why = "0/1 nodes are available: 1 Insufficient cpu."
        await until(lambda: cluster.events("FailedScheduling") == [why])
        [condition] = cluster.pod("second")["status"]["conditions"]
        assert {k: condition[k] for k in ("type", "status", "reason", "message")} == {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": why,
        }
        await asyncio.sleep(60)
        await cluster.api.delete(POD, "first", "default", grace_s=0)
        freed_s = cluster.clock.monotonic()
        await until(lambda: "second" in cluster.placed())
        assert cluster.clock.monotonic() - freed_s < 1

    play(story)


def test_no_node_then_one() -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.add_pods("p")
        await until(
            lambda: cluster.events("FailedScheduling") == ["no nodes available to schedule pods"]
        )
        await cluster.add_nodes("n")
        await until(lambda: cluster.placed() == {"p": "n"})

    play(story)


def test_cordon_and_uncordon() -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.add_nodes("n", unschedulable=True)
        await cluster.add_pods("p")
        await until(lambda: bool(cluster.events("FailedScheduling")))
        await cluster.api.patch(NODE, "n", b'{"spec":{"unschedulable":false}}')
        await until(lambda: cluster.placed() == {"p": "n"})

    play(story)


def test_room_is_never_given_away_twice() -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.add_nodes("a", "b", cpu="5")
        await cluster.add_pods(*(f"p{n}" for n in range(20)), cpu="1")
        await until(lambda: len(cluster.placed()) == 10)
        await asyncio.sleep(30)
        placed = list(cluster.placed().values())
        assert (placed.count("a"), placed.count("b")) == (5, 5)

    play(story)


def test_other_peoples_pods_are_left_alone() -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.add_nodes("n")
        await cluster.add_pods("theirs", schedulerName="another")
        await cluster.add_pods("ours")
        await until(lambda: cluster.placed() == {"ours": "n"})
        await asyncio.sleep(30)
        assert cluster.placed() == {"ours": "n"}

    play(story)


class Flaky:
    """A binder that fails at first; what it says may or may not have happened."""

    def __init__(self, api: FakeApi, *, happened: bool) -> None:
        self._binder = DefaultBinder(api)
        self._happened = happened
        self.failures = 2

    async def bind(self, pod: PodInfo, node: str) -> None:
        if not self.failures:
            await self._binder.bind(pod, node)
            return
        self.failures -= 1
        if self._happened:
            await self._binder.bind(pod, node)
        await asyncio.sleep(0.5)
        raise UnavailableError("connection lost")


def test_a_binding_that_failed_is_tried_again() -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.add_nodes("n", cpu="1")
        await cluster.add_pods("p", cpu="1")
        await until(lambda: cluster.placed() == {"p": "n"})

    play(story, binder=lambda api: Flaky(api, happened=False))


def test_a_binding_that_happened_though_it_failed_keeps_its_room() -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.add_nodes("n", cpu="1")
        await cluster.add_pods("p", cpu="1")
        await until(lambda: cluster.placed() == {"p": "n"})
        await cluster.add_pods("q", cpu="1")
        await asyncio.sleep(30)
        assert cluster.placed() == {"p": "n"}

    play(story, binder=lambda api: Flaky(api, happened=True))


def test_a_new_leader_goes_on() -> None:
    async def main() -> None:
        cluster = Cluster()
        async with asyncio.TaskGroup() as group:
            tasks = []
            for identity in ("one", "two"):
                scheduler = Scheduler(
                    SchedulerConfig(identity=identity),
                    cluster.api,
                    clock=cluster.clock,
                    rng=Random(1),
                )
                tasks.append(group.create_task(scheduler.run()))
                await asyncio.sleep(3)
            await cluster.add_nodes("n", cpu="2")
            await cluster.add_pods("p", cpu="1")
            await until(lambda: "p" in cluster.placed())
            tasks[0].cancel()
            await cluster.add_pods("q", "r", cpu="1")
            await until(lambda: len(cluster.placed()) == 2)
            await asyncio.sleep(20)
            assert len(cluster.placed()) == 2
            tasks[1].cancel()

    run(main())


def test_a_thousand_pods_on_a_hundred_nodes() -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.add_nodes(*(f"n{n:02}" for n in range(100)))
        await cluster.add_pods(*(f"p{n}" for n in range(1000)), cpu="10m", owner="rs")
        await until(lambda: len(cluster.placed()) == 1000)
        counts = list(cluster.placed().values())
        assert {counts.count(name) for name in set(counts)} == {10}

    play(story, leader_elect=False)
