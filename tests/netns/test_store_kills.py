"""Members on hosts of their own are killed and stopped, under load: nothing is lost or stale.

Every block of `recording` ends with the verdict: see `store_recorder.py`.
"""

import asyncio
import signal
from random import Random

import pytest
from store_hosts import left_behind, members
from store_recorder import leader, recording

from wherry.store.kv import Put, Range

pytestmark = pytest.mark.netns
FLAGS = ("--snapshot-count", "500")  # so that snapshots and trimmed logs take part


@pytest.mark.parametrize("count", [3, 5])
def test_kill_9_storms_lose_nothing(count: int) -> None:
    """Of leaders, of followers (as many as may die), of all at once."""

    async def main() -> None:
        rng = Random(count)
        async with members(count, flags=FLAGS) as (processes, _), recording(processes) as record:
            for _ in range(2):
                first = await leader(processes)
                processes.kill(first)
                await leader(processes, without=first)
                processes.start(first)
                await record.progress()
            first = await leader(processes)
            followers = [name for name in processes.names if name != first]
            for name in rng.sample(followers, count // 2):
                processes.kill(name)
            await record.served(first, times=10)
            processes.start_missing()
            await record.progress()
            for name in rng.sample(processes.names, count):
                processes.kill(name)
            processes.start_all()
            await record.progress()

    asyncio.run(main())
    assert not left_behind()


def test_sigstop_of_leader_and_follower() -> None:
    """For seconds: longer than an election, so that the one that wakes up was deposed."""

    async def main() -> None:
        async with members(3, flags=FLAGS) as (processes, _), recording(processes) as record:
            first = await leader(processes)
            processes.send(first, signal.SIGSTOP)
            second = await leader(processes, without=first)
            await record.served(second, times=100)
            processes.send(first, signal.SIGCONT)
            await record.progress()
            second = await leader(processes)
            other = next(name for name in processes.names if name != second)
            processes.send(other, signal.SIGSTOP)
            await record.served(second, times=150)
            processes.send(other, signal.SIGCONT)
            await record.progress()

    asyncio.run(main())


def test_a_leader_that_was_stopped_answers_nothing_stale() -> None:
    """Reads that wait in its socket are older than its election loss, but younger than the write."""

    async def main() -> None:
        async with members(3) as (processes, _):
            for turn in range(2):
                first = await leader(processes)
                stopped = processes.pinned(first, timeout_s=60)
                await stopped.txn([], [Put(b"/a", b"old")])
                processes.send(first, signal.SIGSTOP)
                second = await leader(processes, without=first)
                other = processes.pinned(second, timeout_s=60)
                new = b"new-%d" % turn
                await other.txn([], [Put(b"/a", new)])
                reads = [asyncio.ensure_future(stopped.range(Range(b"/a"))) for _ in range(20)]
                await asyncio.sleep(0)  # they are written to its socket in this turn of the loop
                processes.send(first, signal.SIGCONT)
                assert {(await read).kvs[0].value for read in reads} == {new}
                await stopped.close()
                await other.close()

    asyncio.run(main())
