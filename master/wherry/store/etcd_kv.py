"""etcd's KV service."""

from wherry.store import etcd_wire as wire
from wherry.store.etcd_door import Door, served
from wherry.store.kv import DeleteResult, KeyNotFoundError, LeaseNotFoundError, PutResult
from wherry.wire.etcd import rpc_pb2, rpc_pb2_grpc


class KV(rpc_pb2_grpc.KVServicer):
    """See the module."""

    def __init__(self, door: Door) -> None:
        self.door = door

    @served
    async def Range(self, request: rpc_pb2.RangeRequest) -> rpc_pb2.RangeResponse:
        """Read."""
        result = await self.door.store.range(
            wire.range_op(request), serializable=request.serializable
        )
        return wire.range_message(wire.arrange(request, result), self.door.header(result.revision))

    @served
    async def Put(self, request: rpc_pb2.PutRequest) -> rpc_pb2.PutResponse:
        """Write a key."""
        try:
            done = await self.door.store.txn([], [wire.put_op(request)])
        except KeyNotFoundError as error:
            if request.lease and request.lease not in self.door.replica.state.leases:
                raise LeaseNotFoundError(str(error)) from error  # outside of txn it comes first
            raise
        previous = done.results[0] if request.prev_kv else None
        prev = previous.prev if isinstance(previous, PutResult) else None
        return rpc_pb2.PutResponse(
            header=self.door.header(done.revision), prev_kv=wire.kv_message(prev) if prev else None
        )

    @served
    async def DeleteRange(self, request: rpc_pb2.DeleteRangeRequest) -> rpc_pb2.DeleteRangeResponse:
        """Delete a key, or some."""
        done = await self.door.store.txn([], [wire.delete_op(request)])
        result = done.results[0]
        gone = result.deleted if isinstance(result, DeleteResult) else ()
        return rpc_pb2.DeleteRangeResponse(
            header=self.door.header(done.revision),
            deleted=len(gone),
            prev_kvs=[wire.kv_message(kv) for kv in gone] if request.prev_kv else [],
        )

    @served
    async def Txn(self, request: rpc_pb2.TxnRequest) -> rpc_pb2.TxnResponse:
        """Compare, then do one thing or the other."""
        wire.check_size(request)
        success = [wire.op(one) for one in request.success]
        failure = [wire.op(one) for one in request.failure]
        done = await self.door.store.txn(
            [wire.compare(one) for one in request.compare], success, failure
        )
        response = wire.txn_message(request, done)
        response.header.CopyFrom(self.door.header(done.revision))
        return response

    @served
    async def Compact(self, request: rpc_pb2.CompactionRequest) -> rpc_pb2.CompactionResponse:
        """Forget old revisions. `physical` changes nothing that could be seen: it is soon done."""
        await self.door.store.compact(request.revision)
        return rpc_pb2.CompactionResponse(header=self.door.header())
