"""What stands in a log, in words: a line for each record, or a JSON object."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import msgspec

from wherry.api.times import format_time
from wherry.store import membership
from wherry.store.entry import (
    Alarm,
    Command,
    Compact,
    Expire,
    Forget,
    Grant,
    Origin,
    Register,
    Revoke,
    Transact,
    Txn,
    decode_command,
)
from wherry.store.mvcc import MvccState
from wherry.store.operation import (
    Check,
    DeleteOp,
    EntryOp,
    PutOp,
    RangeCheck,
    RangeOp,
    TxnOp,
    UpdateOp,
)
from wherry.store.raft.core import COMMAND
from wherry.store.raft.record import (
    CUT,
    ENTRY,
    FIRST,
    HARD,
    META,
    NEXT,
    RESET,
    TIME,
    VOTER,
    Meta,
    records,
)
from wherry.store.raft.wal import CONFIGURATION, NOOP
from wherry.store.tools.inspection import KINDS

_MAX_OPS: Final = 4  # of a transaction, that are named one by one


@dataclass(frozen=True, slots=True)
class Line:
    """One record. `index` is that of an ENTRY, else 0."""

    file: str
    offset: int
    kind: str
    index: int
    term: int
    bytes: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.offset:<10} {self.kind:5}  {self.text}"

    def json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return asdict(self)


def describe_segment(name: str, data: bytes) -> Iterator[Line]:
    """Explain a segment's records up to the first bad one."""
    for offset, kind, a, b, payload in records(data):
        term = {HARD: a, ENTRY: b, RESET: b}.get(kind, 0)
        index = a if kind == ENTRY else 0
        yield Line(
            name,
            offset,
            KINDS.get(kind, f"{kind}?"),
            index,
            term,
            len(payload),
            _record(kind, a, b, payload),
        )


def _record(kind: int, a: int, b: int, payload: bytes) -> str:
    if kind == META:
        meta = msgspec.msgpack.decode(payload, type=Meta)
        age = "a new disk" if meta.fresh else "a voter"
        known = f" ({meta.id:x})" if meta.id else ""
        base = f"; joined {describe_members(meta.base)}" if meta.base else ""
        return (
            f"member {meta.member}{known} of cluster {meta.cluster}, {age}, "
            f"format {meta.format}{base}"
        )
    if kind == ENTRY:
        return f"entry {a} of term {b}: {describe_command(payload)}"
    return {
        HARD: f"term {a}, vote for {payload.decode(errors='replace') or 'nobody'}, committed to {b}",
        CUT: f"the entries from {a} on were another leader's: gone",
        FIRST: f"the entries before {a} are in a snapshot: no longer needed",
        RESET: f"a snapshot took the place of all entries up to {a} of term {b}",
        NEXT: "the log goes on in the next segment",
        TIME: f"written at {format_time(a / 1000)}",
        VOTER: "it has caught up: from here on its vote counts as any other",
    }.get(kind, f"of a newer version; a={a} b={b}")


def describe_command(payload: bytes) -> str:
    """Explain an entry: the type byte that it begins with, and its command."""
    if payload[:1] == NOOP:
        return "no-op, of a leader when it begins"
    if payload[:1] == CONFIGURATION:
        return f"from here on the members are {describe_members(payload[1:])}"
    if payload[:1] != COMMAND:
        return f"of type {payload[:1].hex() or 'none'}, {len(payload)} bytes"
    try:
        return _command(decode_command(payload[1:]))
    except msgspec.MsgspecError as error:
        return f"a command that this version does not know: {error}"


def describe_members(data: bytes) -> str:
    """Explain a configuration."""
    try:
        members = membership.decode(data).members
    except msgspec.MsgspecError as error:
        return f"not known to this version: {error}"
    return ", ".join(
        f"{one.key} ({one.id:x}{', learner' if one.learner else ''})" for one in members
    )


def _command(command: Command) -> str:
    match command:
        case Expire(leases):
            return f"end leases {', '.join(_lease(lease) for lease, _ in leases)}"
        case Register():
            return "open a session"
        case Forget(session):
            return f"close session {session}"
        case _:
            return _asked(command) + _origin(command.origin)


def _asked(command: Txn | Transact | Grant | Revoke | Compact | Alarm) -> str:
    match command:
        case Txn():
            return _txn(command)
        case Transact():
            return _op(command.body)
        case Grant(_, ttl_s, lease):
            return f"grant lease {_lease(lease)} for {ttl_s} s"
        case Revoke(_, lease):
            return f"revoke lease {_lease(lease)}"
        case Compact(_, revision):
            return f"compact to revision {revision}"
        case Alarm(_, member, kind, active):
            return f"{'raise' if active else 'end'} alarm {kind} of member {member:x}"


def _txn(txn: Txn) -> str:
    if not txn.checks and not txn.failure and len(txn.success) == 1:
        return _op(txn.success[0])
    return _choice(txn.checks, txn.success, txn.failure)


def _choice(
    checks: Sequence[Check | RangeCheck], success: Sequence[EntryOp], failure: Sequence[EntryOp]
) -> str:
    if_ = " and ".join(
        f"{c.target.value}({_checked(c)}) {c.op} {_short(c.operand)}" for c in checks
    )
    text = f"txn if {if_ or 'true'} then {_ops(success)}"
    return f"{text} else {_ops(failure)}" if failure else text


def _checked(check: Check | RangeCheck) -> str:
    return _span(check.key, check.end) if isinstance(check, RangeCheck) else _key(check.key)


def _ops(ops: Sequence[EntryOp]) -> str:
    more = f" and {len(ops) - _MAX_OPS} more" if len(ops) > _MAX_OPS else ""
    return f"[{'; '.join(_op(op) for op in ops[:_MAX_OPS])}{more}]"


def _op(op: EntryOp) -> str:
    match op:
        case PutOp(key, value, lease):
            under = f" under lease {_lease(lease)}" if lease else ""
            return f"put {_key(key)}, {len(value)} bytes{under}"
        case DeleteOp(key, end):
            return f"delete {_span(key, end)}"
        case RangeOp(key, end):
            return f"range {_span(key, end)}"
        case UpdateOp(key, value):
            what = "its lease" if value is None else f"{len(value)} bytes"
            return f"update {_key(key)}: {what}"
        case TxnOp():
            return _choice(op.checks, op.success, op.failure)


def _span(key: bytes, end: bytes | None) -> str:
    return _key(key) if end is None else f"[{_key(key)}, {_key(end)})"


def _key(key: bytes) -> str:
    return key.decode(errors="backslashreplace").replace("\0", "\\0") or '""'


def _short(operand: int | bytes) -> str:
    return str(operand) if isinstance(operand, int) else f"{len(operand)} bytes"


def _lease(lease: int) -> str:
    return f"{lease:x}" if lease else "of its own choice"


def _origin(origin: Origin) -> str:
    return f"  (session {origin.session} seq {origin.seq})" if origin.session else ""


@dataclass(frozen=True, slots=True)
class Prefix:
    """Keys of one kind, as `/registry/pods`."""

    prefix: str
    keys: int
    bytes: int


def prefixes(state: MvccState, depth: int = 2) -> list[Prefix]:
    """Count the live keys by the first parts of their path, the largest first."""
    keys: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for key in state.all_keys():
        kv = state.current(key)
        if kv is not None:
            name = "/".join(_key(key).split("/")[: depth + 1])
            keys[name] += 1
            sizes[name] += len(kv.key) + len(kv.value)
    return [Prefix(name, keys[name], size) for name, size in sizes.most_common()]
