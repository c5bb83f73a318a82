"""The log on disk: append-only checksummed records in numbered segments.

    record = crc32(rest) | payload length | type | a | b | payload          little-endian

    META     payload: whose log this is                    first record of every segment
    HARD     a: term  b: commit index  payload: vote       hard state; the last one counts
    ENTRY    a: index b: term          payload: command
    CUT      a: index                                      entries from a on are gone
    FIRST    a: index                                      entries before a are no longer needed
    RESET    a: index b: term                              a snapshot took the place of all entries
    VOTER                                                  no longer `fresh`

Nothing is ever overwritten: truncation and compaction are records, and whole segments are
deleted when every entry in them is obsolete. `sync()` is the one barrier: what was said to
another member, or counted as this member's own, must be behind it.

A torn tail (power loss) is cut off on opening. A bad record with valid ones behind it is
corruption: the store does not start, for what was acknowledged may be gone.

`fresh` says that this member may have forgotten what it once promised: its disk is new. Its
vote then only counts where all members agree (`core.py`), until a leader has given it
everything. So a wiped member comes back as a learner by itself.
"""

import logging
import struct
import zlib
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

import msgspec

from wherry.api.errors import ConfigError
from wherry.store.raft.disk import CorruptError, Disk, DiskFile

log = logging.getLogger(__name__)

Entry = tuple[bytes, int, int]
"""(command, index, term), as PySyncObj has it."""

NOOP: Final = b"\x01"
_HEAD: Final = struct.Struct("<IIBQQ")
HEAD_BYTES: Final = _HEAD.size
_REST: Final = struct.Struct("<IBQQ")
_CRC: Final = struct.Struct("<I")
META, HARD, ENTRY, CUT, FIRST, RESET, VOTER = range(1, 8)
SEGMENT_BYTES: Final = 64 << 20
MAX_PAYLOAD: Final = 16 << 20
FORMAT: Final = 1


class Meta(msgspec.Struct, frozen=True, array_like=True):
    """Whose log this is; a directory of another member or cluster is refused."""

    format: int
    cluster: str
    member: str
    fresh: bool


class Wal:
    """The entries in memory, and everything needed to have them again after a crash."""

    def __init__(
        self,
        disk: Disk,
        *,
        cluster: str,
        member: str,
        fresh: bool = True,
        segment_bytes: int = SEGMENT_BYTES,
    ) -> None:
        """Open or create the log; `fresh` is what a new one starts with.

        Raises:
            CorruptError: the log is damaged in the middle.
            ConfigError: it belongs to another member or cluster.
        """
        self._disk = disk
        self._segment_bytes = segment_bytes
        self._identity = (cluster, member)
        self.entries: list[Entry] = []
        self.term = 0
        self.vote: str | None = None
        self.commit = 1  # a hint: everything up to here was committed when it was written
        self.fresh = fresh
        self.syncs = 0
        self._segments: list[tuple[str, int]] = []  # name, highest index in it
        self._buffer: list[bytes] = []
        self._position = 0
        names = segment_names(disk.names())
        for name in names:
            self._position = self._replay(name, last=name == names[-1])
        if names:
            self._file: DiskFile = disk.open_at(names[-1], self._position, segment_bytes)
            if not self._position:  # created, but nothing of it was durable
                self._begin()
        else:
            self._file = self._create(1)

    # ---- recovery

    def _replay(self, name: str, *, last: bool) -> int:
        data = self._disk.read(name)
        self._segments.append((name, 0))
        position = 0
        for offset, kind, a, b, payload in records(data):
            self._take(name, offset, kind, a, b, payload)
            position = offset + HEAD_BYTES + len(payload)
        torn = torn_bytes(name, data, position, last=last)
        if torn:
            log.warning("cut torn tail", extra={"file": name, "offset": position, "bytes": torn})
        return position

    def _take(self, name: str, position: int, kind: int, a: int, b: int, payload: bytes) -> None:
        if kind == ENTRY:
            self._take_entry(name, position, (payload, a, b))
        elif kind == HARD:
            self.term, self.commit = a, max(self.commit, b)
            self.vote = payload.decode() or None
        elif kind == CUT:
            self._drop_from(a)
        elif kind == FIRST:
            self._drop_before(a)
        elif kind == RESET:
            self.entries = [(NOOP, a, b)]
            self._raise_highest(a)
        elif kind == META:
            self._check_meta(msgspec.msgpack.decode(payload, type=Meta))
        elif kind == VOTER:
            self.fresh = False
        else:
            raise CorruptError(f"{name} offset {position}: record of unknown type {kind}")

    def _take_entry(self, name: str, position: int, entry: Entry) -> None:
        if self.entries and entry[1] != self.entries[-1][1] + 1:
            raise CorruptError(
                f"{name} offset {position}: entry {entry[1]} follows {self.entries[-1][1]}"
            )
        self.entries.append(entry)
        self._raise_highest(entry[1])

    def _check_meta(self, meta: Meta) -> None:
        if meta.format != FORMAT:
            raise ConfigError(f"the log has format {meta.format}, this version reads {FORMAT}")
        if (meta.cluster, meta.member) != self._identity:
            raise ConfigError(
                f"the data directory belongs to member {meta.member!r} of cluster "
                f"{meta.cluster!r}, not to {self._identity[1]!r} of {self._identity[0]!r}"
            )
        self.fresh = meta.fresh

    def _raise_highest(self, index: int) -> None:
        name, highest = self._segments[-1]
        if index > highest:
            self._segments[-1] = (name, index)

    # ---- writing

    def _create(self, number: int) -> DiskFile:
        name = f"{number:016d}.wal"
        file = self._disk.create(name, self._segment_bytes)
        self._segments.append((name, 0))
        self._position = 0
        self._begin()
        return file

    def _begin(self) -> None:
        """A segment says whose it is, and stands on its own when older ones are deleted."""
        cluster, member = self._identity
        self._record(
            META, payload=msgspec.msgpack.encode(Meta(FORMAT, cluster, member, self.fresh))
        )
        self._hard()
        if self.entries:
            self._record(FIRST, self.entries[0][1])

    def _record(self, kind: int, a: int = 0, b: int = 0, payload: bytes = b"") -> None:
        rest = _REST.pack(len(payload), kind, a, b)
        self._buffer += (_CRC.pack(zlib.crc32(payload, zlib.crc32(rest))), rest, payload)

    def _hard(self) -> None:
        self._record(HARD, self.term, self.commit, (self.vote or "").encode())

    def sync(self) -> None:
        """Make everything so far durable. An `OSError` must stop the process."""
        if not self._buffer:
            return
        data = b"".join(self._buffer)
        self._buffer = []
        self._file.append(data)
        self._file.sync()
        self._position += len(data)
        self.syncs += 1
        if self._position > self._segment_bytes:
            self._file.close()
            self._file = self._create(int(self._segments[-1][0].partition(".")[0]) + 1)

    def append(self, command: bytes, index: int, term: int) -> None:
        """Add the next entry."""
        if self.entries and index != self.entries[-1][1] + 1:
            raise AssertionError(f"entry {index} does not follow {self.entries[-1][1]}")
        self.entries.append((command, index, term))
        self._record(ENTRY, index, term, command)
        self._raise_highest(index)

    def cut_from(self, index: int) -> None:
        """Forget the entries from `index` on: another leader's replace them."""
        self._record(CUT, index)
        self._drop_from(index)

    def drop_before(self, index: int) -> None:
        """Forget the entries before `index`: snapshots hold them. Deletes obsolete segments."""
        if not self.entries or index <= self.entries[0][1]:
            return
        if index > self.entries[-1][1]:
            raise AssertionError(f"cannot drop all entries, up to {index}")
        self._drop_before(index)
        self._record(FIRST, index)
        self.sync()
        while len(self._segments) > 1 and self._segments[0][1] < index:
            self._disk.delete(self._segments.pop(0)[0])

    def reset(self, index: int, term: int) -> None:
        """A snapshot up to `index` replaces every entry."""
        self.entries = [(NOOP, index, term)]
        self._record(RESET, index, term)
        self._raise_highest(index)
        self.sync()
        while len(self._segments) > 1 and self._segments[0][1] < index:
            self._disk.delete(self._segments.pop(0)[0])

    def save_vote(self, term: int, vote: str | None) -> None:
        """Make term and vote durable, at once: after this they may be told."""
        self.term, self.vote = term, vote
        self._hard()
        self.sync()

    def save_commit(self) -> None:
        """Write the commit hint with whatever is synced next."""
        self._hard()

    def become_voter(self) -> None:
        """This member has everything that was ever acknowledged: it may vote."""
        self.fresh = False
        self._record(VOTER)
        self.sync()

    def term_at(self, index: int) -> int | None:
        """Return the term of an entry, None where there is none."""
        offset = index - self.entries[0][1] if self.entries else -1
        return self.entries[offset][2] if 0 <= offset < len(self.entries) else None

    def close(self) -> None:
        """Close the file; what was not synced is lost."""
        self._file.close()

    def _drop_from(self, index: int) -> None:
        if self.entries:
            del self.entries[max(0, index - self.entries[0][1]) :]

    def _drop_before(self, index: int) -> None:
        if self.entries:
            del self.entries[: max(0, index - self.entries[0][1])]


def segment_names(names: Sequence[str]) -> list[str]:
    """Return which of a directory's files are the log's segments, in order.

    Raises:
        CorruptError: one in the middle is missing.
    """
    found = [name for name in names if name[:-4].isdecimal() and name.endswith(".wal")]
    for before, name in pairwise(found):
        following = f"{int(before.partition('.')[0]) + 1:016d}.wal"
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


def torn_bytes(name: str, data: bytes, position: int, *, last: bool) -> int:
    """Return how long the torn record is that begins at `position`, behind the last good one.

    In the last segment only, for a torn write is the last that was ever made; there and
    elsewhere zeros may follow, reserved and never written.

    Raises:
        CorruptError: it is no torn write.
    """
    rest = data[position:].rstrip(b"\0")
    if rest and (not last or _valid_record_in(data, position + 1, position + len(rest))):
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
        if not META <= kind <= VOTER:
            continue
        crc, length, _, _, _ = _HEAD.unpack_from(data, position)
        stop = position + _HEAD.size + length
        if length > MAX_PAYLOAD or stop > len(data):
            continue
        if zlib.crc32(view[position + 4 : stop]) == crc:
            return True
    return False
