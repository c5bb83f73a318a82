"""What one Raft log entry holds: a command, as canonical msgpack, and what applying it gives.

A command is complete: time, chance and identity were put into it before it was proposed, so
that applying the same bytes to the same state gives the same state on every replica. Every
command of a client carries an `Origin`; the state machine applies each (session, seq) once
and answers a retry from memory.

The structs are arrays on the wire, told apart by their first element. A new kind of command
may be added; the layout of an existing one never changes, for old logs hold it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from wherry.api.errors import TooLargeError, UnavailableError, WherryError
from wherry.store.conflict import check_branch, check_operands
from wherry.store.kv import (
    CompactedError,
    Compare,
    DeleteRange,
    FutureRevisionError,
    KeyNotFoundError,
    LeaseNotFoundError,
    Nested,
    NestedResult,
    NoSpaceError,
    Op,
    OpResult,
    Put,
    Range,
    TxnResult,
)
from wherry.store.operation import (
    Check,
    DeleteOp,
    EntryOp,
    OpDone,
    PutOp,
    RangeCheck,
    RangeOp,
    TxnDone,
    TxnOp,
    UpdateOp,
)

MAX_COMMAND_BYTES = 1536 * 1024  # etcd's --max-request-bytes
NOSPACE = 1  # the alarm under which nothing is written but deletions; etcd's number
MAX_SEQ_WINDOW = 65536  # commands of one session whose results are remembered at most


class Origin(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Who asks: command `seq` of a session whose results below `oldest` have all arrived.

    Session 0 is nobody: applied as often as it is proposed.
    """

    session: int = 0
    seq: int = 0
    oldest: int = 0


NOBODY = Origin()


class Txn(msgspec.Struct, frozen=True, array_like=True, tag="txn"):
    """If all checks hold perform `success`, else `failure`."""

    origin: Origin
    checks: tuple[Check, ...]
    success: tuple[EntryOp, ...]
    failure: tuple[EntryOp, ...] = ()


class Transact(msgspec.Struct, frozen=True, array_like=True, tag="txn2"):
    """A `Txn` with what that one cannot say: comparisons of ranges."""

    origin: Origin
    body: TxnOp


class Grant(msgspec.Struct, frozen=True, array_like=True, tag="grant"):
    """Create a lease; id 0: the state machine chooses."""

    origin: Origin
    ttl_s: int
    lease: int = 0


class Revoke(msgspec.Struct, frozen=True, array_like=True, tag="revoke"):
    """End a lease and delete its keys."""

    origin: Origin
    lease: int


class Expire(msgspec.Struct, frozen=True, array_like=True, tag="expire"):
    """End leases whose time is over: (id, serial of the grant that the leader saw expire)."""

    leases: tuple[tuple[int, int], ...]


class Compact(msgspec.Struct, frozen=True, array_like=True, tag="compact"):
    """Forget what is older than `revision`."""

    origin: Origin
    revision: int


class Alarm(msgspec.Struct, frozen=True, array_like=True, tag="alarm"):
    """Raise an alarm of a member, or take it back; see `NOSPACE`."""

    origin: Origin
    member: int
    kind: int
    active: bool


class Register(msgspec.Struct, frozen=True, array_like=True, tag="register"):
    """Open a session."""


class Forget(msgspec.Struct, frozen=True, array_like=True, tag="forget"):
    """Close a session: its client is gone and will not retry."""

    session: int


Command = Txn | Transact | Grant | Revoke | Expire | Compact | Alarm | Register | Forget


class Transacted(msgspec.Struct, frozen=True, array_like=True, tag="txn"):
    """`revision` is the store's after the transaction."""

    revision: int
    succeeded: bool
    results: tuple[OpDone, ...]


class Granted(msgspec.Struct, frozen=True, array_like=True, tag="granted"):
    """The lease exists."""

    lease: int
    ttl_s: int
    revision: int


class Done(msgspec.Struct, frozen=True, array_like=True, tag="done"):
    """It was done; there is nothing more to say than the store's revision."""

    revision: int


class Registered(msgspec.Struct, frozen=True, array_like=True, tag="registered"):
    """The session's id."""

    session: int


class Refused(msgspec.Struct, frozen=True, array_like=True, tag="refused"):
    """A business failure: nothing was changed. `code` is one of the constants below."""

    code: str
    detail: int = 0


KEY_NOT_FOUND = "key_not_found"
NO_SPACE = "no_space"
LEASE_NOT_FOUND = "lease_not_found"
LEASE_EXISTS = "lease_exists"
COMPACTED = "compacted"  # detail: the compact revision
FUTURE_REVISION = "future_revision"
SESSION_EXPIRED = "session_expired"  # was evicted or never existed: nothing was applied *now*
STALE_SEQ = "stale_seq"  # the client had said that it knows this result already

Outcome = Transacted | Granted | Done | Registered | Refused


class LeaseExistsError(WherryError):
    """The lease id asked for is taken."""


class SessionExpiredError(UnavailableError):
    """The session is unknown: whether an earlier attempt was applied cannot be told."""


_encoder = msgspec.msgpack.Encoder()
_command_decoder: msgspec.msgpack.Decoder[Command] = msgspec.msgpack.Decoder(Command)
_outcome_decoder: msgspec.msgpack.Decoder[Outcome] = msgspec.msgpack.Decoder(Outcome)


def encode_command(command: Command) -> bytes:
    """Return the bytes to propose.

    Raises:
        TooLargeError: the command exceeds `MAX_COMMAND_BYTES`.
    """
    data = _encoder.encode(command)
    if len(data) > MAX_COMMAND_BYTES:
        raise TooLargeError("etcdserver: request is too large")
    return data


def decode_command(data: bytes) -> Command:
    """Return the command; `msgspec.MsgspecError` if these are not one's bytes."""
    return _command_decoder.decode(data)


def encode_outcome(outcome: Outcome) -> bytes:
    """Return the outcome's bytes."""
    return _encoder.encode(outcome)


def decode_outcome(data: bytes) -> Outcome:
    """Return the outcome that `encode_outcome` wrote."""
    return _outcome_decoder.decode(data)


def _entry_op(op: Op) -> EntryOp:
    match op:
        case Put():
            if op.ignore_value or op.ignore_lease:
                return UpdateOp(
                    op.key,
                    None if op.ignore_value else op.value,
                    None if op.ignore_lease else op.lease,
                )
            return PutOp(op.key, op.value, op.lease)
        case DeleteRange():
            return DeleteOp(op.key, op.end)
        case Range():
            return RangeOp(op.key, op.end, op.limit, op.revision, op.keys_only, op.count_only)
        case Nested():
            return _txn_op(op.compares, op.success, op.failure)


def _txn_op(compares: Sequence[Compare], success: Sequence[Op], failure: Sequence[Op]) -> TxnOp:
    return TxnOp(
        tuple(RangeCheck(c.key, c.end, c.target, c.op, c.operand) for c in compares),
        tuple(_entry_op(op) for op in success),
        tuple(_entry_op(op) for op in failure),
    )


def transaction(
    origin: Origin, compares: Sequence[Compare], success: Sequence[Op], failure: Sequence[Op]
) -> Txn | Transact:
    """Return the command for `Store.txn`.

    Raises:
        ValueError: a branch writes a key twice (etcd refuses it too), a key is empty, or an
            operator is unknown.
    """
    txn: Txn | Transact
    if any(compare.end is not None for compare in compares):
        txn = Transact(origin, _txn_op(compares, success, failure))
    else:
        txn = Txn(
            origin,
            tuple(Check(c.key, c.target, c.op, c.operand) for c in compares),
            tuple(_entry_op(op) for op in success),
            tuple(_entry_op(op) for op in failure),
        )
    validate(txn)
    return txn


def validate(command: Command) -> None:
    """Refuse what the state machine must never see, before it is proposed.

    Raises:
        ValueError: with etcd's text for it.
    """
    if isinstance(command, Txn):
        check_operands(command.checks)
        for branch in (command.success, command.failure):
            if len(branch) > 1 or (branch and not (type(branch[0]) is PutOp and branch[0].key)):
                check_branch(branch)
    elif isinstance(command, Transact):
        check_operands(command.body.checks)
        check_branch(command.body.success)
        check_branch(command.body.failure)


def txn_result(outcome: Transacted) -> TxnResult:
    """Return the API's form of a transaction's outcome."""
    return TxnResult(outcome.revision, outcome.succeeded, _op_results(outcome.results))


def _op_results(done: Sequence[OpDone]) -> list[OpResult]:
    return [
        NestedResult(one.succeeded, _op_results(one.results))
        if isinstance(one, TxnDone)
        else one.result
        for one in done
    ]


_REFUSALS: Final[Mapping[str, Callable[[int], Exception]]] = {
    LEASE_NOT_FOUND: lambda _: LeaseNotFoundError("etcdserver: requested lease not found"),
    LEASE_EXISTS: lambda _: LeaseExistsError("etcdserver: lease already exists"),
    KEY_NOT_FOUND: lambda _: KeyNotFoundError("etcdserver: key not found"),
    NO_SPACE: lambda _: NoSpaceError("etcdserver: mvcc: database space exceeded"),
    COMPACTED: CompactedError,
    FUTURE_REVISION: lambda _: FutureRevisionError(
        "etcdserver: mvcc: required revision is a future revision"
    ),
}


def refusal(refused: Refused) -> Exception:
    """Return the exception that a `Store` raises for a refusal."""
    make = _REFUSALS.get(refused.code)
    if make is None:
        return SessionExpiredError(f"the store cannot tell the outcome: {refused.code}")
    return make(refused.detail)
