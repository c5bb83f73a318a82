"""Links between Raft members that lose, delay, reorder and repeat, each with a chance of its own.

Every direction of every link draws from its own generator, so that a fault taken out of a
schedule leaves the others as they were, as far as that is possible.
"""

import asyncio
import hashlib
from collections.abc import Callable
from random import Random

from wherry.store.membership import Configuration
from wherry.store.raft.link import Receiver
from wherry.store.raft.message import Message, decode, encode

CALM_S = (0.0002, 0.003)


class SimNetwork:
    """`drop`, `duplicate`, `delay_s`, `slow` and `cut` may be changed at any time.

    Attributes:
        drop: The chance of a message to be lost.
        duplicate: That of one to arrive twice.
        delay_s: How long each takes; the wider, the more overtake each other.
        slow: What is added for one direction of one link.
        cut: Directions of links over which nothing arrives.
        trace: Everything that was sent, and when: equal runs have equal hashes.
        on_send: Called with (who, message) for all that leaves a member, arrive or not.
        on_arrive: Called with (from, to, message) for all that arrives.
        held: Until when a member is stuck in its disk: nothing reaches or leaves it before.
    """

    def __init__(self, rng: Random) -> None:
        self._seed = rng.random()
        self._chance: dict[tuple[str, str], Random] = {}
        self.delay_s = CALM_S
        self.drop = 0.0
        self.duplicate = 0.0
        self.cut: set[tuple[str, str]] = set()
        self.slow: dict[tuple[str, str], float] = {}
        self.held: dict[str, float] = {}
        self.receivers: dict[str, Receiver] = {}
        self.sent: dict[str, int] = {}
        self.trace = hashlib.sha256()
        self.on_send: Callable[[str, Message], None] = lambda _who, _message: None
        self.on_arrive: Callable[[str, str, Message], None] = lambda _from, _to, _message: None
        self._taps: dict[str, list[Message]] = {}

    def tap(self, source: str) -> list[Message]:
        """Return a list to which everything that a member sends from now on is added."""
        return self._taps.setdefault(source, [])

    def link(self, name: str) -> "SimLink":
        return SimLink(self, name)

    def send(self, source: str, target: str, message: Message) -> bool:
        if target not in self.receivers or (source, target) in self.cut:
            return False
        self._taps.get(source, []).append(message)
        kind = type(message).__name__
        self.sent[kind] = self.sent.get(kind, 0) + 1
        way = (source, target)
        rng = self._chance.get(way)
        if rng is None:
            rng = self._chance[way] = Random(f"{self._seed} {source} {target}")
        if self.drop and rng.random() < self.drop:
            return True
        data = encode(message)
        self.on_send(source, message)
        self._carry(way, data, rng)
        if self.duplicate and rng.random() < self.duplicate:
            self._carry(way, data, rng)
        return True

    def _carry(self, way: tuple[str, str], data: bytes, rng: Random) -> None:
        loop = asyncio.get_running_loop()
        self.trace.update(f"{loop.time()} {way} ".encode() + data)
        delay_s = rng.uniform(*self.delay_s) + self.slow.get(way, 0.0)
        left = max(loop.time(), self.held.get(way[0], 0.0))
        loop.call_at(left + delay_s, self._arrive, way, self.receivers[way[1]], data)

    def _arrive(self, way: tuple[str, str], receiver: Receiver, data: bytes) -> None:
        source, target = way
        if self.receivers.get(target) is not receiver or way in self.cut:
            return
        loop = asyncio.get_running_loop()
        until = self.held.get(target, 0.0)
        if until > loop.time():
            loop.call_at(until, self._arrive, way, receiver, data)
        else:
            message = decode(data)
            self.on_arrive(source, target, message)
            receiver.receive(source, message)

    def hold(self, name: str, until: float) -> None:
        """A member waits for its disk, and does nothing else."""
        self.held[name] = until

    def join(self, name: str, receiver: Receiver) -> None:
        others = dict(self.receivers)
        self.receivers[name] = receiver
        for other, its in others.items():
            receiver.connected(other)
            its.connected(name)

    def leave(self, name: str, receiver: Receiver) -> None:
        if self.receivers.get(name) is not receiver:
            return
        del self.receivers[name]
        self.held.pop(name, None)
        for its in self.receivers.values():
            its.disconnected(name)
            its.hung_up(name)

    def partition(self, *groups: set[str]) -> None:
        """Cut every link between members of different groups."""
        self.cut = {
            (a, b)
            for one in groups
            for other in groups
            if one is not other
            for a in one
            for b in other
        }

    def heal(self) -> None:
        self.cut = set()
        self.slow = {}
        self.drop = 0.0
        self.duplicate = 0.0
        self.delay_s = CALM_S


class SimLink:
    def __init__(self, network: SimNetwork, name: str) -> None:
        self._network = network
        self._name = name

    def follow(self, configuration: Configuration) -> None:
        """Everybody reaches everybody."""

    def send(self, member: str, message: Message) -> bool:
        return self._network.send(self._name, member, message)

    async def run(self, receiver: Receiver) -> None:
        self._network.join(self._name, receiver)
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self._network.leave(self._name, receiver)
