"""What clients and stores, and stores among themselves, say to each other.

Requests carry an `id` that the answer repeats; answers come in any order. A follower passes
what only the leader can answer on to it, as the same request over the members' own link.
"""

import msgspec

from wherry.store.entry import Outcome
from wherry.store.kv import Event, RangeResult
from wherry.store.membership import Change, MemberInfo
from wherry.store.operation import RangeOp


class Propose(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """Replicate a command (`entry.encode_command`). Answer: `Result`."""

    id: int
    command: bytes


class Read(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """Answer: `Found`."""

    id: int
    range: RangeOp
    serializable: bool


class Watch(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """Answers: `Batch`, again and again, until `Failed`."""

    id: int
    key: bytes
    end: bytes | None
    revision: int
    progress_s: float


class KeepAlive(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """Renew a lease. Answer: `LeaseState`."""

    id: int
    lease: int


class LeaseGet(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """Look at a lease. Answer: `LeaseState`."""

    id: int
    lease: int


class Status(msgspec.Struct, frozen=True, array_like=True, tag=7):
    """Answer: `Member`, of the store that is asked."""

    id: int


class ReadIndex(msgspec.Struct, frozen=True, array_like=True, tag=8):
    """Only among stores. Answer: `Index`. `term` is for `core.Vouch`."""

    id: int
    term: int = 0


class SnapshotGet(msgspec.Struct, frozen=True, array_like=True, tag=15):
    """Answers: `Piece`, again and again, an empty one at the end; or `Failed`."""

    id: int


class ChangeMembers(msgspec.Struct, frozen=True, array_like=True, tag=16):
    """Answer: `Members` as they are then, or `MembersRefused`. Not repeated by itself."""

    id: int
    change: Change


class ListMembers(msgspec.Struct, frozen=True, array_like=True, tag=17):
    """Answer: `Members`; if `serializable`, as the store that is asked happens to know them."""

    id: int
    serializable: bool = False


class Result(msgspec.Struct, frozen=True, array_like=True, tag=21):
    """What a command gave."""

    id: int
    outcome: Outcome


class Found(msgspec.Struct, frozen=True, array_like=True, tag=22):
    """What a read found."""

    id: int
    result: RangeResult


class Batch(msgspec.Struct, frozen=True, array_like=True, tag=23):
    """Changes up to `revision`; none: progress."""

    id: int
    revision: int
    events: list[Event]


class LeaseState(msgspec.Struct, frozen=True, array_like=True, tag=24):
    """TTL as granted, and seconds left."""

    id: int
    ttl_s: int
    remaining_s: float


class Member(msgspec.Struct, frozen=True, array_like=True, tag=25):
    """A store as it sees itself. `leader` is empty when it knows none."""

    id: int
    name: str
    cluster: str
    leader: str
    members: list[str]
    term: int
    index: int
    applied: int
    revision: int
    compact_revision: int
    log_entries: int
    ready: bool


class Index(msgspec.Struct, frozen=True, array_like=True, tag=26):
    """A log index; who applied it can answer a linearizable read."""

    id: int
    index: int


class Failed(msgspec.Struct, frozen=True, array_like=True, tag=27):
    """Why there is no answer; `code` is one of the constants below."""

    id: int
    code: str
    message: str = ""
    detail: int = 0


class Piece(msgspec.Struct, frozen=True, array_like=True, tag=35):
    """The next bytes of a snapshot file; none: it is complete."""

    id: int
    data: bytes


class Members(msgspec.Struct, frozen=True, array_like=True, tag=36):
    """All members, in the order of their ids."""

    id: int
    members: tuple[MemberInfo, ...]


class MembersRefused(msgspec.Struct, frozen=True, array_like=True, tag=37):
    """Why members were not changed (`membership.MemberError`)."""

    id: int
    code: str
    message: str


RETRY = "retry"  # ask again, here or elsewhere; a command with the same seq
INVALID = "invalid"  # asking again will not help
COMPACTED = "compacted"  # detail: the compact revision
FUTURE_REVISION = "future_revision"
LEASE_NOT_FOUND = "lease_not_found"

Request = (
    Propose
    | Read
    | Watch
    | KeepAlive
    | LeaseGet
    | Status
    | SnapshotGet
    | ChangeMembers
    | ListMembers
)
Answer = (
    Result | Found | Batch | LeaseState | Member | Index | Failed | Piece | Members | MembersRefused
)
Between = (
    Propose
    | KeepAlive
    | LeaseGet
    | ReadIndex
    | Result
    | LeaseState
    | Index
    | Failed
    | ChangeMembers
    | Members
    | MembersRefused
)

_encoder = msgspec.msgpack.Encoder()
encode = _encoder.encode
decode_request = msgspec.msgpack.Decoder(Request).decode
decode_answer = msgspec.msgpack.Decoder(Answer).decode
decode_between = msgspec.msgpack.Decoder(Between).decode
