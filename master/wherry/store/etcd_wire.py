"""Between etcd's protobuf messages and the store's own types, as a server: pure.

What the store cannot do raises `ValueError` with etcd's text where etcd has one.
"""

from collections.abc import Sequence
from typing import Final

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
    Target,
    TxnResult,
)
from wherry.wire.etcd import kv_pb2, rpc_pb2

MAX_TXN_OPS: Final = 128
TARGETS: Final = {
    rpc_pb2.Compare.VERSION: (Target.VERSION, "version"),
    rpc_pb2.Compare.CREATE: (Target.CREATE, "create_revision"),
    rpc_pb2.Compare.MOD: (Target.MOD, "mod_revision"),
    rpc_pb2.Compare.VALUE: (Target.VALUE, "value"),
    rpc_pb2.Compare.LEASE: (Target.LEASE, "lease"),
}
OPERATORS: Final = {
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


def _sorts(request: rpc_pb2.RangeRequest) -> bool:
    """Whether keys are put into another order; without one given it is the ascending one."""
    return (
        request.sort_order == rpc_pb2.RangeRequest.DESCEND
        or request.sort_target != rpc_pb2.RangeRequest.KEY
    )


def range_op(request: rpc_pb2.RangeRequest) -> Range:
    """Return the read; filters, sorting and their limit are `arrange`'s."""
    _check_key(request.key)
    limit = max(0, request.limit)
    if needs_everything(request):
        limit = 0
    elif _sorts(request) and limit:  # etcd without an order sorts what it reads: one key more
        limit += 1
    return Range(
        request.key,
        request.range_end or None,
        limit,
        max(0, request.revision),
        request.keys_only and not (needs_everything(request) or _sorts(request)),
        request.count_only,
    )


def arrange(request: rpc_pb2.RangeRequest, result: RangeResult) -> RangeResult:
    """Filter, sort and cut what was read, as far as `range_op` could not."""
    if not (needs_everything(request) or _sorts(request)) or request.count_only:
        return result
    kvs = [kv for kv in result.kvs if _passes(request, kv)]
    if _sorts(request):
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
    if request.ignore_value and request.value:
        raise ValueError("etcdserver: value is provided")
    if request.ignore_lease and request.lease:
        raise ValueError("etcdserver: lease is provided")
    return Put(
        request.key, request.value, request.lease, request.ignore_value, request.ignore_lease
    )


def delete_op(request: rpc_pb2.DeleteRangeRequest) -> DeleteRange:
    """Return the deletion."""
    _check_key(request.key)
    return DeleteRange(request.key, request.range_end or None)


def check_size(request: rpc_pb2.TxnRequest, most: int = MAX_TXN_OPS) -> None:
    """Refuse a transaction with too many operations; what it holds may have the rest of `most`."""
    size = max(len(request.compare), len(request.success), len(request.failure))
    if size > most:
        raise ValueError("etcdserver: too many operations in txn request")
    for one in (*request.success, *request.failure):
        if one.WhichOneof("request") == "request_txn":
            check_size(one.request_txn, most - size)


def op(request: rpc_pb2.RequestOp) -> Op:
    """Return one operation of a transaction."""
    match request.WhichOneof("request"):
        case "request_range":
            return range_op(request.request_range)
        case "request_put":
            return put_op(request.request_put)
        case "request_delete_range":
            return delete_op(request.request_delete_range)
        case "request_txn":
            txn = request.request_txn
            return Nested(
                [compare(one) for one in txn.compare],
                [op(one) for one in txn.success],
                [op(one) for one in txn.failure],
            )
        case _:
            raise ValueError("etcdserver: key not found")  # what etcd says of an empty operation


def compare(request: rpc_pb2.Compare) -> Compare:
    """Return one comparison."""
    _check_key(request.key)
    target, field = TARGETS[request.target]
    return Compare(
        request.key,
        target,
        OPERATORS[request.result],
        getattr(request, field),
        request.range_end or None,
    )


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


def txn_message(request: rpc_pb2.TxnRequest, done: TxnResult) -> rpc_pb2.TxnResponse:
    """Return the result of a transaction, without a header."""
    before = done.revision - int(_writes(done.results))
    return _txn_message(request, done.succeeded, done.results, _Revision(before))


class _Revision:
    """The revision that each operation of a transaction sees: the next one, from its first write."""

    def __init__(self, before: int) -> None:
        self.before = before
        self.written = False

    def header(self, *, writes: bool = False) -> rpc_pb2.ResponseHeader:
        self.written = self.written or writes
        return rpc_pb2.ResponseHeader(revision=self.before + int(self.written))


def _writes(results: Sequence[OpResult]) -> bool:
    return any(
        isinstance(one, PutResult)
        or (isinstance(one, DeleteResult) and bool(one.deleted))
        or (isinstance(one, NestedResult) and _writes(one.results))
        for one in results
    )


def _txn_message(
    request: rpc_pb2.TxnRequest,
    succeeded: bool,  # noqa: FBT001  # a field of the result
    results: Sequence[OpResult],
    revision: _Revision,
) -> rpc_pb2.TxnResponse:
    taken = request.success if succeeded else request.failure
    return rpc_pb2.TxnResponse(
        succeeded=succeeded,
        responses=[
            _op_message(one, result, revision) for one, result in zip(taken, results, strict=True)
        ],
    )


def _op_message(
    request: rpc_pb2.RequestOp, result: OpResult, revision: _Revision
) -> rpc_pb2.ResponseOp:
    """Return the result of one operation of a transaction, with as much as was asked for."""
    match result:
        case RangeResult():
            found = arrange(request.request_range, result)
            return rpc_pb2.ResponseOp(response_range=range_message(found, revision.header()))
        case PutResult():
            previous = result.prev if request.request_put.prev_kv else None
            return rpc_pb2.ResponseOp(
                response_put=rpc_pb2.PutResponse(
                    header=revision.header(writes=True),
                    prev_kv=kv_message(previous) if previous else None,
                )
            )
        case DeleteResult():
            wanted = result.deleted if request.request_delete_range.prev_kv else ()
            return rpc_pb2.ResponseOp(
                response_delete_range=rpc_pb2.DeleteRangeResponse(
                    header=revision.header(writes=bool(result.deleted)),
                    deleted=len(result.deleted),
                    prev_kvs=[kv_message(kv) for kv in wanted],
                )
            )
        case NestedResult():
            inner = _txn_message(request.request_txn, result.succeeded, result.results, revision)
            inner.header.SetInParent()  # etcd's is there, and empty
            return rpc_pb2.ResponseOp(response_txn=inner)


def event_message(event: Event, *, prev_kv: bool) -> kv_pb2.Event:
    """Return a change."""
    return kv_pb2.Event(
        type=kv_pb2.Event.DELETE if event.deleted else kv_pb2.Event.PUT,
        kv=kv_message(event.kv),
        prev_kv=kv_message(event.prev) if prev_kv and event.prev else None,
    )
