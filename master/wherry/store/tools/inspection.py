"""What a member's directory holds, and what is wrong with it: without changing anything.

Each file is judged by itself, record by record; then the log is opened as the store would
open it, so that what is said here is what the store would say. Three endings of the newest
segment are no damage: nothing behind the last record, reserved zeros, and a torn record, for
a write that was never completed was never acknowledged. That a *completed* last write was
damaged later cannot be told from that (docs/store.md).
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from wherry.api.errors import ConfigError
from wherry.store.mvcc import MvccState
from wherry.store.raft import snapshot
from wherry.store.raft.core import COMMAND
from wherry.store.raft.disk import CorruptError, Disk, DiskFile
from wherry.store.raft.keeper import check_reach
from wherry.store.raft.record import (
    CUT,
    ENTRY,
    FIRST,
    HARD,
    HEAD_BYTES,
    META,
    NEXT,
    RESET,
    TIME,
    VOTER,
    Meta,
    records,
    require_new,
    segment_names,
    torn_bytes,
)
from wherry.store.raft.snapshot import Header, SnapshotId
from wherry.store.raft.wal import Wal
from wherry.store.tools.files import ReadOnly

KINDS: Final = {
    META: "META",
    HARD: "HARD",
    ENTRY: "ENTRY",
    CUT: "CUT",
    FIRST: "FIRST",
    RESET: "RESET",
    VOTER: "VOTER",
    NEXT: "NEXT",
    TIME: "TIME",
}


@dataclass(slots=True)
class File:
    """One file: what is good in it, and its damage, as `FILE offset N: why`."""

    name: str
    good: str = ""
    damage: str = ""


@dataclass(slots=True)
class Inspection:
    """A whole directory."""

    path: Path
    files: list[File] = field(default_factory=list)
    meta: Meta | None = None
    wal: Wal | None = None  # None: it would not open
    newest: SnapshotId | None = None  # the newest good snapshot
    problems: list[str] = field(default_factory=list)

    @property
    def usable(self) -> bool:
        """Whether a member can start from it: damage to a file that is not needed is no hindrance."""
        return self.wal is not None and self.meta is not None and not self.problems

    @property
    def damage(self) -> list[str]:
        """Everything that is wrong."""
        found = [each.damage for each in self.files if each.damage]
        return list(dict.fromkeys(found + self.problems))


class _Nowhere:
    """Takes what a log that is only looked at would write."""

    def append(self, data: bytes) -> None:
        """See `DiskFile`."""

    def sync(self) -> None:
        """See `DiskFile`."""

    def close(self) -> None:
        """See `DiskFile`."""


class _Untouched(ReadOnly):
    """`Disk` for opening a log that shall not be written."""

    def create(self, name: str, reserve_bytes: int = 0) -> DiskFile:
        """See `Disk`."""
        del name, reserve_bytes
        return _Nowhere()

    def open_at(self, name: str, end: int, reserve_bytes: int = 0) -> DiskFile:
        """See `Disk`."""
        del name, end, reserve_bytes
        return _Nowhere()


def inspect(path: Path) -> Inspection:
    """Look at a member's directory.

    Raises:
        ConfigError: there is no store in it.
    """
    disk = ReadOnly(path)
    names = disk.names()
    found = Inspection(path)
    segments = [name for name in names if name.endswith(".wal")]
    images = [name for name in names if name.endswith(".snap")]
    if not segments and not images:
        raise ConfigError(f"{path} holds no log and no snapshot of a store")
    for name in segments:
        found.files.append(_segment(disk, name, found, last=name == segments[-1]))
    for name in images:
        found.files.append(image(disk, name))
    if not segments:
        _log_is_gone(found, names)
    _open(found, segments, path)
    _reach(found, disk)
    return found


def _segment(disk: ReadOnly, name: str, found: Inspection, *, last: bool) -> File:
    data = disk.read(name)
    file = File(name)
    counts: Counter[str] = Counter()
    first = highest = end = 0
    for offset, kind, a, _, payload in records(data):
        end = offset + HEAD_BYTES + len(payload)
        counts[KINDS.get(kind, f"type {kind}")] += 1
        if kind == ENTRY:
            first, highest = first or a, a
        elif kind == META and found.meta is None:
            found.meta = msgspec.msgpack.decode(payload, type=Meta)
    file.good = f"{end} bytes of records: " + (
        ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items())) or "none"
    )
    if first:
        file.good += f"; entries {first} to {highest}"
    try:
        torn = torn_bytes(name, data, end, last=last)
    except CorruptError as error:
        file.damage = str(error)
    else:
        if torn:
            file.good += f"; a torn write of {torn} bytes at offset {end}, never acknowledged"
    return file


def image(disk: ReadOnly, name: str) -> File:
    """Judge a snapshot file, down to its keys."""
    file = File(name)
    try:
        header, state = load(disk, name)
    except CorruptError as error:
        file.damage = str(error)
    else:
        file.good = (
            f"{disk.size(name)} bytes, checksum good: entry {header.index} of term {header.term}, "
            f"revision {state.revision}, {state.live_count} keys"
        )
    return file


def load(disk: ReadOnly, name: str, cluster: str | None = None) -> tuple[Header, MvccState]:
    """Return the state that a snapshot file holds; of any cluster if `cluster` is None.

    Raises:
        CorruptError: it does not hold what was written, or is of another version.
    """
    snapshot.verify(disk, name)
    header = snapshot.header(disk, name)
    _, chunks = snapshot.read(disk, name, cluster or header.cluster)
    state = MvccState()
    try:
        state.restore(chunks)
    except (ValueError, LookupError) as error:
        raise CorruptError(f"{name}: the checksum fits, the state does not: {error}") from error
    return header, state


def _open(found: Inspection, segments: list[str], path: Path) -> None:
    """Open the log as the store does: this finds what no single file shows."""
    if found.meta is None:
        if segments and not any(file.damage for file in found.files):
            found.problems.append(f"{segments[0]} offset 0: it does not say whose log this is")
        return
    try:
        segment_names(segments)
        found.wal = Wal(
            _disk(path), cluster=found.meta.cluster, member=found.meta.member, fresh=True
        )
    except ConfigError as error:
        found.problems.append(str(error))


def _log_is_gone(found: Inspection, names: list[str]) -> None:
    try:
        require_new(names)
    except CorruptError as error:
        found.problems.append(str(error))


def _disk(path: Path) -> Disk:
    return _Untouched(path)  # type: ignore[return-value]  # opening a log calls nothing else


def _reach(found: Inspection, disk: ReadOnly) -> None:
    known = snapshot.snapshots(disk)
    damaged = {file.name for file in found.files if file.damage}
    good = [one for one in known if one.name not in damaged]
    found.newest = good[-1] if good else None
    if found.wal is None:
        return
    try:
        check_reach(found.wal, found.newest, known)
    except CorruptError as error:
        found.problems.append(str(error))


def state_of(found: Inspection, upto: int | None = None) -> tuple[int, MvccState]:
    """Return the state after the last entry, or after entry `upto`, and that entry's index.

    Raises:
        CorruptError: snapshot or log cannot be trusted.
    """
    if found.wal is None:
        raise CorruptError(f"{found.path}: {'; '.join(found.damage)}")
    state, index = MvccState(), 0
    if found.newest is not None:
        header, state = load(ReadOnly(found.path), found.newest.name)
        index = header.index
    for command, entry_index, _ in entries(found.wal):
        if index < entry_index and (upto is None or entry_index <= upto):
            index = entry_index
            if command[:1] == COMMAND:
                state.apply(command[1:])
    return index, state


def entries(wal: Wal) -> Iterator[tuple[bytes, int, int]]:
    """Yield (command with its type byte, index, term) of the entries that the log keeps."""
    yield from wal.entries
