"""Three members through etcd's door: who they are, who leads, hashes, and who may come in."""

import asyncio
import contextlib
import os
import ssl
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import grpc
import pytest
from store_process import ETCDCTL_PATIENT, PATIENT, CountedSockets, Processes
from store_recorder import TRIES

from wherry.api.errors import UnavailableError
from wherry.pki.tls import client_context
from wherry.process.clock import SystemClock
from wherry.store.client import StoreClient
from wherry.store.kv import Range
from wherry.wire.etcd import rpc_pb2 as m
from wherry.wire.etcd import rpc_pb2_grpc

pytestmark = pytest.mark.integration
CLOCK = SystemClock()


class Door:
    """Stubs of one member."""

    def __init__(self, processes: Processes, name: str, who: str = "admin") -> None:
        tls = processes.tls(who)
        self.channel = grpc.secure_channel(
            processes.etcd(name),
            grpc.ssl_channel_credentials(
                tls.ca.read_bytes(), tls.key.read_bytes(), tls.cert.read_bytes()
            ),
        )
        self.kv: Any = rpc_pb2_grpc.KVStub(self.channel)
        self.cluster: Any = rpc_pb2_grpc.ClusterStub(self.channel)
        self.maintenance: Any = rpc_pb2_grpc.MaintenanceStub(self.channel)

    def status(self) -> m.StatusResponse:
        response: m.StatusResponse = self.maintenance.Status(m.StatusRequest())
        return response


@pytest.fixture(scope="module")
def processes() -> Iterator[Processes]:
    made = Processes(3, flags=PATIENT)
    with contextlib.closing(made):
        made.start_all()
        yield made


@pytest.fixture
def doors(processes: Processes) -> Iterator[list[Door]]:
    made = [Door(processes, name) for name in processes.names]
    for door in made:
        door.kv.Range(m.RangeRequest(key=b"-"), timeout=90, wait_for_ready=True)
    yield made
    for door in made:
        door.channel.close()


def agreed(doors: list[Door]) -> int:
    """Wait until all name the same leader; return its id. An election may be under way."""
    deadline = CLOCK.monotonic() + 60
    while len(named := {door.status().leader for door in doors}) != 1 or 0 in named:
        assert CLOCK.monotonic() < deadline, named
    (leader,) = named
    return leader


def test_every_member_tells_the_same_of_all(doors: list[Door]) -> None:
    for number in range(50):
        doors[0].kv.Put(m.PutRequest(key=b"/k/%d" % number, value=b"v"))
    doors[0].kv.DeleteRange(m.DeleteRangeRequest(key=b"/k/7"))
    revision = doors[0].kv.Put(m.PutRequest(key=b"/last")).header.revision
    for door in doors:
        door.kv.Range(m.RangeRequest(key=b"-"))  # linearizable: it is there now
    for request in (m.HashKVRequest(revision=revision), m.HashKVRequest(revision=revision - 20)):
        hashes = {door.maintenance.HashKV(request).hash for door in doors}
        assert len(hashes) == 1
    agreed(doors)
    lists = [door.cluster.MemberList(m.MemberListRequest(linearizable=True)) for door in doors]
    assert len({tuple((one.ID, one.name) for one in each.members) for each in lists}) == 1
    ids = {member.ID for member in lists[0].members}
    assert ids == {door.status().header.member_id for door in doors}


def test_the_leader_is_moved(doors: list[Door]) -> None:
    leader = agreed(doors)
    of = {door.status().header.member_id: door for door in doors}
    target = next(number for number in of if number != leader)
    with pytest.raises(grpc.RpcError) as refused:
        of[target].maintenance.MoveLeader(m.MoveLeaderRequest(targetID=target))
    assert refused.value.details() == "etcdserver: not leader"
    with pytest.raises(grpc.RpcError) as unknown:
        of[leader].maintenance.MoveLeader(m.MoveLeaderRequest(targetID=99))
    assert unknown.value.details() == "etcdserver: bad leader transferee"
    for _ in range(TRIES):
        of[leader].maintenance.MoveLeader(m.MoveLeaderRequest(targetID=target))
        leader = of[target].status().leader
        if leader == target:
            return
        leader = agreed(doors)
        target = next(number for number in of if number != leader)
    raise AssertionError("it did not lead")


def test_a_learner_comes_and_goes(doors: list[Door], processes: Processes) -> None:
    url = "https://127.0.0.1:9"
    added = doors[1].cluster.MemberAdd(m.MemberAddRequest(peerURLs=[url], isLearner=True))
    assert (added.member.isLearner, list(added.member.peerURLs)) == (True, [url])
    assert len(added.members) == 4
    texts = []
    calls: tuple[Callable[[], Any], ...] = (
        lambda: doors[0].cluster.MemberAdd(m.MemberAddRequest(peerURLs=[url], isLearner=True)),
        lambda: doors[0].cluster.MemberPromote(m.MemberPromoteRequest(ID=added.member.ID)),
        lambda: doors[0].cluster.MemberPromote(
            m.MemberPromoteRequest(ID=doors[0].status().header.member_id)
        ),
    )
    for call in calls:
        with pytest.raises(grpc.RpcError) as refused:
            call()
        texts.append(refused.value.details())
    assert texts == [
        "etcdserver: Peer URLs already exists",
        "etcdserver: can only promote a learner member which is in sync with leader",
        "etcdserver: can only promote a learner member",
    ]
    left = doors[2].cluster.MemberRemove(m.MemberRemoveRequest(ID=added.member.ID))
    assert {member.name for member in left.members} == set(processes.names)


def test_a_snapshot_that_etcdctl_saved_is_one_of_ours(processes: Processes, tmp_path: Path) -> None:
    tls, saved = processes.tls("admin"), tmp_path / "saved"
    flags = ("--cacert", str(tls.ca), "--cert", str(tls.cert), "--key", str(tls.key))
    words = ("--endpoints", processes.etcd("m1"), "snapshot", "save", str(saved))
    subprocess.run(
        ["etcdctl", *ETCDCTL_PATIENT, *flags, *words],
        check=True,
        capture_output=True,
        timeout=90,
        env={**os.environ, "ETCDCTL_API": "3"},
    )
    done = subprocess.run(
        [*processes.wrapper, "store", "snapshot", "status", str(saved)],
        check=False,
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert done.returncode == 0, done.stdout + done.stderr


# ---- roles: a node's certificate opens nothing


def test_a_nodes_certificate_opens_no_door(processes: Processes, doors: list[Door]) -> None:
    assert doors
    kubelet = Door(processes, "m1", "nobody")
    for call in (
        lambda: kubelet.kv.Range(m.RangeRequest(key=b"/")),
        lambda: kubelet.cluster.MemberList(m.MemberListRequest()),
        lambda: list(kubelet.maintenance.Snapshot(m.SnapshotRequest())),
        lambda: kubelet.maintenance.Defragment(m.DefragmentRequest()),
    ):
        with pytest.raises(grpc.RpcError) as refused:
            call()
        assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
    kubelet.channel.close()

    async def rpc(who: str, timeout_s: float) -> None:
        network = CountedSockets(client_tls=client_context(processes.tls(who)))
        client = StoreClient([processes.rpc("m1")], network, Random(), timeout_s=timeout_s)
        try:
            await client.range(Range(b"/"))
        finally:
            await client.close()
            await network.ended()

    asyncio.run(rpc("admin", 60))
    with pytest.raises(UnavailableError):
        asyncio.run(rpc("nobody", 2))


@pytest.mark.parametrize("who", ["nobody", "admin"])
def test_members_talk_to_members_only(processes: Processes, doors: list[Door], who: str) -> None:
    """Another certificate of the cluster is hung up on, whatever it says that it is."""
    assert doors

    async def knock() -> bytes:
        host, _, port = processes.peer("m1").rpartition(":")
        context = client_context(processes.tls(who), check_hostname=False)
        reader, writer = await asyncio.open_connection(host, int(port), ssl=context)
        hello = b"\x94\x01\xb0" + b"0" * 16 + b"\xa2m2\xa2m1"
        writer.write(len(hello).to_bytes(4, "little") + hello)
        try:
            async with asyncio.timeout(60):
                return await reader.read(1)
        except (ConnectionResetError, ssl.SSLError):
            return b""
        finally:
            writer.transport.abort()
            with contextlib.suppress(OSError):  # TLS says no word of farewell then
                await writer.wait_closed()

    assert asyncio.run(knock()) == b""


def test_without_a_certificate_there_is_no_way_in(processes: Processes, doors: list[Door]) -> None:
    assert doors
    ca = processes.tls("admin").ca.read_bytes()
    with grpc.secure_channel(processes.etcd("m1"), grpc.ssl_channel_credentials(ca)) as channel:
        stub: Any = rpc_pb2_grpc.KVStub(channel)
        with pytest.raises(grpc.RpcError) as refused:
            stub.Range(m.RangeRequest(key=b"/"), timeout=60)
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


def test_the_socket_is_its_owners(processes: Processes, doors: list[Door]) -> None:
    assert doors
    status = Path(processes.socket("m1").removeprefix("unix://")).stat()
    assert stat.S_IMODE(status.st_mode) == 0o600
    assert status.st_uid == os.getuid()
