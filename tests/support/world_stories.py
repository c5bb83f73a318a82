"""Short stories in the simulated world: one fault each, and what must be true afterwards."""

import asyncio
from typing import Any

import orjson
from world import World, is_ready
from world_rollout import DEPLOYMENT, REPLICAS, patiently, wait_converged

from wherry.api import kinds


async def deployed(world: World) -> None:
    """Begin: every node Ready, every replica available."""
    await world.settled()
    await patiently(world.client(), "create", kinds.DEPLOYMENT, orjson.dumps(DEPLOYMENT), "default")
    await wait_converged(world, 120.0)


async def web_pods(world: World) -> list[dict[str, Any]]:
    """Return the Deployment's pods that are not being deleted."""
    pods = await world.objects(kinds.POD, "default")
    return [p for p in pods if not p["metadata"].get("deletionTimestamp")]


async def a_silent_agent_comes_back() -> None:
    """Its node is NotReady meanwhile and its pods count as unready; nothing is moved so soon."""
    async with World(1) as world:
        await deployed(world)
        before = {p["metadata"]["uid"] for p in await web_pods(world)}
        world.kill("n1", "agent")
        await asyncio.sleep(60.0)
        nodes = {n["metadata"]["name"]: is_ready(n) for n in await world.objects(kinds.NODE)}
        assert nodes == {"n1": False, "n2": True, "n3": True}
        assert any(not is_ready(p) for p in await web_pods(world))
        world.start("n1", "agent")
        await world.settled()
        await wait_converged(world, 60.0)
        assert {p["metadata"]["uid"] for p in await web_pods(world)} == before


async def a_node_that_was_cut_off_comes_back() -> None:
    """The agent lives on and thinks nothing has changed; the API server thinks otherwise."""
    async with World(4) as world:
        await deployed(world)
        before = {p["metadata"]["uid"] for p in await web_pods(world)}
        for master in world.masters:
            world.wires.cut("n1", master)
        await asyncio.sleep(70.0)
        assert any(not is_ready(p) for p in await web_pods(world))
        world.wires.heal()
        await world.settled()
        await wait_converged(world, 30.0)
        assert {p["metadata"]["uid"] for p in await web_pods(world)} == before


async def a_lost_node_loses_its_pods_to_the_others() -> None:
    """After the toleration time (300 s) they are replaced elsewhere."""
    async with World(2) as world:
        await deployed(world)
        world.kill_node("n1")
        await asyncio.sleep(45.0 + 300.0 + 30.0)
        pods = await web_pods(world)
        assert len(pods) == REPLICAS
        assert all(is_ready(p) and p["spec"]["nodeName"] != "n1" for p in pods)


async def without_masters_pods_go_on_and_crashed_ones_are_restarted() -> None:
    """All masters are dead for five minutes; containers that end meanwhile are started again."""
    async with World(3) as world:
        await world.settled()
        pod = {
            "metadata": {"name": "once", "annotations": {"wherry.io/hollow-run-seconds": "30"}},
            "spec": {"containers": [{"name": "c", "image": "busybox"}]},
        }
        await patiently(world.client(), "create", kinds.POD, orjson.dumps(pod), "default")
        await asyncio.sleep(10.0)
        for host, name in world.processes:
            if host in world.masters:
                world.kill(host, name)
        await asyncio.sleep(300.0)
        world.revive()
        await world.settled()
        await asyncio.sleep(30.0)
        (seen,) = await world.objects(kinds.POD, "default")
        assert seen["status"]["containerStatuses"][0]["restartCount"] >= 3
        assert all(is_ready(n) for n in await world.objects(kinds.NODE))


STORIES = [
    a_silent_agent_comes_back,
    a_node_that_was_cut_off_comes_back,
    a_lost_node_loses_its_pods_to_the_others,
    without_masters_pods_go_on_and_crashed_ones_are_restarted,
]
