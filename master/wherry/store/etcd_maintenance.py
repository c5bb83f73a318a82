"""etcd's Maintenance service."""

import asyncio
import contextlib
import logging
import zlib
from collections.abc import AsyncIterator
from typing import Final

from wherry.store.backup import snapshot_bytes
from wherry.store.entry import NOSPACE
from wherry.store.etcd_cluster import refused
from wherry.store.etcd_door import Door, served, streamed
from wherry.store.image import ReplacedError
from wherry.store.kv import CompactedError, FutureRevisionError, KeyValue, Range
from wherry.store.membership import TRANSFER_TIMEOUT, MemberError
from wherry.store.mvcc import MvccState
from wherry.store.raft.machine import Lost
from wherry.wire.etcd import rpc_pb2, rpc_pb2_grpc

log = logging.getLogger(__name__)
VERSION: Final = "3.5.0"  # the API that is spoken
_ALARMS: Final = {NOSPACE: "NOSPACE", int(rpc_pb2.CORRUPT): "CORRUPT"}
_MOVE_S: Final = 5.0
_AT_ONCE: Final = 1000  # keys, or revisions, that are hashed before others get their turn


class Maintenance(rpc_pb2_grpc.MaintenanceServicer):
    """See the module."""

    def __init__(self, door: Door) -> None:
        self.door = door

    @served
    async def Status(self, _request: rpc_pb2.StatusRequest) -> rpc_pb2.StatusResponse:
        """Describe the member that is asked."""
        replica = self.door.replica
        member = replica.status()
        members = replica.members()
        size = replica.state.size_bytes
        leader = next((one.id for one in members if one.key == member.leader), 0)
        errors = [] if member.leader else ["etcdserver: no leader"]
        errors += [
            f"memberID:{number} alarm:{_ALARMS.get(kind, kind)} "  # as etcd prints an AlarmMember
            for number, kind in sorted(replica.state.alarms)
        ]
        return rpc_pb2.StatusResponse(
            header=self.door.header(),
            version=VERSION,
            dbSize=size,
            dbSizeInUse=size,
            leader=leader,
            raftIndex=member.index,
            raftTerm=member.term,
            raftAppliedIndex=member.applied,
            isLearner=any(one.learner for one in members if one.id == replica.member_id),
            errors=errors,
        )

    @served
    async def Alarm(self, request: rpc_pb2.AlarmRequest) -> rpc_pb2.AlarmResponse:
        """List alarms, raise one, or end one. Under NOSPACE nothing is written but deletions."""
        if request.action == rpc_pb2.AlarmRequest.GET:
            await self.door.store.range(Range(b"\0", count_only=True))
            raised = [
                one
                for one in sorted(self.door.replica.state.alarms)
                if request.alarm in (rpc_pb2.NONE, one[1])
            ]
        else:
            if request.alarm not in _ALARMS:
                raise ValueError("etcdserver: unknown alarm")
            active = request.action == rpc_pb2.AlarmRequest.ACTIVATE
            known = (request.memberID, request.alarm) in self.door.replica.state.alarms
            raised = [(request.memberID, request.alarm)] if active or known else []
            if request.alarm in (NOSPACE, rpc_pb2.CORRUPT):
                await self.door.store.alarm(request.memberID, request.alarm, active=active)
                log.warning("alarm", extra={"member": f"{request.memberID:x}", "active": active})
        return rpc_pb2.AlarmResponse(
            alarms=[
                rpc_pb2.AlarmMember(memberID=one, alarm=rpc_pb2.AlarmType.Value(_ALARMS[kind]))
                for one, kind in raised
            ],
        )

    @served
    async def Defragment(self, _request: rpc_pb2.DefragmentRequest) -> rpc_pb2.DefragmentResponse:
        """Do nothing: there is no database file with holes, the state is in memory."""
        log.info("nothing to defragment: the log is trimmed and snapshots are written anew")
        return rpc_pb2.DefragmentResponse()

    @served
    async def Hash(self, _request: rpc_pb2.HashRequest) -> rpc_pb2.HashResponse:
        """Hash all of the state: equal where as much was applied."""
        return rpc_pb2.HashResponse(
            header=self.door.header(), hash=zlib.crc32(self.door.replica.state.digest().encode())
        )

    @served
    async def HashKV(self, request: rpc_pb2.HashKVRequest) -> rpc_pb2.HashKVResponse:
        """Hash keys up to a revision: equal on all members that compacted as far."""
        state = self.door.replica.state
        revision = request.revision if request.revision > 0 else state.revision
        if revision > state.revision:
            raise FutureRevisionError("etcdserver: mvcc: required revision is a future revision")
        if 0 < request.revision <= state.compact_revision:
            raise CompactedError(state.compact_revision)
        compacted = state.compact_revision
        return rpc_pb2.HashKVResponse(
            hash=await hash_kv(state, revision),
            header=self.door.header(),
            compact_revision=compacted or -1,
            hash_revision=revision,
        )

    @streamed
    async def Snapshot(
        self, _request: rpc_pb2.SnapshotRequest
    ) -> AsyncIterator[rpc_pb2.SnapshotResponse]:
        """Send a snapshot: the bytes of a `.snap` file, for `wherry store snapshot restore`."""
        await self.door.store.range(Range(b"\0", count_only=True))
        header = self.door.header()
        async with contextlib.aclosing(snapshot_bytes(self.door.replica)) as pieces:
            async for data in pieces:
                yield rpc_pb2.SnapshotResponse(header=header, blob=data)

    @served
    async def MoveLeader(self, request: rpc_pb2.MoveLeaderRequest) -> rpc_pb2.MoveLeaderResponse:
        """Have another member lead; only the leader does that."""
        done: asyncio.Future[MemberError | Lost | None] = asyncio.get_running_loop().create_future()

        def reply(got: MemberError | Lost | None) -> None:
            if not done.done():
                done.set_result(got)

        self.door.replica.move_leader(request.targetID, reply)
        try:
            async with asyncio.timeout(_MOVE_S):
                got = await done
        except TimeoutError:
            got = TRANSFER_TIMEOUT
        if got is not None:
            raise refused(got)
        return rpc_pb2.MoveLeaderResponse(header=self.door.header())


async def hash_kv(state: MvccState, revision: int) -> int:
    """Hash what keys held when the state was compacted, and every change since to `revision`.

    Raises:
        ReplacedError: another member's snapshot took the place of the state meanwhile.
    """
    compacted, replaced, total = state.compact_revision, state.replaced, 0
    state.pins += 1
    try:
        for count, key in enumerate(state.all_keys()):
            kv = state.peek(key, compacted)
            if kv is not None:
                total = zlib.crc32(_line(kv), total)
            if count % _AT_ONCE == _AT_ONCE - 1:
                await _pause(state, replaced)
        for count, events in enumerate(state.kept_events(compacted, revision)):
            for event in events:
                total = zlib.crc32(_line(event.kv), total)
            if count % _AT_ONCE == _AT_ONCE - 1:
                await _pause(state, replaced)
    finally:
        state.pins -= 1
    return total


async def _pause(state: MvccState, replaced: int) -> None:
    await asyncio.sleep(0)
    if state.replaced != replaced:
        raise ReplacedError("a snapshot took the place of the state")


def _line(kv: KeyValue) -> bytes:
    numbers = f"{kv.create_revision} {kv.mod_revision} {kv.version} {kv.lease}"
    return b"%d %b %d %b %b" % (len(kv.key), kv.key, len(kv.value), kv.value, numbers.encode())
