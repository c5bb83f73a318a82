"""Random requests, of a seed, to our etcd door and to a real etcd: every answer must be equal.

A failure prints the seed and the requests up to it: `WHERRY_SEED=n` repeats it.
"""

import os
from collections.abc import Callable
from random import Random
from typing import Any, Final

import pytest
from etcd_pair import Server, asked, pair, told
from google.protobuf.message import Message

from wherry.wire.etcd.rpc_pb2 import (
    CompactionRequest,
    Compare,
    DeleteRangeRequest,
    LeaseGrantRequest,
    LeaseRevokeRequest,
    PutRequest,
    RangeRequest,
    RequestOp,
    TxnRequest,
)

pytestmark = pytest.mark.integration
SEED: Final = int(os.environ.get("WHERRY_SEED", "3"))
REQUESTS: Final = 600
KEYS: Final = (b"a", b"aa", b"ab", b"b", b"b\xff", b"c")
ENDS: Final = (b"", b"", b"", b"b", b"c", b"d", b"\0")
LEASES: Final = (1, 2, 3)


class Requests:
    """What is asked next; it guesses the revision from how much was written."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.revision = 1
        self.values = 0  # every value is another one: sorting by value has one answer

    def next(self) -> Message:
        kinds = (
            self.put,
            self.put,
            self.get,
            self.get,
            self.delete,
            self.txn,
            self.txn,
            self.lease,
        )
        if self.rng.random() < 0.02:
            return CompactionRequest(revision=self.a_revision())
        return self.rng.choice(kinds)()

    def a_revision(self) -> int:
        return self.rng.randint(1, self.revision + 2)

    def put(self) -> PutRequest:
        rng = self.rng
        self.values += 1
        keep = rng.random()
        return PutRequest(
            key=rng.choice(KEYS),
            value=b"" if keep < 0.1 else b"%06d" % self.values,
            lease=rng.choice((0, 0, 0, *LEASES)),
            prev_kv=rng.random() < 0.5,
            ignore_value=keep < 0.12,
            ignore_lease=rng.random() < 0.1,
        )

    def get(self) -> RangeRequest:
        rng = self.rng
        by = rng.choice((RangeRequest.KEY, RangeRequest.MOD, RangeRequest.VALUE))
        unique = by == RangeRequest.MOD  # one transaction writes several keys at one revision
        return RangeRequest(
            key=rng.choice(KEYS),
            range_end=b"" if unique else rng.choice(ENDS),
            limit=rng.choice((0, 0, 1, 2, 5)),
            revision=self.a_revision() if rng.random() < 0.3 else 0,
            sort_target=by,
            sort_order=rng.choice((RangeRequest.NONE, RangeRequest.ASCEND, RangeRequest.DESCEND)),
            keys_only=rng.random() < 0.2,
            count_only=rng.random() < 0.1,
            min_mod_revision=self.a_revision() if rng.random() < 0.1 else 0,
            max_create_revision=self.a_revision() if rng.random() < 0.1 else 0,
        )

    def delete(self) -> DeleteRangeRequest:
        # Not "from key": what an etcd allows beside it in one transaction follows from a
        # quirk of its interval tree; ours refuses what would write a key twice.
        end = self.rng.choice([one for one in ENDS if one != b"\0"])
        return DeleteRangeRequest(
            key=self.rng.choice(KEYS), range_end=end, prev_kv=self.rng.random() < 0.5
        )

    def compare(self) -> Compare:
        rng = self.rng
        fields: dict[str, Any] = rng.choice(
            (
                {"target": Compare.VERSION, "version": rng.randint(0, 3)},
                {"target": Compare.CREATE, "create_revision": self.a_revision()},
                {"target": Compare.MOD, "mod_revision": self.a_revision()},
                {"target": Compare.VALUE, "value": b"%06d" % rng.randint(0, self.values + 1)},
                {"target": Compare.LEASE, "lease": rng.choice((0, *LEASES))},
            )
        )
        result = rng.choice((Compare.EQUAL, Compare.NOT_EQUAL, Compare.LESS, Compare.GREATER))
        return Compare(key=rng.choice(KEYS), range_end=rng.choice(ENDS), result=result, **fields)

    def txn(self, depth: int = 0) -> TxnRequest:
        return TxnRequest(
            compare=[self.compare() for _ in range(self.rng.randint(0, 2))],
            success=[self.op(depth) for _ in range(self.rng.randint(0, 3))],
            failure=[self.op(depth) for _ in range(self.rng.randint(0, 2))],
        )

    def op(self, depth: int) -> RequestOp:
        match self.rng.randint(0, 3 if depth < 2 else 2):
            case 0:
                return RequestOp(request_put=self.put())
            case 1:
                return RequestOp(request_range=self.get())
            case 2:
                return RequestOp(request_delete_range=self.delete())
            case _:
                return RequestOp(request_txn=self.txn(depth + 1))

    def lease(self) -> Message:
        lease = self.rng.choice(LEASES)
        if self.rng.random() < 0.6:
            return LeaseGrantRequest(ID=lease, TTL=1000)
        return LeaseRevokeRequest(ID=lease)


METHODS: Final[dict[type[Message], Callable[[Server], Any]]] = {
    PutRequest: lambda server: server.kv.Put,
    RangeRequest: lambda server: server.kv.Range,
    DeleteRangeRequest: lambda server: server.kv.DeleteRange,
    TxnRequest: lambda server: server.kv.Txn,
    CompactionRequest: lambda server: server.kv.Compact,
    LeaseGrantRequest: lambda server: server.lease.LeaseGrant,
    LeaseRevokeRequest: lambda server: server.lease.LeaseRevoke,
}


def ask(server: Server, request: Message) -> str:
    return asked(lambda one: METHODS[type(request)](one)(request), server)


def test_the_same_answers_to_random_requests() -> None:
    requests = Requests(Random(SEED))
    everything = RangeRequest(key=b"\0", range_end=b"\0")
    asked_so_far = []
    answered = 0
    with pair() as servers:
        for number in range(REQUESTS):
            request = requests.next()
            asked_so_far.append(f"{type(request).__name__} {told(request)}")
            mine, theirs = (ask(server, request) for server in servers)
            story = "\n".join([f"WHERRY_SEED={SEED}", *asked_so_far[-20:]])
            assert mine == theirs, f"{story}\nours: {mine}\netcd: {theirs}"
            answered += mine.startswith("header")
            requests.revision = servers[0].kv.Range(RangeRequest(key=b"-")).header.revision
            if number % 50 == 49:
                states = {told(server.kv.Range(everything)) for server in servers}
                assert len(states) == 1, "\n".join([story, *states])
    assert answered > REQUESTS // 2, "most requests are refused: this tests little"
