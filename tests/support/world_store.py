"""`wherry.store.net.Network` on the simulated wires: ordered streams that take time and break."""

import asyncio
from collections.abc import Sequence
from typing import Final

from world_net import Life, Network

from wherry.store.membership import Configuration
from wherry.store.net import Accept, Connection, Handler, Identity
from wherry.store.raft.link import Receiver
from wherry.store.raft.message import Message

APISERVER: Final = Identity("system:apiserver", ("system:masters",))
BREAK_S: Final = 3.0
"""After so long a stream that delivers nothing is given up (TCP_USER_TIMEOUT's place)."""


class Streams:
    """Who listens where, for all hosts."""

    def __init__(self, wires: Network) -> None:
        self.wires = wires
        self.listening: dict[str, tuple[str, Life, Accept]] = {}

    def on(self, host: str, life: Life) -> "HostStreams":
        return HostStreams(self, host, life)


class HostStreams:
    """The network as one process on one host has it."""

    def __init__(self, streams: Streams, host: str, life: Life) -> None:
        self._streams = streams
        self._host = host
        self._life = life

    async def listen(self, endpoint: str, accept: Accept) -> "_Listener":
        self._streams.listening[endpoint] = (self._host, self._life, accept)
        return _Listener(self._streams, endpoint, self._life)

    async def dial(self, endpoint: str, handler: Handler) -> Connection:
        self._life.check()
        wires = self._streams.wires
        await asyncio.sleep(wires.delay_s())
        found = self._streams.listening.get(endpoint)
        if found is None or found[1].over:
            raise ConnectionRefusedError(endpoint)
        host, life, accept = found
        if not wires.connected(self._host, host):
            await asyncio.sleep(BREAK_S)
            raise TimeoutError(endpoint)
        local = endpoint.startswith("unix:")
        near = _End(wires, self._host, self._life, None if local else APISERVER)
        far = _End(wires, host, life, None if local else APISERVER)
        near.peer, far.peer = far, near
        near.handler = handler
        far.handler = accept(far)
        for end in (near, far):
            end.watch()
        return near


class _Listener:
    def __init__(self, streams: Streams, endpoint: str, life: Life) -> None:
        self._streams = streams
        self._endpoint = endpoint
        self._life = life

    def close(self) -> None:
        found = self._streams.listening.get(self._endpoint)
        if found is not None and found[1] is self._life:
            del self._streams.listening[self._endpoint]


class _End:
    """One side of a connection; implements `Connection`."""

    def __init__(self, wires: Network, host: str, life: Life, identity: Identity | None) -> None:
        self._wires = wires
        self._host = host
        self._life = life
        self.identity = identity
        self.peer: _End | None = None
        self.handler: Handler | None = None
        self._arrives_s = 0.0
        self._paused: list[bytes] | None = None
        self._watcher: asyncio.TimerHandle | None = None

    @property
    def buffered_bytes(self) -> int:
        return 0

    def send(self, frame: bytes) -> None:
        peer = self.peer
        if peer is None or self.handler is None or self._life.over:
            return
        loop = asyncio.get_running_loop()
        # Streams are ordered: nothing overtakes what was sent before, nor arrives at the same
        # time, since the loop does not keep timers of one moment in order.
        self._arrives_s = max(self._arrives_s + 1e-6, loop.time() + self._wires.delay_s())
        loop.call_at(self._arrives_s, self._deliver, peer, frame)

    def _deliver(self, peer: "_End", frame: bytes) -> None:
        if not self._wires.connected(self._host, peer._host):
            asyncio.get_running_loop().call_later(BREAK_S, self._break)
        elif peer.handler is not None and not peer._life.over:
            peer.take(frame)

    def take(self, frame: bytes) -> None:
        if self._paused is not None:
            self._paused.append(frame)
        elif self.handler is not None:
            self.handler.frames([frame])

    def published(self) -> int:
        return 0

    async def drained(self) -> None:
        await asyncio.sleep(0)

    def pause(self) -> None:
        if self._paused is None:
            self._paused = []

    def resume(self) -> None:
        waiting, self._paused = self._paused or [], None
        for frame in waiting:
            self.take(frame)

    def watch(self) -> None:
        """Notice, as keep-alives would, that the other side is gone or cut off."""
        peer = self.peer
        if peer is None or self.handler is None or self._life.over:
            return
        if peer._life.over or not self._wires.connected(self._host, peer._host):
            self._break()
            return
        self._watcher = asyncio.get_running_loop().call_later(0.05, self.watch)

    def _break(self) -> None:
        handler, self.handler = self.handler, None
        if self._watcher is not None:
            self._watcher.cancel()
        if handler is not None and not self._life.over:
            handler.closed()

    def close(self) -> None:
        peer = self.peer
        self._break()
        if peer is not None and not self._life.over:
            asyncio.get_running_loop().call_later(self._wires.delay_s(), peer._break)


class MemberLink:
    """`PeerLink` between the stores of the masters; loses and reorders as datagrams would."""

    def __init__(
        self, wires: Network, members: "dict[str, tuple[Life, Receiver]]", host: str, life: Life
    ) -> None:
        self._wires = wires
        self._members = members
        self._host = host
        self._life = life

    def follow(self, configuration: Configuration) -> None:
        """The wires reach every host."""

    def send(self, member: str, message: Message) -> bool:
        found = self._members.get(member)
        if self._life.over or found is None or not self._wires.connected(self._host, member):
            return False
        asyncio.get_running_loop().call_later(
            self._wires.delay_s(), self._deliver, member, found, message
        )
        return True

    def _deliver(self, member: str, found: "tuple[Life, Receiver]", message: Message) -> None:
        life, receiver = found
        same = self._members.get(member) is found
        if same and not life.over and self._wires.connected(self._host, member):
            receiver.receive(self._host, message)

    def _others(self) -> Sequence[tuple[str, Life, Receiver]]:
        return [(n, *f) for n, f in self._members.items() if n != self._host and not f[0].over]

    async def run(self, receiver: Receiver) -> None:
        self._members[self._host] = (self._life, receiver)
        for name, _, other in self._others():
            receiver.connected(name)
            other.connected(self._host)
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            if self._members.get(self._host, (None, None))[1] is receiver:
                del self._members[self._host]
                for _, _, other in self._others():
                    other.disconnected(self._host)
                    other.hung_up(self._host)
