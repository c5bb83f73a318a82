"""Which transactions are refused before they are proposed: those that write a key twice.

At one level no key may be put twice, nor put and deleted. The two branches of a nested
transaction exclude each other, and may therefore both put a key; with the level around
them, neither may.
"""

from collections.abc import Sequence

from wherry.store.kv import Target
from wherry.store.operation import Check, DeleteOp, EntryOp, PutOp, RangeCheck, TxnOp, UpdateOp

DUPLICATE = "etcdserver: duplicate key given in txn request"
NO_KEY = "etcdserver: key is not provided"
Interval = tuple[bytes, bytes | None]


def covers(key: bytes, end: bytes | None, candidate: bytes) -> bool:
    """Whether `candidate` is `key`, or with `end` in [key, end); end of one zero byte: no end."""
    if end is None:
        return candidate == key
    return key <= candidate and (end == b"\0" or candidate < end)


def check_operands(checks: Sequence[Check | RangeCheck]) -> None:
    """Raise `ValueError` unless every comparison has a key, and can be made."""
    for check in checks:
        if not check.key:
            raise ValueError(NO_KEY)
        if check.op not in ("=", "!=", "<", ">"):
            raise ValueError(f"etcdserver: unknown comparison {check.op!r}")
        if isinstance(check.operand, bytes) != (check.target is Target.VALUE):
            raise ValueError("etcdserver: the comparison's operand does not fit its target")


def check_branch(branch: Sequence[EntryOp]) -> tuple[set[bytes], list[Interval]]:
    """Return what a branch puts and deletes.

    Raises:
        ValueError: it writes a key twice, or one has no key.
    """
    puts: set[bytes] = set()
    deletes: list[Interval] = []
    for op in branch:
        if not isinstance(op, TxnOp) and not op.key:
            raise ValueError(NO_KEY)
        if isinstance(op, DeleteOp):
            deletes.append((op.key, op.end))
    for op in branch:
        if isinstance(op, TxnOp):
            _check_nested(op, puts, deletes)
    for op in branch:
        if isinstance(op, PutOp | UpdateOp):
            _add(op.key, puts, deletes)
    return puts, deletes


def _check_nested(op: TxnOp, puts: set[bytes], deletes: list[Interval]) -> None:
    """Add what a nested transaction may write to what its level does."""
    check_operands(op.checks)
    before = set(puts)
    deleted: list[Interval] = []
    for branch in (op.success, op.failure):
        branch_puts, branch_deletes = check_branch(branch)
        level = set(before)
        for key in branch_puts:
            _add(key, level, deletes)
        puts |= level
        deleted += branch_deletes
    deletes += deleted


def _add(key: bytes, puts: set[bytes], deletes: Sequence[Interval]) -> None:
    if key in puts or any(covers(first, end, key) for first, end in deletes):
        raise ValueError(DUPLICATE)
    puts.add(key)
