"""The side door: etcd's v3 gRPC API on port 2379, for etcdctl, flannel and curious people.

Not on the hot path: grpc.aio costs several times the CPU of the framed door. Reads and
writes go through a `StoreClient` like everybody else's, so they are retried and applied once;
watches are served from the local replica. One module for each of etcd's services:

    etcd_kv  etcd_watch  etcd_lease  etcd_cluster  etcd_maintenance  etcd_auth
    etcd_lock  etcd_election         over what they share: etcd_door, etcd_wire
"""

import ipaddress
from collections.abc import AsyncIterator
from typing import Final

import grpc

from wherry.api.errors import ConfigError
from wherry.store.client import StoreClient
from wherry.store.etcd_auth import add_auth
from wherry.store.etcd_cluster import Cluster
from wherry.store.etcd_door import Context, Door, EtcdOptions
from wherry.store.etcd_election import Election
from wherry.store.etcd_kv import KV
from wherry.store.etcd_lease import Lease
from wherry.store.etcd_lock import Lock
from wherry.store.etcd_maintenance import Maintenance
from wherry.store.etcd_watch import WatchSession
from wherry.store.net import host_port
from wherry.store.renewal import server_credentials
from wherry.store.replica import Replica
from wherry.wire.etcd import (
    election_pb2_grpc,
    lock_pb2_grpc,
    rpc_pb2,
    rpc_pb2_grpc,
)

MAX_MESSAGE_BYTES: Final = 64 << 20
_DRAIN_S: Final = 1.0


class EtcdServer:
    """The gRPC server of one replica."""

    def __init__(self, replica: Replica, store: StoreClient, options: EtcdOptions) -> None:
        if options.tls is None and not _is_loopback(options.listen):
            raise ConfigError(
                f"{options.listen} is not a loopback address: etcd's API needs certificates there"
            )
        self._options = options
        self._door = Door(replica, store, options)

    async def run(self) -> None:
        """Serve until cancelled."""
        server = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
                ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
                ("grpc.so_reuseport", 0),
            ]
        )
        door = self._door
        rpc_pb2_grpc.add_KVServicer_to_server(KV(door), server)
        rpc_pb2_grpc.add_WatchServicer_to_server(Watch(door), server)
        rpc_pb2_grpc.add_LeaseServicer_to_server(Lease(door), server)
        rpc_pb2_grpc.add_ClusterServicer_to_server(Cluster(door), server)
        rpc_pb2_grpc.add_MaintenanceServicer_to_server(Maintenance(door), server)
        add_auth(door, server)
        lock_pb2_grpc.add_LockServicer_to_server(Lock(door), server)
        election_pb2_grpc.add_ElectionServicer_to_server(Election(door), server)
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
                server.add_secure_port(listen, server_credentials(tls))
        except (RuntimeError, OSError) as error:
            raise ConfigError(f"cannot listen on {listen}: {error}") from error


class Watch(rpc_pb2_grpc.WatchServicer):
    """etcd's Watch service; what a stream does is `WatchSession`'s."""

    def __init__(self, door: Door) -> None:
        self.door = door

    async def Watch(
        self, request_iterator: AsyncIterator[rpc_pb2.WatchRequest], context: Context
    ) -> AsyncIterator[rpc_pb2.WatchResponse]:
        """Serve one stream."""
        await self.door.authorize(context)
        session = WatchSession(self.door.replica.hub, self.door.header)
        async for response in session.serve(request_iterator):
            yield response


def _is_loopback(listen: str) -> bool:
    host, _ = host_port(listen)
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
