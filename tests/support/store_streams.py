"""The store's `Network` in memory: connections between hosts that take time, can be cut, and die.

    streams = SimStreams(rng)
    streams.host("m1")          the `Network` of whatever runs on host m1
    streams.cut("m1", "m2")     their connections hang: nothing arrives, nothing ends
    streams.kill("m1")          all of m1's connections end, its listeners are gone

Endpoints are names: whatever string is listened on. `unix://` ones are found on the same host
only. Frames of one connection arrive in order, as on TCP.
"""

import asyncio
import hashlib
from collections.abc import Sequence
from random import Random

from wherry.store.net import Accept, Connection, Handler, Identity, Listener


class SimStreams:
    def __init__(self, rng: Random, *, delay_s: tuple[float, float] = (0.0001, 0.002)) -> None:
        self.rng = rng
        self.delay_s = delay_s
        self.listeners: dict[tuple[str, str], Accept] = {}  # (host or "", endpoint)
        self.connections: set[SimConnection] = set()
        self.pages: dict[str, int] = {}  # what the store on a host shows to it (`page.py`)
        self._cut: set[frozenset[str]] = set()
        self._made = 0
        self.trace = hashlib.sha256()  # of every frame, and when it was sent

    def number(self) -> int:
        """Return the next connection's number: they begin anew in every world."""
        self._made += 1
        return self._made

    def host(self, name: str) -> "HostNetwork":
        return HostNetwork(self, name)

    def cut(self, one: str, other: str) -> None:
        self._cut.add(frozenset((one, other)))

    def isolate(self, name: str, others: Sequence[str]) -> None:
        for other in others:
            if other != name:
                self.cut(name, other)

    def heal(self) -> None:
        """What was sent over a cut meanwhile is lost: those connections end now."""
        cut, self._cut = self._cut, set()
        for connection in sorted(self.connections, key=lambda one: one.number):
            if frozenset((connection.host, connection.peer_host)) in cut:
                connection.reset()

    def passes(self, one: str, other: str) -> bool:
        return frozenset((one, other)) not in self._cut

    def kill(self, host: str) -> None:
        self.pages.pop(host, None)
        for key in [key for key in self.listeners if key[0] == host]:
            del self.listeners[key]
        for connection in sorted(self.connections, key=lambda one: one.number):
            if connection.host == host:
                connection.reset()


class HostNetwork:
    """`Network`, as one host has it."""

    def __init__(self, streams: SimStreams, host: str) -> None:
        self._streams = streams
        self._host = host

    async def dial(self, endpoint: str, handler: Handler) -> Connection:
        streams = self._streams
        await asyncio.sleep(streams.rng.uniform(*streams.delay_s))
        found = [
            (host, accept)
            for (host, name), accept in streams.listeners.items()
            if name == endpoint and (host == self._host or not endpoint.startswith("unix://"))
        ]
        if not found:
            raise ConnectionRefusedError(endpoint)
        host, accept = found[0]
        if not streams.passes(self._host, host):
            await asyncio.sleep(3600)
            raise TimeoutError
        mine, theirs = (
            SimConnection(streams, self._host, host),
            SimConnection(streams, host, self._host),
        )
        mine.other, theirs.other = theirs, mine
        mine.handler = handler
        theirs.handler = accept(theirs)
        return mine

    async def listen(self, endpoint: str, accept: Accept) -> Listener:
        self._streams.listeners[self._host, endpoint] = accept
        return _Listener(self._streams, (self._host, endpoint))


class _Listener:
    def __init__(self, streams: SimStreams, key: tuple[str, str]) -> None:
        self._streams = streams
        self._key = key

    def close(self) -> None:
        self._streams.listeners.pop(self._key, None)


class SimConnection:
    """One end of a connection."""

    identity: Identity | None = None
    buffered_bytes = 0

    def __init__(self, streams: SimStreams, host: str, peer_host: str) -> None:
        self.number = streams.number()
        self.streams = streams
        self.host = host
        self.peer_host = peer_host
        self.other: SimConnection | None = None
        self.handler: Handler | None = None
        self._arrives_at = 0.0
        self._paused = False
        self._held: list[bytes] = []
        streams.connections.add(self)

    def send(self, frame: bytes) -> None:
        if self.other is None or not self.streams.passes(self.host, self.peer_host):
            return
        loop = asyncio.get_running_loop()
        self.streams.trace.update(f"{loop.time()} {self.number} ".encode() + frame)
        delay_s = self.streams.rng.uniform(*self.streams.delay_s)
        self._arrives_at = max(self._arrives_at + 1e-6, loop.time() + delay_s)  # in order
        loop.call_at(self._arrives_at, self.other.arrive, frame)

    def arrive(self, frame: bytes) -> None:
        if self.handler is None or not self.streams.passes(self.host, self.peer_host):
            return
        if self._paused:
            self._held.append(frame)
        else:
            try:
                self.handler.frames([frame])
            except ValueError:
                self.reset()

    def published(self) -> int:
        if self.other is None or self.host != self.peer_host:
            return 0
        return self.streams.pages.get(self.host, 0)

    async def drained(self) -> None:
        await asyncio.sleep(0)

    def pause(self) -> None:
        self._paused = True

    def resume(self) -> None:
        self._paused = False
        held, self._held = self._held, []
        for frame in held:
            asyncio.get_running_loop().call_soon(self.arrive, frame)

    def close(self) -> None:
        self.reset()

    def reset(self) -> None:
        """End both ends: this one now, the other when word of it arrives."""
        other, self.other = self.other, None
        self._end()
        if other is not None:
            other.other = None
            loop = asyncio.get_running_loop()
            loop.call_later(self.streams.rng.uniform(*self.streams.delay_s), other._end)

    def _end(self) -> None:
        self.streams.connections.discard(self)
        handler, self.handler = self.handler, None
        if handler is not None:
            handler.closed()
