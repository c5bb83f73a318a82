"""Replication: entries, acknowledgements and snapshots, between a leader and its followers.

What PySyncObj does here is replaced but for its book-keeping (`_stock`): see `match.py` for
what a follower does with entries. A follower acknowledges only what is durable, and with the
term, so that a late word of an old term counts for nothing. Nothing is committed on the
strength of a message that did not compare logs.
"""

from random import Random
from typing import Any, Final

from wherry.store.raft import message as msg
from wherry.store.raft.election import Elections
from wherry.store.raft.machine import RaftConfig
from wherry.store.raft.match import Append, Matched, Reject, match
from wherry.store.raft.stock import Member, Owner, loop_time
from wherry.store.raft.transfer import Transfers
from wherry.store.raft.wal import Entry, Wal

_MAX_APPEND_BYTES: Final = 4 << 20


class Replication(Elections):
    """See the module."""

    def __init__(
        self, config: RaftConfig, wal: Wal, transfers: Transfers, owner: Owner[Any], rng: Random
    ) -> None:
        self._transfers = transfers
        self._read_number = 0  # of ReadIndex rounds; every append carries it
        self._confirmed: dict[Member, int] = {}  # the highest that each follower echoed
        self._heard_read: tuple[int, int] = (0, 0)  # term, number: echoed in acks
        self._acks: dict[tuple[Member, bool], msg.Ack] = {}
        super().__init__(config, wal, owner, rng)

    # ---- follower

    def acknowledge_snapshot(self, member: str, next_index: int) -> None:
        """Tell the leader that the log may go on behind an installed snapshot."""
        self._queue_ack(Member(member), next_index, success=True, reset=False)
        self._owner.wake()

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
        self._heard_at = loop_time()
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
            self.term, read, next_index, success, reset, self._wal.fresh, self.member_id
        )

    def _flush_acks(self) -> None:
        if not self._acks:
            return
        acks, self._acks = self._acks, {}
        for (node, _), ack in sorted(acks.items(), key=lambda item: not item[1].reset):
            if ack.term == self.term:
                self._send(node, ack)

    # ---- leader

    def _on_ack(self, node: Member, ack: msg.Ack) -> None:
        if ack.term > self.term:
            self._on_stale_term(ack.term)
            return
        if ack.term != self.term or not self.is_leader:
            return
        if not ack.fresh:  # it may have forgotten that it follows somebody else
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
            self._transfers.reached(str(node.id), ack.next_index - 1)

    def _on_snapshot_ack(self, node: Member, ack: msg.SnapshotAck) -> None:
        if ack.term != self.term or not self.is_leader or str(node.id) not in self._peers:
            return
        if not ack.fresh:
            self._confirm(node, ack.read)
        now = loop_time()
        self._SyncObj__lastResponseTime[node] = now
        if ack.offset == msg.DAMAGED:
            self._owner.doubt_snapshot(ack.index, ack.snapshot_term)
        if self._transfers.acknowledged(str(node.id), ack, now):
            self._send_snapshot(node)

    def _confirm(self, node: Member, read: int) -> None:
        if read > self._confirmed.get(node, 0):
            self._confirmed[node] = read

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
            known = self.known if self._unanimous else ()
            last_term = message["last_log_term"]
            self._send(node, msg.RequestVote(term, index, last_term, self._unanimous, known))
        elif kind == "response_vote":
            self._wal.sync()
            self._send(node, msg.Vote(message["term"]))
        else:
            raise AssertionError(f"pysyncobj sends {kind}")

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
        chunk = self._transfers.next_chunk(str(node.id), self.term, self._read_number, loop_time())
        self._send(node, chunk or msg.Heartbeat(self.term, self._read_number))

    def _SyncObj__sendAppendEntries(self) -> None:  # noqa: N802
        """Its own spins until its heartbeat is over while a snapshot is under way."""
        self._SyncObj__newAppendEntriesTime = loop_time() + self._config.heartbeat_s
        first = self._wal.entries[0][1]
        for node in self._peers.values():
            if node not in self._SyncObj__connectedNodes:
                self._transfers.stop(str(node.id))
            elif self._SyncObj__raftNextIndex[node] > first:
                self._send_entries(node)
            else:
                self._send_snapshot(node)
