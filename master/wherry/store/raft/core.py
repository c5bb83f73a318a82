"""PySyncObj 0.3.17, hardened from outside: one member of the cluster.

PySyncObj keeps terms, votes, roles, nextIndex, matchIndex and the commit rule. Everything
that its own version does unsafely (measured: docs/adr/0001) is replaced, through its public
`transportClass` and by overriding what Python's name mangling calls `_SyncObj__x`:

    its                                       here
    journal without fsync or checksums        `Wal`; nothing is told or counted before `sync`
    pickle on every wire, and in commands     typed messages; commands are opaque bytes
    deletes matching entries                  `match`
    sends as long as its heartbeat lasts      `_send_entries`, `_send_snapshot`
    acks without a term; rewinds nextIndex    `_on_ack`
    silence towards a stale leader            `StaleTerm`
    commits over an unmatched log             commit indexes are clamped to what matched
    no pre-vote, 30 s of deposed leadership   `_ask_before_campaign`; check-quorum in 1 s
    membership pickled, without learners      `reconfigure.py`
    no linearizable reads                     ReadIndex: `read_index`
    exceptions in apply retried for ever      fail-stop
    forks to dump, pickles the dump           `snapshot.py`
    own thread and poller                     driven by `RaftNode` in the event loop
    `random`, the system's monotonic clock    an injected `Random`, the loop's time

Because private names are used, the version and the presence of each of them are checked on
import (`stock.py`). Membership and version commands, which would be unpickled, are refused.
"""

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Final, Generic, TypeVar

from wherry.store.raft import message as msg
from wherry.store.raft.machine import Lost, RaftConfig
from wherry.store.raft.reconfigure import Reconfiguration
from wherry.store.raft.snapshot import Header
from wherry.store.raft.stock import Member, Owner, loop_time
from wherry.store.raft.transfer import Transfers
from wherry.store.raft.wal import CONFIGURATION, NOOP, Wal

log = logging.getLogger(__name__)
R = TypeVar("R")

COMMAND: Final = b"\x10"  # our type byte; PySyncObj's own are 0 to 3
_MAX_BATCH: Final = 1024  # commands appended, and entries applied, in one tick
_MAX_BATCH_BYTES: Final = 2 << 20
_TAIL_BYTES: Final = 16 << 20  # behind the newest snapshot, for members that are a little late
_MAX_QUEUE_BYTES: Final = 64 << 20
Reply = Callable[[R | Lost], None]
ReadReply = Callable[[int | Lost], None]


@dataclass(frozen=True, slots=True)
class Vouch:
    """Who asks for a read was a follower in `term` when it did; 0: it does not vouch."""

    member: str
    term: int


class _Read:
    """ReadIndex requests that one round of heartbeats confirms."""

    def __init__(self, number: int, index: int, replies: list[ReadReply]) -> None:
        self.number = number
        self.index = index
        self.replies = replies


class RaftCore(Reconfiguration, Generic[R]):
    """One member. Not a task: `tick` and `receive` are called by `RaftNode`."""

    def __init__(
        self, config: RaftConfig, wal: Wal, transfers: Transfers, owner: Owner[R], rng: Random
    ) -> None:
        self._commands: deque[tuple[bytes, Reply[R]]] = deque()
        self._queued_bytes = 0
        self._waiting: dict[int, tuple[int, Reply[R]]] = {}
        self._reads: list[ReadReply] = []
        self._confirming: list[_Read] = []
        self._told = 0  # the commit index that followers know of
        self._standing = (False, 0)  # whether this member leads, in which term
        self._successor: Member | None = None  # who shall take over; nothing is appended ...
        self._wait_until = 0.0  # ... before it did, or this time has come
        self._urged_at = 0.0
        super().__init__(config, wal, transfers, owner, rng)

    # ---- what others ask

    @property
    def settled(self) -> bool:
        """Whether a leader is in touch, and all that was committed before its term is applied."""
        in_touch = loop_time() - self._heard_at < 2 * self._config.election_max_s
        return (
            (self.is_leader or (self.leader is not None and in_touch))
            and self.applied >= self.commit
            and self._wal.term_at(self.commit) == self.term
        )

    def propose(self, command: bytes, reply: Reply[R]) -> None:
        """Append a command; `reply` gets its result once it is applied, or why there is none."""
        if not self.is_leader:
            reply(Lost.NOT_LEADER)
        elif self._queued_bytes > _MAX_QUEUE_BYTES:
            reply(Lost.BUSY)
        else:
            self._commands.append((command, reply))
            self._queued_bytes += len(command)

    def read_index(self, reply: ReadReply, vouch: Vouch | None = None) -> bool:
        """Give `reply` an index: a replica that applied it holds everything acknowledged so far.

        Returns whether a round is needed for it. A `vouch` may make that superfluous: ADR 8.
        """
        if not self.is_leader:
            reply(Lost.NOT_LEADER)
        elif vouch is not None and self._suffices(vouch):
            reply(self.commit)
        else:
            self._reads.append(reply)
            return True
        return False

    def _suffices(self, vouch: Vouch) -> bool:
        """Whether this member and the one that vouches are a majority, in this very term."""
        node = self._peers.get(vouch.member)
        return (
            vouch.term == self.term
            and node in self._SyncObj__otherNodes
            and node not in self._unsure
            and len(self._SyncObj__otherNodes) <= 2  # two of three
            and self.commit >= self._SyncObj__noopIDx
        )

    def hand_over(self, to: str | None = None) -> bool:
        """Have a voter take over: `to`, or whoever is most advanced. False if none can.

        Until it did nothing is appended, so that it has everything when it is told to.
        """
        match_index = self._SyncObj__raftMatchIndex
        ready = [
            node
            for node in self._SyncObj__connectedNodes & self._SyncObj__otherNodes
            if to in (None, node.id) and node not in self._unsure
        ]
        if not self.is_leader or not ready:
            return False
        self._successor = min(ready, key=lambda n: (-match_index.get(n, 0), str(n.id)))
        self._wait_until = loop_time() + self._config.election_min_s
        self._urged_at = float("-inf")
        self._urge_successor()
        return True

    def _urge_successor(self) -> None:
        node, now = self._successor, loop_time()
        if node is None:
            return
        if now > self._wait_until or node not in self._SyncObj__otherNodes:
            self._successor = None
            self._owner.wake()
        elif (
            self._SyncObj__raftMatchIndex.get(node, 0) == self.last
            and now - self._urged_at > self._config.heartbeat_s
        ):
            self._urged_at = now
            self._send(node, msg.TimeoutNow(self.term))

    # ---- driven by RaftNode

    def tick(self) -> None:
        """Make durable, acknowledge, commit, apply, append, send: one round.

        Who needs nobody else appends first, so that a command takes one round and not two.
        """
        if self.is_leader and not self._SyncObj__otherNodes:
            self._append_queued()
        self._wal.sync()
        self._flush_acks()
        self._onTick(0.0)
        self._notice()
        self._become_voter()
        self._urge_successor()
        self._mend()

    def due(self) -> float:
        """Return when `tick` must be called at the latest though nothing happened: loop time.

        What happens (a message, a command, a connection) is followed by a tick anyway.
        """
        if self.is_leader:
            # Also notices in time that the majority is silent, and tries to mend.
            due = self._SyncObj__newAppendEntriesTime
            return min(due, self._wait_until) if self._successor is not None else due
        latest = loop_time() + self._config.election_max_s
        return min(latest, self._SyncObj__raftElectionDeadline) if self._voter else latest

    def connected(self, name: str) -> None:
        """Messages to a member now have a chance to arrive."""
        self._SyncObj__transport.connected(Member(name))

    def disconnected(self, name: str) -> None:
        """Messages to a member will not arrive."""
        self._SyncObj__transport.disconnected(Member(name))
        self._transfers.stop(name)

    def receive(self, name: str, message: msg.Message) -> bool:
        """Take a message of another member, or of one that this log does not know yet.

        Returns whether there is anything to do: a sign of life alone is no reason for a round.
        """
        node = self._peers.get(name) or Member(name)
        before = self._position(node)
        match message:
            case msg.Append():
                self._on_append(node, message)
            case msg.Ack():
                self._on_ack(node, message)
            case msg.Heartbeat() | msg.SnapshotChunk():
                self._on_snapshot_traffic(node, message)
            case msg.SnapshotAck():
                self._on_snapshot_ack(node, message)
            case msg.PreVote() | msg.PreVoteGranted() | msg.RequestVote() | msg.Vote():
                self._on_election(node, message)
            case msg.StaleTerm() | msg.TimeoutNow() | msg.Removed():
                self._on_word(node, message)
            case msg.Payload():
                raise AssertionError("payloads are for the layer above")
        self._notice()
        if isinstance(message, msg.Ack):
            self._finish_reads()  # what it confirms need not wait for a round
        return not self._sign_of_life(message) or self._position(node) != before

    def _position(self, node: Member) -> tuple[str | None, int, int, int]:
        # Which member is the last to have what the majority has is no reason for a round.
        matched = max(self._SyncObj__raftMatchIndex.get(node, 0), self.commit)
        return self.leader, self.term, self.commit, matched

    def _sign_of_life(self, message: msg.Message) -> bool:
        """Whether a message asks for no round; then a heartbeat is answered at once."""
        if isinstance(message, msg.Ack):
            return self.is_leader and not (message.reset or self._successor)
        if not isinstance(message, msg.Append) or message.entries:
            return False
        quiet = self._wal.durable and not self._wal.fresh and self.commit == self.applied
        if quiet:
            self._flush_acks()
        return quiet

    def install(self, header: Header, replace_state: Callable[[], None]) -> bool:
        """Take over a snapshot that is durable; False if the state is already newer."""
        index, term = header.index, header.term
        if index <= self.applied:
            return False
        replace_state()
        if self._wal.term_at(index) != term:
            self._wal.reset(index, term)
        self.restore_configuration(header.members_index, header.members)
        self._SyncObj__raftLastApplied = index
        self._SyncObj__raftCommitIndex = max(self.commit, index)
        self._wal.commit = self.commit
        for each in [i for i in self._waiting if i <= index]:
            self._waiting.pop(each)[1](Lost.UNKNOWN)
        return True

    def forget_before(self, index: int) -> None:
        """A durable snapshot ends with `index`: what is older need not be in memory."""
        self._wal.forget_before(self._transfers.oldest(index), _TAIL_BYTES)

    def start_at(self, header: Header) -> None:
        """The state machine was restored from a snapshot, at the start."""
        index = header.index
        self.restore_configuration(header.members_index, header.members)
        self._SyncObj__raftLastApplied = index
        self._SyncObj__raftCommitIndex = max(self.commit, index)

    # ---- leading, and ceasing to

    def _notice(self) -> None:
        """See whether this member began or ceased to lead."""
        standing = (self.is_leader, self.term)
        if standing == self._standing:
            return
        led = self._standing[0]
        self._standing = standing
        self._votes, self._counted = set(), set()
        if led:
            self._resign()
        if standing[0]:
            self._told = 0
            self._confirmed = {}
            log.info("leading", extra={"member": self._config.name, "term": standing[1]})

    def _resign(self) -> None:
        log.info("no longer leading", extra={"member": self._config.name})
        self._transfers.clear()
        self._confirmed = {}
        self._successor = None
        self._drop_change()
        if not self.is_leader:
            self._postpone_campaign()
        waiting, self._waiting = self._waiting, {}
        for _, reply in waiting.values():
            reply(Lost.UNKNOWN)
        self._refuse_queued()

    def _refuse_queued(self) -> None:
        """What was never appended may be asked of the leader instead."""
        if not (self._commands or self._reads or self._confirming):
            return
        commands, self._commands, self._queued_bytes = self._commands, deque(), 0
        for _, reply in commands:
            reply(Lost.NOT_LEADER)
        reads = [reply for one in self._confirming for reply in one.replies] + self._reads
        self._confirming, self._reads = [], []
        for read in reads:
            read(Lost.NOT_LEADER)

    # ---- commands

    def _checkCommandsToApply(self) -> None:  # noqa: N802
        """Append what is queued and tell the followers once.

        It is made durable here by the next round (`tick` begins with that), after the messages
        have left: so the disks of leader and followers work at the same time.
        """
        if not self.is_leader:
            self._refuse_queued()
            return
        appended = self._append_queued()
        asked = self._begin_reads()
        if appended or asked or self.commit != self._told:
            self._told = self.commit
            self._SyncObj__sendAppendEntries()
        self._finish_reads()
        if appended and self._SyncObj__otherNodes:
            self._owner.wake_after_sending()
        elif appended or (self._commands and not self._successor):
            self._wal.sync()
            self._owner.wake()

    def _append_queued(self) -> int:
        if self._successor is not None:
            return 0
        index, term, size, count = self.last, self.term, 0, 0
        while self._commands and count < _MAX_BATCH and size < _MAX_BATCH_BYTES:
            command, reply = self._commands.popleft()
            count += 1
            size += len(command)
            self._wal.append(COMMAND + command, index + count, term)
            self._waiting[index + count] = (term, reply)
        self._queued_bytes -= size
        return count

    def _SyncObj__applyLogEntries(self) -> bool:  # noqa: N802
        applied, commit = self.applied, self.commit
        if commit <= applied:
            return False
        entries = self._wal.entries
        first = applied + 1 - entries[0][1]
        for command, index, term in entries[first : first + min(_MAX_BATCH, commit - applied)]:
            waiting = self._waiting.pop(index, None)
            kind = command[:1]
            if kind == COMMAND:
                result: R | Lost = self._owner.apply(command[1:])
            elif kind == NOOP:
                result = Lost.UNKNOWN
            elif kind == CONFIGURATION:
                result = Lost.UNKNOWN
                self._apply_configuration(index, term, command[1:])
            else:
                raise AssertionError(f"entry {index} has a command of type {kind!r}")
            self._SyncObj__raftLastApplied = index
            if waiting is not None:
                waiting[1](result if waiting[0] == term else Lost.UNKNOWN)
        if self.applied < commit:
            self._owner.wake()
        return False

    # ---- reads

    def _begin_reads(self) -> bool:
        """A leader may answer reads once an entry of its own term is committed."""
        if not self._reads or self.commit < self._SyncObj__noopIDx:
            return False
        self._read_number += 1
        self._confirming.append(_Read(self._read_number, self.commit, self._reads))
        self._reads = []
        return True

    def _finish_reads(self) -> None:
        if not self._confirming:
            return
        numbers = [self._confirmed.get(node, 0) for node in self._SyncObj__otherNodes]
        confirmed = sorted([*numbers, self._read_number], reverse=True)
        majority = confirmed[len(confirmed) // 2]
        while self._confirming:
            read = self._confirming[0]
            if read.number > majority or read.index > self.applied:
                break
            self._confirming.pop(0)
            for reply in read.replies:
                reply(read.index)
