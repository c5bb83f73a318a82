"""Who belongs to the cluster: the configuration that Raft replicates, and how it may change.

    initial ------> Configuration <-- AddMember, PromoteMember, RemoveMember, UpdateMember
    (from flags)          |           (one at a time: old and new majorities always overlap)
                          v
         an entry of the log, in force from the moment that it is appended

A configuration is written whole, never as a difference, so that the last one in the log is
all that anybody needs. A learner is given everything and counts for nothing. An id is never
used twice: a member that lost its disk comes back under another one, and who was removed is
remembered for good. Rules and texts are etcd's (`--strict-reconfig-check`): clients match on
them.
"""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

MAX_VOTERS: Final = 7
MAX_LEARNERS: Final = 1
_IN_SYNC: Final = 0.9  # of the leader's log, as in etcd ...
_BEHIND: Final = 1000  # ... and no more entries than this behind


class MemberInfo(msgspec.Struct, frozen=True, array_like=True):
    """One member. Its `name` is empty until it has started for the first time.

    Attributes:
        id: 64 bits, never given twice.
        name: What its certificate names.
        peer: host:port for the other members; empty where the link needs none.
        learner: Given everything, counted for nothing.
    """

    id: int
    name: str
    peer: str
    learner: bool = False

    @property
    def key(self) -> str:
        """Return what Raft calls it: its name, or for want of one its number."""
        return self.name or f"#{self.id:x}"


class Configuration(msgspec.Struct, frozen=True, array_like=True):
    """All members.

    Attributes:
        members: In the order of their ids.
        removed: Ids that were members', and never will be again.
        returning: Learners that were voters before they lost their disks; the leader promotes
            them by itself when they have everything.
    """

    members: tuple[MemberInfo, ...]
    removed: tuple[int, ...] = ()
    returning: tuple[int, ...] = ()

    @property
    def voters(self) -> tuple[MemberInfo, ...]:
        """Return those who count."""
        return tuple(one for one in self.members if not one.learner)

    @property
    def learners(self) -> tuple[MemberInfo, ...]:
        """Return those who do not yet."""
        return tuple(one for one in self.members if one.learner)

    def find(self, number: int) -> MemberInfo | None:
        """Return the member of that id."""
        return next((one for one in self.members if one.id == number), None)

    def named(self, name: str) -> MemberInfo | None:
        """Return the member that Raft calls so."""
        return next((one for one in self.members if one.key == name), None)


class AddMember(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """A new member; without a name, whoever starts at that address takes its place."""

    name: str
    peer: str
    learner: bool = False


class PromoteMember(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """A learner becomes a voter."""

    id: int


class RemoveMember(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """For good: it cannot come back under this id."""

    id: int


class UpdateMember(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """Another address; with `name`, it has started and this is what it is called."""

    id: int
    peer: str
    name: str = ""


class ReplaceMember(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """Its disk is new: it goes on as a learner under another id. Only the leader says so."""

    id: int


Change = AddMember | PromoteMember | RemoveMember | UpdateMember | ReplaceMember


@dataclass(frozen=True, slots=True)
class MemberError:
    """Why a change is refused: the name of gRPC's code, and etcd's text."""

    code: str
    message: str


NOT_FOUND: Final = MemberError("NOT_FOUND", "etcdserver: member not found")
ID_EXISTS: Final = MemberError("FAILED_PRECONDITION", "etcdserver: member ID already exist")
PEER_EXISTS: Final = MemberError("FAILED_PRECONDITION", "etcdserver: Peer URLs already exists")
NOT_IN_SYNC: Final = MemberError(
    "FAILED_PRECONDITION",
    "etcdserver: can only promote a learner member which is in sync with leader",
)
NOT_LEARNER: Final = MemberError(
    "FAILED_PRECONDITION", "etcdserver: can only promote a learner member"
)
TOO_MANY_LEARNERS: Final = MemberError(
    "FAILED_PRECONDITION", "etcdserver: too many learner members in cluster"
)
TOO_FEW_STARTED: Final = MemberError(
    "FAILED_PRECONDITION",
    "etcdserver: re-configuration failed due to not enough started members",
)
UNHEALTHY: Final = MemberError("UNAVAILABLE", "etcdserver: unhealthy cluster")
STARTED: Final = MemberError(
    "FAILED_PRECONDITION", "wherry: the member has started before, under a name of its own"
)
TOO_MANY_VOTERS: Final = MemberError(
    "FAILED_PRECONDITION", f"wherry: a cluster has at most {MAX_VOTERS} voting members"
)
NAMELESS: Final = MemberError(
    "FAILED_PRECONDITION",
    "wherry: the second voting member must be added as a learner first, or by its name "
    "(wherry store member add)",
)
NOT_LEADER: Final = MemberError("FAILED_PRECONDITION", "etcdserver: not leader")
BAD_TRANSFEREE: Final = MemberError("FAILED_PRECONDITION", "etcdserver: bad leader transferee")
TRANSFER_TIMEOUT: Final = MemberError(
    "UNAVAILABLE", "etcdserver: request timed out, leader transfer took too long"
)
REMOVED: Final = "the member has been permanently removed from the cluster"


@dataclass(frozen=True, slots=True)
class Progress:
    """What the leader knows of the members' health.

    Attributes:
        active: Ids heard of within an election timeout, the leader's own included.
        matched: The last index that each is known to hold.
        last: The last index of the leader's log.
        unsure: Ids whose disks may have forgotten something: they cannot vote yet.
    """

    active: Collection[int]
    matched: Mapping[int, int]
    last: int
    unsure: Collection[int] = ()

    def in_sync(self, number: int) -> bool:
        """Whether a learner holds nearly all, and is there."""
        matched = self.matched.get(number, 0)
        near = max(_IN_SYNC * self.last, self.last - _BEHIND)
        return number in self.active and number not in self.unsure and matched >= near


def member_number(*parts: str) -> int:
    """Return an id: the same wherever the same is known."""
    digest = hashlib.sha256("\0".join(parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") or 1


def initial(cluster: str, names: Sequence[str], peers: Sequence[str] = ()) -> Configuration:
    """Return the configuration that a new cluster starts with, from its flags.

    Ids follow from the cluster's identity (token and names) and the member's name, not from
    its address: that may differ at the next start.
    """
    addresses = peers or [""] * len(names)
    members = (
        MemberInfo(member_number(cluster, name), name, peer)
        for name, peer in zip(names, addresses, strict=True)
    )
    return Configuration(_sorted(members))


def readdressed(before: Configuration, peers: Mapping[str, str]) -> Configuration:
    """Return the configuration with other addresses, where a name has one."""
    members = tuple(
        msgspec.structs.replace(one, peer=peers.get(one.name) or one.peer) for one in before.members
    )
    return msgspec.structs.replace(before, members=members)


def change(
    before: Configuration, asked: Change, new_id: int, progress: Progress
) -> Configuration | MemberError:
    """Return the configuration with a change, or why there is none. `new_id` is for a new one."""
    match asked:
        case AddMember():
            return _add(before, asked, new_id, progress)
        case PromoteMember(number):
            return _promote(before, number, progress)
        case RemoveMember(number):
            return _remove(before, number, progress)
        case UpdateMember():
            return _update(before, asked)
        case ReplaceMember(number):
            return _replace(before, number, new_id, progress)


def _add(
    before: Configuration, asked: AddMember, new_id: int, progress: Progress
) -> Configuration | MemberError:
    if any(one.peer == asked.peer for one in before.members):
        return PEER_EXISTS
    taken = {one.id for one in before.members} | set(before.removed)
    if new_id in taken or (asked.name and before.named(asked.name) is not None):
        return ID_EXISTS
    no_room = _no_room(before, asked)
    if no_room is not None:
        return no_room
    if any(one.id not in progress.active for one in before.voters):
        return UNHEALTHY
    return _with(before, 0, MemberInfo(new_id, asked.name, asked.peer, asked.learner))


def _no_room(before: Configuration, asked: AddMember) -> MemberError | None:
    """A voter that has yet to start must not cost the cluster its majority."""
    if asked.learner:
        waiting = [one for one in before.learners if one.id not in before.returning]
        return TOO_MANY_LEARNERS if len(waiting) >= MAX_LEARNERS else None
    count = len(before.voters)
    if count >= MAX_VOTERS:
        return TOO_MANY_VOTERS
    if count == 1 and not asked.name:
        return NAMELESS
    started = sum(bool(one.name) for one in before.voters)
    alone = (started, count) == (1, 1)
    return None if alone or started >= _majority(count + 1) else TOO_FEW_STARTED


def _promote(before: Configuration, number: int, progress: Progress) -> Configuration | MemberError:
    member = before.find(number)
    if member is None:
        return NOT_FOUND
    if not member.learner:
        return NOT_LEARNER
    if not progress.in_sync(number):
        return NOT_IN_SYNC
    if len(before.voters) >= MAX_VOTERS:
        return TOO_MANY_VOTERS
    if _active(before.voters, progress) + 1 < _majority(len(before.voters) + 1):
        return UNHEALTHY
    promoted = msgspec.structs.replace(member, learner=False)
    return _with(before, number, promoted)


def _remove(before: Configuration, number: int, progress: Progress) -> Configuration | MemberError:
    member = before.find(number)
    if member is None:
        return NOT_FOUND
    if not member.learner:
        rest = [one for one in before.voters if one.id != number]
        if not rest or sum(bool(one.name) for one in rest) < _majority(len(rest)):
            return TOO_FEW_STARTED
        if _active(rest, progress) < _majority(len(rest)):
            return UNHEALTHY
    return _with(before, number)


def _update(before: Configuration, asked: UpdateMember) -> Configuration | MemberError:
    member = before.find(asked.id)
    if member is None:
        return NOT_FOUND
    others = [one for one in before.members if one.id != asked.id]
    if any(one.peer == asked.peer for one in others):
        return PEER_EXISTS
    if asked.name and any(one.name == asked.name for one in others):
        return ID_EXISTS
    if asked.name and member.name:
        return STARTED  # so one disk at most is told that the id is its own
    updated = msgspec.structs.replace(member, peer=asked.peer, name=member.name or asked.name)
    return _with(before, asked.id, updated)


def _replace(
    before: Configuration, number: int, new_id: int, progress: Progress
) -> Configuration | MemberError:
    """Two steps in one: out with the old id, in with a learner; only one voter less."""
    member = before.find(number)
    if member is None:
        return NOT_FOUND
    rest = [one for one in before.voters if one.id != number]
    if not rest or _active(rest, progress) < _majority(len(rest)):
        return UNHEALTHY
    learner = MemberInfo(new_id, member.name, member.peer, learner=True)
    after = _with(before, number, learner)
    return msgspec.structs.replace(after, returning=(*after.returning, new_id))


def _with(before: Configuration, number: int, *instead: MemberInfo) -> Configuration:
    """Return the configuration with `instead` in the place of one member."""
    kept = [one for one in before.members if one.id != number]
    members = _sorted((*kept, *instead))
    gone = {one.id for one in before.members} - {one.id for one in members}
    learners = {one.id for one in members if one.learner}
    returning = tuple(one for one in before.returning if one in learners)
    return Configuration(members, (*before.removed, *sorted(gone)), returning)


def _sorted(members: Iterable[MemberInfo]) -> tuple[MemberInfo, ...]:
    return tuple(sorted(members, key=lambda one: one.id))


def _majority(count: int) -> int:
    return count // 2 + 1


def _active(voters: Sequence[MemberInfo], progress: Progress) -> int:
    return sum(one.id in progress.active for one in voters)


_encoder = msgspec.msgpack.Encoder()
_decode_configuration = msgspec.msgpack.Decoder(Configuration).decode
_decode_change: msgspec.msgpack.Decoder[Change] = msgspec.msgpack.Decoder(Change)


def encode(configuration: Configuration) -> bytes:
    """Return a configuration's bytes."""
    return _encoder.encode(configuration)


def decode(data: bytes) -> Configuration:
    """Return the configuration; `msgspec.MsgspecError` if it is none."""
    return _decode_configuration(data)


def encode_change(asked: Change) -> bytes:
    """Return a change's bytes."""
    return _encoder.encode(asked)


def decode_change(data: bytes) -> Change:
    """Return the change; `msgspec.MsgspecError` if it is none."""
    return _decode_change.decode(data)


def cluster_id(members: Sequence[str], token: str = "wherry") -> str:  # noqa: S107  # not a secret
    """Return a cluster's identity: the same wherever the same names were given."""
    text = "\0".join([token, *sorted(members)])
    return hashlib.sha256(text.encode()).hexdigest()[:16]
