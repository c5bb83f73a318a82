"""The supervisor, with real children."""

import asyncio
import os
import signal
import sys
from pathlib import Path
from random import Random

import pytest

from wherry.process.supervisor import Child, State, Supervisor

pytestmark = pytest.mark.integration
DEADLINE_S = 60.0


def child(tmp_path: Path, name: str, program: str, **options: object) -> Child:
    argv = [sys.executable, "-c", program]
    return Child(name, argv, tmp_path / f"{name}.log", **options)  # type: ignore[arg-type]  # test builder


async def until(supervisor: Supervisor, name: str, state: State, restarts: int = 0) -> int:
    async with asyncio.timeout(DEADLINE_S):
        while True:
            now, pid, count = supervisor.states()[name]
            if now is state and count >= restarts:
                return pid
            await asyncio.sleep(0.02)


async def printed(log: Path, times: int) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while log.read_text().count("hello") < times:
            await asyncio.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_killed_child_is_started_again_and_all_are_stopped_at_the_end(tmp_path: Path) -> None:
    async def main() -> None:
        sleeper = "import time; print('hello', flush=True); time.sleep(600)"
        supervisor = Supervisor(
            [child(tmp_path, "a", sleeper), child(tmp_path, "b", sleeper, after=("a",))],
            rng=Random(1),
        )
        task = asyncio.ensure_future(supervisor.run())
        async with asyncio.timeout(DEADLINE_S):
            await supervisor.ready()
        first = await until(supervisor, "a", State.RUNNING)
        other = await until(supervisor, "b", State.RUNNING)
        await printed(tmp_path / "a.log", 1)
        os.kill(first, signal.SIGKILL)
        second = await until(supervisor, "a", State.RUNNING, restarts=1)
        assert second != first
        assert supervisor.states()["b"][1] == other, "the other child was left alone"
        await printed(tmp_path / "a.log", 2)
        task.cancel()
        await asyncio.wait([task], timeout=DEADLINE_S)
        assert task.cancelled()
        assert not alive(second)
        assert not alive(other)

    asyncio.run(main())


def test_a_child_that_always_fails_is_tried_more_and_more_slowly(tmp_path: Path) -> None:
    async def main() -> None:
        supervisor = Supervisor([child(tmp_path, "a", "raise SystemExit(3)")], rng=Random(1))
        loop = asyncio.get_running_loop()
        began = loop.time()
        task = asyncio.ensure_future(supervisor.run())
        await until(supervisor, "a", State.WAITING, restarts=4)
        assert loop.time() - began > 0.2 + 0.4 + 0.8
        task.cancel()
        await asyncio.wait([task], timeout=DEADLINE_S)

    asyncio.run(main())
