"""Elections: pre-vote, and votes of members whose disk is new.

* Nobody raises the term before a majority said that it would vote (pre-vote), and nobody
  says so while it hears a leader. So a member that was cut off, or cannot hear, disturbs
  nobody when it comes back.
* A member with a new disk (`wal.py`: fresh) may have acknowledged entries, or voted, before
  the old one was lost. It counts only where every member agrees, for then nobody has more
  than the candidate. The first leader of a new cluster is elected so, for all are fresh.
  Every member is: all of whom the new disk was told. A log that is behind may know of fewer.
"""

import math
from collections.abc import Iterable
from random import Random
from typing import Any, Final

from wherry.store.membership import decode
from wherry.store.raft import message as msg
from wherry.store.raft.machine import RaftConfig
from wherry.store.raft.stock import Member, Owner, StockMember, loop_time
from wherry.store.raft.wal import Wal

_FOLLOWER: Final = 0  # PySyncObj's number for it


class Elections(StockMember):
    """See the module."""

    def __init__(self, config: RaftConfig, wal: Wal, owner: Owner[Any], rng: Random) -> None:
        self._heard_at = float("-inf")  # when a leader last gave a sign of life
        self._pre_term = 0
        self._pre_votes: dict[Member, bool] = {}  # who would vote, and whether it is fresh
        self._unanimous = False  # this campaign needs every vote
        self._votes: set[Member] = set()  # for this candidate, in this term ...
        self._counted: set[Member] = set()  # ... and those that PySyncObj was told of
        self._campaign = False
        self._candidate_log = (0, 0)  # index and term of the last entry of who asks for a vote
        super().__init__(config, wal, owner, rng)

    def hung_up(self, name: str) -> None:
        """A member closed its connection: if it led, its process is probably dead."""
        if self.leader == name and not self.is_leader:
            self._heard_at = float("-inf")
            soon = self._rng.uniform(0.1, 0.5) * self._config.election_min_s
            self._SyncObj__raftElectionDeadline = min(
                self._SyncObj__raftElectionDeadline, loop_time() + soon
            )

    def _on_election(
        self,
        node: Member,
        message: msg.PreVote | msg.PreVoteGranted | msg.RequestVote | msg.Vote,
    ) -> None:
        match message:
            case msg.PreVote():
                self._on_pre_vote(node, message)
            case msg.PreVoteGranted(term, fresh):
                asked = node in self._SyncObj__otherNodes and not self.is_leader
                if asked and term == self._pre_term == self.term + 1:
                    self._pre_votes[node] = fresh
                    self._count_pre_votes()
            case msg.RequestVote(term, last_index, last_term, unanimous, known):
                if self._wal.fresh and (not unanimous or self._outdated(known)):
                    return
                self._candidate_log = (last_index, last_term)
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
                if term == self.term and node in self._SyncObj__otherNodes:
                    self._count_vote(node)

    def _count_vote(self, node: Member) -> None:
        """Pass each vote on once, and only when those of others alone would do, if need be.

        PySyncObj counts this member's own. A disk that is new must not: its other life may
        have acknowledged what none of those voters has.
        """
        self._votes = self._votes | {node}
        others = self._SyncObj__otherNodes
        enough = True
        if self._unanimous:
            enough = self._votes >= others
        elif self._wal.fresh:
            enough = len(self._votes & others) > (len(others) + 1) / 2
        news = self._votes - self._counted if enough else set()
        self._counted = self._counted | news
        for voter in sorted(news, key=lambda one: str(one.id)):
            self._stock(voter, {"type": "response_vote", "term": self.term})

    def _on_pre_vote(self, node: Member, request: msg.PreVote) -> None:
        if request.term <= self.term:
            self._send(node, msg.StaleTerm(self.term))
            return
        mine = (self._wal.entries[-1][2], self.last)
        quiet = loop_time() - self._heard_at >= self._config.election_min_s
        if not self.is_leader and quiet and (request.last_term, request.last_index) >= mine:
            self._send(node, msg.PreVoteGranted(request.term, self._wal.fresh))

    def _ask_before_campaign(self) -> None:
        """Pre-vote: raise the term only if a majority would vote for this member."""
        retry_s = self._rng.uniform(0.2, 0.5) * self._config.election_min_s
        self._SyncObj__raftElectionDeadline = loop_time() + retry_s
        self._pre_term = self.term + 1
        self._pre_votes = {}
        term = self._wal.entries[-1][2]
        for node in self._peers.values():
            if node in self._SyncObj__otherNodes:
                self._send(node, msg.PreVote(self._pre_term, self.last, term, self.member_id))

    def _count_pre_votes(self) -> None:
        """Campaign with a majority of members that remember what they promised, or with all.

        A member with a new disk may have acknowledged entries, or voted in this term, before
        the old one was lost. With everybody's consent that does no harm: then nobody has more
        than this member. The first leader of a new cluster is elected so, for all are fresh.
        """
        solid = [*self._pre_votes.values(), self._wal.fresh].count(False)
        others = self._SyncObj__otherNodes
        majority = solid > (len(others) + 1) / 2
        if majority and self._wal.fresh and not self._wal.member_id:
            return  # those can elect one of themselves, who will see that this disk is new
        if majority or self._pre_votes.keys() >= others:
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
        self._SyncObj__raftElectionDeadline = loop_time() + self._SyncObj__generateRaftTimeout()

    def _become_voter(self) -> None:
        """An entry of this very term is committed: the log holds all that ever was.

        A disk that has no id yet may be somebody's who lost an older one: the leader knows.
        """
        known = self._wal.fresh and self._wal.member_id
        if known and 0 < self.term == self._wal.term_at(self.commit):
            self._wal.become_voter()

    def _let_campaign(self) -> None:
        """Learners never campaign; a voter waits for the others, if there are any."""
        deadline = self._SyncObj__raftElectionDeadline
        if not self._voter:
            self._SyncObj__raftElectionDeadline = float("inf")
        elif not self._SyncObj__otherNodes:
            self._SyncObj__raftElectionDeadline = float("-inf")
        elif math.isinf(deadline):
            self._postpone_campaign()

    def _onTick(self, timeToWait: float = 0.0) -> None:  # noqa: N802, N803
        alone = not self._SyncObj__otherNodes
        if not self._voter or (self._wal.fresh and (alone or self._outdated(self.known))):
            # A new disk is given a log in which, long ago, this member may have been the only one.
            self._SyncObj__raftElectionDeadline = float("inf")
        elif self._SyncObj__raftElectionDeadline == float("inf"):
            self._let_campaign()
        elif (
            not self.is_leader
            and not alone
            and not self._campaign
            and not self._SyncObj__transferInProgress
            and self._SyncObj__raftElectionDeadline <= loop_time()
        ):
            self._ask_before_campaign()
        self._campaign = False
        super()._onTick(timeToWait)

    def _outdated(self, known: Iterable[int]) -> bool:
        """Whether a new disk was told of voters of whom a configuration does not know.

        Then that is of the past, and everybody's consent in it is worth nothing.
        """
        told = decode(self._wal.base).voters if self._wal.base else ()
        ids = set(known)
        return any(one.id not in ids for one in told if one.key != self._config.name)

    def _on_timeout_now(self, node: Member, term: int) -> None:
        """The leader wants this member to take over: campaign without asking first."""
        if not self._voter:
            return
        self._unanimous = self._wal.fresh
        self._stock(node, {"type": "timeout_now", "term": term})
