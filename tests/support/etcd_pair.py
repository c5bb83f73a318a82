"""The same requests to our etcd door and to Debian's etcd, each fresh: what differs in the answers?

Both begin at revision 1 and get the same, so revisions must be equal; ids of cluster, member
and term, and what is measured in bytes, are left out.
"""

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import text_format
from google.protobuf.message import Message
from ports import claim
from store_process import Processes

from wherry.wire.etcd import election_pb2_grpc, lock_pb2_grpc, rpc_pb2, rpc_pb2_grpc


@dataclass(frozen=True)
class Server:
    """One of the two."""

    name: str
    endpoint: str
    flags: tuple[str, ...]  # for etcdctl
    channel: grpc.Channel

    @property
    def kv(self) -> Any:
        return rpc_pb2_grpc.KVStub(self.channel)

    @property
    def watch(self) -> Any:
        return rpc_pb2_grpc.WatchStub(self.channel)

    @property
    def lease(self) -> Any:
        return rpc_pb2_grpc.LeaseStub(self.channel)

    @property
    def cluster(self) -> Any:
        return rpc_pb2_grpc.ClusterStub(self.channel)

    @property
    def maintenance(self) -> Any:
        return rpc_pb2_grpc.MaintenanceStub(self.channel)

    @property
    def lock(self) -> Any:
        return lock_pb2_grpc.LockStub(self.channel)

    @property
    def election(self) -> Any:
        return election_pb2_grpc.ElectionStub(self.channel)


@contextlib.contextmanager
def ours() -> Iterator[Server]:
    """A store of one member, and its etcd door."""
    processes = Processes(1)
    with contextlib.closing(processes):
        processes.start_all()
        tls = processes.tls("admin")
        credentials = grpc.ssl_channel_credentials(
            tls.ca.read_bytes(), tls.key.read_bytes(), tls.cert.read_bytes()
        )
        endpoint = processes.etcd("m1")
        flags = ("--cacert", str(tls.ca), "--cert", str(tls.cert), "--key", str(tls.key))
        with grpc.secure_channel(endpoint, credentials) as channel:
            yield _ready(Server("ours", endpoint, flags, channel))


@contextlib.contextmanager
def real() -> Iterator[Server]:
    """Debian's etcd, one member."""
    directory = Path(tempfile.mkdtemp(prefix="wherry-etcd-"))
    client, peer = claim(2)
    url, peer_url = f"http://127.0.0.1:{client}", f"http://127.0.0.1:{peer}"
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                *("etcd", "--name", "m1", "--data-dir", str(directory / "data")),
                *("--listen-client-urls", url, "--advertise-client-urls", url),
                *("--listen-peer-urls", peer_url, "--initial-advertise-peer-urls", peer_url),
                *("--initial-cluster", f"m1={peer_url}", "--log-level", "error"),
            ],
            stdout=log,
            stderr=log,
        )
    try:
        endpoint = f"127.0.0.1:{client}"
        with grpc.insecure_channel(endpoint) as channel:
            yield _ready(Server("etcd", endpoint, (), channel))
    finally:
        process.kill()
        process.wait(timeout=60)
        shutil.rmtree(directory, ignore_errors=True)


def _ready(server: Server) -> Server:
    server.kv.Range(rpc_pb2.RangeRequest(key=b"-"), timeout=90, wait_for_ready=True)
    return server


@contextlib.contextmanager
def pair() -> Iterator[tuple[Server, Server]]:
    """Both, fresh."""
    with ours() as one, real() as other:
        yield one, other


def told(message: Message) -> str:
    """Return what a message says, without what differs from cluster to cluster."""
    copy = type(message)()
    copy.CopyFrom(message)
    _strip(copy)
    return text_format.MessageToString(copy, as_one_line=True)


def _strip(message: Message) -> None:
    if isinstance(message, rpc_pb2.ResponseHeader):
        message.ClearField("cluster_id")
        message.ClearField("member_id")
        message.ClearField("raft_term")
        return
    for _, value in message.ListFields():
        if isinstance(value, Message):
            _strip(value)
        elif not isinstance(value, bytes | str | int):
            for one in value:
                if isinstance(one, Message):
                    _strip(one)


def asked(call: Callable[[Server], Message], server: Server) -> str:
    """Return the answer of a call, or its error as clients see it."""
    try:
        return told(call(server))
    except grpc.RpcError as error:
        return f"{error.code().name}: {error.details()}"


def differences(
    servers: tuple[Server, Server], calls: Sequence[tuple[str, Callable[[Server], Message]]]
) -> list[str]:
    """Make the same calls, in order, on both; return where they part."""
    found = []
    for name, call in calls:
        mine, theirs = (asked(call, one) for one in servers)
        if mine != theirs:
            found.append(f"{name}\n    ours: {mine}\n    etcd: {theirs}")
    return found
