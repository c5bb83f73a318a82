"""Between etcd's protobuf messages and the store's own types: pure, both directions.

What the store cannot do raises `ValueError` with etcd's text where etcd has one.
"""

from collections.abc import Iterable, Sequence

from wherry.store.kv import (
    Compare,
    DeleteRange,
    DeleteResult,
    Event,
    KeyValue,
    Op,
    OpResult,
    Put,
    PutResult,
    Range,
    RangeResult,
    Target,
)
from wherry.wire.etcd import kv_pb2, rpc_pb2

_TARGETS = {
    rpc_pb2.Compare.VERSION: (Target.VERSION, "version"),
    rpc_pb2.Compare.CREATE: (Target.CREATE, "create_revision"),
    rpc_pb2.Compare.MOD: (Target.MOD, "mod_revision"),
    rpc_pb2.Compare.VALUE: (Target.VALUE, "value"),
    rpc_pb2.Compare.LEASE: (Target.LEASE, "lease"),
}
_OPERATORS = {
    rpc_pb2.Compare.EQUAL: "=",
    rpc_pb2.Compare.NOT_EQUAL: "!=",
    rpc_pb2.Compare.LESS: "<",
    rpc_pb2.Compare.GREATER: ">",
}
_SORT_KEYS = {
    rpc_pb2.RangeRequest.KEY: lambda kv: kv.key,
    rpc_pb2.RangeRequest.VERSION: lambda kv: kv.version,
    rpc_pb2.RangeRequest.CREATE: lambda kv: kv.create_revision,
    rpc_pb2.RangeRequest.MOD: lambda kv: kv.mod_revision,
    rpc_pb2.RangeRequest.VALUE: lambda kv: kv.value,
}


# ---- from etcd's messages


def needs_everything(request: rpc_pb2.RangeRequest) -> bool:
    """Whether sorting or filtering must see all keys before `limit` may be applied."""
    return (
        request.sort_order != rpc_pb2.RangeRequest.NONE
        and (request.sort_target, request.sort_order)
        != (rpc_pb2.RangeRequest.KEY, rpc_pb2.RangeRequest.ASCEND)
    ) or bool(
        request.min_mod_revision
        or request.max_mod_revision
        or request.min_create_revision
        or request.max_create_revision
    )


def range_op(request: rpc_pb2.RangeRequest) -> Range:
    """Return the read; filters, sorting and their limit are `arrange`'s."""
    _check_key(request.key)
    everything = needs_everything(request)
    return Range(
        request.key,
        request.range_end or None,
        0 if everything else max(0, request.limit),
        max(0, request.revision),
        request.keys_only and not everything,
        request.count_only,
    )


def arrange(request: rpc_pb2.RangeRequest, result: RangeResult) -> RangeResult:
    """Filter, sort and cut what was read, as far as `range_op` could not."""
    if not needs_everything(request) or request.count_only:
        return result
    kvs = [kv for kv in result.kvs if _passes(request, kv)]
    if request.sort_order != rpc_pb2.RangeRequest.NONE:
        descend = request.sort_order == rpc_pb2.RangeRequest.DESCEND
        kvs.sort(key=_SORT_KEYS[request.sort_target], reverse=descend)
    more = 0 < request.limit < len(kvs)
    if more:
        kvs = kvs[: request.limit]
    if request.keys_only:
        kvs = [
            KeyValue(kv.key, b"", kv.create_revision, kv.mod_revision, kv.version, kv.lease)
            for kv in kvs
        ]
    return RangeResult(result.revision, kvs, result.count, more)


def _passes(request: rpc_pb2.RangeRequest, kv: KeyValue) -> bool:
    return (
        kv.mod_revision >= request.min_mod_revision
        and (not request.max_mod_revision or kv.mod_revision <= request.max_mod_revision)
        and kv.create_revision >= request.min_create_revision
        and (not request.max_create_revision or kv.create_revision <= request.max_create_revision)
    )


def put_op(request: rpc_pb2.PutRequest) -> Put:
    """Return the write."""
    _check_key(request.key)
    if request.ignore_value or request.ignore_lease:
        raise ValueError("etcdserver: ignore_value and ignore_lease are only supported in put")
    return Put(request.key, request.value, request.lease)


def delete_op(request: rpc_pb2.DeleteRangeRequest) -> DeleteRange:
    """Return the deletion."""
    _check_key(request.key)
    return DeleteRange(request.key, request.range_end or None)


def op(request: rpc_pb2.RequestOp) -> Op:
    """Return one operation of a transaction."""
    match request.WhichOneof("request"):
        case "request_range":
            if needs_everything(request.request_range):
                raise ValueError("etcdserver: sorting and filters are not supported in txn")
            return range_op(request.request_range)
        case "request_put":
            return put_op(request.request_put)
        case "request_delete_range":
            return delete_op(request.request_delete_range)
        case _:
            raise ValueError("etcdserver: nested txn is not supported")


def compare(request: rpc_pb2.Compare) -> Compare:
    """Return one comparison."""
    _check_key(request.key)
    if request.range_end:
        raise ValueError("etcdserver: comparing ranges is not supported")
    target, field = _TARGETS[request.target]
    return Compare(request.key, target, _OPERATORS[request.result], getattr(request, field))


def _check_key(key: bytes) -> None:
    if not key:
        raise ValueError("etcdserver: key is not provided")


# ---- to etcd's messages


def kv_message(kv: KeyValue) -> kv_pb2.KeyValue:
    """Return a key value."""
    return kv_pb2.KeyValue(
        key=kv.key,
        value=kv.value,
        create_revision=kv.create_revision,
        mod_revision=kv.mod_revision,
        version=kv.version,
        lease=kv.lease,
    )


def range_message(
    result: RangeResult, header: rpc_pb2.ResponseHeader | None = None
) -> rpc_pb2.RangeResponse:
    """Return what was read."""
    return rpc_pb2.RangeResponse(
        header=header,
        kvs=[kv_message(kv) for kv in result.kvs],
        count=result.count,
        more=result.more,
    )


def op_message(request: rpc_pb2.RequestOp, result: OpResult, revision: int) -> rpc_pb2.ResponseOp:
    """Return the result of one operation of a transaction, with as much as was asked for."""
    header = rpc_pb2.ResponseHeader(revision=revision)
    match result:
        case RangeResult():
            return rpc_pb2.ResponseOp(response_range=range_message(result, header))
        case PutResult():
            previous = result.prev if request.request_put.prev_kv else None
            return rpc_pb2.ResponseOp(
                response_put=rpc_pb2.PutResponse(
                    header=header, prev_kv=kv_message(previous) if previous else None
                )
            )
        case DeleteResult():
            wanted = result.deleted if request.request_delete_range.prev_kv else ()
            return rpc_pb2.ResponseOp(
                response_delete_range=rpc_pb2.DeleteRangeResponse(
                    header=header,
                    deleted=len(result.deleted),
                    prev_kvs=[kv_message(kv) for kv in wanted],
                )
            )


def event_message(event: Event, *, prev_kv: bool) -> kv_pb2.Event:
    """Return a change."""
    return kv_pb2.Event(
        type=kv_pb2.Event.DELETE if event.deleted else kv_pb2.Event.PUT,
        kv=kv_message(event.kv),
        prev_kv=kv_message(event.prev) if prev_kv and event.prev else None,
    )


# ---- as a client of etcd


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
    number, field = next((n, f) for n, (target, f) in _TARGETS.items() if target is one.target)
    result = next(number for number, text in _OPERATORS.items() if text == one.op)
    message = rpc_pb2.Compare(result=result, target=number, key=one.key)
    setattr(message, field, one.operand)
    return message


def _request_op(one: Op) -> rpc_pb2.RequestOp:
    match one:
        case Put():
            put = rpc_pb2.PutRequest(key=one.key, value=one.value, lease=one.lease, prev_kv=True)
            return rpc_pb2.RequestOp(request_put=put)
        case DeleteRange():
            delete = rpc_pb2.DeleteRangeRequest(key=one.key, range_end=one.end or b"", prev_kv=True)
            return rpc_pb2.RequestOp(request_delete_range=delete)
        case Range():
            return rpc_pb2.RequestOp(request_range=range_request(one))


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
            case _:
                gone = [key_value(kv) for kv in message.response_delete_range.prev_kvs]
                results.append(DeleteResult(gone))
    return results


def event(message: kv_pb2.Event) -> Event:
    """Read a change."""
    prev = key_value(message.prev_kv) if message.HasField("prev_kv") else None
    return Event(key_value(message.kv), prev, deleted=message.type == kv_pb2.Event.DELETE)
