"""The work queue's promises, in virtual time."""

import asyncio
import itertools
from random import Random

import virtual_loop
from hypothesis import given
from hypothesis import strategies as st

from wherry.client.workqueue import WorkQueue


def test_a_key_added_often_is_handed_out_once() -> None:
    async def main() -> None:
        queue = WorkQueue(Random(1))
        for key in ("a", "b", "a", "a"):
            queue.add(key)
        assert [await queue.get(), await queue.get()] == ["a", "b"]
        assert len(queue) == 0

    virtual_loop.run(main())


def test_a_key_added_while_worked_on_comes_again_only_after_done() -> None:
    async def main() -> None:
        queue = WorkQueue(Random(1))
        queue.add("a")
        assert await queue.get() == "a"
        queue.add("a")
        assert len(queue) == 0
        queue.done("a")
        assert await queue.get() == "a"

    virtual_loop.run(main())


def test_failures_wait_longer_each_time_until_forgotten() -> None:
    async def main() -> None:
        queue, loop = WorkQueue(Random(1)), asyncio.get_running_loop()
        waits = []
        for _ in range(4):
            began = loop.time()
            queue.add_rate_limited("a")
            await queue.get()
            queue.done("a")
            waits.append(loop.time() - began)
        assert all(1.8 < b / a < 2.2 for a, b in itertools.pairwise(waits)), waits
        queue.forget("a")
        assert queue.failures("a") == 0

    virtual_loop.run(main())


def test_the_earliest_of_several_times_counts() -> None:
    async def main() -> None:
        queue, loop = WorkQueue(Random(1)), asyncio.get_running_loop()
        queue.add_after("a", 5.0)
        queue.add_after("a", 1.0)
        queue.add_after("a", 9.0)
        await queue.get()
        assert loop.time() == 1.0
        queue.done("a")
        await asyncio.sleep(20)
        assert len(queue) == 0

    virtual_loop.run(main())


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 2)), max_size=30))
def test_no_key_is_worked_on_twice_at_once_and_none_is_lost(adds: list[tuple[str, float]]) -> None:
    async def main() -> None:
        queue = WorkQueue(Random(1))
        busy: set[str] = set()
        last_added: dict[str, float] = {}
        last_began: dict[str, float] = {}
        loop = asyncio.get_running_loop()

        async def worker() -> None:
            while True:
                key = await queue.get()
                assert key not in busy
                busy.add(key)
                last_began[key] = loop.time()
                await asyncio.sleep(0.3)
                busy.discard(key)
                queue.done(key)

        workers = [asyncio.ensure_future(worker()) for _ in range(3)]
        for key, pause in adds:
            queue.add(key)
            last_added[key] = loop.time()
            await asyncio.sleep(pause)
        await asyncio.sleep(10)
        for task in workers:
            assert not task.done()
            task.cancel()
        assert all(last_began[k] >= t for k, t in last_added.items())

    virtual_loop.run(main())
