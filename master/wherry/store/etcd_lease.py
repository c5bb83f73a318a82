"""etcd's Lease service."""

from collections.abc import AsyncIterator
from typing import Final

import grpc

from wherry.api.errors import UnavailableError
from wherry.store.etcd_door import Context, Door, RefusedError, served
from wherry.store.kv import LeaseNotFoundError, Range
from wherry.wire.etcd import rpc_pb2, rpc_pb2_grpc

MAX_TTL_S: Final = 9_000_000_000
MIN_TTL_S: Final = 2  # 1.5 election time-outs, so that a change of leaders ends no lease


class Lease(rpc_pb2_grpc.LeaseServicer):
    """See the module."""

    def __init__(self, door: Door) -> None:
        self.door = door

    @served
    async def LeaseGrant(self, request: rpc_pb2.LeaseGrantRequest) -> rpc_pb2.LeaseGrantResponse:
        """Grant a lease, of the id that is asked for or of one that the store chooses."""
        if request.TTL > MAX_TTL_S:
            raise RefusedError(grpc.StatusCode.OUT_OF_RANGE, "etcdserver: too large lease TTL")
        ttl_s = max(MIN_TTL_S, request.TTL)
        lease = await self.door.store.lease_grant(ttl_s, request.ID)
        return rpc_pb2.LeaseGrantResponse(header=self.door.header(), ID=lease, TTL=ttl_s)

    @served
    async def LeaseRevoke(self, request: rpc_pb2.LeaseRevokeRequest) -> rpc_pb2.LeaseRevokeResponse:
        """End a lease and delete its keys."""
        await self.door.store.lease_revoke(request.ID)
        return rpc_pb2.LeaseRevokeResponse(header=self.door.header())

    async def LeaseKeepAlive(
        self, request_iterator: AsyncIterator[rpc_pb2.LeaseKeepAliveRequest], context: Context
    ) -> AsyncIterator[rpc_pb2.LeaseKeepAliveResponse]:
        """Renew leases; one that is over is answered with a TTL of 0."""
        await self.door.authorize(context)
        async for request in request_iterator:
            try:
                ttl_s = await self.door.store.lease_keepalive(request.ID)
            except LeaseNotFoundError:
                ttl_s = 0
            except UnavailableError as error:
                await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
            yield rpc_pb2.LeaseKeepAliveResponse(
                header=self.door.header(), ID=request.ID, TTL=ttl_s
            )

    @served
    async def LeaseTimeToLive(
        self, request: rpc_pb2.LeaseTimeToLiveRequest
    ) -> rpc_pb2.LeaseTimeToLiveResponse:
        """Look at a lease; one that is over has a TTL of -1."""
        answer = rpc_pb2.LeaseTimeToLiveResponse(header=self.door.header(), ID=request.ID, TTL=-1)
        try:
            state = await self.door.store.lease_state(request.ID)
        except LeaseNotFoundError:
            return answer
        answer.TTL, answer.grantedTTL = int(state.remaining_s), state.ttl_s
        if request.keys:
            await _catch_up(self.door)
            lease = self.door.replica.state.leases.get(request.ID)
            answer.keys.extend(sorted(lease.keys) if lease is not None else ())
        return answer

    @served
    async def LeaseLeases(
        self, _request: rpc_pb2.LeaseLeasesRequest
    ) -> rpc_pb2.LeaseLeasesResponse:
        """List all leases."""
        await _catch_up(self.door)
        leases = sorted(self.door.replica.state.leases)
        return rpc_pb2.LeaseLeasesResponse(
            header=self.door.header(), leases=[rpc_pb2.LeaseStatus(ID=one) for one in leases]
        )


async def _catch_up(door: Door) -> None:
    """Have the state here hold everything that was acknowledged until now."""
    await door.store.range(Range(b"\0", count_only=True))
