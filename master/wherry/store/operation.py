"""What a command does inside one transaction, as canonical msgpack, and what each part gives.

The structs are arrays, told apart by their first element: old logs hold them, so the layout
of an existing one never changes. What is new gets a kind of its own, which a version that does
not know it refuses to read, instead of doing something else.
"""

import msgspec

from wherry.store.kv import DeleteResult, PutResult, RangeResult, Target


class PutOp(msgspec.Struct, frozen=True, array_like=True, tag="p", gc=False):
    """Write a key."""

    key: bytes
    value: bytes
    lease: int = 0


class UpdateOp(msgspec.Struct, frozen=True, array_like=True, tag="u", gc=False):
    """Write a key that exists; what is None stays as it is."""

    key: bytes
    value: bytes | None
    lease: int | None


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


class Check(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A comparison; see `kv.Compare`."""

    key: bytes
    target: Target
    op: str
    operand: int | bytes


class RangeCheck(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A comparison that every key of [key, end) must pass."""

    key: bytes
    end: bytes | None
    target: Target
    op: str
    operand: int | bytes


class TxnOp(msgspec.Struct, frozen=True, array_like=True, tag="t"):
    """A transaction inside of one: part of the same revision."""

    checks: tuple[RangeCheck, ...]
    success: tuple["EntryOp", ...]
    failure: tuple["EntryOp", ...]


EntryOp = PutOp | UpdateOp | DeleteOp | RangeOp | TxnOp


class RangeDone(msgspec.Struct, frozen=True, array_like=True, tag="r"):
    """Result of a RangeOp."""

    result: RangeResult


class PutDone(msgspec.Struct, frozen=True, array_like=True, tag="p"):
    """Result of a PutOp or an UpdateOp."""

    result: PutResult


class DeleteDone(msgspec.Struct, frozen=True, array_like=True, tag="d"):
    """Result of a DeleteOp."""

    result: DeleteResult


class TxnDone(msgspec.Struct, frozen=True, array_like=True, tag="t"):
    """Result of a TxnOp."""

    succeeded: bool
    results: tuple["OpDone", ...]


OpDone = RangeDone | PutDone | DeleteDone | TxnDone
