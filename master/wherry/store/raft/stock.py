"""The one module that imports pysyncobj: what of it is used, checked, and made harmless.

`StockMember` is its `SyncObj` with our log below it, messages instead of sockets, the loop's
time, and injected chance. It still replicates and elects as PySyncObj does; `election.py`,
`replication.py` and `core.py` replace what is unsafe in that.
"""

import asyncio
import zlib
from abc import ABC, abstractmethod
from random import Random
from typing import Any, Final, Protocol

from pysyncobj import syncobj as stock
from pysyncobj.config import SyncObjConf
from pysyncobj.journal import Journal
from pysyncobj.node import Node
from pysyncobj.syncobj import SyncObj
from pysyncobj.transport import Transport
from pysyncobj.version import VERSION

from wherry.store.membership import Configuration
from wherry.store.raft import message as msg
from wherry.store.raft.machine import R_co, RaftConfig
from wherry.store.raft.wal import Wal

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
    "transport",
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


def loop_time() -> float:
    """Return the event loop's time: real in a process, virtual in the simulated world."""
    return asyncio.get_running_loop().time()


_check_audited()
stock.monotonicTime = loop_time
stock.random = _NoChance()
stock.createPoller = lambda _kind: _NullPoller()
stock.createJournal = lambda journal: journal  # `conf.journalFile` is the journal itself


class Member(Node):  # type: ignore[misc]  # untyped library
    """A member by name. Its hash is the same in every process: sets of it iterate alike."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._hash = zlib.crc32(name.encode())

    def __hash__(self) -> int:
        return self._hash  # asked for several times for each entry

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

    def __init__(self, core: "StockMember", self_node: Member, others: list[Member]) -> None:
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

    def doubt_snapshot(self, index: int, term: int) -> None:
        """A member found that snapshot damaged when it had received it."""
        ...

    def wake(self) -> None:
        """Call `tick` soon."""
        ...

    def wake_after_sending(self) -> None:
        """Call `tick` when what was sent has left."""
        ...

    def members_changed(self, configuration: Configuration) -> None:
        """These are the members from now on, as far as this log goes."""
        ...

    def removed(self) -> None:
        """This member was removed from the cluster: it must stop."""
        ...


class StockMember(SyncObj, ABC):  # type: ignore[misc]  # untyped library
    """PySyncObj on our log. Nothing it wants to send leaves unseen: see `outgoing`."""

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

    def __init__(self, config: RaftConfig, wal: Wal, owner: Owner[Any], rng: Random) -> None:
        # SyncObj.__init__ already calls what is overridden below.
        self._config = config
        self._wal = wal
        self._owner = owner
        self._rng = rng
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
        # The others come with the configuration (`reconfigure.py`): `_SyncObj__otherNodes`,
        # by which PySyncObj counts, are those who vote; `_peers` are all.
        self._peers: dict[str, Member] = {}
        self._voter = False  # whether this member is one
        super().__init__(Member(config.name), [], conf=conf, transportClass=_Transport)

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
    @abstractmethod
    def member_id(self) -> int:
        """Return this member's id."""

    @property
    @abstractmethod
    def known(self) -> tuple[int, ...]:
        """Return the ids of the voters in force here, and of those who were removed."""

    @abstractmethod
    def outgoing(self, node: Member, message: dict[str, Any]) -> None:
        """PySyncObj wants to send this."""

    def _stock(self, node: Member, message: dict[str, Any]) -> None:
        """Let PySyncObj handle a message that was found harmless."""
        self._SyncObj__onMessageReceived(node, message)

    def _send(self, node: Member, message: msg.Message) -> None:
        self._owner.send_message(str(node.id), message)

    def _SyncObj__generateRaftTimeout(self) -> float:  # noqa: N802
        return self._rng.uniform(self._config.election_min_s, self._config.election_max_s)

    def _SyncObj__onBecomeLeader(self) -> None:  # noqa: N802
        super()._SyncObj__onBecomeLeader()
        self._wal.sync()  # the leader counts itself for its no-op in this same tick

    def _SyncObj__tryLogCompaction(self) -> None:  # noqa: N802
        """Snapshots are `RaftNode`'s."""

    def _SyncObj__loadDumpFile(self, clearJournal: bool) -> None:  # noqa: ARG002, N802, N803, FBT001
        raise AssertionError("snapshots are installed by RaftNode")
