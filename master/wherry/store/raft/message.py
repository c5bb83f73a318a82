"""What members say to each other. This list is complete: anything else ends the connection.

Every message is one msgpack array, told apart by its first element. Terms are stamped on
everything, acknowledgements too, so that a late message of an old term counts for nothing.
"""

from typing import Final

import msgspec

from wherry.store.raft.wal import Entry

MAX_MESSAGE_BYTES = 16 << 20


class PreVote(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """Would you vote for me in `term`? Costs nobody a term."""

    term: int
    last_index: int
    last_term: int
    id: int = 0  # the sender's: somebody who was removed is told so


class PreVoteGranted(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """I would; `fresh`: but I may have forgotten what I once promised."""

    term: int
    fresh: bool


class RequestVote(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """Vote for me; `unanimous`: I shall only lead if every member does.

    `known` then has the ids of the voters, and of removed members, of which my log tells.
    """

    term: int
    last_index: int
    last_term: int
    unanimous: bool
    known: tuple[int, ...] = ()


class Vote(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """You have mine; it is on my disk."""

    term: int


class Append(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """Entries that follow (prev_index, prev_term); with none, a heartbeat.

    `read` numbers the leader's requests to confirm that it leads (ReadIndex); it is echoed.
    """

    term: int
    read: int
    commit: int
    prev_index: int
    prev_term: int
    entries: list[Entry]


class Heartbeat(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """I lead, and a snapshot is under way to you."""

    term: int
    read: int


class Ack(msgspec.Struct, frozen=True, array_like=True, tag=7):
    """Durable here up to before `next_index` (success), or: go on from there (reset).

    `fresh` confesses that what was acknowledged before may be lost (`wal.py`); `id` is the
    sender's, or for a disk that never was a member's the one that it would go on under.
    """

    term: int
    read: int
    next_index: int
    success: bool
    reset: bool
    fresh: bool = False
    id: int = 0


class SnapshotChunk(msgspec.Struct, frozen=True, array_like=True, tag=8):
    """A piece of the file of the snapshot up to (index, snapshot_term), `size` bytes long."""

    term: int
    read: int
    index: int
    snapshot_term: int
    offset: int
    size: int
    data: bytes


DAMAGED: Final = -1


class SnapshotAck(msgspec.Struct, frozen=True, array_like=True, tag=9):
    """I have that file up to `offset`, or all of it, and it is `DAMAGED`.

    `fresh`: as in `Ack`, it confirms no reads.
    """

    term: int
    read: int
    index: int
    snapshot_term: int
    offset: int
    fresh: bool = False


class StaleTerm(msgspec.Struct, frozen=True, array_like=True, tag=10):
    """What you said belongs to the past: we are in `term`."""

    term: int


class TimeoutNow(msgspec.Struct, frozen=True, array_like=True, tag=11):
    """Take over from me: campaign at once."""

    term: int


class Payload(msgspec.Struct, frozen=True, array_like=True, tag=12):
    """For the layer above."""

    data: bytes


class Removed(msgspec.Struct, frozen=True, array_like=True, tag=13):
    """The member of that id was removed from the cluster, for good."""

    id: int


Message = (
    PreVote
    | PreVoteGranted
    | RequestVote
    | Vote
    | Append
    | Heartbeat
    | Ack
    | SnapshotChunk
    | SnapshotAck
    | StaleTerm
    | TimeoutNow
    | Payload
    | Removed
)

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


def encode(message: Message) -> bytes:
    """Return a message's bytes."""
    return _encoder.encode(message)


def decode(data: bytes) -> Message:
    """Return the message; `msgspec.MsgspecError` if it is not one."""
    return _decoder.decode(data)
