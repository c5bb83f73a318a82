"""An asyncio event loop in which time passes only when everybody waits.

`run(main)` executes a coroutine to its end. Timers fire in order and at once: an hour of
back-off costs microseconds, and the same program with the same seeds takes the same steps
every time. There are no sockets, signals or threads in this loop; work handed to an
executor runs inline.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

EPOCH_S = 1_790_000_000.0
"""The date at which every virtual world begins (September 2026)."""


MAX_TURNS = 100_000
"""Who keeps the loop busy for so many turns without any time passing will do so for ever."""


class DeadlockError(RuntimeError):
    """Every task waits for something that nobody will do."""


class _Selector:
    """Where the loop would sleep for I/O, it moves its clock instead."""

    def __init__(self, loop: "VirtualLoop") -> None:
        self._loop = loop
        self._idle_turns = 0  # since time last passed

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            waiting = [t.get_name() for t in asyncio.all_tasks(self._loop) if not t.done()]
            raise DeadlockError(f"nothing is scheduled; tasks waiting: {waiting}")
        if timeout > 0:
            self._loop.advance(timeout)
            self._idle_turns = 0
        self._idle_turns += 1
        if self._idle_turns > MAX_TURNS:
            raise DeadlockError(f"time stands still: {MAX_TURNS} turns of the loop at one moment")
        return []


class _Task(asyncio.Task[Any]):
    """A task whose place in a set does not depend on its address: sets of tasks iterate alike."""

    _serial = 0

    def __hash__(self) -> int:
        return self._serial

    def __eq__(self, other: object) -> bool:
        return self is other


class VirtualLoop(asyncio.BaseEventLoop):
    """See the module."""

    def __init__(self) -> None:
        super().__init__()
        self._serial = 0
        self.set_task_factory(self._new_task)  # type: ignore[arg-type]  # `context` is passed on
        self._virtual_now = 0.0
        self._clock_resolution = 1e-9
        self._selector = _Selector(self)

    def _new_task(
        self, loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, T], **options: Any
    ) -> _Task:
        self._serial += 1
        serial = self._serial
        task = _Task.__new__(_Task)
        task._serial = serial  # before __init__, which puts the task into a set
        task.__init__(coro, loop=loop, **options)  # type: ignore[misc]  # in two steps on purpose
        return task

    def time(self) -> float:
        return self._virtual_now

    def advance(self, seconds: float) -> None:
        self._virtual_now += seconds

    def _process_events(self, event_list: list[Any]) -> None:
        assert not event_list

    def _write_to_self(self) -> None:
        """Nobody is asleep in another thread."""

    def run_in_executor(  # type: ignore[override]  # inline, so that it is deterministic
        self, executor: Any, func: Callable[..., T], *args: Any
    ) -> "asyncio.Future[T]":
        future: asyncio.Future[T] = self.create_future()
        future.set_result(func(*args))  # what it raises, the caller sees at once
        return future


class VirtualClock:
    """`wherry.api.clock.Clock` on a virtual loop; `skew_s` makes one host's date differ."""

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None, skew_s: float = 0.0) -> None:
        self._loop = loop or asyncio.get_event_loop()
        self.skew_s = skew_s

    def now(self) -> float:
        return EPOCH_S + self._loop.time() + self.skew_s

    def monotonic(self) -> float:
        return self._loop.time()


def run(main: Coroutine[Any, Any, T], *, limit_s: float = 86_400.0) -> T:
    """Run `main` to its end in a fresh virtual world, at most `limit_s` virtual seconds."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(_bounded(main, limit_s))


async def _bounded(main: Coroutine[Any, Any, T], limit_s: float) -> T:
    async with asyncio.timeout(limit_s):
        return await main


async def until(
    condition: Callable[[], bool], *, within_s: float = 60.0, step_s: float = 0.01
) -> None:
    """Wait for `condition`, in the loop's own time; fails after `within_s`."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within_s
    while not condition():
        assert loop.time() < deadline, f"not within {within_s} s: {condition}"
        await asyncio.sleep(step_s)
