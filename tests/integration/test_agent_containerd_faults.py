"""An agent, a containerd and all masters that die, and pods that live through it."""

from pathlib import Path

import pytest
from agent_objects import phase, ready
from containerd_world import Play, World, container, settled

from wherry.api.kinds import CONFIG_MAP, POD

pytestmark = [pytest.mark.containerd, pytest.mark.integration, pytest.mark.netns]

UNTIL_TOLD = "until [ -e /v/go ]; do sleep 0.1; done"


def test_a_killed_agent_readopts_everything(play: Play) -> None:
    async def scenario(world: World) -> None:
        stays = await world.run()
        ends = await world.run(f"{UNTIL_TOLD}; touch /v/ended", shares=True, restartPolicy="Never")
        goes = await world.run()
        for name in (stays, ends, goes):
            await world.until(name, lambda p: phase(p) == "Running")
        before = await world.until(stays, ready)
        await world.kill()
        await world.api.delete(POD, goes, "default", grace_s=0)
        (world.shared / "go").touch()
        await settled((world.shared / "ended").exists)
        await world.start()
        await world.until(ends, lambda p: phase(p) == "Succeeded")
        after = await world.pod(stays)
        assert container(after)["containerID"] == container(before)["containerID"]
        assert container(after)["restartCount"] == 0
        assert ready(after)
        agent = world.agent.agent

        def logs() -> list[Path]:
            return list((world.host.directory / "logs").glob(f"default_{goes}_*"))

        await settled(lambda: not (agent.find("default", goes) or logs()))

    play(scenario)


def test_with_all_masters_dead_a_fresh_agent_restarts_what_crashes(play: Play) -> None:
    async def scenario(world: World) -> None:
        await world.put(CONFIG_MAP, "needed", data={"k": "kept"})
        ref = {"configMapKeyRef": {"name": "needed", "key": "k"}}
        name = await world.run(
            f"echo $X; {UNTIL_TOLD}; rm /v/go; exit 1",
            shares=True,
            container={"env": [{"name": "X", "valueFrom": ref}]},
        )
        await world.until(name, ready)
        await world.kill()
        world.api.dead = True
        await world.start()
        (world.shared / "go").touch()
        agent = world.agent.agent

        def attempt() -> int:
            worker = agent.find("default", name)
            running = [] if worker is None else worker.runtime.containers
            return max((c.attempt for c in running if c.started_at), default=-1)

        await settled(lambda: attempt() >= 1)
        await world.says(name, lambda log: log == "kept\n")
        world.api.dead = False
        await world.until(name, lambda p: container(p).get("restartCount", 0) >= 1)

    play(scenario)


def test_containerd_may_die_and_return(play: Play) -> None:
    async def scenario(world: World) -> None:
        stays = await world.run()
        ends = await world.run(
            f"{UNTIL_TOLD}; touch /v/ended; exit 5", shares=True, restartPolicy="Never"
        )
        before = await world.until(stays, ready)
        await world.until(ends, lambda p: phase(p) == "Running")
        world.host.kill()
        (world.shared / "go").touch()
        await settled((world.shared / "ended").exists)
        world.host.start()
        pod = await world.until(ends, lambda p: phase(p) == "Failed")
        assert container(pod)["state"]["terminated"]["exitCode"] == 5
        after = await world.pod(stays)
        assert container(after)["containerID"] == container(before)["containerID"]
        late = await world.run()
        await world.until(late, ready)

    play(scenario)
