"""Members reach each other: `PeerLink` over a `Network`.

Every member dials every other and sends on that connection only; it receives on those that
the others dialled. So each direction lives and dies by itself, and a lost connection loses
messages but never reorders or repeats them.

A connection begins with `Hello`. Both sides check that the certificate of the other names the
member that it says it is, and that they are of the same cluster: a certificate of the cluster
that belongs to something else (a kubelet, an administrator) opens nothing here.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from random import Random
from typing import Final

import msgspec

from wherry.store.membership import Configuration
from wherry.store.net import Connection, Handler, Identity, Network
from wherry.store.raft.link import Receiver
from wherry.store.raft.message import Append, Message, SnapshotChunk, decode, encode

log = logging.getLogger(__name__)

PROTOCOL: Final = 1
MAX_BUFFERED_BYTES: Final = 16 << 20  # beyond this entries are dropped, and sent again later
_DIAL_S: Final = 3.0
_REDIAL_S: Final = (0.1, 0.3)


class Hello(msgspec.Struct, frozen=True, array_like=True):
    """First frame of either side."""

    protocol: int
    cluster: str
    member: str
    to: str


_decode_hello = msgspec.msgpack.Decoder(Hello).decode


class NetworkLink:
    """`PeerLink` for member `name`.

    Args:
        name: This member.
        cluster: The cluster's identity.
        peers: Endpoint of each *other* member.
        network: How to reach them.
        listen: Endpoint of this one.
        rng: Jitter of reconnects.
    """

    def __init__(
        self,
        name: str,
        cluster: str,
        peers: Mapping[str, str],
        network: Network,
        listen: str,
        rng: Random,
    ) -> None:
        self._name = name
        self._cluster = cluster
        self._peers = dict(peers)
        self._network = network
        self._listen = listen
        self._rng = rng
        self._outgoing: dict[str, Connection] = {}
        self._incoming: dict[str, Incoming] = {}
        self.receiver: Receiver | None = None

    def follow(self, configuration: Configuration) -> None:
        """See `PeerLink`."""

    def send(self, member: str, message: Message) -> bool:
        """See `PeerLink`."""
        connection = self._outgoing.get(member)
        if connection is None:
            return False
        bulky = isinstance(message, SnapshotChunk) or (
            isinstance(message, Append) and bool(message.entries)
        )
        if bulky and connection.buffered_bytes > MAX_BUFFERED_BYTES:
            return False
        connection.send(encode(message))
        return True

    async def run(self, receiver: Receiver) -> None:
        """See `PeerLink`."""
        self.receiver = receiver
        if not self._peers:
            await asyncio.get_running_loop().create_future()
        listener = await self._network.listen(self._listen, self._accept)
        try:
            async with asyncio.TaskGroup() as tasks:
                for member in self._peers:
                    tasks.create_task(self._keep_connected(member, receiver))
        finally:
            listener.close()
            for connection in self._outgoing.values():
                connection.close()
            for incoming in list(self._incoming.values()):
                incoming.connection.close()
            self._outgoing.clear()
            self._incoming.clear()

    # ---- outgoing

    async def _keep_connected(self, member: str, receiver: Receiver) -> None:
        while True:
            outgoing = _Outgoing()
            connection: Connection | None = None
            try:
                async with asyncio.timeout(_DIAL_S):
                    connection = await self._network.dial(self._peers[member], outgoing)
                    hello = Hello(PROTOCOL, self._cluster, self._name, member)
                    connection.send(msgspec.msgpack.encode(hello))
                    welcome = await outgoing.welcome
                self._check(welcome, connection.identity, member)
                self._outgoing[member] = connection
                receiver.connected(member)
                await outgoing.end
            except (OSError, TimeoutError, ValueError) as error:
                log.debug("cannot reach member", extra={"member": member, "why": str(error)})
            finally:
                if connection is not None:
                    connection.close()
                    if self._outgoing.get(member) is connection:
                        del self._outgoing[member]
                        receiver.disconnected(member)
            await asyncio.sleep(self._rng.uniform(*_REDIAL_S))

    def _check(self, hello: Hello, identity: Identity | None, member: str) -> None:
        """Raise `ValueError` unless this is `member` of this cluster, talking to this member."""
        if (hello.protocol, hello.cluster) != (PROTOCOL, self._cluster):
            raise ValueError(f"{hello.member!r} is of cluster {hello.cluster!r}")
        if hello.member != member or hello.to != self._name:
            raise ValueError(f"{hello.member!r} wants {hello.to!r}")
        if identity is not None and not names_member(identity, member):
            raise ValueError(f"the certificate of {identity.user!r} does not name {member!r}")

    # ---- incoming

    def _accept(self, connection: Connection) -> Handler:
        return Incoming(self, connection)

    def welcome(self, incoming: "Incoming", data: bytes) -> str:
        """Check the first frame of an incoming connection and return who it is.

        Raises:
            ValueError: not a member that may talk to this one.
        """
        hello = _decode_hello(data)
        if hello.member not in self._peers:
            raise ValueError(f"{hello.member!r} is not a member")
        self._check(hello, incoming.connection.identity, hello.member)
        older = self._incoming.get(hello.member)
        self._incoming[hello.member] = incoming
        if older is not None:
            older.connection.close()
        answer = Hello(PROTOCOL, self._cluster, self._name, hello.member)
        incoming.connection.send(msgspec.msgpack.encode(answer))
        return hello.member

    def ended(self, member: str, incoming: "Incoming") -> None:
        """An incoming connection ended."""
        if self._incoming.get(member) is incoming:
            del self._incoming[member]
            if self.receiver is not None:
                self.receiver.hung_up(member)


class _Outgoing:
    """Handler of a dialled connection: a welcome, then nothing more comes."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.welcome: asyncio.Future[Hello] = loop.create_future()
        self.end: asyncio.Future[None] = loop.create_future()

    def frames(self, frames: Sequence[bytes]) -> None:
        """See `Handler`."""
        if self.welcome.done() or len(frames) != 1:
            raise ValueError("more than a welcome")
        self.welcome.set_result(_decode_hello(frames[0]))

    def closed(self) -> None:
        """See `Handler`."""
        if not self.welcome.done():
            self.welcome.set_exception(ConnectionResetError("no welcome"))
        if not self.end.done():
            self.end.set_result(None)


class Incoming:
    """Handler of an accepted connection: a hello, then messages."""

    def __init__(self, link: NetworkLink, connection: Connection) -> None:
        self._link = link
        self.connection = connection
        self._member = ""

    def frames(self, frames: Sequence[bytes]) -> None:
        """See `Handler`."""
        receiver = self._link.receiver
        for frame in frames:
            if not self._member:
                self._member = self._link.welcome(self, frame)
            elif receiver is not None:
                receiver.receive(self._member, decode(frame))

    def closed(self) -> None:
        """See `Handler`."""
        if self._member:
            self._link.ended(self._member, self)


def names_member(identity: Identity, member: str) -> bool:
    """Whether a certificate is that of store `member`."""
    return identity.user == "system:store" and member in identity.hosts
