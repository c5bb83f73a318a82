"""What one Raft log entry holds: a command, as canonical msgpack, and what applying it gives.

A command is complete: time, chance and identity were put into it before it was proposed, so
that applying the same bytes to the same state gives the same state on every replica. Every
command of a client carries an `Origin`; the state machine applies each (session, seq) once
and answers a retry from memory.

The structs are arrays on the wire, told apart by their first element. A new kind of command
may be added; the layout of an existing one never changes, for old logs hold it.
"""

from collections.abc import Sequence

import msgspec

from wherry.api.errors import TooLargeError, UnavailableError, WherryError
from wherry.store.kv import (
    CompactedError,
    Compare,
    DeleteRange,
    DeleteResult,
    FutureRevisionError,
    LeaseNotFoundError,
    Op,
    OpResult,
    Put,
    PutResult,
    Range,
    RangeResult,
    Target,
    TxnResult,
)

MAX_COMMAND_BYTES = 1536 * 1024  # etcd's --max-request-bytes
MAX_SEQ_WINDOW = 65536  # commands of one session whose results are remembered at most


class PutOp(msgspec.Struct, frozen=True, array_like=True, tag="p", gc=False):
    """Write a key."""

    key: bytes
    value: bytes
    lease: int = 0


class DeleteOp(msgspec.Struct, frozen=True, array_like=True, tag="d", gc=False):
    """Delete `key` or [key, end)."""

    key: bytes
    end: bytes | None = None


class RangeOp(msgspec.Struct, frozen=True, array_like=True, tag="r", gc=False):
    """Read inside a transaction."""

    key: bytes
    end: bytes | None = None
    limit: int = 0
    revision: int = 0
    keys_only: bool = False
    count_only: bool = False


EntryOp = PutOp | DeleteOp | RangeOp


class Check(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A comparison; see `kv.Compare`."""

    key: bytes
    target: Target
    op: str
    operand: int | bytes


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


class Register(msgspec.Struct, frozen=True, array_like=True, tag="register"):
    """Open a session."""


class Forget(msgspec.Struct, frozen=True, array_like=True, tag="forget"):
    """Close a session: its client is gone and will not retry."""

    session: int


Command = Txn | Grant | Revoke | Expire | Compact | Register | Forget


class RangeDone(msgspec.Struct, frozen=True, array_like=True, tag="r"):
    """Result of a RangeOp."""

    result: RangeResult


class PutDone(msgspec.Struct, frozen=True, array_like=True, tag="p"):
    """Result of a PutOp."""

    result: PutResult


class DeleteDone(msgspec.Struct, frozen=True, array_like=True, tag="d"):
    """Result of a DeleteOp."""

    result: DeleteResult


OpDone = RangeDone | PutDone | DeleteDone


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
            return PutOp(op.key, op.value, op.lease)
        case DeleteRange():
            return DeleteOp(op.key, op.end)
        case Range():
            return RangeOp(op.key, op.end, op.limit, op.revision, op.keys_only, op.count_only)


def transaction(
    origin: Origin, compares: Sequence[Compare], success: Sequence[Op], failure: Sequence[Op]
) -> Txn:
    """Return the command for `Store.txn`.

    Raises:
        ValueError: a branch writes a key twice (etcd refuses it too), a key is empty, or an
            operator is unknown.
    """
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
    if not isinstance(command, Txn):
        return
    for check in command.checks:
        if check.op not in ("=", "!=", "<", ">"):
            raise ValueError(f"etcdserver: unknown comparison {check.op!r}")
        if isinstance(check.operand, bytes) != (check.target is Target.VALUE):
            raise ValueError("etcdserver: the comparison's operand does not fit its target")
    for branch in (command.success, command.failure):
        if len(branch) > 1 or (branch and not branch[0].key):
            _validate_branch(branch)


def _validate_branch(branch: Sequence[EntryOp]) -> None:
    puts: set[bytes] = set()
    for op in branch:
        if not op.key:
            raise ValueError("etcdserver: key is not provided")
        if isinstance(op, PutOp):
            if op.key in puts:
                raise ValueError("etcdserver: duplicate key given in txn request")
            puts.add(op.key)
    for op in branch:
        if isinstance(op, DeleteOp) and any(covers(op.key, op.end, key) for key in puts):
            raise ValueError("etcdserver: duplicate key given in txn request")


def covers(key: bytes, end: bytes | None, candidate: bytes) -> bool:
    """Whether `candidate` is `key`, or with `end` in [key, end); end of one zero byte: no end."""
    if end is None:
        return candidate == key
    return key <= candidate and (end == b"\0" or candidate < end)


def txn_result(outcome: Transacted) -> TxnResult:
    """Return the API's form of a transaction's outcome."""
    results: list[OpResult] = [done.result for done in outcome.results]
    return TxnResult(outcome.revision, outcome.succeeded, results)


def refusal(refused: Refused) -> Exception:
    """Return the exception that a `Store` raises for a refusal."""
    match refused.code:
        case "lease_not_found":
            return LeaseNotFoundError("etcdserver: requested lease not found")
        case "lease_exists":
            return LeaseExistsError("etcdserver: lease already exists")
        case "compacted":
            return CompactedError(refused.detail)
        case "future_revision":
            return FutureRevisionError("etcdserver: mvcc: required revision is a future revision")
        case _:
            return SessionExpiredError(f"the store cannot tell the outcome: {refused.code}")
