"""Between etcd's protobuf messages and the store's own types, as a client of etcd: pure."""

from collections.abc import Iterable, Sequence

from wherry.store.etcd_wire import OPERATORS, TARGETS
from wherry.store.kv import (
    Compare,
    DeleteRange,
    DeleteResult,
    Event,
    KeyValue,
    Nested,
    NestedResult,
    Op,
    OpResult,
    Put,
    PutResult,
    Range,
    RangeResult,
)
from wherry.wire.etcd import kv_pb2, rpc_pb2


def key_value(message: kv_pb2.KeyValue) -> KeyValue:
    """Read a key value."""
    return KeyValue(
        message.key,
        message.value,
        message.create_revision,
        message.mod_revision,
        message.version,
        message.lease,
    )


def range_request(request: Range, *, serializable: bool = False) -> rpc_pb2.RangeRequest:
    """Ask for a read."""
    return rpc_pb2.RangeRequest(
        key=request.key,
        range_end=request.end or b"",
        limit=request.limit,
        revision=request.revision,
        keys_only=request.keys_only,
        count_only=request.count_only,
        serializable=serializable,
    )


def range_result(message: rpc_pb2.RangeResponse, revision: int) -> RangeResult:
    """Read what was read."""
    kvs = [key_value(kv) for kv in message.kvs]
    return RangeResult(message.header.revision or revision, kvs, message.count, message.more)


def txn_request(
    compares: Sequence[Compare], success: Sequence[Op], failure: Sequence[Op]
) -> rpc_pb2.TxnRequest:
    """Ask for a transaction, with everything that `Store.txn` promises to return."""
    return rpc_pb2.TxnRequest(
        compare=[_compare_message(one) for one in compares],
        success=[_request_op(one) for one in success],
        failure=[_request_op(one) for one in failure],
    )


def _compare_message(one: Compare) -> rpc_pb2.Compare:
    number, field = next((n, f) for n, (target, f) in TARGETS.items() if target is one.target)
    result = next(number for number, text in OPERATORS.items() if text == one.op)
    message = rpc_pb2.Compare(result=result, target=number, key=one.key, range_end=one.end or b"")
    setattr(message, field, one.operand)
    return message


def _request_op(one: Op) -> rpc_pb2.RequestOp:
    match one:
        case Put():
            put = rpc_pb2.PutRequest(
                key=one.key,
                value=b"" if one.ignore_value else one.value,
                lease=0 if one.ignore_lease else one.lease,
                prev_kv=True,
                ignore_value=one.ignore_value,
                ignore_lease=one.ignore_lease,
            )
            return rpc_pb2.RequestOp(request_put=put)
        case DeleteRange():
            delete = rpc_pb2.DeleteRangeRequest(key=one.key, range_end=one.end or b"", prev_kv=True)
            return rpc_pb2.RequestOp(request_delete_range=delete)
        case Range():
            return rpc_pb2.RequestOp(request_range=range_request(one))
        case Nested():
            nested = txn_request(one.compares, one.success, one.failure)
            return rpc_pb2.RequestOp(request_txn=nested)


def op_results(messages: Iterable[rpc_pb2.ResponseOp], revision: int) -> list[OpResult]:
    """Read the results of a transaction's operations."""
    results: list[OpResult] = []
    for message in messages:
        match message.WhichOneof("response"):
            case "response_range":
                results.append(range_result(message.response_range, revision))
            case "response_put":
                put = message.response_put
                prev = key_value(put.prev_kv) if put.HasField("prev_kv") else None
                results.append(PutResult(prev))
            case "response_txn":
                txn = message.response_txn
                results.append(NestedResult(txn.succeeded, op_results(txn.responses, revision)))
            case _:
                gone = [key_value(kv) for kv in message.response_delete_range.prev_kvs]
                results.append(DeleteResult(gone))
    return results


def event(message: kv_pb2.Event) -> Event:
    """Read a change."""
    prev = key_value(message.prev_kv) if message.HasField("prev_kv") else None
    return Event(key_value(message.kv), prev, deleted=message.type == kv_pb2.Event.DELETE)
