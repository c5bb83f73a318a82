"""Snapshots of the state machine: how a state is taken apart, and put together again.

A snapshot is a header, the keys as of the compact revision, and the events since; restoring
it is replaying it. It may be read in pieces while the state moves on, for none of this
changes: what is compacted meanwhile is freed only when nobody reads (`MvccState.pins`).
"""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import msgspec

from wherry.api.errors import UnavailableError
from wherry.store.kv import Event, KeyValue

FORMAT = 1


class Header(msgspec.Struct, array_like=True):
    """First chunk of a snapshot: everything but keys and events."""

    format: int
    applied: int
    revision: int
    compact_revision: int
    next_session: int
    leases: list[tuple[int, int, int]]  # id, ttl_s, serial
    sessions: list[tuple[int, int, list[tuple[int, bytes]]]]  # id, oldest, (seq, outcome)
    alarms: list[tuple[int, int]] = []  # member, kind; snapshots of old have none


_encode = msgspec.msgpack.Encoder().encode
_decode_header = msgspec.msgpack.Decoder(Header).decode
Revision = list[tuple[bool, KeyValue]]  # its events in order: deleted?, key value
# A chunk is (key values as of compaction, then events by revision): one of the two is empty.
_Chunk = tuple[list[KeyValue], list[Revision]]
_decode_chunk = msgspec.msgpack.Decoder(_Chunk).decode


class State(Protocol):
    """What a state machine must let snapshots see and do; `MvccState` is it."""

    pins: int
    replaced: int

    @property
    def revision(self) -> int:
        """Return the current revision."""
        ...

    @property
    def compact_revision(self) -> int:
        """Return the oldest revision that may be read."""
        ...

    def header(self) -> Header:
        """Return everything but keys and events."""
        ...

    def all_keys(self) -> list[bytes]:
        """Return every key that has a history, sorted."""
        ...

    def peek(self, key: bytes, revision: int) -> KeyValue | None:
        """Return what a key held at a revision."""
        ...

    def kept_events(self, after: int, upto: int) -> Iterator[tuple[Event, ...]]:
        """Return the events of each revision in (after, upto]."""
        ...


class Replayable(State, Protocol):
    """What can be put together again, and put in the place of another."""

    def begin_replay(self, header: Header) -> None:
        """Start from everything but keys and events."""
        ...

    def replay(self, kvs: Sequence[KeyValue], revisions: Sequence[Revision]) -> None:
        """Take keys as of the compact revision, or events since."""
        ...

    def end_replay(self) -> None:
        """Build what follows from the keys."""
        ...

    def adopt(self, other: Any) -> None:
        """Become another state."""
        ...


class ReplacedError(UnavailableError):
    """Another state took the place of the one that was being read: begin again."""


class Snapshot:
    """A view of the state at one revision, readable while the state moves on.

    Use as a context manager: the state keeps what the view needs until it is left.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self._replaced = state.replaced
        self.revision = state.revision
        self._compacted = state.compact_revision
        self._keys: list[bytes] = state.all_keys()
        self._header = _encode(state.header())

    def __enter__(self) -> "Snapshot":
        self._state.pins += 1
        return self

    def __exit__(self, *_: object) -> None:
        self._state.pins -= 1

    def chunks(self, size_bytes: int = 1 << 18) -> Iterator[bytes]:
        """Yield the snapshot in pieces of about `size_bytes`; the first is the header.

        Raises:
            ReplacedError: a snapshot of another member was installed meanwhile.
        """
        for chunk in self._chunks(size_bytes):
            yield chunk
            if self._state.replaced != self._replaced:
                raise ReplacedError("the state was replaced while it was being read")

    def _chunks(self, size_bytes: int) -> Iterator[bytes]:
        yield self._header
        yield from _key_chunks(self._state, self._keys, self._compacted, size_bytes)
        yield from self._event_chunks(size_bytes)

    def _event_chunks(self, size_bytes: int) -> Iterator[bytes]:
        revisions: list[Revision] = []
        size = 0
        for events in self._state.kept_events(self._compacted, self.revision):
            revisions.append([(event.deleted, event.kv) for event in events])
            size += sum(len(e.kv.key) + len(e.kv.value) + 64 for e in events)
            if size >= size_bytes:
                yield _encode(([], revisions))
                revisions, size = [], 0
        if revisions:
            yield _encode(([], revisions))


def _key_chunks(
    state: State, keys: Sequence[bytes], revision: int, size_bytes: int
) -> Iterator[bytes]:
    """Yield what the keys held at a revision."""
    kvs: list[KeyValue] = []
    size = 0
    for key in keys:
        kv = state.peek(key, revision)
        if kv is not None:
            kvs.append(kv)
            size += len(key) + len(kv.value) + 64
            if size >= size_bytes:
                yield _encode((kvs, []))
                kvs, size = [], 0
    if kvs:
        yield _encode((kvs, []))


def refounded(
    state: State, *, next_session: int, bump: int, size_bytes: int = 1 << 18
) -> Iterator[bytes]:
    """Yield the snapshot with which a new cluster goes on from a state that nobody changes now.

    Without the old sessions. With `bump` the revision jumps by so much and everything before
    is compacted, so that no revision is ever used for two things; 0 keeps them all.
    """
    header = state.header()
    header.next_session, header.sessions = next_session, []
    if bump:
        header.revision = header.compact_revision = header.revision + bump
        yield _encode(header)
        yield from _key_chunks(state, state.all_keys(), state.revision, size_bytes)
        return
    yield _encode(header)
    chunks = Snapshot(state).chunks(size_bytes)
    next(chunks)
    yield from chunks


class Restorer:
    """Builds a state beside the current one, piece by piece, and then puts it in its place."""

    def __init__(self, target: Replayable, empty: Replayable) -> None:
        self._target = target
        self._state = empty
        self._header: Header | None = None

    def feed(self, chunk: bytes) -> None:
        """Take the next chunk of a snapshot; the first is its header."""
        if self._header is None:
            self._header = _decode_header(chunk)
            if self._header.format != FORMAT:
                raise ValueError(
                    f"snapshot format {self._header.format}, this version reads {FORMAT}"
                )
            self._state.begin_replay(self._header)
        else:
            self._state.replay(*_decode_chunk(chunk))

    def finish(self) -> None:
        """Replace the state."""
        if self._header is None or self._state.revision != self._header.revision:
            raise ValueError(f"the snapshot is incomplete: it ends at {self._state.revision}")
        self._state.end_replay()
        self._target.adopt(self._state)
