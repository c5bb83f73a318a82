"""Clients of a simulated store that write down what they asked and what they were told.

Each does one thing at a time and prefers a member of its own, so that followers, and leaders
that no longer are, get their share. What can be judged at once is: any read, linearizable,
serializable or of an old revision, must be what the one history (`Canon`) says of the revision
that the answer names. What needs the whole run is judged at its end (`store_verdict.py`).
"""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from linearizability import Operation, Txn
from store_history import Canon
from store_world import StoreWorld

from wherry.api.errors import UnavailableError
from wherry.store.client import StoreClient
from wherry.store.kv import (
    CompactedError,
    Compare,
    DeleteRange,
    DeleteResult,
    Event,
    LeaseNotFoundError,
    Put,
    Range,
    RangeResult,
    Target,
)
from wherry.store.replica import Replica

KEYS = ("/k/0", "/k/1", "/k/2")
PAIR = ("/p/0", "/p/1")  # always written together
TIMEOUT_S = 4.0


@dataclass(frozen=True, slots=True)
class Stamp:
    """Something acknowledged: when, at which revision, and whether it made that revision."""

    call: float
    end: float
    revision: int
    wrote: bool


@dataclass
class Record:
    """Everything that clients were told."""

    operations: list[Operation] = field(default_factory=list)
    stamps: list[Stamp] = field(default_factory=list)
    acknowledged: dict[str, int] = field(default_factory=dict)  # value -> revision
    kept: list[tuple[int, float]] = field(default_factory=list)  # lease, when it was renewed
    problems: list[str] = field(default_factory=list)
    reads: int = 0
    unknown: int = 0
    renewals: int = 0
    watched: int = 0


class LoadClient:
    """One client of keys: puts, gets, deletes, compares and swaps, writes pairs.

    Members may come later; `later` are their names, which it knows from the beginning.
    """

    def __init__(
        self,
        name: str,
        world: StoreWorld,
        canon: Canon,
        record: Record,
        later: Sequence[str] = (),
    ) -> None:
        self.name = name
        self.canon = canon
        self.record = record
        self.rng = Random(f"{name} {world.rng.random()}")
        self.world = world
        self.over = False
        first = self.rng.randrange(len(world.names))
        self.order = [*world.names[first:], *world.names[:first], *later]
        self.client = self._connect(self.order)
        self._direct = {member: self._connect([member], 1.0) for member in self.order}
        self._newest: dict[Replica, int] = {}  # by replica: what a serializable read has shown
        self._seen: dict[str, str | None] = {}
        self._count = 0

    def _connect(self, members: list[str], timeout_s: float = TIMEOUT_S) -> StoreClient:
        endpoints = [f"{member}:2381" for member in members]
        return self.world.client(self.name, timeout_s=timeout_s, endpoints=endpoints)

    async def run(self, pause_s: float) -> None:
        """Go on until `over`."""
        weights = {
            self._put: 6,
            self._get: 6,
            self._cas: 3,
            self._delete: 1,
            self._pair: 2,
            self._all: 1,
            self._old: 1,
            self._serializable: 2,
        }
        while not self.over:
            (one,) = self.rng.choices(list(weights), list(weights.values()))
            await one()
            await asyncio.sleep(self.rng.expovariate(1 / pause_s))

    # ---- writing it down

    def _value(self) -> str:
        self._count += 1
        return f"{self.name}.{self._count}"

    def _told(
        self, call: float, kind: str, key: str, argument: object, result: object, *, known: bool
    ) -> None:
        end = asyncio.get_running_loop().time() if known else None
        self.record.unknown += not known
        self.record.operations.append(
            Operation(self.name, key, call, end, kind, argument, result)  # type: ignore[arg-type]  # as given
        )

    def _stamp(self, call: float, revision: int, *, wrote: bool) -> None:
        end = asyncio.get_running_loop().time()
        self.record.stamps.append(Stamp(call, end, revision, wrote))

    def _judge(self, what: str, keys: tuple[str, ...], revision: int, found: RangeResult) -> None:
        """What was read must be what the one history says of that revision."""
        held = {kv.key: kv for kv in found.kvs}
        for key in keys:
            want = self.canon.at(key.encode(), revision)
            if held.get(key.encode()) != want:
                got = held.get(key.encode())
                self.record.problems.append(f"{what} of {key} at {revision}: {got}, not {want}")

    # ---- what clients do

    async def _put(self) -> None:
        key, value = self.rng.choice(KEYS), self._value()
        call, known = asyncio.get_running_loop().time(), True
        try:
            done = await self.client.txn([], [Put(key.encode(), value.encode())])
            self._stamp(call, done.revision, wrote=True)
            self.record.acknowledged[value] = done.revision
        except UnavailableError:
            known = False
        self._told(call, "put", key, value, None, known=known)

    async def _get(self) -> None:
        key = self.rng.choice(KEYS)
        call = asyncio.get_running_loop().time()
        try:
            found = await self.client.range(Range(key.encode()))
        except UnavailableError:
            return
        self.record.reads += 1
        self._judge("read", (key,), found.revision, found)
        self._stamp(call, found.revision, wrote=False)
        value = found.kvs[0].value.decode() if found.kvs else None
        self._seen[key] = value
        self._told(call, "get", key, None, value, known=True)

    async def _cas(self) -> None:
        key, value = self.rng.choice(KEYS), self._value()
        expected = self._seen.get(key)
        call, known, result = asyncio.get_running_loop().time(), True, False
        try:
            done = await self.client.txn(
                [_holds(key, expected)], [Put(key.encode(), value.encode())]
            )
            result = done.succeeded
            self._stamp(call, done.revision, wrote=result)
            if result:
                self.record.acknowledged[value] = done.revision
        except UnavailableError:
            known = False
        self._seen[key] = value if result else self._seen.get(key)
        self._told(call, "cas", key, (expected, value), result, known=known)

    async def _delete(self) -> None:
        key = self.rng.choice(KEYS)
        call, known, result = asyncio.get_running_loop().time(), True, False
        try:
            done = await self.client.txn([], [DeleteRange(key.encode())])
            (gone,) = done.results
            assert isinstance(gone, DeleteResult)
            result = bool(gone.deleted)
            self._stamp(call, done.revision, wrote=result)
        except UnavailableError:
            known = False
        self._told(call, "delete", key, None, result, known=known)

    async def _pair(self) -> None:
        """Write both keys of the pair, if the first is what this client last wrote or saw."""
        value, first = self._value(), PAIR[0]
        expected = self._seen.get(first)
        call, known, result = asyncio.get_running_loop().time(), True, False
        txn = Txn(((first, expected),), tuple((key, value) for key in PAIR))
        try:
            done = await self.client.txn(
                [_holds(first, expected)],
                [Put(key.encode(), value.encode()) for key in PAIR],
                [Range(first.encode())],
            )
            result = done.succeeded
            self._stamp(call, done.revision, wrote=result)
            if result:
                self._seen[first] = value
            else:
                (found,) = done.results
                assert isinstance(found, RangeResult)
                self._seen[first] = found.kvs[0].value.decode() if found.kvs else None
        except UnavailableError:
            known = False
        self._told(call, "txn", first, txn, result, known=known)

    async def _all(self) -> None:
        call = asyncio.get_running_loop().time()
        try:
            found = await self.client.range(Range(b"/", b"0"))
        except UnavailableError:
            return
        self.record.reads += 1
        self._judge("range", (*KEYS, *PAIR), found.revision, found)
        self._stamp(call, found.revision, wrote=False)

    async def _old(self) -> None:
        if not self.record.stamps:
            return
        revision = self.rng.choice(self.record.stamps).revision
        key = self.rng.choice(KEYS)
        try:
            found = await self.client.range(Range(key.encode(), revision=revision))
        except (UnavailableError, CompactedError):
            return
        self._judge("old read", (key,), revision, found)

    async def _serializable(self) -> None:
        member = self.rng.choice(self.order)
        replica = self.world.replicas.get(member)
        if replica is None:
            return
        newest = self._newest.get(replica, 0)
        try:
            found = await self._direct[member].range(Range(b"/", b"0"), serializable=True)
        except UnavailableError:
            return
        if self.world.replicas.get(member) is not replica:
            return  # another process of that member answered
        self._judge("serializable read", (*KEYS, *PAIR), found.revision, found)
        if found.revision < newest:
            self.record.problems.append(f"{member} went back from {newest} to {found.revision}")
        self._newest[replica] = found.revision


class Keeper:
    """Keeps a lease for a while, then lets it go; again and again."""

    def __init__(self, load: LoadClient) -> None:
        self._load = load

    async def run(self) -> None:
        load = self._load
        number = 0
        while not load.over:
            number += 1
            with contextlib.suppress(UnavailableError, LeaseNotFoundError):
                await self._one(f"/l/{load.name}.{number}", load.rng.choice([1, 2, 3]))
            await asyncio.sleep(load.rng.uniform(0, 0.5))

    async def _one(self, key: str, ttl_s: int) -> None:
        load = self._load
        loop = asyncio.get_running_loop()
        called = loop.time()
        lease = await load.client.lease_grant(ttl_s)
        load.record.kept.append((lease, called))
        await load.client.txn([], [Put(key.encode(), b"", lease)])
        for _ in range(load.rng.randrange(8)):
            await asyncio.sleep(ttl_s / 4)
            if load.over:
                return
            called = loop.time()
            await load.client.lease_keepalive(lease)
            load.record.kept.append((lease, called))
            load.record.renewals += 1


class Observer:
    """Watches everything, from the beginning to the end, at whatever member answers."""

    def __init__(self, load: LoadClient) -> None:
        self._load = load
        self.position = 1

    async def run(self) -> None:
        load = self._load
        while True:
            try:
                async for batch in load.client.watch(
                    b"/", b"0", revision=self.position, progress_s=0.5
                ):
                    self._see(batch.revision, list(batch.events))
            except CompactedError:
                await self._start_over()

    async def _start_over(self) -> None:
        try:
            found = await self._load.client.range(Range(b"/", b"0", count_only=True))
        except UnavailableError:
            return
        self.position = max(self.position, found.revision)

    def _see(self, revision: int, events: list[Event]) -> None:
        """Exactly what the one history says happened since: each once, in order."""
        load = self._load
        since = range(self.position + 1, revision + 1)
        want = [event for each in since for event in load.canon.events.get(each, ())]
        if events != want or revision < self.position:
            load.record.problems.append(
                f"the watcher of {load.name} got {_brief(events)} from {self.position} "
                f"to {revision}, not {_brief(want)}"
            )
        load.record.watched += len(events)
        self.position = max(self.position, revision)


def _brief(events: list[Event]) -> list[tuple[bytes, int]]:
    return [(event.kv.key, event.kv.mod_revision) for event in events]


def _holds(key: str, expected: str | None) -> Compare:
    if expected is None:
        return Compare(key.encode(), Target.VERSION, "=", 0)
    return Compare(key.encode(), Target.VALUE, "=", expected.encode())
