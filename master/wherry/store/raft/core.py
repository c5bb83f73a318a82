"""PySyncObj 0.3.17, hardened from outside. Nothing else imports it.

PySyncObj keeps terms, votes, roles, nextIndex, matchIndex and the commit rule. Everything
that its own version does unsafely (measured: docs/adr/0001) is replaced here, through its
public `transportClass` and by overriding what Python's name mangling calls `_SyncObj__x`:

    its                                       here
    journal without fsync or checksums        `Wal`; nothing is told or counted before `sync`
    pickle on every wire, and in commands     typed messages; commands are opaque bytes
    deletes matching entries                  `match`
    sends as long as its heartbeat lasts      `_send_entries`, `_send_snapshot`
    acks without a term; rewinds nextIndex    `_on_ack`
    silence towards a stale leader            `StaleTerm`
    commits over an unmatched log             commit indexes are clamped to what matched
    no pre-vote, 30 s of deposed leadership   `_ask_before_campaign`; check-quorum in 1 s
    no linearizable reads                     ReadIndex: `read_index`
    exceptions in apply retried for ever      fail-stop
    forks to dump, pickles the dump           `snapshot.py`
    own thread and poller                     driven by `RaftNode` in the event loop
    `random`, the wall's monotonic clock      an injected `Random`, the loop's time

Because private names are used, the version and the presence of each of them are checked on
import. Membership and version commands, which would be unpickled, are refused.
"""

import asyncio
import logging
import zlib
from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any, Final, Generic, Protocol, TypeVar

from pysyncobj import syncobj as stock
from pysyncobj.config import SyncObjConf
from pysyncobj.journal import Journal
from pysyncobj.node import Node
from pysyncobj.syncobj import SyncObj
from pysyncobj.transport import Transport
from pysyncobj.version import VERSION

from wherry.store.raft import message as msg
from wherry.store.raft.machine import Lost, R_co, RaftConfig
from wherry.store.raft.match import Append, Matched, Reject, match
from wherry.store.raft.transfer import Transfers
from wherry.store.raft.wal import NOOP, Entry, Wal

log = logging.getLogger(__name__)
R = TypeVar("R")

_PRIVATE_METHODS: Final = [
    "applyLogEntries",
    "generateRaftTimeout",
    "loadDumpFile",
    "onBecomeLeader",
    "onMessageReceived",
    "sendAppendEntries",
    "setCurrentTerm",
    "setState",
    "tryLogCompaction",
]
_PRIVATE_FIELDS: Final = [
    "commandsWaitingCommit",
    "connectedNodes",
    "lastResponseTime",
    "newAppendEntriesTime",
    "noopIDx",
    "otherNodes",
    "raftCommitIndex",
    "raftElectionDeadline",
    "raftLastApplied",
    "raftLeader",
    "raftMatchIndex",
    "raftNextIndex",
    "transferInProgress",
]


def _check_audited() -> None:
    missing = [n for n in _PRIVATE_METHODS if not hasattr(SyncObj, f"_SyncObj__{n}")]
    fields = SyncObj.__init__.__code__.co_names
    missing += [n for n in _PRIVATE_FIELDS if f"_SyncObj__{n}" not in fields]
    missing += [
        n for n in ("createJournal", "createPoller", "monotonicTime") if not hasattr(stock, n)
    ]
    if VERSION != "0.3.17" or missing:
        raise ImportError(
            f"pysyncobj {VERSION} was not audited: exactly 0.3.17 is needed; not found: {missing}"
        )


class _NullPoller:
    """PySyncObj must not wait for sockets: the event loop does."""

    def poll(self, _timeout_s: float) -> None:
        """Return at once."""


class _NoChance:
    """Chance is injected; PySyncObj's own use of the global generator would be a mistake."""

    def __getattr__(self, name: str) -> None:
        raise AssertionError(f"pysyncobj uses random.{name}")


def _loop_time() -> float:
    return asyncio.get_running_loop().time()


_check_audited()
stock.monotonicTime = _loop_time
stock.random = _NoChance()
stock.createPoller = lambda _kind: _NullPoller()
stock.createJournal = lambda journal: journal  # `conf.journalFile` is the journal itself

_COMMAND: Final = b"\x10"  # our type byte; PySyncObj's own are 0 to 3
_MAX_BATCH: Final = 1024  # commands appended, and entries applied, in one tick
_MAX_BATCH_BYTES: Final = 2 << 20
_MAX_QUEUE_BYTES: Final = 64 << 20
_MAX_APPEND_BYTES: Final = 4 << 20
_FOLLOWER: Final = 0


class Member(Node):  # type: ignore[misc]  # untyped library
    """A member by name. Its hash is the same in every process: sets of it iterate alike."""

    def __hash__(self) -> int:
        return zlib.crc32(self.id.encode())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Member) and bool(self.id == other.id)


class _Journal(Journal):  # type: ignore[misc]  # untyped library
    """PySyncObj's view of the `Wal`."""

    def __init__(self, wal: Wal) -> None:
        self._wal = wal

    def add(self, command: bytes, idx: int, term: int) -> None:
        self._wal.append(command, idx, term)

    def clear(self) -> None:
        raise AssertionError("only a snapshot replaces the log")

    def deleteEntriesFrom(self, entryFrom: int) -> None:  # noqa: N802, N803
        if entryFrom < len(self._wal.entries):
            self._wal.cut_from(self._wal.entries[entryFrom][1])

    def deleteEntriesTo(self, entryTo: int) -> None:  # noqa: ARG002, N802, N803
        raise AssertionError("only snapshots shorten the log")

    def __getitem__(self, item: Any) -> Any:
        return self._wal.entries[item]

    def __len__(self) -> int:
        return len(self._wal.entries)

    def setRaftCommitIndex(self, raftCommitIndex: int) -> None:  # noqa: N802, N803
        self._wal.commit = raftCommitIndex

    def getRaftCommitIndex(self) -> int:  # noqa: N802
        return min(self._wal.commit, self._wal.entries[-1][1]) if self._wal.entries else 1

    def setCurrentTerm(self, term: int, votedForNodeId: str | None) -> None:  # noqa: N802, N803
        self._wal.save_vote(term, votedForNodeId)

    def getCurrentTerm(self) -> int:  # noqa: N802
        return self._wal.term

    def getVotedForNodeId(self) -> str | None:  # noqa: N802
        return self._wal.vote

    def onOneSecondTimer(self) -> None:  # noqa: N802
        self._wal.save_commit()

    def _destroy(self) -> None:
        self._wal.close()


class _Transport(Transport):  # type: ignore[misc]  # untyped library
    """Hands what PySyncObj sends to the core, which decides what really leaves."""

    def __init__(self, core: "RaftCore[Any]", self_node: Member, others: list[Member]) -> None:
        super().__init__(core, self_node, others)
        self._core = core

    def send(self, node: Member, message: dict[str, Any]) -> bool:
        self._core.outgoing(node, message)
        return True

    def connected(self, node: Member) -> None:
        self._onNodeConnected(node)

    def disconnected(self, node: Member) -> None:
        self._onNodeDisconnected(node)


class Owner(Protocol[R_co]):
    """What the core needs of the `RaftNode` that drives it."""

    def apply(self, command: bytes) -> R_co:
        """Apply a committed command."""
        ...

    def send_message(self, member: str, message: msg.Message) -> bool:
        """Send, or drop if that is not possible now: False."""
        ...

    def receive_snapshot(self, member: str, chunk: msg.SnapshotChunk) -> None:
        """Take a piece of a snapshot."""
        ...

    def wake(self) -> None:
        """Call `tick` soon."""
        ...


Reply = Callable[[R | Lost], None]
ReadReply = Callable[[int | Lost], None]


class _Read:
    """ReadIndex requests that one round of heartbeats confirms."""

    def __init__(self, number: int, index: int, replies: list[ReadReply]) -> None:
        self.number = number
        self.index = index
        self.replies = replies


class RaftCore(SyncObj, Generic[R]):  # type: ignore[misc]  # untyped library
    """One member. Not a task: `tick` and `receive` are called by `RaftNode`."""

    # PySyncObj's own fields, as far as they are used here.
    _SyncObj__raftLeader: Member | None
    _SyncObj__raftElectionDeadline: float
    _SyncObj__raftLastApplied: int
    _SyncObj__raftCommitIndex: int
    _SyncObj__raftNextIndex: dict[Member, int]
    _SyncObj__raftMatchIndex: dict[Member, int]
    _SyncObj__lastResponseTime: dict[Member, float]
    _SyncObj__connectedNodes: set[Member]
    _SyncObj__otherNodes: set[Member]
    _SyncObj__newAppendEntriesTime: float
    _SyncObj__noopIDx: int
    _SyncObj__transferInProgress: bool
    _SyncObj__transport: "_Transport"

    def __init__(
        self, config: RaftConfig, wal: Wal, transfers: Transfers, owner: Owner[R], rng: Random
    ) -> None:
        # SyncObj.__init__ already calls what is overridden below.
        self._config = config
        self._wal = wal
        self._owner = owner
        self._rng = rng
        self._transfers = transfers
        self._commands: deque[tuple[bytes, Reply[R]]] = deque()
        self._queued_bytes = 0
        self._waiting: dict[int, tuple[int, Reply[R]]] = {}
        self._reads: list[ReadReply] = []
        self._confirming: list[_Read] = []
        self._read_number = 0
        self._confirmed: dict[Member, int] = {}
        self._told = 0  # the commit index that followers know of
        self._heard_at = float("-inf")
        self._heard_read: tuple[int, int] = (0, 0)  # term, number: echoed in acks
        self._acks: dict[tuple[Member, bool], msg.Ack] = {}
        self._pre_term = 0
        self._pre_votes: dict[Member, bool] = {}  # who would vote, and whether it is fresh
        self._unanimous = False  # this campaign needs every vote
        self._votes: set[Member] = set()
        self._campaign = False
        self._standing = (False, 0)
        conf = SyncObjConf(
            autoTick=False,
            appendEntriesUseBatch=True,
            appendEntriesPeriod=config.heartbeat_s,
            raftMinTimeout=config.election_min_s,
            raftMaxTimeout=config.election_max_s,
            leaderFallbackTimeout=config.election_max_s,
            connectionTimeout=max(3.5, config.election_max_s),
            dynamicMembershipChange=False,
            journalFile=_Journal(wal),
        )
        me, *others = [
            Member(name) for name in sorted(config.members, key=lambda n: (n != config.name, n))
        ]
        super().__init__(me, others, conf=conf, transportClass=_Transport)
        self._peers: dict[str, Member] = {member.id: member for member in others}
        if not others:
            self._SyncObj__raftElectionDeadline = float("-inf")  # nobody to wait for

    # ---- what others ask

    @property
    def leader(self) -> str | None:
        """Return who leads, as far as this member knows."""
        node = self._SyncObj__raftLeader
        return node.id if node is not None else None

    @property
    def is_leader(self) -> bool:
        """Whether this member believes that it leads; only ReadIndex proves it."""
        return bool(self._isLeader())

    @property
    def term(self) -> int:
        """Return the current term."""
        return int(self._getTerm())

    @property
    def applied(self) -> int:
        """Return the index of the last applied entry."""
        return self._SyncObj__raftLastApplied

    @property
    def commit(self) -> int:
        """Return the index of the last entry known to be committed."""
        return self._SyncObj__raftCommitIndex

    @property
    def last(self) -> int:
        """Return the index of the last entry."""
        return self._wal.entries[-1][1]

    @property
    def settled(self) -> bool:
        """Whether a leader is in touch, and all that was committed before its term is applied."""
        in_touch = _loop_time() - self._heard_at < 2 * self._config.election_max_s
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

    def read_index(self, reply: ReadReply) -> None:
        """Give `reply` an index: a replica that applied it holds everything acknowledged so far."""
        if not self.is_leader:
            reply(Lost.NOT_LEADER)
        else:
            self._reads.append(reply)

    def hand_over(self) -> bool:
        """Ask the most advanced follower to take over; False if none is up to date."""
        if not self.is_leader:
            return False
        match_index = self._SyncObj__raftMatchIndex
        ready = [
            node
            for node in self._SyncObj__connectedNodes
            if match_index.get(node, 0) == self.last and node in self._SyncObj__otherNodes
        ]
        if not ready:
            return False
        self._send(min(ready, key=lambda node: str(node.id)), msg.TimeoutNow(self.term))
        return True

    # ---- driven by RaftNode

    def tick(self) -> None:
        """Make durable, acknowledge, commit, apply, append, send: one round."""
        self._wal.sync()
        self._flush_acks()
        self._onTick(0.0)
        self._notice()
        self._become_voter()

    def connected(self, name: str) -> None:
        """Messages to a member now have a chance to arrive."""
        self._SyncObj__transport.connected(self._peers[name])

    def disconnected(self, name: str) -> None:
        """Messages to a member will not arrive."""
        node = self._peers[name]
        self._SyncObj__transport.disconnected(node)
        self._transfers.stop(name)

    def hung_up(self, name: str) -> None:
        """A member closed its connection: if it led, its process is probably dead."""
        if self.leader == name and not self.is_leader:
            self._heard_at = float("-inf")
            soon = self._rng.uniform(0.1, 0.5) * self._config.election_min_s
            self._SyncObj__raftElectionDeadline = min(
                self._SyncObj__raftElectionDeadline, _loop_time() + soon
            )

    def install(self, index: int, term: int, replace_state: Callable[[], None]) -> bool:
        """Take over a snapshot that is durable; False if the state is already newer."""
        if index <= self.applied:
            return False
        replace_state()
        if self._wal.term_at(index) != term:
            self._wal.reset(index, term)
        self._SyncObj__raftLastApplied = index
        self._SyncObj__raftCommitIndex = max(self.commit, index)
        self._wal.commit = self.commit
        for each in [i for i in self._waiting if i <= index]:
            self._waiting.pop(each)[1](Lost.UNKNOWN)
        return True

    def start_at(self, index: int) -> None:
        """The state machine was restored from a snapshot up to `index`, at the start."""
        self._SyncObj__raftLastApplied = index
        self._SyncObj__raftCommitIndex = max(self.commit, index)

    def acknowledge_snapshot(self, member: str, next_index: int) -> None:
        """Tell the leader that the log may go on behind an installed snapshot."""
        self._queue_ack(self._peers[member], next_index, success=True, reset=False)

    # ---- receiving

    def receive(self, name: str, message: msg.Message) -> None:
        """Take a message of another member."""
        node = self._peers[name]
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
            case msg.StaleTerm():
                self._on_stale_term(message.term)
            case msg.TimeoutNow():
                self._unanimous = self._wal.fresh
                self._stock(node, {"type": "timeout_now", "term": message.term})
            case msg.Payload():
                raise AssertionError("payloads are for the layer above")
        self._notice()

    def _stock(self, node: Member, message: dict[str, Any]) -> None:
        """Let PySyncObj handle a message that was found harmless."""
        self._SyncObj__onMessageReceived(node, message)

    def _current(self, node: Member, term: int) -> bool:
        """Whether a leader's message is not of the past; if it is, the sender is told."""
        if term < self.term:
            self._send(node, msg.StaleTerm(self.term))
            return False
        return True

    def _heard(self, node: Member, term: int, read: int, commit: int) -> None:
        """Book-keeping for any sign of life of the leader; the log is not touched."""
        newer = term > self.term
        self._stock(node, {"type": "append_entries", "term": term, "commit_index": commit})
        if newer and self._wal.fresh:
            # A vote given in this term before the disk was lost must not be given again.
            self._SyncObj__setCurrentTerm(term, node.id)
        self._heard_at = _loop_time()
        self._heard_read = max(self._heard_read, (term, read))

    def _on_append(self, node: Member, message: msg.Append) -> None:
        if not self._current(node, message.term):
            return
        entries = message.entries
        decision = match(
            self._wal,
            commit=self.commit,
            last=self.last,
            prev_index=message.prev_index,
            prev_term=message.prev_term,
            terms=[entry[2] for entry in entries],
        )
        match decision:
            case Reject(next_index):
                self._heard(node, message.term, message.read, self.commit)
                self._queue_ack(node, next_index, success=False, reset=True)
            case Matched(index):
                self._heard(node, message.term, message.read, min(message.commit, index))
                self._queue_ack(node, index + 1, success=True, reset=False)
            case Append(prev_index, prev_term, skip):
                if prev_index < self.commit:
                    raise AssertionError(f"cut at {prev_index}, committed up to {self.commit}")
                self._heard(node, message.term, message.read, self.commit)
                self._stock(
                    node,
                    {
                        "type": "append_entries",
                        "term": message.term,
                        "commit_index": message.commit,
                        "prevLogIdx": prev_index,
                        "prevLogTerm": prev_term,
                        "entries": entries[skip:],
                    },
                )

    def _on_snapshot_traffic(
        self, node: Member, message: msg.Heartbeat | msg.SnapshotChunk
    ) -> None:
        if not self._current(node, message.term):
            return
        # No index was compared: nothing may be committed on the strength of this.
        self._heard(node, message.term, message.read, self.commit)
        if isinstance(message, msg.SnapshotChunk):
            self._owner.receive_snapshot(str(node.id), message)
        else:
            # What is committed here is in the leader's log, whatever it knows of that: should
            # the word that a snapshot is installed get lost, this says it again.
            self._queue_ack(node, self.commit + 1, success=True, reset=False)

    def _on_ack(self, node: Member, ack: msg.Ack) -> None:
        if ack.term > self.term:
            self._on_stale_term(ack.term)
            return
        if ack.term != self.term or not self.is_leader:
            return
        self._confirm(node, ack.read)
        next_index = self._SyncObj__raftNextIndex
        match_index = self._SyncObj__raftMatchIndex
        if ack.fresh and ack.reset:
            match_index[node] = min(match_index[node], ack.next_index - 1)  # its disk is new
        before = next_index[node]
        lowest = match_index[node] + 1
        self._stock(
            node,
            {
                "type": "next_node_idx",
                "next_node_idx": max(lowest, min(ack.next_index, self.last + 1)),
                "reset": ack.reset,
                "success": ack.success,
            },
        )
        if ack.reset:
            self._SyncObj__newAppendEntriesTime = 0.0  # go on in the next tick
        elif ack.success:
            # PySyncObj goes back to what was acknowledged and sends again what is in flight.
            next_index[node] = max(before, next_index[node])
            if next_index[node] > self._wal.entries[0][1]:
                self._transfers.stop(str(node.id))

    def _on_snapshot_ack(self, node: Member, ack: msg.SnapshotAck) -> None:
        if ack.term != self.term or not self.is_leader:
            return
        self._confirm(node, ack.read)
        now = _loop_time()
        self._SyncObj__lastResponseTime[node] = now
        if self._transfers.acknowledged(str(node.id), ack, now):
            self._send_snapshot(node)

    def _confirm(self, node: Member, read: int) -> None:
        if read > self._confirmed.get(node, 0):
            self._confirmed[node] = read

    # ---- elections

    def _on_election(
        self,
        node: Member,
        message: msg.PreVote | msg.PreVoteGranted | msg.RequestVote | msg.Vote,
    ) -> None:
        match message:
            case msg.PreVote():
                self._on_pre_vote(node, message)
            case msg.PreVoteGranted(term, fresh):
                if term == self._pre_term == self.term + 1 and not self.is_leader:
                    self._pre_votes[node] = fresh
                    self._count_pre_votes()
            case msg.RequestVote(term, last_index, last_term, unanimous):
                if self._wal.fresh and not unanimous:
                    return
                self._stock(
                    node,
                    {
                        "type": "request_vote",
                        "term": term,
                        "last_log_index": last_index,
                        "last_log_term": last_term,
                    },
                )
            case msg.Vote(term):
                if term == self.term:
                    self._count_vote(node)

    def _count_vote(self, node: Member) -> None:
        """Pass each vote on once; where all are needed, only when all are there."""
        counted, self._votes = self._votes, self._votes | {node}
        if self._unanimous:
            news = self._votes if len(self._votes) == len(self._peers) else set()
        else:
            news = self._votes - counted
        for voter in sorted(news, key=lambda one: str(one.id)):
            self._stock(voter, {"type": "response_vote", "term": self.term})

    def _on_pre_vote(self, node: Member, request: msg.PreVote) -> None:
        if request.term <= self.term:
            self._send(node, msg.StaleTerm(self.term))
            return
        mine = (self._wal.entries[-1][2], self.last)
        quiet = _loop_time() - self._heard_at >= self._config.election_min_s
        if not self.is_leader and quiet and (request.last_term, request.last_index) >= mine:
            self._send(node, msg.PreVoteGranted(request.term, self._wal.fresh))

    def _ask_before_campaign(self) -> None:
        """Pre-vote: raise the term only if a majority would vote for this member."""
        retry_s = self._rng.uniform(0.2, 0.5) * self._config.election_min_s
        self._SyncObj__raftElectionDeadline = _loop_time() + retry_s
        self._pre_term = self.term + 1
        self._pre_votes = {}
        term = self._wal.entries[-1][2]
        for node in self._peers.values():
            self._send(node, msg.PreVote(self._pre_term, self.last, term))

    def _count_pre_votes(self) -> None:
        """Campaign with a majority of members that remember what they promised, or with all.

        A member with a new disk may have acknowledged entries, or voted in this term, before
        the old one was lost. With everybody's consent that does no harm: then nobody has more
        than this member. The first leader of a new cluster is elected so, for all are fresh.
        """
        solid = [*self._pre_votes.values(), self._wal.fresh].count(False)
        majority = solid > len(self._config.members) / 2
        if majority or len(self._pre_votes) == len(self._peers):
            self._unanimous = not majority
            self._pre_term = 0
            self._pre_votes = {}
            self._campaign = True
            self._SyncObj__raftElectionDeadline = float("-inf")
            self._owner.wake()

    def _on_stale_term(self, term: int) -> None:
        if term > self.term:
            self._SyncObj__setCurrentTerm(term, None)
            self._SyncObj__setState(_FOLLOWER)
            self._SyncObj__raftLeader = None
            self._postpone_campaign()

    def _postpone_campaign(self) -> None:
        self._SyncObj__raftElectionDeadline = _loop_time() + self._SyncObj__generateRaftTimeout()

    def _notice(self) -> None:
        """See whether this member began or ceased to lead."""
        standing = (self.is_leader, self.term)
        if standing == self._standing:
            return
        led = self._standing[0]
        self._standing = standing
        self._votes = set()
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

    def _become_voter(self) -> None:
        """An entry of this very term is committed: the log holds all that ever was."""
        if self._wal.fresh and 0 < self.term == self._wal.term_at(self.commit):
            self._wal.become_voter()

    # ---- sending

    def outgoing(self, node: Member, message: dict[str, Any]) -> None:
        """PySyncObj wants to send this."""
        kind = message["type"]
        if kind == "next_node_idx":
            self._queue_ack(
                node,
                message["next_node_idx"],
                success=message["success"],
                reset=message["reset"],
            )
        elif kind == "request_vote":
            self._wal.sync()
            term, index = message["term"], message["last_log_index"]
            self._send(
                node, msg.RequestVote(term, index, message["last_log_term"], self._unanimous)
            )
        elif kind == "response_vote":
            self._wal.sync()
            self._send(node, msg.Vote(message["term"]))
        else:
            raise AssertionError(f"pysyncobj sends {kind}")

    def _send(self, node: Member, message: msg.Message) -> None:
        self._owner.send_message(str(node.id), message)

    def _send_entries(self, node: Member) -> None:
        """Send what is new for a follower; nextIndex moves past what is on its way."""
        next_index = self._SyncObj__raftNextIndex[node]
        while True:
            entries = self._batch(next_index)
            prev_term = self._wal.term_at(next_index - 1)
            if prev_term is None:
                raise AssertionError(f"nextIndex of {node.id} is {next_index}: not in the log")
            sent = self._owner.send_message(
                str(node.id),
                msg.Append(
                    self.term, self._read_number, self.commit, next_index - 1, prev_term, entries
                ),
            )
            if not sent or not entries:
                return
            next_index = self._SyncObj__raftNextIndex[node] = entries[-1][1] + 1
            if next_index > self.last:
                return

    def _batch(self, start: int) -> list[Entry]:
        entries = self._wal.entries
        first = start - entries[0][1]
        size, count = 0, 0
        while first + count < len(entries) and size < _MAX_APPEND_BYTES:
            size += len(entries[first + count][0])
            count += 1
        return entries[first : first + count]

    def _send_snapshot(self, node: Member) -> None:
        chunk = self._transfers.next_chunk(str(node.id), self.term, self._read_number, _loop_time())
        self._send(node, chunk or msg.Heartbeat(self.term, self._read_number))

    def _queue_ack(self, node: Member, next_index: int, *, success: bool, reset: bool) -> None:
        """Acknowledge after the sync of this round; of several keep what says most.

        That is the furthest success, and the lowest place to go on from.
        """
        read = self._heard_read[1] if self._heard_read[0] == self.term else 0
        queued = self._acks.get((node, reset))
        if queued is not None and queued.term == self.term:
            if reset:
                next_index = min(next_index, queued.next_index)
            elif queued.success:
                next_index, success = max(next_index, queued.next_index), True
        self._acks[node, reset] = msg.Ack(
            self.term, read, next_index, success, reset, self._wal.fresh
        )
        self._owner.wake()

    def _flush_acks(self) -> None:
        if not self._acks:
            return
        acks, self._acks = self._acks, {}
        for (node, _), ack in sorted(acks.items(), key=lambda item: not item[1].reset):
            if ack.term == self.term:
                self._send(node, ack)

    # ---- PySyncObj's methods, replaced

    def _SyncObj__generateRaftTimeout(self) -> float:  # noqa: N802
        return self._rng.uniform(self._config.election_min_s, self._config.election_max_s)

    def _SyncObj__onBecomeLeader(self) -> None:  # noqa: N802
        super()._SyncObj__onBecomeLeader()
        self._wal.sync()  # the leader counts itself for its no-op in this same tick

    def _SyncObj__tryLogCompaction(self) -> None:  # noqa: N802
        """Snapshots are `RaftNode`'s."""

    def _SyncObj__loadDumpFile(self, clearJournal: bool) -> None:  # noqa: ARG002, N802, N803, FBT001
        raise AssertionError("snapshots are installed by RaftNode")

    def _SyncObj__sendAppendEntries(self) -> None:  # noqa: N802
        """Its own spins until its heartbeat is over while a snapshot is under way."""
        self._SyncObj__newAppendEntriesTime = _loop_time() + self._config.heartbeat_s
        first = self._wal.entries[0][1]
        for node in self._peers.values():
            if node not in self._SyncObj__connectedNodes:
                self._transfers.stop(str(node.id))
            elif self._SyncObj__raftNextIndex[node] > first:
                self._send_entries(node)
            else:
                self._send_snapshot(node)

    def _onTick(self, timeToWait: float = 0.0) -> None:  # noqa: N802, N803
        if (
            not self.is_leader
            and self._peers
            and not self._campaign
            and not self._SyncObj__transferInProgress
            and self._SyncObj__raftElectionDeadline <= _loop_time()
        ):
            self._ask_before_campaign()
        self._campaign = False
        super()._onTick(timeToWait)

    def _SyncObj__applyLogEntries(self) -> bool:  # noqa: N802
        applied, commit = self.applied, self.commit
        if commit <= applied:
            return False
        entries = self._wal.entries
        first = applied + 1 - entries[0][1]
        for command, index, term in entries[first : first + min(_MAX_BATCH, commit - applied)]:
            waiting = self._waiting.pop(index, None)
            kind = command[:1]
            if kind == _COMMAND:
                result: R | Lost = self._owner.apply(command[1:])
            elif kind == NOOP:
                result = Lost.UNKNOWN
            else:
                raise AssertionError(f"entry {index} has a command of type {kind!r}")
            self._SyncObj__raftLastApplied = index
            if waiting is not None:
                waiting[1](result if waiting[0] == term else Lost.UNKNOWN)
        if self.applied < commit:
            self._owner.wake()
        return False

    def _checkCommandsToApply(self) -> None:  # noqa: N802
        """Append what is queued, tell the followers once, then make it durable here."""
        if not self.is_leader:
            self._refuse_queued()
            return
        appended = self._append_queued()
        asked = self._begin_reads()
        if appended or asked or self.commit != self._told:
            self._told = self.commit
            self._SyncObj__sendAppendEntries()
        self._wal.sync()
        self._finish_reads()
        if self._commands or (appended and not self._peers):
            self._owner.wake()

    def _append_queued(self) -> int:
        index, term, size, count = self.last, self.term, 0, 0
        while self._commands and count < _MAX_BATCH and size < _MAX_BATCH_BYTES:
            command, reply = self._commands.popleft()
            count += 1
            size += len(command)
            self._wal.append(_COMMAND + command, index + count, term)
            self._waiting[index + count] = (term, reply)
        self._queued_bytes -= size
        return count

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
        numbers = [self._confirmed.get(node, 0) for node in self._peers.values()]
        confirmed = sorted([*numbers, self._read_number], reverse=True)
        majority = confirmed[len(self._config.members) // 2]
        while self._confirming:
            read = self._confirming[0]
            if read.number > majority or read.index > self.applied:
                break
            self._confirming.pop(0)
            for reply in read.replies:
                reply(read.index)
