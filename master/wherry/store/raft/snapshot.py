"""Snapshots on disk, and on their way to a member that needs one.

    file `INDEX-TERM.snap` = magic | header | (length | chunk)* | 0 | zeros | sha256 of all before

The zeros fill up to a multiple of 512 bytes before the checksum: `etcdctl snapshot save` takes
a file to be whole by that. Older files have none, and are read all the same.

A snapshot counts once it has its final name: written to `snapshot.tmp`, synced, renamed. Two
are kept, and the log back to the older one, so that a snapshot which turns out damaged costs
nothing: the older one and the log give the same state.
"""

import hashlib
import logging
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import msgspec

from wherry.store.raft.disk import CorruptError, Disk, DiskFile, Reader

log = logging.getLogger(__name__)

MAGIC: Final = b"wherry snapshot 1\n"
TEMPORARY: Final = "snapshot.tmp"
RECEIVING: Final = "snapshot.part"
PIECE_BYTES: Final = 512 << 10
_LENGTH: Final = struct.Struct("<I")
_DIGEST: Final = 32
_BLOCK_BYTES: Final = 512


class Header(msgspec.Struct, frozen=True, array_like=True):
    """The state is that after applying entry `index`, which has `term`."""

    index: int
    term: int
    cluster: str
    members: bytes = b""  # `membership.Configuration`; empty: as the flags say
    members_index: int = 0  # of its entry


@dataclass(frozen=True, slots=True)
class SnapshotId:
    """Which entry a snapshot ends with."""

    index: int
    term: int

    @property
    def name(self) -> str:
        """Return the file's name."""
        return f"{self.index:016d}-{self.term:016d}.snap"


def snapshots(disk: Reader) -> list[SnapshotId]:
    """Return the snapshots on disk, the oldest first."""
    found = []
    for name in disk.names():
        stem, _, suffix = name.partition(".")
        if suffix == "snap":
            index, _, term = stem.partition("-")
            found.append(SnapshotId(int(index), int(term)))
    return sorted(found, key=lambda one: one.index)


class Encoder:
    """The bytes of a snapshot file, piece by piece: `begin`, `add` for each chunk, `end`."""

    def __init__(self, header: Header) -> None:
        self._header = header
        self._sha = hashlib.sha256()
        self._size = 0

    def _hashed(self, data: bytes) -> bytes:
        self._sha.update(data)
        self._size += len(data)
        return data

    def begin(self) -> bytes:
        """Return magic and header."""
        return self._hashed(MAGIC) + self.add(msgspec.msgpack.encode(self._header))

    def add(self, chunk: bytes) -> bytes:
        """Return a chunk of the state machine's as it stands in the file."""
        return self._hashed(_LENGTH.pack(len(chunk)) + chunk)

    def end(self) -> bytes:
        """Return the end mark, what fills up the block, and the checksum."""
        mark = _LENGTH.pack(0)
        zeros = bytes(-(self._size + len(mark)) % _BLOCK_BYTES)
        return self._hashed(mark + zeros) + self._sha.digest()


class Writer:
    """Writes one snapshot piece by piece; its slow calls may run in a thread."""

    def __init__(self, disk: Disk, header: Header) -> None:
        self._disk = disk
        self._id = SnapshotId(header.index, header.term)
        self._encoder = Encoder(header)
        self._file = disk.create(TEMPORARY)
        self._file.append(self._encoder.begin())

    def add(self, chunk: bytes) -> None:
        """Add a chunk of the state machine's."""
        self._file.append(self._encoder.add(chunk))

    def finish(self) -> SnapshotId:
        """Make it durable, and only then visible."""
        self._file.append(self._encoder.end())
        self._file.sync()
        self._file.close()
        self._disk.replace(TEMPORARY, self._id.name)
        return self._id

    def abandon(self) -> None:
        """Close the unfinished file."""
        self._file.close()


def verify(disk: Reader, name: str) -> None:
    """Read a whole snapshot file against its checksum.

    Raises:
        CorruptError: it does not hold what was written.
    """
    end = disk.size(name) - _DIGEST
    sha = hashlib.sha256()
    offset = 0
    while offset < end:
        piece = disk.read(name, offset, min(PIECE_BYTES, end - offset))
        if not piece:
            break
        sha.update(piece)
        offset += len(piece)
    if end < len(MAGIC) or disk.read(name, 0, len(MAGIC)) != MAGIC:
        raise CorruptError(f"{name} offset 0: not a snapshot")
    if disk.read(name, end, _DIGEST) != sha.digest():
        raise CorruptError(f"{name}: the checksum at offset {end} does not fit what stands before")


def read(disk: Reader, name: str, cluster: str) -> tuple[Header, Iterator[bytes]]:
    """Return the header, and the state machine's chunks, of a verified snapshot.

    Raises:
        CorruptError: it is another cluster's.
    """
    chunks = _chunks(disk, name)
    header = msgspec.msgpack.decode(next(chunks), type=Header)
    if header.cluster != cluster:
        raise CorruptError(f"{name} belongs to cluster {header.cluster!r}, not {cluster!r}")
    return header, chunks


def header(disk: Reader, name: str) -> Header:
    """Return the header of a verified snapshot, whichever cluster's it is."""
    return msgspec.msgpack.decode(next(_chunks(disk, name)), type=Header)


def _chunks(disk: Reader, name: str) -> Iterator[bytes]:
    offset = len(MAGIC)
    buffer = b""
    while True:
        while len(buffer) < _LENGTH.size:
            buffer += disk.read(name, offset + len(buffer), PIECE_BYTES)
        (length,) = _LENGTH.unpack_from(buffer)
        if not length:
            return
        while len(buffer) < _LENGTH.size + length:
            buffer += disk.read(name, offset + len(buffer), max(PIECE_BYTES, length))
        yield buffer[_LENGTH.size : _LENGTH.size + length]
        buffer = buffer[_LENGTH.size + length :]
        offset += _LENGTH.size + length


def newest_valid(disk: Disk, names: Iterable[SnapshotId]) -> SnapshotId | None:
    """Return the newest of `names` that passes its checksum; None if there are none.

    Raises:
        CorruptError: there are some, and all are damaged.
    """
    damaged: CorruptError | None = None
    for one in sorted(names, key=lambda each: -each.index):
        try:
            verify(disk, one.name)
        except CorruptError as error:
            log.error("damaged snapshot", extra={"why": str(error)})  # noqa: TRY400  # no traceback: it is the disk
            damaged = damaged or error
        else:
            return one
    if damaged is not None:
        raise damaged
    return None


class Receiver:
    """Puts together a snapshot file that the leader sends in order."""

    def __init__(self, disk: Disk, identity: SnapshotId, size: int) -> None:
        self._disk = disk
        self.id = identity
        self.size = size
        self.offset = 0
        self._file: DiskFile | None = disk.create(RECEIVING)

    def add(self, offset: int, data: bytes) -> bool:
        """Take the piece at `offset`; return whether the file is now complete."""
        if self._file is None or offset != self.offset:
            return False
        self._file.append(data)
        self.offset += len(data)
        return self.offset >= self.size

    def finish(self) -> None:
        """Verify, make durable and visible; slow: may run in a thread.

        Raises:
            CorruptError: what arrived is damaged.
        """
        if self._file is not None:
            self._file.sync()
        self.close()
        verify(self._disk, RECEIVING)
        self._disk.replace(RECEIVING, self.id.name)

    def close(self) -> None:
        """Stop receiving."""
        if self._file is not None:
            self._file.close()
            self._file = None
