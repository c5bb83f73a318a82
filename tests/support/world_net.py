"""The wires of the simulated world: hops that take time, cuts, and processes that die.

A *host* is a name. A `Process` runs on a host; everything it does to the outside goes through
adapters that hold its `Life`. `kill` ends the life first and cancels the task after it: what
the cancelled task still tries to do in its `finally` blocks reaches nobody, as with kill -9.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from random import Random
from typing import Any, TypeVar

from wherry.api.errors import UnavailableError
from wherry.api.kinds import Kind
from wherry.client.api import Api, ObjectList, PatchType, WatchEvent

T = TypeVar("T")
CALL_S = 10.0
"""How long a client waits for an answer that may never come."""


class DeadError(BaseException):
    """Raised inside a process that was killed: no handler of ours catches it."""


class Network:
    """Which hosts reach each other, and how long a hop takes."""

    def __init__(self, rng: Random, *, hop_s: tuple[float, float] = (0.0002, 0.004)) -> None:
        self._rng = rng
        self._hop_s = hop_s
        self._cut: set[frozenset[str]] = set()
        self._changed = asyncio.Event()

    def cut(self, one: str, other: str) -> None:
        """Let nothing pass between two hosts."""
        self._cut.add(frozenset((one, other)))
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def heal(self) -> None:
        """Undo every cut."""
        self._cut.clear()

    def connected(self, one: str, other: str) -> bool:
        """Tell whether packets pass."""
        return one == other or frozenset((one, other)) not in self._cut

    def delay_s(self) -> float:
        """Draw the duration of one hop."""
        return self._rng.uniform(*self._hop_s)

    async def hop(self, one: str, other: str) -> None:
        """Travel from one host to another; a packet that meets a cut is lost, and that shows late."""
        if one != other:
            await asyncio.sleep(self.delay_s())
        if not self.connected(one, other):
            await asyncio.sleep(CALL_S)
            raise UnavailableError(f"{other} does not answer {one}")


class Life:
    """Whether a process still is; `ended` wakes those who wait for its answer."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()

    @property
    def over(self) -> bool:
        return self.ended.is_set()

    def check(self) -> None:
        """Raise if the process was killed: what it tries now must reach nobody."""
        if self.over:
            raise DeadError


class Process:
    """A program on a host: started, killed, started again; `main` is given its new life."""

    def __init__(
        self,
        host: str,
        name: str,
        main: Callable[[Life], Coroutine[Any, Any, None]],
        spawn: Callable[[Coroutine[Any, Any, None], str], "asyncio.Task[None]"],
    ) -> None:
        self.host = host
        self.name = name
        self._main = main
        self._spawn = spawn
        self._task: asyncio.Task[None] | None = None
        self.life = Life()
        self.life.ended.set()

    @property
    def running(self) -> bool:
        return not self.life.over

    def start(self) -> None:
        """Begin a new incarnation."""
        assert self.life.over, f"{self.name} on {self.host} runs already"
        self.life = Life()
        self._task = self._spawn(self._run(self.life), f"{self.host}/{self.name}")

    async def _run(self, life: Life) -> None:
        try:
            await self._main(life)
        except BaseException:
            if not life.over:  # what a killed process still says means nothing
                raise

    def kill(self) -> None:
        """Kill -9."""
        self.life.ended.set()
        if self._task is not None:
            self._task.cancel()


async def answer_of(life: Life, call: Awaitable[T]) -> T:
    """Wait for what a process answers; if it dies first nobody knows what it did."""
    work = asyncio.ensure_future(call)
    death = asyncio.ensure_future(life.ended.wait())
    try:
        await asyncio.wait([work, death], return_when=asyncio.FIRST_COMPLETED)
        if life.over:
            raise UnavailableError("connection reset by peer")
        return work.result()
    finally:
        for task in (work, death):
            task.cancel()


class Door:
    """An API server as its clients find it: a host, a life, and an `Api` while it runs."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.life: Life | None = None
        self.api_for: Callable[[str], Api] | None = None

    def open(self, life: Life, api_for: Callable[[str], Api]) -> None:
        self.life, self.api_for = life, api_for


class RemoteApi:
    """`Api` over the simulated network: what `GrpcApi` is over the real one."""

    def __init__(
        self, network: Network, life: Life, host: str, doors: Sequence[Door], user: str, rng: Random
    ) -> None:
        self._network = network
        self._life = life
        self._host = host
        self._doors = list(doors)
        self._user = user
        self._rng = rng
        self._at = rng.randrange(len(doors))

    def _door(self) -> tuple[Door, Life, Api]:
        self._life.check()
        for _ in self._doors:
            door = self._doors[self._at % len(self._doors)]
            life, api_for = door.life, door.api_for
            if (
                life is not None
                and api_for is not None
                and not life.over
                and self._network.connected(self._host, door.host)
            ):
                return door, life, api_for(self._user)
            self._at += 1
        raise UnavailableError("no API server answers")

    async def _call(self, call: Callable[[Api], Awaitable[T]]) -> T:
        door, life, api = self._door()
        try:
            async with asyncio.timeout(CALL_S):
                await self._network.hop(self._host, door.host)
                result = await answer_of(life, call(api))
                await self._network.hop(door.host, self._host)
        except (TimeoutError, UnavailableError) as error:
            self._at += 1
            raise UnavailableError(str(error) or "deadline exceeded") from error
        self._life.check()
        return result

    async def get(
        self, kind: Kind, name: str, namespace: str = "", *, subresource: str = ""
    ) -> bytes:
        return await self._call(lambda a: a.get(kind, name, namespace, subresource=subresource))

    async def list(self, kind: Kind, namespace: str = "", **options: Any) -> ObjectList:
        return await self._call(lambda a: a.list(kind, namespace, **options))

    async def watch(
        self, kind: Kind, namespace: str = "", **options: Any
    ) -> AsyncIterator[Sequence[WatchEvent]]:
        door, life, api = self._door()
        await self._network.hop(self._host, door.host)
        stream = api.watch(kind, namespace, **options)
        try:
            while True:
                try:
                    batch = await answer_of(life, anext(stream))
                except StopAsyncIteration:
                    return
                await self._network.hop(door.host, self._host)
                self._life.check()
                yield batch
        except UnavailableError:
            self._at += 1
            raise

    async def create(self, kind: Kind, body: bytes, namespace: str = "", **options: Any) -> bytes:
        return await self._call(lambda a: a.create(kind, body, namespace, **options))

    async def update(
        self, kind: Kind, name: str, body: bytes, namespace: str = "", *, subresource: str = ""
    ) -> bytes:
        return await self._call(
            lambda a: a.update(kind, name, body, namespace, subresource=subresource)
        )

    async def patch(
        self,
        kind: Kind,
        name: str,
        body: bytes,
        namespace: str = "",
        *,
        patch_type: PatchType = PatchType.MERGE,
        subresource: str = "",
    ) -> bytes:
        return await self._call(
            lambda a: a.patch(
                kind, name, body, namespace, patch_type=patch_type, subresource=subresource
            )
        )

    async def delete(self, kind: Kind, name: str, namespace: str = "", **options: Any) -> bytes:
        return await self._call(lambda a: a.delete(kind, name, namespace, **options))
