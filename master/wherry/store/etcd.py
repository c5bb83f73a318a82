"""The side door: etcd's v3 gRPC API on port 2379, for etcdctl, flannel and curious people.

Not on the hot path: grpc.aio costs several times the CPU of the framed door. Reads and
writes go through a `StoreClient` like everybody else's, so they are retried and applied once;
watches are served from the local replica. Codes and texts of errors are etcd's, for its
clients look at them.
"""

import functools
import ipaddress
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import grpc

from wherry.api.errors import ConfigError, TooLargeError, UnavailableError
from wherry.pki.tls import TlsFiles
from wherry.store import etcd_wire as wire
from wherry.store.client import StoreClient
from wherry.store.entry import LeaseExistsError
from wherry.store.etcd_watch import WatchSession
from wherry.store.kv import (
    CompactedError,
    Compare,
    DeleteRange,
    DeleteResult,
    FutureRevisionError,
    KeyValue,
    LeaseNotFoundError,
    Op,
    Put,
    PutResult,
    Range,
    Target,
    TxnResult,
)
from wherry.store.net import Identity, host_port
from wherry.store.replica import Replica
from wherry.store.server import may_use
from wherry.wire.etcd import rpc_pb2, rpc_pb2_grpc

VERSION: Final = "3.5.0"  # the API that is spoken
MAX_TXN_OPS: Final = 4096
MAX_LEASE_TTL_S: Final = 9_000_000_000
MAX_MESSAGE_BYTES: Final = 64 << 20
_DRAIN_S: Final = 1.0

Request = TypeVar("Request")
Response = TypeVar("Response")
Context = grpc.aio.ServicerContext[Any, Any]
_ERRORS: Final[Mapping[type[Exception], tuple[grpc.StatusCode, str]]] = {
    CompactedError: (
        grpc.StatusCode.OUT_OF_RANGE,
        "etcdserver: mvcc: required revision has been compacted",
    ),
    FutureRevisionError: (
        grpc.StatusCode.OUT_OF_RANGE,
        "etcdserver: mvcc: required revision is a future revision",
    ),
    LeaseNotFoundError: (grpc.StatusCode.NOT_FOUND, "etcdserver: requested lease not found"),
    LeaseExistsError: (grpc.StatusCode.FAILED_PRECONDITION, "etcdserver: lease already exists"),
    TooLargeError: (grpc.StatusCode.INVALID_ARGUMENT, "etcdserver: request is too large"),
    UnavailableError: (grpc.StatusCode.UNAVAILABLE, "etcdserver: request timed out"),
}


@dataclass(frozen=True, slots=True)
class EtcdOptions:
    """Where to listen, and what `member list` shows.

    Attributes:
        listen: `host:port`.
        tls: Certificates; None is allowed on loopback only.
        peers: Peer address of each member, by name.
    """

    listen: str
    tls: TlsFiles | None
    peers: Mapping[str, str]


class EtcdServer:
    """The gRPC server of one replica."""

    def __init__(self, replica: Replica, store: StoreClient, options: EtcdOptions) -> None:
        if options.tls is None and not _is_loopback(options.listen):
            raise ConfigError(
                f"{options.listen} is not a loopback address: etcd's API needs certificates there"
            )
        self._replica = replica
        self._store = store
        self._options = options

    async def run(self) -> None:
        """Serve until cancelled."""
        server = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
                ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
                ("grpc.so_reuseport", 0),
            ]
        )
        door = _Door(self._replica, self._store, self._options)
        rpc_pb2_grpc.add_KVServicer_to_server(_KV(door), server)
        rpc_pb2_grpc.add_WatchServicer_to_server(_Watch(door), server)
        rpc_pb2_grpc.add_LeaseServicer_to_server(_Lease(door), server)
        rpc_pb2_grpc.add_ClusterServicer_to_server(_Cluster(door), server)
        rpc_pb2_grpc.add_MaintenanceServicer_to_server(_Maintenance(door), server)
        self._bind(server)
        await server.start()
        try:
            await server.wait_for_termination()
        finally:
            await server.stop(_DRAIN_S)

    def _bind(self, server: grpc.aio.Server) -> None:
        listen, tls = self._options.listen, self._options.tls
        try:
            if tls is None:
                server.add_insecure_port(listen)
            else:
                pair = (tls.key.read_bytes(), tls.cert.read_bytes())
                credentials = grpc.ssl_server_credentials(
                    [pair], root_certificates=tls.ca.read_bytes(), require_client_auth=True
                )
                server.add_secure_port(listen, credentials)
        except (RuntimeError, OSError) as error:
            raise ConfigError(f"cannot listen on {listen}: {error}") from error


class _Door:
    """What all services share: who may enter, headers, and how errors are told."""

    def __init__(self, replica: Replica, store: StoreClient, options: EtcdOptions) -> None:
        self.replica = replica
        self.store = store
        self.options = options
        self._known: dict[bytes, bool] = {}

    def header(self, revision: int | None = None) -> rpc_pb2.ResponseHeader:
        """Return the header of an answer."""
        return rpc_pb2.ResponseHeader(
            cluster_id=int(self.replica.config.cluster, 16),
            member_id=member_id(self.replica.config.name),
            revision=self.replica.state.revision if revision is None else revision,
            raft_term=self.replica.node.term,
        )

    async def authorize(self, context: Context) -> None:
        """Abort unless the client's certificate may use the store."""
        if self.options.tls is None:
            return
        pem = b"".join(context.auth_context().get("x509_pem_cert", ()))
        allowed = self._known.get(pem)
        if allowed is None:
            # Needs a library of 8 MB, which a store that no tool asks does without.
            from wherry.pki.certificates import identity

            user, groups = identity(pem)
            if len(self._known) > 256:
                self._known.clear()
            allowed = self._known[pem] = may_use(Identity(user, groups))
        if not allowed:
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, "etcdserver: permission denied")


def _served(
    method: Callable[[Any, Request], Awaitable[Response]],
) -> Callable[[Any, Request, Context], Awaitable[Response]]:
    """Make a gRPC method of one that raises the store's errors."""

    @functools.wraps(method)
    async def call(self: Any, request: Request, context: Context) -> Response:
        await self.door.authorize(context)
        try:
            return await method(self, request)
        except tuple(_ERRORS) as error:
            code, text = next(_ERRORS[kind] for kind in _ERRORS if isinstance(error, kind))
            return await context.abort(code, text)
        except ValueError as error:
            return await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))

    return call


class _KV(rpc_pb2_grpc.KVServicer):
    def __init__(self, door: _Door) -> None:
        self.door = door

    @_served
    async def Range(self, request: rpc_pb2.RangeRequest) -> rpc_pb2.RangeResponse:
        result = await self.door.store.range(
            wire.range_op(request), serializable=request.serializable
        )
        return wire.range_message(wire.arrange(request, result), self.door.header(result.revision))

    @_served
    async def Put(self, request: rpc_pb2.PutRequest) -> rpc_pb2.PutResponse:
        if request.ignore_value or request.ignore_lease:
            done = await self._update(request)
        else:
            done = await self.door.store.txn([], [wire.put_op(request)])
        previous = done.results[0] if request.prev_kv else None
        prev = previous.prev if isinstance(previous, PutResult) else None
        return rpc_pb2.PutResponse(
            header=self.door.header(done.revision), prev_kv=wire.kv_message(prev) if prev else None
        )

    async def _update(self, request: rpc_pb2.PutRequest) -> TxnResult:
        """Put a key that keeps its value or its lease: read, then write if it is unchanged."""
        while True:
            found = await self.door.store.range(Range(request.key))
            if not found.kvs:
                raise ValueError("etcdserver: key not found")
            current: KeyValue = found.kvs[0]
            put = Put(
                request.key,
                current.value if request.ignore_value else request.value,
                current.lease if request.ignore_lease else request.lease,
            )
            unchanged = Compare(request.key, Target.MOD, "=", current.mod_revision)
            done = await self.door.store.txn([unchanged], [put])
            if done.succeeded:
                return done

    @_served
    async def DeleteRange(self, request: rpc_pb2.DeleteRangeRequest) -> rpc_pb2.DeleteRangeResponse:
        op: DeleteRange = wire.delete_op(request)
        done = await self.door.store.txn([], [op])
        result = done.results[0]
        gone = result.deleted if isinstance(result, DeleteResult) else ()
        return rpc_pb2.DeleteRangeResponse(
            header=self.door.header(done.revision),
            deleted=len(gone),
            prev_kvs=[wire.kv_message(kv) for kv in gone] if request.prev_kv else [],
        )

    @_served
    async def Txn(self, request: rpc_pb2.TxnRequest) -> rpc_pb2.TxnResponse:
        if max(len(request.compare), len(request.success), len(request.failure)) > MAX_TXN_OPS:
            raise ValueError("etcdserver: too many operations in txn request")
        success: list[Op] = [wire.op(one) for one in request.success]
        failure: list[Op] = [wire.op(one) for one in request.failure]
        done = await self.door.store.txn(
            [wire.compare(one) for one in request.compare], success, failure
        )
        taken = request.success if done.succeeded else request.failure
        return rpc_pb2.TxnResponse(
            header=self.door.header(done.revision),
            succeeded=done.succeeded,
            responses=[
                wire.op_message(one, result, done.revision)
                for one, result in zip(taken, done.results, strict=True)
            ],
        )

    @_served
    async def Compact(self, request: rpc_pb2.CompactionRequest) -> rpc_pb2.CompactionResponse:
        await self.door.store.compact(request.revision)
        return rpc_pb2.CompactionResponse(header=self.door.header())


class _Watch(rpc_pb2_grpc.WatchServicer):
    def __init__(self, door: _Door) -> None:
        self.door = door

    async def Watch(
        self, request_iterator: AsyncIterator[rpc_pb2.WatchRequest], context: Context
    ) -> AsyncIterator[rpc_pb2.WatchResponse]:
        await self.door.authorize(context)
        session = WatchSession(self.door.replica.hub, self.door.header)
        async for response in session.serve(request_iterator):
            yield response


class _Lease(rpc_pb2_grpc.LeaseServicer):
    def __init__(self, door: _Door) -> None:
        self.door = door

    @_served
    async def LeaseGrant(self, request: rpc_pb2.LeaseGrantRequest) -> rpc_pb2.LeaseGrantResponse:
        if request.TTL > MAX_LEASE_TTL_S:
            raise ValueError("etcdserver: too large lease TTL")
        ttl_s = max(1, request.TTL)
        lease = await self.door.store.lease_grant(ttl_s, request.ID)
        return rpc_pb2.LeaseGrantResponse(header=self.door.header(), ID=lease, TTL=ttl_s)

    @_served
    async def LeaseRevoke(self, request: rpc_pb2.LeaseRevokeRequest) -> rpc_pb2.LeaseRevokeResponse:
        await self.door.store.lease_revoke(request.ID)
        return rpc_pb2.LeaseRevokeResponse(header=self.door.header())

    async def LeaseKeepAlive(
        self, request_iterator: AsyncIterator[rpc_pb2.LeaseKeepAliveRequest], context: Context
    ) -> AsyncIterator[rpc_pb2.LeaseKeepAliveResponse]:
        await self.door.authorize(context)
        async for request in request_iterator:
            try:
                ttl_s = await self.door.store.lease_keepalive(request.ID)
            except LeaseNotFoundError:
                ttl_s = 0  # how etcd says it here
            except UnavailableError as error:
                await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
            yield rpc_pb2.LeaseKeepAliveResponse(
                header=self.door.header(), ID=request.ID, TTL=ttl_s
            )

    @_served
    async def LeaseTimeToLive(
        self, request: rpc_pb2.LeaseTimeToLiveRequest
    ) -> rpc_pb2.LeaseTimeToLiveResponse:
        answer = rpc_pb2.LeaseTimeToLiveResponse(header=self.door.header(), ID=request.ID, TTL=-1)
        try:
            state = await self.door.store.lease_state(request.ID)
        except LeaseNotFoundError:
            return answer
        answer.TTL, answer.grantedTTL = int(state.remaining_s), state.ttl_s
        lease = self.door.replica.state.leases.get(request.ID)
        if request.keys and lease is not None:
            answer.keys.extend(sorted(lease.keys))
        return answer

    @_served
    async def LeaseLeases(
        self, _request: rpc_pb2.LeaseLeasesRequest
    ) -> rpc_pb2.LeaseLeasesResponse:
        await self.door.store.range(Range(b"\0", count_only=True))  # be up to date
        leases = sorted(self.door.replica.state.leases)
        return rpc_pb2.LeaseLeasesResponse(
            header=self.door.header(), leases=[rpc_pb2.LeaseStatus(ID=one) for one in leases]
        )


class _Cluster(rpc_pb2_grpc.ClusterServicer):
    def __init__(self, door: _Door) -> None:
        self.door = door

    @_served
    async def MemberList(self, _request: rpc_pb2.MemberListRequest) -> rpc_pb2.MemberListResponse:
        options = self.door.options
        scheme = "https" if options.tls else "http"
        own_host, port = host_port(options.listen)
        members = []
        for name in self.door.replica.config.members:
            peer = options.peers.get(name, "")
            host = host_port(peer)[0] if peer else own_host
            members.append(
                rpc_pb2.Member(
                    ID=member_id(name),
                    name=name,
                    peerURLs=[f"https://{peer}"] if peer else [],
                    clientURLs=[f"{scheme}://{host}:{port}"],
                )
            )
        return rpc_pb2.MemberListResponse(header=self.door.header(), members=members)


class _Maintenance(rpc_pb2_grpc.MaintenanceServicer):
    def __init__(self, door: _Door) -> None:
        self.door = door

    @_served
    async def Status(self, _request: rpc_pb2.StatusRequest) -> rpc_pb2.StatusResponse:
        member = self.door.replica.status()
        size = self.door.replica.state.size_bytes
        return rpc_pb2.StatusResponse(
            header=self.door.header(),
            version=VERSION,
            dbSize=size,
            dbSizeInUse=size,
            leader=member_id(member.leader) if member.leader else 0,
            raftIndex=member.index,
            raftTerm=member.term,
            raftAppliedIndex=member.applied,
            errors=[] if member.leader else ["etcdserver: no leader"],
        )

    @_served
    async def Alarm(self, _request: rpc_pb2.AlarmRequest) -> rpc_pb2.AlarmResponse:
        return rpc_pb2.AlarmResponse(header=self.door.header())

    @_served
    async def Defragment(self, _request: rpc_pb2.DefragmentRequest) -> rpc_pb2.DefragmentResponse:
        return rpc_pb2.DefragmentResponse(header=self.door.header())  # memory has no holes

    @_served
    async def Hash(self, _request: rpc_pb2.HashRequest) -> rpc_pb2.HashResponse:
        return rpc_pb2.HashResponse(
            header=self.door.header(), hash=zlib.crc32(self.door.replica.state.digest().encode())
        )

    @_served
    async def HashKV(self, request: rpc_pb2.HashKVRequest) -> rpc_pb2.HashKVResponse:
        state = self.door.replica.state
        if request.revision > state.revision:
            raise FutureRevisionError
        return rpc_pb2.HashKVResponse(
            header=self.door.header(),
            hash=zlib.crc32(state.digest().encode()),
            compact_revision=state.compact_revision,
            hash_revision=state.revision,
        )

    @_served
    async def MoveLeader(self, _request: rpc_pb2.MoveLeaderRequest) -> rpc_pb2.MoveLeaderResponse:
        if not self.door.replica.node.is_leader:
            raise ValueError("etcdserver: not leader")
        await self.door.replica.hand_over()
        return rpc_pb2.MoveLeaderResponse(header=self.door.header())


def member_id(name: str) -> int:
    """Return a member's number in etcd's API."""
    return (zlib.crc32(name.encode()) << 32) | zlib.crc32(name.encode()[::-1]) or 1


def _is_loopback(listen: str) -> bool:
    host, _ = host_port(listen)
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
