"""etcd's Election service: the first of those who campaign under a name leads.

It is the queue of `etcd_lock`, whose keys hold what a leader proclaims.
"""

import contextlib
from collections.abc import AsyncIterator

import grpc

from wherry.store import etcd_wire as wire
from wherry.store.etcd_door import Door, RefusedError, served, streamed
from wherry.store.etcd_lock import Queue
from wherry.store.kv import Compare, Put, Target, prefix_end
from wherry.wire.etcd import election_pb2, election_pb2_grpc


class Election(election_pb2_grpc.ElectionServicer):
    """See the module."""

    def __init__(self, door: Door) -> None:
        self.door = door

    @served
    async def Campaign(
        self, request: election_pb2.CampaignRequest
    ) -> election_pb2.CampaignResponse:
        """Wait until elected."""
        queue = Queue(self.door.store, request.name)
        mine = await queue.join(request.lease, request.value)
        if mine.value != request.value:
            await self._proclaim(mine.key, mine.create_revision, mine.lease, request.value)
        await queue.wait(mine)
        leader = election_pb2.LeaderKey(
            name=request.name, key=mine.key, rev=mine.create_revision, lease=mine.lease
        )
        return election_pb2.CampaignResponse(header=self.door.header(), leader=leader)

    @served
    async def Proclaim(
        self, request: election_pb2.ProclaimRequest
    ) -> election_pb2.ProclaimResponse:
        """Say something else as the leader."""
        leader = _given(request)
        await self._proclaim(leader.key, leader.rev, leader.lease, request.value)
        return election_pb2.ProclaimResponse(header=self.door.header())

    async def _proclaim(self, key: bytes, created: int, lease: int, value: bytes) -> None:
        same = Compare(key, Target.CREATE, "=", created)
        done = await self.door.store.txn([same], [Put(key, value, lease)])
        if not done.succeeded:
            raise RefusedError(grpc.StatusCode.UNKNOWN, "election: not leader")

    @served
    async def Leader(self, request: election_pb2.LeaderRequest) -> election_pb2.LeaderResponse:
        """Say who leads."""
        first, revision = await Queue(self.door.store, request.name).first()
        if first is None:
            raise RefusedError(grpc.StatusCode.UNKNOWN, "election: no leader")
        return election_pb2.LeaderResponse(
            header=self.door.header(revision), kv=wire.kv_message(first)
        )

    @streamed
    async def Observe(
        self, request: election_pb2.LeaderRequest
    ) -> AsyncIterator[election_pb2.LeaderResponse]:
        """Tell every leader, and all that it proclaims; what came and went between is left out."""
        queue = Queue(self.door.store, request.name)
        told = 0
        first, revision = await queue.first()
        watch = self.door.store.watch(queue.prefix, prefix_end(queue.prefix), revision=revision)
        async with contextlib.aclosing(watch) as batches:  # type: ignore[type-var]  # a generator
            while True:
                if first is not None and first.mod_revision != told:
                    told = first.mod_revision
                    yield election_pb2.LeaderResponse(
                        header=self.door.header(revision), kv=wire.kv_message(first)
                    )
                while not (await anext(batches)).events:
                    pass
                first, revision = await queue.first()

    @served
    async def Resign(self, request: election_pb2.ResignRequest) -> election_pb2.ResignResponse:
        """Lead no longer."""
        leader = _given(request)
        revision = await Queue(self.door.store, leader.name).leave(leader.key, leader.rev)
        return election_pb2.ResignResponse(header=self.door.header(revision))


def _given(
    request: election_pb2.ProclaimRequest | election_pb2.ResignRequest,
) -> election_pb2.LeaderKey:
    if not request.HasField("leader"):
        raise RefusedError(grpc.StatusCode.UNKNOWN, '"leader" field must be provided')
    return request.leader
