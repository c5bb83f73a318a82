"""Clients of a real store that write down what they asked and were told, and a judge of it.

    async with recording(processes) as record:
        ...                               # break things
        await record.progress()           # everybody is served again
    # at the end of the block: nothing acknowledged is lost, the history is linearizable, all
    # members hold the same, every watch told every write once and in order

Three clients for each member: one that goes elsewhere when its member fails; one that asks
this member only, and gives up soon; and one that only reads, here only, and so is never held
up by a write: a deposed leader that answered from its own state would be caught by it.
Registers (`/r/`) are put, read, compared and swapped, deleted; keys below `/w/` are
written once each, so that what is missing or doubled can be counted.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from random import Random
from typing import Final

from linearizability import Operation, check
from store_process import Processes

from wherry.api.errors import UnavailableError
from wherry.store.client import StoreClient
from wherry.store.entry import SessionExpiredError
from wherry.store.kv import (
    Compare,
    DeleteRange,
    DeleteResult,
    KeyValue,
    Put,
    Range,
    Store,
    Target,
)

REGISTERS: Final = 5
_PAUSE_S: Final = 0.02  # the most between two requests of a client: tests share two cores
_WRITES: Final = (b"/w/", b"/w0")
_SETTLE_S: Final = 90.0
TRIES: Final = 5
"""Where no election may be *caused*: a machine that pauses has one now and then, by itself."""


@dataclass(frozen=True, order=True, slots=True)
class Told:
    """One change that a watch told of."""

    revision: int
    key: bytes


class Client:
    """Asks one thing after the other and records each."""

    def __init__(
        self,
        name: str,
        store: Store,
        rng: Random,
        history: list[Operation],
        *,
        writes: bool = True,
    ) -> None:
        self.name = name
        self._writes = writes
        self.written: list[bytes] = []  # acknowledged
        self.answered = 0
        self.longest_s = 0.0  # from a call to its answer
        self._store = store
        self._rng = rng
        self._history = history
        self._count = 0
        self._known: dict[str, str | None] = {}

    async def run(self, stop: asyncio.Event) -> None:
        answered = 0  # of its requests, when the last one was sent
        # Who stops has its last answer: nothing of it happens later, while it is judged.
        while not stop.is_set() or self.answered == answered:
            answered = self.answered
            await self._one()
            await asyncio.sleep(self._rng.uniform(0, _PAUSE_S if self._writes else _PAUSE_S / 3))

    async def _one(self) -> None:
        self._count += 1
        dice = self._rng.random() if self._writes else 1.0
        if dice < 0.2:
            await self._write_once()
            return
        key = f"/r/{self._rng.randrange(REGISTERS)}"
        value = f"{self.name}-{self._count}"
        called = Operation(self.name, key, self._now(), None, "get")
        if dice < 0.45:
            called = replace(called, kind="put", argument=value)
        elif dice < 0.6:
            called = replace(called, kind="cas", argument=(self._known.get(key), value))
        elif dice < 0.65:
            called = replace(called, kind="delete")
        place = len(self._history)
        self._history.append(called)
        try:
            result = await self.ask(called)
        except (UnavailableError, SessionExpiredError):
            return  # it may happen yet, or never
        self._answered(called.call)
        self._history[place] = replace(called, end=self._now(), result=result)

    async def ask(self, one: Operation) -> str | bool | None:
        """Do what an operation says and return its result."""
        key = one.key.encode()
        match one.kind:
            case "put":
                await self._store.txn([], [Put(key, str(one.argument).encode())])
                return None
            case "delete":
                done = (await self._store.txn([], [DeleteRange(key)])).results[0]
                assert isinstance(done, DeleteResult)
                return bool(done.deleted)
            case "cas":
                assert isinstance(one.argument, tuple)
                expected, new = one.argument
                holds = (
                    Compare(key, Target.VERSION, "=", 0)
                    if expected is None
                    else Compare(key, Target.VALUE, "=", str(expected).encode())
                )
                return (await self._store.txn([holds], [Put(key, str(new).encode())])).succeeded
            case _:
                kvs = (await self._store.range(Range(key))).kvs
                self._known[one.key] = kvs[0].value.decode() if kvs else None
                return self._known[one.key]

    async def _write_once(self) -> None:
        key = f"/w/{self.name}-{self._count}".encode()
        called = self._now()
        with contextlib.suppress(UnavailableError, SessionExpiredError):
            await self._store.txn([], [Put(key, key * 8)])
            self.written.append(key)
            self._answered(called)

    def _answered(self, called: float) -> None:
        self.answered += 1
        self.longest_s = max(self.longest_s, self._now() - called)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


class Record:
    """All clients and watches of one cluster, and what they saw."""

    def __init__(self, processes: Processes, seed: int = 1) -> None:
        self._processes = processes
        self.history: list[Operation] = []
        self.told: dict[str, list[Told]] = {name: [] for name in processes.names}
        self._stores: list[StoreClient] = []
        self.clients: list[Client] = []
        for number, name in enumerate(processes.names):
            roaming = processes.client(name, timeout_s=8)
            pinned = processes.pinned(name, timeout_s=1)
            reading = processes.pinned(name, timeout_s=0.3)
            kinds = {"roams": roaming, "stays": pinned, "reads": reading}
            self._stores += kinds.values()
            for order, (kind, store) in enumerate(kinds.items()):
                rng = Random(1000 * seed + 10 * number + order)
                self.clients.append(
                    Client(f"{kind}-{name}", store, rng, self.history, writes=kind != "reads")
                )

    @property
    def written(self) -> set[bytes]:
        """Every key below /w/ that was acknowledged."""
        return {key for client in self.clients for key in client.written}

    async def run(self, stop: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as tasks:
            watches = [tasks.create_task(self._watch(name)) for name in self._processes.names]
            async with asyncio.TaskGroup() as clients:
                for client in self.clients:
                    clients.create_task(client.run(stop))
            held = await self._all(self._processes.names[0])
            last = max(kv.mod_revision for kv in held if kv.key.startswith(b"/w/"))
            async with asyncio.timeout(_SETTLE_S):
                while any(not told or told[-1].revision < last for told in self.told.values()):
                    await asyncio.sleep(0.05)
            for watch in watches:
                watch.cancel()

    async def _watch(self, name: str) -> None:
        store = self._processes.client(name)
        self._stores.append(store)
        async with contextlib.aclosing(store.watch(*_WRITES, revision=0, progress_s=1)) as batches:  # type: ignore[type-var]  # an async generator
            async for batch in batches:
                self.told[name] += (Told(one.kv.mod_revision, one.kv.key) for one in batch.events)

    async def progress(self, times: int = 5, within_s: float = _SETTLE_S) -> float:
        """Wait until every client got so many further answers; return how long that took."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        goal = {client.name: client.answered + times for client in self.clients}
        waiting = list(self.clients)
        while waiting := [one for one in waiting if one.answered < goal[one.name]]:
            names = ", ".join(one.name for one in waiting)
            assert loop.time() - began < within_s, f"not served within {within_s} s: {names}"
            await asyncio.sleep(0.05)
        return loop.time() - began

    async def served(self, *members: str, times: int = 5, within_s: float = _SETTLE_S) -> None:
        """Wait until those who ask these members only got so many further answers."""
        names = {f"stays-{name}" for name in members}
        goal = {one.name: one.answered + times for one in self.clients if one.name in names}
        async with asyncio.timeout(within_s):
            while any(one.answered < goal.get(one.name, 0) for one in self.clients):
                await asyncio.sleep(0.05)

    async def _all(self, name: str) -> list[KeyValue]:
        store = self._processes.pinned(name, timeout_s=_SETTLE_S)
        try:
            return list((await store.range(Range(b"/r/", b"/w0"))).kvs)
        finally:
            await store.close()

    async def judge(self) -> None:
        """Raise `AssertionError` if any promise was broken. Every member must be up."""
        held = {name: await self._all(name) for name in self._processes.names}
        for name, kvs in held.items():
            once = {kv.key: kv for kv in kvs if kv.key.startswith(b"/w/")}
            lost = self.written - set(once)
            assert not lost, f"{name} lost {len(lost)} of {len(self.written)} acknowledged writes"
            assert all(kv.version == 1 and kv.value == kv.key * 8 for kv in once.values())
            assert kvs == held[self._processes.names[0]], f"{name} differs"
            order = sorted(Told(kv.mod_revision, kv.key) for kv in once.values())
            assert self.told[name] == order, f"the watch at {name} missed, repeated or reordered"
        now = asyncio.get_running_loop().time()
        state = {kv.key.decode(): kv.value.decode() for kv in kvs if kv.key.startswith(b"/r/")}
        for number in range(REGISTERS):
            key = f"/r/{number}"
            self.history.append(Operation("judge", key, now, now + 1, "get", None, state.get(key)))
        violation = check(self.history)
        assert violation is None, str(violation)

    async def close(self) -> None:
        for store in self._stores:
            await store.close()


@contextlib.asynccontextmanager
async def recording(processes: Processes, seed: int = 1) -> AsyncIterator[Record]:
    """Have clients at work during the block; judge at its end, when all members must be up."""
    record = Record(processes, seed)
    stop = asyncio.Event()
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(record.run(stop))
            await record.progress()
            yield record
            await record.progress()
            stop.set()
        await record.judge()
    finally:
        await record.close()


async def leader(processes: Processes, without: str = "") -> str:
    """Return who leads; waits until somebody does, other than `without`."""
    async with asyncio.timeout(_SETTLE_S):
        while True:
            for name in processes.processes:
                if name == without:
                    continue
                store = processes.pinned(name, timeout_s=0.5)
                try:
                    member = await store.status()
                except UnavailableError:
                    continue
                finally:
                    await store.close()
                if member.ready and member.leader not in ("", without):
                    return member.leader
            await asyncio.sleep(0.05)
