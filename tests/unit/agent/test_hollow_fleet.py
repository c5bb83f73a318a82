"""Hollow agents against the fake API, in virtual time."""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import pairwise
from random import Random
from typing import Any

import orjson
import pytest
import virtual_loop
from agent_objects import phase, ready

from wherry.agent.fleet import FleetConfig, HollowFleet
from wherry.agent.hollow import HollowRuntime
from wherry.agent.node_object import NodeIdentity
from wherry.api.kinds import EVENT, LEASE, NODE, POD
from wherry.client.fake import FakeApi

Json = dict[str, Any]
Scenario = Callable[["Bench"], Awaitable[None]]


class Bench:
    """A fake API and a fleet that can be killed and started again on the same runtimes."""

    def __init__(self, nodes: int = 1, start_latency_s: float = 0.0) -> None:
        self.clock = virtual_loop.VirtualClock()
        self.api = FakeApi(self.clock)
        names = [f"hollow-{i}" for i in range(nodes)]
        self.config = FleetConfig(
            nodes=tuple(NodeIdentity(n, "127.0.0.1") for n in names), quiet=False
        )
        self.runtimes = {
            n: HollowRuntime(self.clock, name=n, start_latency_s=start_latency_s) for n in names
        }
        self.fleet: HollowFleet
        self.task: asyncio.Task[None]

    def start(self) -> None:
        self.fleet = HollowFleet(self.config, self.api, self.clock, Random(1), self.runtimes)
        self.task = asyncio.get_running_loop().create_task(self.fleet.run())

    async def kill(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    async def create(self, name: str, **spec: Any) -> Json:
        annotations = spec.pop("annotations", {})
        body = {
            "metadata": {"name": name, "annotations": annotations},
            "spec": {
                "nodeName": "hollow-0",
                "containers": [{"name": "c", "image": "nginx"}],
                **spec,
            },
        }
        created: Json = orjson.loads(await self.api.create(POD, orjson.dumps(body), "default"))
        return created

    async def pod(self, name: str) -> Json:
        found: Json = orjson.loads(await self.api.get(POD, name, "default"))
        return found

    async def until(
        self, holds: Callable[[Json], bool], name: str = "p", within_s: float = 600
    ) -> Json:
        async with asyncio.timeout(within_s):
            while True:
                pod = await self.pod(name)
                if holds(pod):
                    return pod
                await asyncio.sleep(0.1)

    def reasons(self) -> list[str]:
        return [e["reason"] for e in self.api.objects(EVENT)]


def play(scenario: Scenario, **options: Any) -> None:
    async def main() -> None:
        bench = Bench(**options)
        bench.start()
        try:
            await scenario(bench)
        finally:
            await bench.kill()

    virtual_loop.run(main())


def container(pod: Json, index: int = 0) -> Json:
    status: Json = pod["status"]["containerStatuses"][index]
    return status


def waits_for(pod: Json) -> str:
    statuses = pod.get("status", {}).get("containerStatuses", [])
    return str(statuses[0]["state"].get("waiting", {}).get("reason")) if statuses else ""


def restart_count(pod: Json) -> int:
    statuses = pod.get("status", {}).get("containerStatuses", [])
    return int(statuses[0]["restartCount"]) if statuses else -1


def test_a_pod_runs_and_gets_an_address() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.create("p")
        pod = await bench.until(ready)
        assert phase(pod) == "Running"
        assert pod["status"]["podIP"].startswith("10.244.0.")
        assert container(pod)["containerID"].startswith("hollow://")
        writes = [c for c in bench.api.calls if c == ("patch", "Pod", "p")]
        assert len(writes) <= 2

    play(scenario)


def test_the_node_registers_is_ready_and_renews_its_lease() -> None:
    async def scenario(bench: Bench) -> None:
        await asyncio.sleep(35)
        (node,) = bench.api.objects(NODE)
        conditions = {c["type"]: c["status"] for c in node["status"]["conditions"]}
        assert conditions == {
            "MemoryPressure": "False",
            "DiskPressure": "False",
            "PIDPressure": "False",
            "Ready": "True",
        }
        assert node["metadata"]["labels"]["kubernetes.io/hostname"] == "hollow-0"
        (lease,) = bench.api.objects(LEASE)
        assert lease["metadata"]["ownerReferences"][0]["uid"] == node["metadata"]["uid"]
        renewals = [c for c in bench.api.calls if c[:2] == ("patch", "Lease")]
        assert len(renewals) == 3
        reports = [c for c in bench.api.calls if c[:2] == ("patch", "Node")]
        assert len(reports) == 1

    play(scenario)


def test_a_crashing_container_backs_off_as_the_kubelet_does() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.create("p", annotations={"wherry.io/hollow-exit-code": "3"})
        starts: list[float] = []
        loop = asyncio.get_running_loop()
        for attempt in range(6):
            await bench.until(lambda p, n=attempt: restart_count(p) >= n)  # type: ignore[misc]
            starts.append(loop.time())
        gaps = [round(b - a) for a, b in pairwise(starts)]
        assert gaps == [0, 10, 20, 40, 80]
        pod = await bench.pod("p")
        state = container(pod)["state"]
        assert state["waiting"]["reason"] == "CrashLoopBackOff"
        uid = pod["metadata"]["uid"]
        assert state["waiting"]["message"] == (
            f"back-off 2m40s restarting failed container=c pod=p_default({uid})"
        )
        assert container(pod)["lastState"]["terminated"]["exitCode"] == 3
        assert "BackOff" in bench.reasons()

    play(scenario)


@pytest.mark.parametrize(
    ("policy", "code", "end"),
    [("Never", "0", "Succeeded"), ("Never", "7", "Failed"), ("OnFailure", "0", "Succeeded")],
)
def test_a_pod_comes_to_its_end(policy: str, code: str, end: str) -> None:
    async def scenario(bench: Bench) -> None:
        annotations = {"wherry.io/hollow-run-seconds": "5", "wherry.io/hollow-exit-code": code}
        await bench.create("p", annotations=annotations, restartPolicy=policy)
        await bench.until(lambda p: phase(p) == "Running")
        pod = await bench.until(lambda p: phase(p) == end)
        assert container(pod)["state"]["terminated"]["exitCode"] == int(code)
        assert not ready(pod)

    play(scenario)


def test_a_deleted_pod_goes_and_leaves_nothing() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.create("p")
        await bench.until(ready)
        await bench.api.delete(POD, "p", "default", grace_s=5)
        runtime = bench.runtimes["hollow-0"]
        await virtual_loop.until(lambda: not bench.api.objects(POD) and not runtime._boxes)
        assert bench.fleet.agents["hollow-0"].find("default", "p") is None

    play(scenario)


def test_a_missing_image_is_reported_and_retried() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.create("p", containers=[{"name": "c", "image": "does-not-exist/x:1"}])
        for reason in ("ErrImagePull", "ImagePullBackOff", "ErrImagePull"):
            pod = await bench.until(lambda p, r=reason: waits_for(p) == r)  # type: ignore[misc]
            assert phase(pod) == "Pending"
        assert {"Pulling", "Failed", "BackOff"} <= set(bench.reasons())

    play(scenario)


def test_an_agent_that_was_killed_finds_its_pods_again() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.create("p")
        before = await bench.until(ready)
        await bench.kill()
        await asyncio.sleep(30)
        bench.start()
        await asyncio.sleep(60)
        after = await bench.pod("p")
        assert container(after)["containerID"] == container(before)["containerID"]
        assert ready(after)
        assert after["status"]["startTime"] == before["status"]["startTime"]

    play(scenario)


def test_a_lost_sandbox_is_made_again() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.create("p")
        before = await bench.until(ready)
        runtime = bench.runtimes["hollow-0"]
        (pod,) = await runtime.list_pods()
        assert pod.sandbox is not None
        runtime.lose_sandbox(pod.sandbox.id)
        after = await bench.until(lambda p: ready(p) and container(p)["restartCount"] == 1)
        assert container(after)["lastState"]["terminated"]["exitCode"] == 255
        assert "SandboxChanged" in bench.reasons()
        assert before["status"]["podIP"]

    play(scenario)


def test_late_readiness() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.create("p", annotations={"wherry.io/hollow-ready-after": "7"})
        loop = asyncio.get_running_loop()
        await bench.until(lambda p: phase(p) == "Running")
        began = loop.time()
        await bench.until(ready)
        assert 6 <= loop.time() - began <= 9

    play(scenario)


def test_a_restart_of_the_agent_does_not_make_a_pod_unready() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.create("p", annotations={"wherry.io/hollow-ready-after": "7"})
        await bench.until(ready)
        await bench.kill()
        bench.start()
        for _ in range(300):
            assert ready(await bench.pod("p"))
            await asyncio.sleep(0.1)

    play(scenario)


def test_a_deletion_does_not_wait_for_a_slow_start() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.create("p")
        await bench.until(lambda p: phase(p) == "Pending")
        await asyncio.sleep(10)
        await bench.api.delete(POD, "p", "default", grace_s=1)
        await virtual_loop.until(lambda: not bench.api.objects(POD), within_s=20)

    play(scenario, start_latency_s=1000.0)


def test_side_cars_and_init_containers() -> None:
    async def scenario(bench: Bench) -> None:
        inits = [
            {"name": "i", "image": "i:1"},
            {"name": "side", "image": "i:1", "restartPolicy": "Always"},
        ]
        await bench.create("p", initContainers=inits)
        pod = await bench.until(ready)
        states = [next(iter(s["state"])) for s in pod["status"]["initContainerStatuses"]]
        assert states == ["terminated", "running"]
        assert all(s["ready"] for s in pod["status"]["initContainerStatuses"])

    play(scenario)


def test_a_resize_waits_until_another_pod_leaves_room() -> None:
    def asks(cpu: str) -> list[Json]:
        return [{"name": "c", "image": "nginx", "resources": {"requests": {"cpu": cpu}}}]

    def pending(pod: Json) -> list[str]:
        conditions = pod["status"]["conditions"]
        return [c["reason"] for c in conditions if c["type"] == "PodResizePending"]

    async def scenario(bench: Bench) -> None:
        await bench.create("p", containers=asks("1"))  # of the 32 that a hollow node has
        await bench.create("other", containers=asks("20"))
        for name in ("p", "other"):
            await bench.until(ready, name)
        body = orjson.dumps({"spec": {"containers": asks("13")}})
        await bench.api.patch(POD, "p", body, "default")
        waiting = await bench.until(lambda pod: pending(pod) == ["Deferred"])
        assert container(waiting)["allocatedResources"] == {"cpu": "1"}
        await bench.api.delete(POD, "other", "default")
        done = await bench.until(lambda pod: not pending(pod))
        assert container(done)["allocatedResources"] == {"cpu": "13"}
        assert container(done)["restartCount"] == 0

    play(scenario)


def test_pods_that_left_while_the_agent_was_dead_are_removed() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.create("p")
        await bench.until(ready)
        await bench.kill()
        await bench.api.delete(POD, "p", "default", grace_s=0)
        bench.start()
        runtime = bench.runtimes["hollow-0"]
        await virtual_loop.until(lambda: not runtime._boxes)

    play(scenario)


def test_a_hundred_nodes_run_a_thousand_pods() -> None:
    async def scenario(bench: Bench) -> None:
        for i in range(1000):
            await bench.create(f"p{i}", nodeName=f"hollow-{i % 100}")
        await virtual_loop.until(
            lambda: all(ready(p) for p in bench.api.objects(POD)), within_s=20, step_s=1
        )
        assert len(bench.api.objects(NODE)) == 100
        writes = [c for c in bench.api.calls if c[:2] == ("patch", "Pod")]
        assert len(writes) <= 2000

    play(scenario, nodes=100)
