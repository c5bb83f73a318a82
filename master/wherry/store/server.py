"""The store's door for API servers: framed msgpack on a Unix socket, and TCP for other masters.

One connection carries any number of requests at once. The local socket is guarded by its
file mode; over TCP the certificate must be an API server's, a store's or an administrator's.
A client that does not read is not read from; a watcher that does not read is not served, and
if it falls too far behind it is told to start over.
"""

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from typing import Final

from wherry.api.errors import UnavailableError
from wherry.store import rpc
from wherry.store.answer import lease_answer
from wherry.store.backup import snapshot_bytes
from wherry.store.kv import CompactedError, FutureRevisionError, WatchBatch
from wherry.store.members import members_answer
from wherry.store.membership import ReplaceMember
from wherry.store.net import Connection, Handler, Identity, Listener, Network
from wherry.store.push import Push
from wherry.store.raft.machine import Lost
from wherry.store.replica import Replica

log = logging.getLogger(__name__)

MAX_OUTSTANDING: Final = 4096  # requests of one connection; then it is not read from
_STALLED_S: Final = 30.0  # who takes no byte of a snapshot for so long is sent away
_SHARED_EVENTS: Final = 64  # a frame with more is not kept for other watchers
_CUT_OFF_S: Final = 3.0  # a replica without a leader for so long sends its watchers elsewhere


class StoreServer:
    """Serves one replica to its clients.

    Args:
        replica: What is served; its `run` is part of this `run`.
        network: How to listen.
        listen: Endpoints; `unix:///...` for this machine, `host:port` for others.
    """

    def __init__(self, replica: Replica, network: Network, listen: Sequence[str]) -> None:
        self.replica = replica
        self._network = network
        self._listen = tuple(listen)
        self._connections: dict[Client, None] = {}
        self.tasks: asyncio.TaskGroup | None = None
        self._encoded: dict[tuple[int, int], tuple[WatchBatch, bytes]] = {}
        self._encoded_at = 0  # the revision at which this was done

    async def run(self) -> None:
        """Serve until cancelled; a leader then first hands over to another member."""
        listeners: list[Listener] = []
        async with asyncio.TaskGroup() as tasks:
            self.tasks = tasks
            tasks.create_task(self.replica.run())
            tasks.create_task(self._watch_leader())
            try:
                for endpoint in self._listen:
                    listener = await self._network.listen(endpoint, self._accept)
                    listeners.append(listener)
                await asyncio.get_running_loop().create_future()
            finally:
                self.tasks = None
                for listener in listeners:
                    listener.close()
                await self.replica.hand_over()
                for client in list(self._connections):
                    client.connection.close()

    def _accept(self, connection: Connection) -> Handler:
        client = Client(self, connection)
        if connection.identity is not None and not may_use(connection.identity):
            log.warning("refused", extra={"user": connection.identity.user})
            connection.close()
        else:
            self._connections[client] = None
        return client

    def forget(self, client: "Client") -> None:
        """A connection ended."""
        self._connections.pop(client, None)

    def encoded(self, number: int, batch: WatchBatch) -> bytes:
        """Return a batch as a frame, encoded once for all watchers that get it now."""
        revision = self.replica.state.revision
        if revision != self._encoded_at:
            self._encoded, self._encoded_at = {}, revision
        where = (number, id(batch))
        known = self._encoded.get(where)
        if known is None:
            frame = rpc.encode(rpc.Batch(number, batch.revision, list(batch.events)))
            if batch.revision != revision or len(batch.events) > _SHARED_EVENTS:
                return frame  # of somebody who catches up: nobody else needs it
            known = self._encoded[where] = (batch, frame)  # kept, so that the id stays its own
        return known[1]

    def allowed(self, client: "Client") -> bool:
        """Whether a connection was let in."""
        return client in self._connections

    async def _watch_leader(self) -> None:
        """A replica that is cut off would let its watchers wait for ever."""
        loop = asyncio.get_running_loop()
        seen = loop.time()
        while True:
            await asyncio.sleep(0.5)
            if self.replica.ready:
                seen = loop.time()
            elif loop.time() - seen > _CUT_OFF_S:
                for client in list(self._connections):
                    client.cancel_watches()


class Client:
    """One connection."""

    def __init__(self, server: StoreServer, connection: Connection) -> None:
        self._server = server
        self._replica = server.replica
        self.connection = connection
        self._outstanding = 0
        self._paused = False
        self._watches: dict[int, Push] = {}
        self._backup: asyncio.Task[None] | None = None  # goes on without a leader, unlike watches

    # ---- net.Handler

    def frames(self, frames: Sequence[bytes]) -> None:
        """See `Handler`."""
        if not self._server.allowed(self):
            return
        for frame in frames:
            self._begin(rpc.decode_request(frame))
        if self._outstanding > MAX_OUTSTANDING and not self._paused:
            self._paused = True
            self.connection.pause()

    def closed(self) -> None:
        """See `Handler`."""
        self._server.forget(self)
        for push in self._watches.values():
            push.close()
        if self._backup is not None:
            self._backup.cancel()

    def cancel_watches(self) -> None:
        """Send the watchers elsewhere."""
        watches, self._watches = self._watches, {}
        for number, push in watches.items():
            push.close()
            self._send(rpc.Failed(number, rpc.RETRY, "no leader"))

    # ---- requests

    def _begin(self, request: rpc.Request) -> None:
        number = request.id
        if isinstance(request, rpc.Watch):
            if self._server.tasks is not None and number not in self._watches:
                self._watch(request, self._server.tasks)
            return
        if isinstance(request, rpc.SnapshotGet):
            if self._server.tasks is not None and self._backup is None:
                self._backup = self._server.tasks.create_task(self._send_snapshot(number))
            return
        self._outstanding += 1
        match request:
            case rpc.Propose():
                self._propose(request)
            case rpc.Read():
                self._read(request)
            case rpc.KeepAlive() | rpc.LeaseGet():
                self._replica.lease(
                    request.lease,
                    lambda got: self._end(lease_answer(number, got)),
                    renew=isinstance(request, rpc.KeepAlive),
                )
            case rpc.Status():
                self._end(self._replica.status(number))
            case rpc.ListMembers() | rpc.ChangeMembers():
                self._members(request)

    def _end(self, answer: rpc.Answer) -> None:
        self._outstanding -= 1
        self._send(answer)
        if self._paused and self._outstanding < MAX_OUTSTANDING // 2:
            self._paused = False
            self.connection.resume()

    def _send(self, answer: rpc.Answer) -> None:
        self.connection.send(rpc.encode(answer))

    def _propose(self, request: rpc.Propose) -> None:
        number = request.id
        try:
            self._replica.propose(
                request.command,
                lambda got: self._end(
                    rpc.Failed(number, rpc.RETRY, got.value)
                    if isinstance(got, Lost)
                    else rpc.Result(number, got)
                ),
            )
        except ValueError as error:
            self._end(rpc.Failed(number, rpc.INVALID, str(error)))

    def _members(self, request: rpc.ListMembers | rpc.ChangeMembers) -> None:
        number = request.id
        if isinstance(request, rpc.ListMembers):
            if request.serializable:
                self._answer_members(number, 0)
            else:
                self._replica.read_index(lambda got: self._answer_members(number, got))
        elif isinstance(request.change, ReplaceMember):
            self._end(rpc.Failed(number, rpc.INVALID, "only the leader replaces members"))
        else:
            self._replica.change_members(
                request.change, lambda got: self._end(members_answer(number, got))
            )

    def _answer_members(self, number: int, index: int | Lost) -> None:
        if isinstance(index, Lost):
            self._end(rpc.Failed(number, rpc.RETRY, index.value))
        else:
            self._end(rpc.Members(number, self._replica.members()))

    def _read(self, request: rpc.Read) -> None:
        if request.serializable:
            self._answer_read(request, 0)
        else:
            self._replica.read_index(lambda got: self._answer_read(request, got))

    def _answer_read(self, request: rpc.Read, index: int | Lost) -> None:
        number = request.id
        if isinstance(index, Lost):
            self._end(rpc.Failed(number, rpc.RETRY, index.value))
            return
        try:
            self._end(rpc.Found(number, self._replica.state.range(request.range)))
        except CompactedError as error:
            self._end(rpc.Failed(number, rpc.COMPACTED, str(error), error.compact_revision))
        except FutureRevisionError as error:
            self._end(rpc.Failed(number, rpc.FUTURE_REVISION, str(error)))

    def _watch(self, request: rpc.Watch, tasks: asyncio.TaskGroup) -> None:
        watcher = self._replica.hub.watch(request.key, request.end, request.revision)
        push = Push(
            request, watcher, self.connection, self._server.encoded, self._watch_ended, tasks
        )
        self._watches[request.id] = push
        push.begin()

    def _watch_ended(self, why: rpc.Failed) -> None:
        self._watches.pop(why.id, None)
        self._send(why)

    async def _send_snapshot(self, number: int) -> None:
        """Send a snapshot; who stalls is sent away, for until the end no garbage is freed."""
        try:
            async with contextlib.aclosing(snapshot_bytes(self._replica)) as pieces:
                async for data in pieces:
                    self._send(rpc.Piece(number, data))
                    async with asyncio.timeout(_STALLED_S):
                        await self.connection.drained()
            self._send(rpc.Piece(number, b""))
        except UnavailableError as error:
            self._send(rpc.Failed(number, rpc.RETRY, str(error)))
        except TimeoutError:
            self.connection.close()
        finally:
            self._backup = None


def may_use(identity: Identity) -> bool:
    """Whether a certificate opens the store."""
    return (
        identity.user in ("system:apiserver", "system:store") or "system:masters" in identity.groups
    )
