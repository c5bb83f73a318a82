"""When a pod's volumes are made again: what changes while they are in the making counts, too."""

import asyncio

import pytest
from virtual_loop import VirtualClock, run

from wherry.agent.container_actions import PodEvents
from wherry.agent.pod_host import HollowPodHost
from wherry.agent.pod_volumes import REFRESH_S, PodVolumes
from wherry.agent.projection import MountError
from wherry.agent.runtime import Sandbox
from wherry.agent.runtime_config import PodRef
from wherry.agent.views import Pod

POD = Pod()
REF = PodRef("default", "p", "u")
SANDBOX = Sandbox("s", REF, 0, ready=True, created_at=0.0)


class Host(HollowPodHost):
    """Makes volumes in a second, or does not."""

    def __init__(self) -> None:
        self.made = 0
        self.broken = False

    async def prepare(self, _pod: Pod, _pod_ip: str) -> None:
        await asyncio.sleep(1)
        if self.broken:
            raise MountError("no such ConfigMap")
        self.made += 1


class World:
    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.host = Host()
        self.told: list[str] = []
        events = PodEvents(REF, lambda _ref, _type, reason, _message: self.told.append(reason))
        self.volumes = PodVolumes(self.host, self.clock, events)

    async def refresh(self) -> float:
        """Look once; return in how many seconds the next look is due."""
        due = await self.volumes.refresh(POD, SANDBOX, "10.0.0.1", self.clock.now())
        return due - self.clock.now()


def test_they_are_made_once_and_then_from_time_to_time() -> None:
    async def main() -> None:
        w = World()
        await w.volumes.prepare(POD, SANDBOX, "10.0.0.1")
        assert w.volumes.made_for(SANDBOX)
        assert await w.refresh() == pytest.approx(REFRESH_S - 1)
        assert w.host.made == 1
        await asyncio.sleep(REFRESH_S)
        await w.refresh()
        assert w.host.made == 2

    run(main())


def test_what_changes_while_they_are_made_has_them_made_again() -> None:
    async def main() -> None:
        w = World()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(w.volumes.prepare(POD, SANDBOX, "10.0.0.1"))
            await asyncio.sleep(0.5)
            w.volumes.outdate()
        await w.refresh()
        assert w.host.made == 2
        async with asyncio.TaskGroup() as tasks:
            w.volumes.outdate()
            refreshing = tasks.create_task(w.refresh())
            await asyncio.sleep(0.5)
            w.volumes.outdate()
        assert refreshing.result() <= 0, "at once"
        await w.refresh()
        assert w.host.made == 4

    run(main())


def test_what_cannot_be_made_again_is_told_and_tried_later() -> None:
    async def main() -> None:
        w = World()
        await w.volumes.prepare(POD, SANDBOX, "10.0.0.1")
        w.host.broken = True
        w.volumes.outdate()
        assert await w.refresh() == pytest.approx(REFRESH_S - 1)
        assert w.told == ["FailedMount"]

    run(main())
