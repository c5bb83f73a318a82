"""One Raft member in an event loop: the class that everybody else uses.

The same code runs in production and in the simulator; loop, link, disk and chance are given.
There is no thread: rounds come when something is due (`rounds.py`), and whatever was proposed,
acknowledged or received in one turn of the loop is handled together in the next. So
a batch costs one message for each follower and one fdatasync.

Whatever fails in here ends `run()`: a member that cannot write its log, or that cannot apply
a command, must not go on.
"""

import asyncio
import logging
from collections.abc import Callable
from random import Random
from typing import Generic, TypeVar

from wherry.api.errors import ConfigError
from wherry.store.membership import REMOVED, Change, Configuration, MemberError
from wherry.store.raft import message as msg
from wherry.store.raft import snapshot
from wherry.store.raft.core import RaftCore, ReadReply, Reply, Vouch
from wherry.store.raft.disk import Disk
from wherry.store.raft.keeper import Keeper
from wherry.store.raft.link import PeerLink
from wherry.store.raft.machine import Joined, Lost, Machine, RaftConfig
from wherry.store.raft.reconfigure import MembersReply, base_of
from wherry.store.raft.rounds import Rounds
from wherry.store.raft.transfer import Transfers
from wherry.store.raft.wal import Wal

log = logging.getLogger(__name__)
R = TypeVar("R")


class RemovedError(ConfigError):
    """This member does not belong to the cluster any more, and never will under its id."""


class RaftNode(Generic[R]):
    """A member: recovers from its disk, takes part, applies commands to `machine`.

    Args:
        config: Who this is, and timeouts.
        machine: What is replicated; only this object applies commands to it.
        disk: The member's own directory.
        link: Connections to the other members.
        rng: Chance for election timeouts.
        on_applied: Called after entries were applied, once a batch.
        on_leader: Called when this member sees another leader than before, or none.
        on_members: Called when other members are in force, before they are spoken to.
        on_payload: Called with (member, bytes) of `send`.
        on_join: Called when somebody would join: see `link.Receiver.join`.
        now: The wall clock; see `Wal`.
    """

    def __init__(
        self,
        config: RaftConfig,
        machine: Machine[R],
        disk: Disk,
        link: PeerLink,
        rng: Random,
        *,
        on_applied: Callable[[], None] = lambda: None,
        on_leader: Callable[[], None] = lambda: None,
        on_members: Callable[[], None] = lambda: None,
        on_payload: Callable[[str, bytes], None] = lambda _member, _data: None,
        on_join: Callable[[str, str, Callable[[Joined | str], None]], None] | None = None,
        now: Callable[[], float] | None = None,
    ) -> None:
        config.check()
        self.config = config
        self._machine = machine
        self._disk = disk
        self._link = link
        self._rng = rng
        self._now = now
        self._on_applied = on_applied
        self._on_leader = on_leader
        self._on_members = on_members
        self._led_by: str | None = None
        self._on_payload = on_payload
        self._on_join = on_join or (lambda _name, _peer, reply: reply("not here"))
        self._core: RaftCore[R] | None = None
        self._wal: Wal | None = None
        self._failure: asyncio.Future[None] | None = None
        self._rounds = Rounds(config.tick_s, self._due, self._flush)
        self._applied = 0
        self._waiting: list[tuple[int, ReadReply]] = []
        self._keeper = Keeper(config, machine, disk, link, lambda: self._core, self._installed)

    # ---- what others ask

    @property
    def leader(self) -> str | None:
        """Return the leader's name, as far as this member knows."""
        return self._core.leader if self._core else None

    @property
    def is_leader(self) -> bool:
        """Whether this member believes that it leads."""
        return self._core is not None and self._core.is_leader

    @property
    def term(self) -> int:
        """Return the current term."""
        return self._core.term if self._core else 0

    @property
    def applied(self) -> int:
        """Return the index of the last applied entry."""
        return self._core.applied if self._core else 0

    @property
    def commit(self) -> int:
        """Return the index of the last entry known to be committed."""
        return self._core.commit if self._core else 0

    @property
    def log_length(self) -> int:
        """Return the number of entries kept."""
        return len(self._wal.entries) if self._wal else 0

    @property
    def ready(self) -> bool:
        """Whether there is a leader, and all that it has committed so far is applied here."""
        return self._core is not None and self._core.settled

    @property
    def fresh(self) -> bool:
        """Whether this member's disk is new and a leader has not yet given it everything."""
        return self._wal is not None and self._wal.fresh

    def propose(self, command: bytes, reply: Reply[R]) -> None:
        """Replicate a command; `reply` is called with its result, or with `Lost`.

        It may be called at once, and may never be called if this member is stopped.
        """
        if self._core is None:
            reply(Lost.NOT_LEADER)
            return
        self._core.propose(command, reply)
        self.wake()

    @property
    def vouching_term(self) -> int:
        """Return what this member's questions say for `core.Vouch`: its term, 0 on a new disk."""
        return 0 if self._core is None or self.fresh else self._core.term

    def read_index(self, reply: ReadReply, vouch: Vouch | None = None) -> None:
        """Give `reply` an index at which a read is linearizable; only on the leader.

        With a `vouch` only for reads that began before the other member gave it.
        """
        if self._core is None:
            reply(Lost.NOT_LEADER)
        elif self._core.read_index(reply, vouch):
            self.wake()

    def when_applied(self, index: int, reply: ReadReply) -> None:
        """Call `reply` when this replica has applied `index`."""
        if self.applied >= index:
            reply(index)
        else:
            self._waiting.append((index, reply))

    def send(self, member: str, data: bytes) -> bool:
        """Send bytes to the layer above on another member; False if that is not possible now."""
        return self._link.send(member, msg.Payload(data))

    def hand_over(self, to: str | None = None) -> bool:
        """Ask another member to lead; False if none can, or this member does not lead."""
        return self._core is not None and self._core.hand_over(to)

    @property
    def members(self) -> Configuration:
        """Return who belongs to the cluster, as far as that is applied here."""
        return self._core.agreed if self._core else Configuration(())

    @property
    def configuration(self) -> Configuration:
        """Return the members that are in force here, be it agreed or not."""
        return self._core.configuration if self._core else Configuration(())

    @property
    def member_id(self) -> int:
        """Return this member's id; 0 before it has one."""
        return self._core.member_id if self._core else 0

    @property
    def spare(self) -> bool:
        """Whether the cluster that this member leads could go on without it."""
        return self._core is not None and self._core.spare

    @property
    def alone(self) -> bool:
        """Whether nobody else can commit anything, and all that was committed is applied here."""
        core = self._core
        return (
            core is not None
            and core.is_leader
            and len(core.configuration.voters) == len(core.agreed.voters) == 1
            and core.settled
        )

    def check_change(self, asked: Change, new_id: int) -> Configuration | MemberError | Lost:
        """Return what a change of members would lead to, or why it cannot be made now."""
        return self._core.check_change(asked, new_id) if self._core else Lost.NOT_LEADER

    def change_members(self, asked: Change, new_id: int, reply: MembersReply) -> None:
        """Change the members; `reply` gets them when that is applied. Only on the leader."""
        if self._core is None:
            reply(Lost.NOT_LEADER)
        else:
            self._core.change_members(asked, new_id, reply)

    # ---- life

    async def run(self) -> None:
        """Recover and take part until cancelled.

        Raises:
            CorruptError: what is on the disk cannot be trusted.
            OSError: the disk failed.
        """
        self._failure = failure = asyncio.get_running_loop().create_future()
        try:
            self._recover()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._fail_stop(failure))
                tasks.create_task(self._tick())
                tasks.create_task(self._keeper.run())
                tasks.create_task(self._link.run(self))
        finally:
            self._core = None
            # Whoever was cancelled ended for that: nobody asks for a failure of that moment.
            if not failure.cancel() and not failure.cancelled():
                failure.exception()
            if self._wal is not None:
                self._wal.close()

    def _recover(self) -> None:
        """Bring log and snapshots together; see `snapshot.py` for what a crash may leave."""
        config = self.config
        wal = self._wal = Wal(
            self._disk,
            cluster=config.cluster,
            member=config.name,
            fresh=config.joined is not None or len(config.members) > 1,
            member_id=config.joined.id if config.joined else 0,
            spare=self._rng.getrandbits(63) | 1,
            base=base_of(config),
            segment_bytes=config.segment_bytes,
            now=self._now,
        )
        header = self._keeper.restore(wal)
        core: RaftCore[R] = RaftCore(config, wal, Transfers(self._disk), self, self._rng)
        if header is not None:
            core.start_at(header)
            core.forget_before(header.index)
        self._applied = core.applied
        self._core = core

    async def _fail_stop(self, failure: "asyncio.Future[None]") -> None:
        await failure

    async def _tick(self) -> None:
        """Begin; from then on every round arranges for the next."""
        self._flush()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self._rounds.end()

    def wake(self) -> None:
        """See `rounds.Rounds.wake`."""
        self._rounds.wake()

    def wake_after_sending(self) -> None:
        """See `core.Owner`: connections write in the next turn of the loop, we go on in the one after."""
        asyncio.get_running_loop().call_soon(self.wake)

    def _due(self) -> float | None:
        return self._core.due() if self._core is not None else None

    def _flush(self) -> None:
        core = self._core
        if core is None:
            return
        try:
            core.tick()
            if core.applied != self._applied:
                self._applied = core.applied
                self._on_applied()
                self._serve_waiting()
            if core.leader != self._led_by:
                self._led_by = core.leader
                self._on_leader()
        except Exception as error:  # noqa: BLE001  # ends run(): see the module
            self._fail(error)
            return
        self._keeper.look(core.applied)
        self._rounds.arrange()

    def _serve_waiting(self) -> None:
        if self._waiting:
            due = [one for one in self._waiting if one[0] <= self._applied]
            if due:
                self._waiting = [one for one in self._waiting if one[0] > self._applied]
                for index, reply in due:
                    reply(index)

    def _fail(self, error: BaseException) -> None:
        self._core = None  # not one more word to anybody
        if self._failure is not None and not self._failure.done():
            self._failure.set_exception(error)

    # ---- link.Receiver

    def connected(self, member: str) -> None:
        """See `link.Receiver`."""
        if self._core is not None:
            self._core.connected(member)
            self.wake()

    def disconnected(self, member: str) -> None:
        """See `link.Receiver`."""
        if self._core is not None:
            self._core.disconnected(member)

    def hung_up(self, member: str) -> None:
        """See `link.Receiver`."""
        if self._core is not None:
            self._core.hung_up(member)
            self.wake()

    def receive(self, member: str, message: msg.Message) -> None:
        """See `link.Receiver`."""
        if self._core is None:
            return
        try:
            if isinstance(message, msg.Payload):
                self._on_payload(member, message.data)
                return
            news = self._core.receive(member, message)
        except Exception as error:  # noqa: BLE001  # ends run(): see the module
            self._fail(error)
            return
        if news:
            self.wake()

    # ---- core.Owner

    def apply(self, command: bytes) -> R:
        """See `core.Owner`."""
        self._keeper.applied_bytes += len(command)
        return self._machine.apply(command)

    def send_message(self, member: str, message: msg.Message) -> bool:
        """See `core.Owner`."""
        return self._link.send(member, message)

    def members_changed(self, configuration: Configuration) -> None:
        """See `core.Owner`."""
        self._on_members()
        self._link.follow(configuration)

    def was_removed(self, member_id: int) -> bool:
        """See `link.Receiver`."""
        return member_id in self.members.removed

    def join(self, name: str, peer: str, reply: Callable[[Joined | str], None]) -> None:
        """See `link.Receiver`."""
        self._on_join(name, peer, reply)

    def removed(self) -> None:
        """See `core.Owner` and `link.Receiver`."""
        self._fail(RemovedError(REMOVED))

    def receive_snapshot(self, member: str, chunk: msg.SnapshotChunk) -> None:
        """See `core.Owner`."""
        self._keeper.receive(member, chunk)

    def doubt_snapshot(self, index: int, term: int) -> None:
        """See `core.Owner`."""
        self._keeper.doubt(snapshot.SnapshotId(index, term))

    # ---- snapshots

    def snapshot_header(self) -> snapshot.Header | None:
        """Return the header of a snapshot of the state as it is now; None: there is none yet."""
        return self._keeper.header()

    def _installed(self, applied: int) -> None:
        """A snapshot took the place of the state."""
        self._applied = applied
        self._on_applied()
        self._serve_waiting()
