"""etcd's Cluster service: who the members are, and how that changes.

As in etcd, headers tell no revision here.
"""

import asyncio
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

import grpc

from wherry.store.etcd_door import Door, RefusedError, served
from wherry.store.kv import Range
from wherry.store.membership import (
    AddMember,
    MemberError,
    MemberInfo,
    PromoteMember,
    RemoveMember,
    UpdateMember,
)
from wherry.store.net import host_port
from wherry.store.raft.machine import Lost
from wherry.wire.etcd import rpc_pb2, rpc_pb2_grpc

_CHANGE_S: Final = 10.0


class Cluster(rpc_pb2_grpc.ClusterServicer):
    """See the module."""

    def __init__(self, door: Door) -> None:
        self.door = door

    @served
    async def MemberList(self, request: rpc_pb2.MemberListRequest) -> rpc_pb2.MemberListResponse:
        """List the members."""
        if request.linearizable:
            await self.door.store.range(Range(b"\0", count_only=True))
        return rpc_pb2.MemberListResponse(
            header=self.door.header(0), members=self._messages(self.door.replica.members())
        )

    @served
    async def MemberAdd(self, request: rpc_pb2.MemberAddRequest) -> rpc_pb2.MemberAddResponse:
        """Add a member, which may start when this is answered."""
        peer = peer_of(request.peerURLs)
        before = {one.id for one in self.door.replica.members()}
        members = await self._change(AddMember("", peer, request.isLearner))
        added = next((one for one in members if one.peer == peer), None)
        if added is None:
            added = next(one for one in members if one.id not in before)
        return rpc_pb2.MemberAddResponse(
            header=self.door.header(0),
            member=self._message(added),
            members=self._messages(members),
        )

    @served
    async def MemberRemove(
        self, request: rpc_pb2.MemberRemoveRequest
    ) -> rpc_pb2.MemberRemoveResponse:
        """Remove a member for good."""
        members = await self._change(RemoveMember(request.ID))
        return rpc_pb2.MemberRemoveResponse(
            header=self.door.header(0), members=self._messages(members)
        )

    @served
    async def MemberUpdate(
        self, request: rpc_pb2.MemberUpdateRequest
    ) -> rpc_pb2.MemberUpdateResponse:
        """Give a member another address."""
        members = await self._change(UpdateMember(request.ID, peer_of(request.peerURLs)))
        return rpc_pb2.MemberUpdateResponse(
            header=self.door.header(0), members=self._messages(members)
        )

    @served
    async def MemberPromote(
        self, request: rpc_pb2.MemberPromoteRequest
    ) -> rpc_pb2.MemberPromoteResponse:
        """Make a voter of a learner."""
        members = await self._change(PromoteMember(request.ID))
        return rpc_pb2.MemberPromoteResponse(
            header=self.door.header(0), members=self._messages(members)
        )

    async def _change(
        self, change: AddMember | PromoteMember | RemoveMember | UpdateMember
    ) -> tuple[MemberInfo, ...]:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[tuple[MemberInfo, ...] | MemberError | Lost] = loop.create_future()

        def reply(got: tuple[MemberInfo, ...] | MemberError | Lost) -> None:
            if not done.done():
                done.set_result(got)

        self.door.replica.change_members(change, reply)
        try:
            async with asyncio.timeout(_CHANGE_S):
                got = await done
        except TimeoutError:
            got = Lost.UNKNOWN
        if isinstance(got, Lost | MemberError):
            raise refused(got)
        return got

    def _messages(self, members: Sequence[MemberInfo]) -> list[rpc_pb2.Member]:
        return [self._message(one) for one in members]

    def _message(self, member: MemberInfo) -> rpc_pb2.Member:
        """Describe a member; where it serves clients is guessed: at its host, at our port."""
        options = self.door.options
        own_host, port = host_port(options.listen)
        peer = member.peer or options.peers.get(member.name, "")
        host = host_port(peer)[0] if peer else own_host
        scheme = "https" if options.tls else "http"
        return rpc_pb2.Member(
            ID=member.id,
            name=member.name,
            peerURLs=[f"https://{peer}"] if peer else [],
            clientURLs=[f"{scheme}://{host}:{port}"] if member.name else [],
            isLearner=member.learner,
        )


def refused(got: MemberError | Lost) -> RefusedError:
    """Return how etcd tells why members did not change, or the leader did not."""
    match got:
        case MemberError(code, message):
            return RefusedError(grpc.StatusCode[code], message)
        case Lost.NOT_LEADER:
            return RefusedError(grpc.StatusCode.UNAVAILABLE, "etcdserver: no leader")
        case _:
            return RefusedError(grpc.StatusCode.UNAVAILABLE, "etcdserver: request timed out")


def peer_of(urls: Sequence[str]) -> str:
    """Return `host:port` of the one URL that a member may have."""
    try:
        (url,) = urls
        parts = urlsplit(url)
        if parts.scheme in ("http", "https") and parts.hostname and parts.port and not parts.path:
            return parts.netloc
    except ValueError:
        pass  # not one, or none
    raise RefusedError(
        grpc.StatusCode.INVALID_ARGUMENT, "etcdserver: given member URLs are invalid"
    )
