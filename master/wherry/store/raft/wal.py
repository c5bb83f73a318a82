"""The log on disk: append-only checksummed records (`record.py`) in numbered segments.

Nothing is ever overwritten: truncation and compaction are records, and whole segments are
deleted when every entry in them is obsolete. `sync()` is the one barrier: what was said to
another member, or counted as this member's own, must be behind it.

A torn tail (power loss) is cut off on opening. A bad record with valid ones behind it is
corruption: the store does not start, for what was acknowledged may be gone. So is a segment
that is missing: NEXT is written once the following one is durable, and before it is used.

`fresh` says that this member may have forgotten what it once promised: its disk is new. Its
vote then only counts where all members agree (`core.py`), until a leader has given it
everything. So a wiped member comes back as a learner by itself.
"""

import logging
from collections.abc import Callable
from typing import Final

import msgspec

from wherry.api.errors import ConfigError
from wherry.store.raft.disk import CorruptError, Disk, DiskFile
from wherry.store.raft.record import (
    CUT,
    ENTRY,
    FIRST,
    FORMAT,
    HARD,
    HEAD_BYTES,
    META,
    NEXT,
    NEXT_RECORD,
    RESET,
    TIME,
    VOTER,
    Meta,
    number_of,
    parts,
    records,
    require_new,
    segment_name,
    segment_names,
    torn_bytes,
)

log = logging.getLogger(__name__)

Entry = tuple[bytes, int, int]
"""(command, index, term), as PySyncObj has it."""

NOOP: Final = b"\x01"
CONFIGURATION: Final = b"\x11"  # first byte of an entry that says who the members are
SEGMENT_BYTES: Final = 64 << 20
_STAMP_MS: Final = 1000


class Wal:
    """The entries in memory, and everything needed to have them again after a crash."""

    def __init__(
        self,
        disk: Disk,
        *,
        cluster: str,
        member: str,
        fresh: bool = True,
        member_id: int = 0,
        spare: int = 0,
        base: bytes = b"",
        segment_bytes: int = SEGMENT_BYTES,
        now: Callable[[], float] | None = None,
    ) -> None:
        """Open or create the log; `fresh`, ids and `base` are what a new one starts with.

        `now` is the wall clock, in seconds since 1970, for people who must choose a survivor.

        Raises:
            CorruptError: the log is damaged in the middle, or gone.
            ConfigError: it belongs to another member or cluster.
        """
        self._disk = disk
        self._segment_bytes = segment_bytes
        self._identity = (cluster, member)
        self.entries: list[Entry] = []
        self.term = 0
        self.vote: str | None = None
        self.commit = 1  # a hint: everything up to here was committed when it was written
        self._written_commit = 0
        self._first = 0  # of the entries that the files hold; memory may begin later
        self.fresh = fresh
        self.member_id = member_id
        self.spare = spare
        self.base = base
        self.configurations: list[tuple[int, bytes]] = []  # in the log: index, payload
        self._now = now
        self.written_ms = 0  # when entries were written last, to the second; 0: unknown
        self.syncs = 0
        self._segments: list[tuple[str, int]] = []  # name, highest index in it
        self._buffer: list[bytes] = []
        self._position = 0
        self._news = False  # there are entries that were not synced yet
        self._more = False  # the segment read last says that there is another
        self._begins = 0  # where the log says that it begins
        self._claimed = False  # what was read says whose log it is
        names = segment_names(disk.names())
        for name in names:
            if self._segments and not self._more:
                self._link(self._segments[-1][0], self._position)
            self._position = self._replay(name, last=name == names[-1])
        if self._more:
            raise CorruptError(
                f"{segment_name(number_of(names[-1]) + 1)} offset 0: the segment is missing, "
                f"but {names[-1]} says that there is one"
            )
        if self._begins and not self.entries:  # of others a snapshot may hold what is missing
            raise CorruptError(
                f"{names[0]} offset 0: the log holds no entry, and says that it begins "
                f"at entry {self._begins}: a segment before is missing"
            )
        if not self._claimed:
            require_new(disk.names())
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
        self._more = False
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
            self._first = self._begins = a
            self._drop_before(a)
        elif kind == RESET:
            self._first = self._begins = a
            self.entries = [(NOOP, a, b)]
            self.configurations = []
            self._raise_highest(a)
        elif kind == META:
            self._check_meta(msgspec.msgpack.decode(payload, type=Meta))
        elif kind == VOTER:
            self.fresh = False
        elif kind == NEXT:
            self._more = True
        elif kind == TIME:
            self.written_ms = a
        else:
            raise CorruptError(f"{name} offset {position}: record of unknown type {kind}")

    def _take_entry(self, name: str, position: int, entry: Entry) -> None:
        if self.entries and entry[1] != self.entries[-1][1] + 1:
            raise CorruptError(
                f"{name} offset {position}: entry {entry[1]} follows {self.entries[-1][1]}"
            )
        self._add(entry)

    def _add(self, entry: Entry) -> None:
        if not self.entries:
            self._first = entry[1]
        self.entries.append(entry)
        if entry[0][:1] == CONFIGURATION:
            self.configurations.append((entry[1], entry[0][1:]))
        self._raise_highest(entry[1])

    def _check_meta(self, meta: Meta) -> None:
        if meta.format != FORMAT:
            raise ConfigError(f"the log has format {meta.format}, this version reads {FORMAT}")
        if (meta.cluster, meta.member) != self._identity:
            raise ConfigError(
                f"the data directory belongs to member {meta.member!r} of cluster "
                f"{meta.cluster!r}, not to {self._identity[1]!r} of {self._identity[0]!r}"
            )
        self._claimed = True
        self.fresh, self.member_id = meta.fresh, meta.id
        self.spare, self.base = meta.spare or self.spare, meta.base

    def _raise_highest(self, index: int) -> None:
        name, highest = self._segments[-1]
        if index > highest:
            self._segments[-1] = (name, index)

    # ---- writing

    def _create(self, number: int) -> DiskFile:
        name = segment_name(number)
        file = self._disk.create(name, self._segment_bytes)
        self._segments.append((name, 0))
        self._position = 0
        self._begin()
        return file

    def _begin(self) -> None:
        """A segment says whose it is, and stands on its own when older ones are deleted."""
        self._meta()
        self._hard()
        if self.entries:
            self._record(FIRST, self._first)
        if self.written_ms:
            self._record(TIME, self.written_ms)

    def _meta(self) -> None:
        cluster, member = self._identity
        meta = Meta(FORMAT, cluster, member, self.fresh, self.member_id, self.spare, self.base)
        self._record(META, payload=msgspec.msgpack.encode(meta))

    def _record(self, kind: int, a: int = 0, b: int = 0, payload: bytes = b"") -> None:
        self._buffer += parts(kind, a, b, payload)

    def _hard(self) -> None:
        self._written_commit = self.commit
        self._record(HARD, self.term, self.commit, (self.vote or "").encode())

    def sync(self) -> None:
        """Make everything so far durable. An `OSError` must stop the process."""
        if self._buffer:
            if self._news:
                self._stamp()
            self._write()
            if self._position > self._segment_bytes:
                self._roll()

    def _stamp(self) -> None:
        """Say when this is written. The file's own time says when the member was last started."""
        self._news = False
        now_ms = max(0, int(self._now() * 1000)) if self._now is not None else 0
        if abs(now_ms - self.written_ms) >= _STAMP_MS:
            self.written_ms = now_ms
            self._record(TIME, now_ms)

    @property
    def durable(self) -> bool:
        """Whether everything so far is."""
        return not self._buffer

    def _write(self) -> None:
        data = b"".join(self._buffer)
        self._buffer = []
        self._file.append(data)
        self._file.sync()
        self._position += len(data)
        self.syncs += 1

    def _roll(self) -> None:
        """Go on in another segment; when that is durable, this one says that it goes on there."""
        full = self._file
        self._file = self._create(number_of(self._segments[-1][0]) + 1)
        self._write()
        full.append(NEXT_RECORD)
        full.sync()
        full.close()

    def _link(self, name: str, end: int) -> None:
        """Say in a segment that another follows: a crash came before that could be said."""
        file = self._disk.open_at(name, end)
        file.append(NEXT_RECORD)
        file.sync()
        file.close()

    def append(self, command: bytes, index: int, term: int) -> None:
        """Add the next entry."""
        if self.entries and index != self.entries[-1][1] + 1:
            raise AssertionError(f"entry {index} does not follow {self.entries[-1][1]}")
        self._record(ENTRY, index, term, command)
        self._add((command, index, term))
        self._news = True

    def cut_from(self, index: int) -> None:
        """Forget the entries from `index` on: another leader's replace them."""
        self._record(CUT, index)
        self._drop_from(index)

    def drop_before(self, index: int) -> None:
        """Forget the entries before `index`: snapshots hold them. Deletes obsolete segments."""
        if not self.entries or index <= self._first:
            return
        if index > self.entries[-1][1]:
            raise AssertionError(f"cannot drop all entries, up to {index}")
        self._drop_before(index)
        self._first = index
        self._record(FIRST, index)
        self.sync()
        while len(self._segments) > 1 and self._segments[0][1] < index:
            self._disk.delete(self._segments.pop(0)[0])

    def forget_before(self, index: int, tail_bytes: int) -> None:
        """Free the memory of entries before `index` but for the last `tail_bytes` of them.

        The files keep them: should the newest snapshot be damaged, they are read again.
        """
        if not self.entries:
            return
        start = max(0, min(index, self.entries[-1][1]) - self.entries[0][1])
        while start and tail_bytes > 0:
            start -= 1
            tail_bytes -= len(self.entries[start][0])
        del self.entries[:start]

    def reset(self, index: int, term: int) -> None:
        """A snapshot up to `index` replaces every entry."""
        self._first = index
        self.entries = [(NOOP, index, term)]
        self.configurations = []
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
        """Write the commit hint, if it is news, with whatever is synced next."""
        if self.commit > self._written_commit:
            self._hard()

    def become_voter(self) -> None:
        """This member has everything that was ever acknowledged: it may vote."""
        self.fresh = False
        self._record(VOTER)
        self.sync()

    def identify(self, member_id: int) -> None:
        """Write down, with what is synced next, under which id this disk is a member's."""
        if self.member_id != member_id:
            self.member_id = member_id
            self._meta()

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
        while self.configurations and self.configurations[-1][0] >= index:
            self.configurations.pop()

    def _drop_before(self, index: int) -> None:
        if self.entries:
            del self.entries[: max(0, index - self.entries[0][1])]
