"""Leader election: never two, and soon one again."""

import asyncio
from random import Random
from typing import Any

import virtual_loop
from virtual_loop import VirtualClock, until

from wherry.api.errors import UnavailableError
from wherry.api.kinds import LEASE
from wherry.client.election import LeaderElector
from wherry.client.fake import FakeApi


class Link:
    """A candidate's own way to the API server, which can be cut."""

    def __init__(self, api: FakeApi) -> None:
        self._api = api
        self.up = True

    def __getattr__(self, name: str) -> Any:
        async def call(*args: Any, **kwargs: Any) -> Any:
            if not self.up:
                raise UnavailableError("cut")
            return await getattr(self._api, name)(*args, **kwargs)

        return call


class Candidate:
    def __init__(self, api: FakeApi, name: str, leaders: set[str]) -> None:
        self.name = name
        self.link = Link(api)
        self._leaders = leaders
        elector = LeaderElector(
            self.link,
            VirtualClock(),
            rng=Random(name),
            name="sched",
            identity=name,
            lease_s=15,
            renew_s=10,
            retry_s=2,
        )
        self.task = asyncio.ensure_future(elector.run(self._lead))

    async def _lead(self) -> None:
        assert not self._leaders, f"{self._leaders} and {self.name} lead at once"
        self._leaders.add(self.name)
        try:
            await asyncio.Event().wait()
        finally:
            self._leaders.discard(self.name)


def test_one_leads_and_another_takes_over_when_it_is_cut_off() -> None:
    async def main() -> None:
        leaders: set[str] = set()
        api = FakeApi(VirtualClock())
        candidates = [Candidate(api, n, leaders) for n in ("a", "b", "c")]
        loop = asyncio.get_running_loop()
        for _ in range(4):
            await until(lambda: len(leaders) == 1, within_s=60)
            first = next(c for c in candidates if c.name in leaders)
            first.link.up = False
            cut_s = loop.time()
            await until(lambda f=first: bool(leaders) and f.name not in leaders, within_s=60)  # type: ignore[misc]  # closure
            assert loop.time() - cut_s < 15 + 2 * 2.4 + 2.4
            first.link.up = True
        for c in candidates:
            c.task.cancel()

    virtual_loop.run(main())


def test_a_leader_that_stops_cleanly_hands_over_at_once() -> None:
    async def main() -> None:
        leaders: set[str] = set()
        api = FakeApi(VirtualClock())
        a = Candidate(api, "a", leaders)
        await until(lambda: leaders == {"a"})
        b = Candidate(api, "b", leaders)
        await asyncio.sleep(5)
        a.task.cancel()
        stopped_s = asyncio.get_running_loop().time()
        await until(lambda: leaders == {"b"})
        assert asyncio.get_running_loop().time() - stopped_s < 3
        (lease,) = api.objects(LEASE)
        assert lease["spec"]["leaseTransitions"] == 1
        b.task.cancel()

    virtual_loop.run(main())


def test_the_work_ends_when_the_leader_cannot_renew() -> None:
    async def main() -> None:
        leaders: set[str] = set()
        a = Candidate(FakeApi(VirtualClock()), "a", leaders)
        await until(lambda: leaders == {"a"})
        a.link.up = False
        cut_s = asyncio.get_running_loop().time()
        await until(lambda: not leaders)
        assert asyncio.get_running_loop().time() - cut_s < 15, "must stop before others may start"
        a.task.cancel()

    virtual_loop.run(main())
