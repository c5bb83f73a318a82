"""What the log's files are made of: records, and segments by number. Nothing is written here.

    record = crc32(rest) | payload length | type | a | b | payload          little-endian

    META     payload: whose log this is                    first record of every segment, or later
    HARD     a: term  b: commit index  payload: vote       hard state; the last one counts
    ENTRY    a: index b: term          payload: command
    CUT      a: index                                      entries from a on are gone
    FIRST    a: index                                      entries before a are no longer needed
    RESET    a: index b: term                              a snapshot took the place of all entries
    VOTER                                                  no longer `fresh`
    NEXT                                                   last of a segment: there is another
    TIME     a: milliseconds since 1970                    when the entries around were written

A torn tail of the last segment is a write that power loss cut short. A bad record anywhere
else is damage, and so is a segment that is not there: see `wal.py`.
"""

import struct
import zlib
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

import msgspec

from wherry.store.raft.disk import CorruptError, Reader

_HEAD: Final = struct.Struct("<IIBQQ")
HEAD_BYTES: Final = _HEAD.size
_REST: Final = struct.Struct("<IBQQ")
_CRC: Final = struct.Struct("<I")
META, HARD, ENTRY, CUT, FIRST, RESET, VOTER, NEXT, TIME = range(1, 10)
MAX_PAYLOAD: Final = 16 << 20
FORMAT: Final = 1
_BESIDE_A_LOG: Final = (".snap", ".part", ".tmp")  # see `snapshot.py`


def parts(kind: int, a: int, b: int, payload: bytes) -> tuple[bytes, bytes, bytes]:
    """Return a record's bytes, not yet joined."""
    rest = _REST.pack(len(payload), kind, a, b)
    return _CRC.pack(zlib.crc32(payload, zlib.crc32(rest))), rest, payload


NEXT_RECORD: Final = b"".join(parts(NEXT, 0, 0, b""))


def segment_name(number: int) -> str:
    """Return the name of the segment of that number."""
    return f"{number:016d}.wal"


def number_of(name: str) -> int:
    """Return a segment's number."""
    return int(name.partition(".")[0])


class Meta(msgspec.Struct, frozen=True, array_like=True):
    """Whose log this is; a directory of another member or cluster is refused."""

    format: int
    cluster: str
    member: str
    fresh: bool
    id: int = 0  # under which this disk belongs to the cluster; 0: under none yet
    spare: int = 0  # what a new disk would be called, should another have had its place
    base: bytes = b""  # the members when this one joined; empty: the flags say it


def segment_names(names: Sequence[str]) -> list[str]:
    """Return which of a directory's files are the log's segments, in order.

    Raises:
        CorruptError: one in the middle is missing.
    """
    found = [name for name in names if name[:-4].isdecimal() and name.endswith(".wal")]
    for before, name in pairwise(found):
        following = segment_name(number_of(before) + 1)
        if name != following:
            raise CorruptError(f"{following} offset 0: the segment is missing, but {name} is there")
    return found


def records(data: bytes) -> Iterator[tuple[int, int, int, int, bytes]]:
    """Yield (offset, type, a, b, payload) of a segment's records up to the first bad one."""
    position = 0
    view = memoryview(data)
    while position + _HEAD.size <= len(data):
        crc, length, kind, a, b = _HEAD.unpack_from(data, position)
        if crc == 0 and length == 0 and kind == 0:
            return  # reserved, never written
        end = position + _HEAD.size + length
        if end > len(data) or zlib.crc32(view[position + 4 : end]) != crc:
            return
        yield position, kind, a, b, data[position + _HEAD.size : end]
        position = end


def identity(disk: Reader) -> Meta | None:
    """Return whose log is on a disk; None on a new one. Nothing is checked but what is read.

    Raises:
        CorruptError: there is no log, but there was one.
    """
    found: Meta | None = None
    for name in segment_names(disk.names()):
        for _, kind, _, _, payload in records(disk.read(name)):
            if kind == META:
                found = msgspec.msgpack.decode(payload, type=Meta)
    if found is None:
        require_new(disk.names())
    return found


def require_new(names: Sequence[str]) -> None:
    """See that a directory without a log never had one: there is one before any snapshot.

    Taken for new, a member of one would begin with nothing, and another forget its promises.

    Raises:
        CorruptError: it had one.
    """
    left = [name for name in names if name.endswith(_BESIDE_A_LOG)]
    if left:
        raise CorruptError(
            f"{segment_name(1)} offset 0: the log is missing, but {left[-1]} is there; with other "
            "members, remove the data directory, and this one will be given everything; without, "
            "restore a backup, or that snapshot (wherry store snapshot restore)"
        )


def torn_bytes(name: str, data: bytes, position: int, *, last: bool) -> int:
    """Return how long the torn record is that begins at `position`, behind the last good one.

    In the last segment only, for a torn write is the last that was ever made; before that only
    a NEXT may be torn. Everywhere zeros may follow, reserved and never written.

    Raises:
        CorruptError: it is no torn write.
    """
    rest = data[position:].rstrip(b"\0")
    may_be_torn = last or NEXT_RECORD.startswith(rest)
    if rest and (not may_be_torn or _valid_record_in(data, position + 1, position + len(rest))):
        raise CorruptError(
            f"{name} offset {position}: bad checksum in the middle of the log; "
            "this member's disk lost data: remove its data directory, and it will be "
            "given everything by the other members"
        )
    return len(rest)


def _valid_record_in(data: bytes, start: int, end: int) -> bool:
    """Whether any good record begins in [start, end): then what precedes it is not a tail."""
    view = memoryview(data)
    for position in range(start, min(end, len(data) - _HEAD.size)):
        kind = data[position + 8]
        if not META <= kind <= TIME:
            continue
        crc, length, _, _, _ = _HEAD.unpack_from(data, position)
        stop = position + _HEAD.size + length
        if length > MAX_PAYLOAD or stop > len(data):
            continue
        if zlib.crc32(view[position + 4 : stop]) == crc:
            return True
    return False
