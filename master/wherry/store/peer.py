"""Members reach each other: `PeerLink` over a `Network`.

Every member dials every other and sends on that connection only; it receives on those that
the others dialled. So each direction lives and dies by itself, and a lost connection loses
messages but never reorders or repeats them. Whom to dial follows the configuration: somebody
who was removed is not dialled again, but what is open stays, for he is to be told.

A connection begins with `Hello`. Both sides check that the certificate of the other names the
member that it says it is, and that they are of the same cluster: a certificate of the cluster
that belongs to something else (a kubelet, an administrator) opens nothing here. Who comes
under an id that was removed (a machine that is out, or a disk that another replaced) is told
so and refused. Somebody unknown, but with the right certificate, may be a member since a
moment that this log has not reached: it is let in, and dialled where it says that it listens.

A new member begins with `Join` instead: see `join.py`.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from random import Random
from typing import Final

import msgspec

from wherry.api.errors import ConfigError
from wherry.store.membership import REMOVED, Configuration
from wherry.store.net import Connection, Handler, Identity, Listener, Network
from wherry.store.raft.link import Receiver
from wherry.store.raft.machine import Joined
from wherry.store.raft.message import Append, Message, SnapshotChunk, decode, encode

log = logging.getLogger(__name__)

PROTOCOL: Final = 2
MAX_BUFFERED_BYTES: Final = 16 << 20  # beyond this entries are dropped, and sent again later
_DIAL_S: Final = 3.0
_REDIAL_S: Final = (0.1, 0.3)
_LISTEN_AGAIN_S: Final = 1.0


class Hello(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """First frame of either side; `address` is where the sender listens."""

    protocol: int
    cluster: str
    member: str
    to: str
    id: int
    address: str


class Join(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """First frame of somebody who was added and has not started before."""

    protocol: int
    member: str
    address: str


class Welcome(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """Answer to `Join`: what `raft.machine.Joined` says, and of which cluster."""

    cluster: str
    id: int
    base: bytes


class Refused(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """Why not; `removed`: and never again."""

    why: str
    removed: bool = False


Answer = Hello | Welcome | Refused
_decode_first: msgspec.msgpack.Decoder[Hello | Join] = msgspec.msgpack.Decoder(Hello | Join)
_decode_answer: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Answer)
_encode = msgspec.msgpack.encode


class NetworkLink:
    """`PeerLink` for member `name`.

    Args:
        name: This member.
        cluster: The cluster's identity.
        peers: Endpoint of each *other* member, where the configuration names none.
        network: How to reach them.
        listen: Endpoint of this one.
        rng: Jitter of reconnects.
        advertise: Where the others reach this one; default: `listen`.
    """

    def __init__(
        self,
        name: str,
        cluster: str,
        peers: Mapping[str, str],
        network: Network,
        listen: str,
        rng: Random,
        advertise: str = "",
    ) -> None:
        self._name = name
        self._cluster = cluster
        self._given = dict(peers)
        self._peers = dict(peers)  # whom to dial: the members ...
        self._guests: dict[str, str] = {}  # ... and who says that it is one
        self._network = network
        self._listen = listen
        self._address = advertise or listen
        self._rng = rng
        self._outgoing: dict[str, Connection] = {}
        self._incoming: dict[str, Incoming] = {}
        self._changed = asyncio.Event()
        self._alone = not peers
        self.receiver: Receiver | None = None

    def follow(self, configuration: Configuration) -> None:
        """See `PeerLink`."""
        self._peers = {
            one.name: one.peer or self._given.get(one.name, "")
            for one in configuration.members
            if one.name not in ("", self._name)
        }
        self._guests = {n: a for n, a in self._guests.items() if n not in self._peers}
        # Somebody without a name will ask to join: that is a reason to listen.
        self._alone = len(configuration.members) < 2
        self._changed.set()

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
        listener: Listener | None = None
        tasks: dict[str, asyncio.Task[None]] = {}
        first = True
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    self._changed.clear()
                    if listener is None and not self._alone:
                        listener = await self._open(first=first)
                    first = False
                    for member in {**self._guests, **self._peers}:
                        if member not in tasks or tasks[member].done():
                            tasks[member] = group.create_task(
                                self._keep_connected(member, receiver)
                            )
                    await self._changed.wait()
        finally:
            if listener is not None:
                listener.close()
            for connection in self._outgoing.values():
                connection.close()
            for incoming in list(self._incoming.values()):
                incoming.connection.close()
            self._outgoing.clear()
            self._incoming.clear()

    async def _open(self, *, first: bool) -> Listener:
        """Listen; who begins to only when others come must not fail for it."""
        while True:
            try:
                return await self._network.listen(self._listen, self._accept)
            except ConfigError as error:
                if first:
                    raise
                log.error("cannot listen for members", extra={"why": str(error)})  # noqa: TRY400  # no traceback: it is the port
                await asyncio.sleep(_LISTEN_AGAIN_S)

    # ---- outgoing

    async def _keep_connected(self, member: str, receiver: Receiver) -> None:
        while True:
            endpoint = self._peers.get(member) or self._guests.get(member)
            if not endpoint:
                return
            await self._connect(member, endpoint, receiver)
            await asyncio.sleep(self._rng.uniform(*_REDIAL_S))

    async def _connect(self, member: str, endpoint: str, receiver: Receiver) -> None:
        outgoing = _Outgoing()
        connection: Connection | None = None
        try:
            async with asyncio.timeout(_DIAL_S):
                connection = await self._network.dial(endpoint, outgoing)
                connection.send(_encode(self._hello(member)))
                answer = await outgoing.welcome
            if isinstance(answer, Refused) and answer.removed:
                receiver.removed()
            if not isinstance(answer, Hello):
                raise ValueError(f"{member} refuses: {answer}")  # noqa: TRY004, TRY301  # the peer's fault
            self._check(answer, connection.identity, member)
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

    def _hello(self, to: str) -> Hello:
        number = self.receiver.member_id if self.receiver is not None else 0
        return Hello(PROTOCOL, self._cluster, self._name, to, number, self._address)

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
        """Check the first frame of an incoming connection and return who it is; "": a guest.

        Raises:
            ValueError: not a member that may talk to this one.
        """
        hello = _decode_first.decode(data)
        connection, receiver = incoming.connection, self.receiver
        if isinstance(hello, Join):
            self._admit(connection, hello)
            return ""
        self._check(hello, connection.identity, hello.member)
        if receiver is not None and receiver.was_removed(hello.id):
            log.warning("refused", extra={"member": hello.member, "why": REMOVED})
            connection.send(_encode(Refused(REMOVED, removed=True)))
            connection.close()
            return ""
        if hello.member not in self._peers and hello.member != self._name:
            self._guests[hello.member] = hello.address
            self._changed.set()
        older = self._incoming.get(hello.member)
        self._incoming[hello.member] = incoming
        if older is not None:
            older.connection.close()
        connection.send(_encode(self._hello(hello.member)))
        return hello.member

    def _admit(self, connection: Connection, request: Join) -> None:
        if request.protocol != PROTOCOL:
            raise ValueError(f"{request.member!r} speaks version {request.protocol}")
        identity = connection.identity
        if identity is not None and not names_member(identity, request.member):
            raise ValueError(f"the certificate does not name {request.member!r}")

        def answer(got: Joined | str) -> None:
            if isinstance(got, Joined):
                connection.send(_encode(Welcome(self._cluster, got.id, got.base)))
            else:
                connection.send(_encode(Refused(got)))

        if self.receiver is not None:
            self.receiver.join(request.member, request.address, answer)

    def ended(self, member: str, incoming: "Incoming") -> None:
        """An incoming connection ended."""
        if self._incoming.get(member) is incoming:
            del self._incoming[member]
            self._guests.pop(member, None)
            if self.receiver is not None:
                self.receiver.hung_up(member)


class _Outgoing:
    """Handler of a dialled connection: one answer, then nothing more comes."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.welcome: asyncio.Future[Answer] = loop.create_future()
        self.end: asyncio.Future[None] = loop.create_future()

    def frames(self, frames: Sequence[bytes]) -> None:
        """See `Handler`."""
        if self.welcome.done() or len(frames) != 1:
            raise ValueError("more than a welcome")
        self.welcome.set_result(_decode_answer.decode(frames[0]))

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


async def ask_to_join(network: Network, endpoint: str, name: str, address: str) -> Welcome | str:
    """Ask one member to be taken in; a string says why it was not.

    Raises:
        OSError: it does not answer (`TimeoutError` is one).
    """
    outgoing = _Outgoing()
    async with asyncio.timeout(_DIAL_S):
        connection = await network.dial(endpoint, outgoing)
        try:
            connection.send(_encode(Join(PROTOCOL, name, address)))
            answer = await outgoing.welcome
        finally:
            connection.close()
    if isinstance(answer, Welcome):
        return answer
    return answer.why if isinstance(answer, Refused) else "that is no answer"


def names_member(identity: Identity, member: str) -> bool:
    """Whether a certificate is that of store `member`."""
    return identity.user == "system:store" and member in identity.hosts
