"""The contract of etcd's gRPC API: every row is asked of our door and of a real etcd.

The rows of a table are asked in order, of two fresh stores; answers, error codes and error
texts must be equal, revisions included.
"""

import contextlib
import queue
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import grpc
import pytest
from etcd_pair import Server, asked, differences, pair, told
from google.protobuf.message import Message

from wherry.process.clock import SystemClock
from wherry.wire.etcd import election_pb2, lock_pb2, rpc_pb2
from wherry.wire.etcd.rpc_pb2 import (
    Compare,
    DeleteRangeRequest,
    PutRequest,
    RangeRequest,
    RequestOp,
    TxnRequest,
)

pytestmark = pytest.mark.integration
Call = Callable[[Server], Message]
END = b"\0"
CLOCK = SystemClock()


@pytest.fixture
def servers() -> Iterator[tuple[Server, Server]]:
    with pair() as both:
        yield both


def put(key: str, value: str = "", **options: Any) -> PutRequest:
    return PutRequest(key=key.encode(), value=value.encode(), **options)


def get(key: str, end: str = "", **options: Any) -> RangeRequest:
    return RangeRequest(key=key.encode(), range_end=end.encode(), **options)


def delete(key: str, end: str = "", **options: Any) -> DeleteRangeRequest:
    return DeleteRangeRequest(key=key.encode(), range_end=end.encode(), **options)


def op(request: PutRequest | RangeRequest | DeleteRangeRequest | TxnRequest) -> RequestOp:
    match request:
        case PutRequest():
            return RequestOp(request_put=request)
        case RangeRequest():
            return RequestOp(request_range=request)
        case DeleteRangeRequest():
            return RequestOp(request_delete_range=request)
        case TxnRequest():
            return RequestOp(request_txn=request)


def txn(
    compares: Sequence[Compare] = (), success: Sequence[Any] = (), failure: Sequence[Any] = ()
) -> TxnRequest:
    return TxnRequest(
        compare=compares, success=[op(one) for one in success], failure=[op(one) for one in failure]
    )


METHODS: dict[type[Message], Callable[[Server], Any]] = {
    PutRequest: lambda server: server.kv.Put,
    RangeRequest: lambda server: server.kv.Range,
    DeleteRangeRequest: lambda server: server.kv.DeleteRange,
    TxnRequest: lambda server: server.kv.Txn,
    rpc_pb2.CompactionRequest: lambda server: server.kv.Compact,
    rpc_pb2.LeaseGrantRequest: lambda server: server.lease.LeaseGrant,
    rpc_pb2.LeaseRevokeRequest: lambda server: server.lease.LeaseRevoke,
    rpc_pb2.LeaseTimeToLiveRequest: lambda server: server.lease.LeaseTimeToLive,
}


def ask(request: Message) -> tuple[str, Call]:
    """A row: the request names what is called."""
    return str(request), lambda server: METHODS[type(request)](server)(request)


def check(servers: tuple[Server, Server], requests: Sequence[Message]) -> None:
    problems = differences(servers, [ask(one) for one in requests])
    assert not problems, "\n".join(problems)


SOME = (
    *(put(f"/k/{name}", name * 2) for name in "dbace"),
    put("/k/b", "x"),
    put("/k/b", "y"),
    put("/k/e", "a"),
    delete("/k/c"),
    put("/k/c", "again"),
    put("/other", "1"),
)
SORTS = tuple(
    get("/k/", "/k0", sort_order=order, sort_target=target, **limit)
    for order in RangeRequest.SortOrder.values()
    for target in RangeRequest.SortTarget.values()
    for limit in ({}, {"limit": 2})
)


def test_range(servers: tuple[Server, Server]) -> None:
    check(
        servers,
        (
            *SOME,
            get("/k/a"),
            get("/none"),
            get(""),
            get("", "/k"),
            get("/k/", "/k0"),
            get("/k0", "/k/"),
            get("/k/", "/k/"),
            get("/k/c", "\0"),
            get("\0", "\0"),
            get("/k/", "/k0", keys_only=True),
            get("/k/", "/k0", count_only=True),
            get("/k/", "/k0", count_only=True, limit=1),
            *(get("/k/", "/k0", limit=limit) for limit in (-1, 1, 4, 5, 6)),
            *(get("/k/", "/k0", revision=revision) for revision in (-1, 1, 2, 7, 11, 12, 99)),
            get("/k/", "/k0", revision=4, limit=1),
            get("/k/", "/k0", revision=4, count_only=True),
            get("/k/a", serializable=True),
            *SORTS,
            get("/k/", "/k0", min_mod_revision=5),
            get("/k/", "/k0", max_mod_revision=5),
            get("/k/", "/k0", min_create_revision=4, max_create_revision=6, limit=1),
            get("/k/", "/k0", min_mod_revision=5, keys_only=True, sort_order=2),
            get("/k/", "/k0", min_mod_revision=5, count_only=True),
            get("/k/", "/k0", sort_order=1, count_only=True),
            get("/k/", "/k0", sort_order=2, sort_target=4, keys_only=True),
        ),
    )


def test_put_and_delete(servers: tuple[Server, Server]) -> None:
    check(
        servers,
        (
            put("/a", "1"),
            put("/a", "2", prev_kv=True),
            put("/b", "2", prev_kv=True),
            put("/none", ignore_value=True),
            put("/none", "v", ignore_lease=True),
            put("/a", "v", ignore_value=True),
            put("/a", "v", ignore_lease=True, lease=7),
            put("/a", ignore_value=True, prev_kv=True),
            get("/a"),
            put("/a", lease=4711),
            put("", "v"),
            rpc_pb2.LeaseGrantRequest(ID=7, TTL=100),
            put("/l", "1", lease=7),
            put("/l", "2", ignore_lease=True),
            put("/l", ignore_value=True, lease=7),
            get("/l"),
            put("/l", ignore_value=True),
            get("/l"),
            delete(""),
            delete("/none"),
            delete("/none", "/none0"),
            delete("/b"),
            delete("/a", "\0", prev_kv=True),
            get("\0", "\0"),
        ),
    )


def test_too_large(servers: tuple[Server, Server]) -> None:
    check(servers, (put("/big", "x" * (1600 << 10)), get("/big")))


def c(key: str, target: str, result: str, operand: Any, end: str = "") -> Compare:
    fields = {"CREATE": "create_revision", "MOD": "mod_revision"}
    return Compare(
        key=key.encode(),
        range_end=end.encode(),
        target=Compare.CompareTarget.Value(target),
        result=Compare.CompareResult.Value(result),
        **{fields.get(target, target.lower()): operand},
    )


OPERATORS = ("EQUAL", "NOT_EQUAL", "LESS", "GREATER")


def test_comparisons(servers: tuple[Server, Server]) -> None:
    check(
        servers,
        (
            rpc_pb2.LeaseGrantRequest(ID=9, TTL=1000),
            put("/a", "m"),
            put("/a", "m"),
            put("/b", "n", lease=9),
            *(
                txn([c(key, target, operator, operand, end)])
                for key, end in (
                    *(("/a", ""), ("/b", ""), ("/none", "")),
                    *(("/a", "/c"), ("/a", "\0"), ("/n", "/o"), ("/b", "/a")),
                )
                for target, operands in (
                    *(("VERSION", (0, 1, 2)), ("CREATE", (0, 2)), ("MOD", (3, 4))),
                    *(("VALUE", (b"", b"m", b"n")), ("LEASE", (0, 9))),
                )
                for operator in OPERATORS
                for operand in operands
            ),
            txn([c("", "VERSION", "EQUAL", 0)]),
        ),
    )


def test_transactions(servers: tuple[Server, Server]) -> None:
    nested = txn(
        [c("/a", "VALUE", "EQUAL", b"1")], [put("/n", "then"), get("/n")], [put("/n", "else")]
    )
    check(
        servers,
        (
            put("/a", "1"),
            put("/old", "1"),
            txn(),
            txn([], [get("/a"), put("/b", "2", prev_kv=True), get("/b"), delete("/old")]),
            txn([], [get("/a"), delete("/none"), get("/", "/z", limit=1, sort_order=2)]),
            txn([], [delete("/b", prev_kv=True), get("/b"), get("/b", revision=3)]),
            txn([], [nested, get("/n")]),
            txn([], [put("/a", "2"), nested, get("/a"), get("/n")]),  # decided before anything is written
            txn([], [txn([], [nested, get("/n")], [put("/a", "")]), get("/a")]),
            txn([c("/a", "VERSION", "GREATER", 99)], [put("/a", "")], [nested]),
            txn([], [put("/x", "1"), get("/x", sort_order=2, sort_target=4), get("/", "/z", min_mod_revision=6)]),
            # refused
            txn([], [put("/a"), put("/a")]),
            txn([], [put("/a"), delete("/a")]),
            txn([], [delete("/", "/z"), put("/a")]),
            txn([], [delete("/a"), delete("/a")]),
            txn([], [put("/n"), nested]),
            txn([], [delete("/n"), nested]),
            txn([], [nested, nested]),
            txn([], [txn([], [delete("/d")]), put("/d")]),
            txn([], [txn([], [put("/d")], [put("/d")])]),
            txn([], [put("")]),
            txn([], [get("")]),
            txn([], [delete("")]),
            TxnRequest(success=[RequestOp()]),
            txn([], [put("/y"), get("/a", revision=99)]),
            txn([], [put("/y"), put("/z", lease=4711)]),
            txn([], [get("/a", revision=99), put("/z", lease=4711)]),
            txn([], [put("/none", ignore_value=True)]),
            txn([], [put("/a", "v", ignore_value=True)]),
            txn([], [put("/a", ignore_value=True, prev_kv=True), get("/a")]),
            txn([], [txn([], [put("/none", ignore_lease=True)])]),
            txn([c("/a", "MOD", "EQUAL", 0)], [put("/y", lease=4711)], [get("/a")]),
            txn([], [put(f"/m/{number}") for number in range(128)]),
            txn([], [put(f"/m/{number}") for number in range(129)]),
            txn([c("/a", "MOD", "EQUAL", 0)] * 129),
            txn([], [txn([], [get("/a")] * 127)]),
            txn([], [txn([], [get("/a")] * 128)]),
            get("/", "/z"),
        ),
    )  # fmt: skip


def test_compaction(servers: tuple[Server, Server]) -> None:
    compact = rpc_pb2.CompactionRequest
    check(
        servers,
        (
            *SOME,
            compact(revision=99),
            compact(revision=8),
            compact(revision=8),
            compact(revision=3),
            compact(revision=10, physical=True),
            get("/k/", "/k0", revision=9),
            get("/k/", "/k0", revision=10),
            get("/k/", "/k0"),
            txn([], [get("/k/a", revision=9), put("/k/a")]),
            txn([], [get("/k/a", revision=9), get("/k/a", revision=99)]),
            get("/k/a"),
        ),
    )


def test_leases(servers: tuple[Server, Server]) -> None:
    grant, ttl = rpc_pb2.LeaseGrantRequest, rpc_pb2.LeaseTimeToLiveRequest
    check(
        servers,
        (
            grant(ID=5, TTL=1000),
            grant(ID=5, TTL=1000),
            grant(ID=6, TTL=0),
            grant(ID=7, TTL=-1),
            grant(ID=8, TTL=9_000_000_001),
            grant(ID=9, TTL=9_000_000_000),
            put("/l/b", lease=5),
            put("/l/a", lease=5),
            ttl(ID=4711),
            ttl(ID=4711, keys=True),
            rpc_pb2.LeaseRevokeRequest(ID=4711),
            rpc_pb2.LeaseRevokeRequest(ID=6),
            rpc_pb2.LeaseRevokeRequest(ID=7),
            put("/l/b"),
            rpc_pb2.LeaseRevokeRequest(ID=5),
            get("/l", "/m"),
        ),
    )
    for server in servers:
        chosen = server.lease.LeaseGrant(grant(TTL=1000))
        assert (chosen.ID > 0, chosen.TTL) == (True, 1000)
        server.kv.Put(put("/key", lease=chosen.ID))
        left = server.lease.LeaseTimeToLive(ttl(ID=chosen.ID, keys=True))
        assert (left.grantedTTL, list(left.keys)) == (1000, [b"/key"])
        assert 900 <= left.TTL <= 1000  # the machine may have paused
        ids = {one.ID for one in server.lease.LeaseLeases(rpc_pb2.LeaseLeasesRequest()).leases}
        assert ids == {9, chosen.ID}
        keep = rpc_pb2.LeaseKeepAliveRequest
        answers = server.lease.LeaseKeepAlive(iter([keep(ID=chosen.ID), keep(ID=4711)]))
        assert [(one.ID, one.TTL) for one in answers] == [(chosen.ID, 1000), (4711, 0)]


# ---- watches


class Stream:
    """A watch stream that is written to by hand."""

    def __init__(self, server: Server) -> None:
        self._sent: queue.Queue[rpc_pb2.WatchRequest | None] = queue.Queue()
        self._call = server.watch.Watch(iter(self._sent.get, None), timeout=90)

    def send(self, request: Message) -> None:
        if isinstance(request, rpc_pb2.WatchCreateRequest):
            self._sent.put(rpc_pb2.WatchRequest(create_request=request))
        elif isinstance(request, rpc_pb2.WatchCancelRequest):
            self._sent.put(rpc_pb2.WatchRequest(cancel_request=request))
        else:
            self._sent.put(rpc_pb2.WatchRequest(progress_request=rpc_pb2.WatchProgressRequest()))

    def next(self) -> rpc_pb2.WatchResponse:
        response: rpc_pb2.WatchResponse = next(self._call)
        return response

    def close(self) -> None:
        self._sent.put(None)
        self._call.cancel()


def watched(server: Server, steps: Sequence[Message | int]) -> list[str]:
    """Send requests (of the KV service, too), and after each number read so many responses."""
    seen: list[str] = []
    with contextlib.closing(Stream(server)) as stream:
        for step in steps:
            if isinstance(step, int):
                seen += _in_order([stream.next() for _ in range(step)])
            elif type(step).__name__.startswith("Watch"):
                stream.send(step)
            else:
                asked(ask(step)[1], server)
    return seen


def _in_order(responses: Sequence[rpc_pb2.WatchResponse]) -> list[str]:
    """Render responses; those of several watches to one write come in any order from an etcd."""
    revisions = {response.header.revision for response in responses}
    if len(revisions) == 1 and all(response.events for response in responses):
        responses = sorted(responses, key=lambda response: response.watch_id)
    return [told(response) for response in responses]


W = rpc_pb2.WatchCreateRequest
WATCHES: dict[str, tuple[Message | int, ...]] = {
    "now": (W(key=b"/k"), 1, put("/k", "1"), 1, put("/other"), put("/k", "2"), 1, delete("/k"), 1),
    "prefix, prev_kv": (
        *(put("/k/a", "1"), W(key=b"/k/", range_end=b"/k0", prev_kv=True), 1),
        *(put("/k/a", "2"), 1, delete("/k/a"), 1, put("/k/a", "3"), 1),
    ),
    "from key": (W(key=b"/k", range_end=END), 1, put("/j"), put("/z"), 1),
    "empty key": (W(), 1, put("/k"), W(range_end=END), 1, put("/k"), 1),
    "empty range": (W(key=b"b", range_end=b"a"), 1, W(key=b"b", range_end=b"b"), 1),
    "one transaction is one response": (
        *(W(key=b"/", range_end=b"0"), 1, txn([], [put("/a"), put("/b"), put("/c")]), 1),
    ),
    "no puts": (
        *(W(key=b"/k", filters=[W.NOPUT]), 1, put("/k"), delete("/k"), 1),
    ),
    "no deletions": (
        *(W(key=b"/k", filters=[W.NODELETE]), 1, put("/k"), 1, delete("/k"), put("/k"), 1),
    ),
    "ids are given": (
        *(W(key=b"/k", watch_id=7), 1, W(key=b"/k", watch_id=7), 1, W(key=b"/j"), 1),
        *(W(key=b"/j"), 1, put("/j"), 2),
    ),
    "an id that is taken is left out": (W(key=b"/k", watch_id=1), 1, *(W(key=b"/k"), 1) * 3),
    "cancel": (
        *(W(key=b"/k"), 1, rpc_pb2.WatchCancelRequest(watch_id=0), 1, put("/k")),
        *(rpc_pb2.WatchCancelRequest(watch_id=99), W(key=b"/k"), 1, put("/k"), 1),
    ),
    "cancelled, the id is free": (
        *(W(key=b"/k", watch_id=3), 1, rpc_pb2.WatchCancelRequest(watch_id=3), 1),
        *(W(key=b"/k", watch_id=3), 1),
    ),
    "future": (W(key=b"/k", start_revision=4), 1, put("/k"), put("/k"), put("/k", "this"), 1),
    "compacted": (
        *(put("/k", "1"), put("/k", "2"), put("/k", "3"), put("/k", "4")),
        *(rpc_pb2.CompactionRequest(revision=4), W(key=b"/k", start_revision=2), 2),
        *(W(key=b"/k", start_revision=5), 2),
    ),
    "at the compacted revision": (
        *(put("/k", "1"), put("/k", "2"), put("/j"), rpc_pb2.CompactionRequest(revision=3)),
        *(W(key=b"/k", start_revision=3), 2, W(key=b"/none", start_revision=3), 1, put("/k"), 1),
    ),
    "progress": (
        *(put("/j"), W(key=b"/k"), 1, rpc_pb2.WatchProgressRequest(), 1, put("/k"), 1),
        *(rpc_pb2.WatchProgressRequest(), 1),
    ),
    "a lease ends": (
        *(rpc_pb2.LeaseGrantRequest(ID=5, TTL=100), put("/k", lease=5), W(key=b"/k", prev_kv=True)),
        *(1, rpc_pb2.LeaseRevokeRequest(ID=5), 1),
    ),
}  # fmt: skip


def test_watches(servers: tuple[Server, Server]) -> None:
    problems = []
    for name, steps in WATCHES.items():
        offset = servers[0].kv.Range(get("-")).header.revision - 1
        shifted = [_shift(step, offset) for step in steps]
        mine, theirs = (watched(server, shifted) for server in servers)
        if mine != theirs:
            problems.append("\n".join([name, *mine, "  etcd:", *theirs]))
        for server in servers:
            asked(ask(rpc_pb2.LeaseRevokeRequest(ID=5))[1], server)
            server.kv.Put(put("/tidy"))
            server.kv.DeleteRange(delete("\0", "\0"))
    assert not problems, "\n".join(problems)


def _shift(step: Message | int, offset: int) -> Message | int:
    """Revisions of a table begin at 1, the store is not new any more."""
    if isinstance(step, W) and step.start_revision:
        copy = W()
        copy.CopyFrom(step)
        copy.start_revision += offset
        return copy
    if isinstance(step, rpc_pb2.CompactionRequest):
        return rpc_pb2.CompactionRequest(revision=step.revision + offset)
    return step


def test_a_watch_has_old_changes_in_order(servers: tuple[Server, Server]) -> None:
    check(servers, SOME)
    seen = []
    for server in servers:
        with contextlib.closing(Stream(server)) as stream:
            stream.send(W(key=b"/", range_end=b"0", start_revision=2, prev_kv=True))
            assert stream.next().created
            events: list[str] = []
            while len(events) < len(SOME):
                events += [told(event) for event in stream.next().events]
            seen.append(events)
    assert seen[0] == seen[1]


def test_a_response_is_cut_into_fragments(servers: tuple[Server, Server]) -> None:
    for server in servers:
        server.kv.Txn(txn([], [put(f"/f/{number}", "x" * 200_000) for number in range(6)]))
        server.kv.Txn(txn([], [put(f"/f/{number}", "y" * 200_000) for number in range(6)]))
        with contextlib.closing(Stream(server)) as stream:
            stream.send(
                W(key=b"/f/", range_end=b"/f0", start_revision=2, fragment=True, prev_kv=True)
            )
            assert stream.next().created
            events = 0
            pieces = []
            while events < 12:
                response = stream.next()
                events += len(response.events)
                pieces.append(response.fragment)
                assert response.ByteSize() < 2 << 20
            assert True in pieces, server.name
            assert not pieces[-1]


# ---- lock, election and the rest


def kept_waiting(server: Server, request: Message) -> Message:
    """Ask for a lock that somebody holds; client and server both see the time run out, in a race.

    Who waits has a key, and when the server has seen it, it is gone again: two revisions. None
    where the machine paused for all of that time: then once more, with more of it.
    """
    before = _revision(server)
    for patience_s in (3, 30):
        with pytest.raises(grpc.RpcError) as caught:
            server.lock.Lock(request, timeout=patience_s)
        assert caught.value.code() in (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNKNOWN)
        assert "deadline exceeded" in str(caught.value.details()).lower()
        if grown := _grown(server, before):
            assert grown == 2, "who waited still has its key"
            return lock_pb2.LockResponse()
    raise AssertionError("who waited had no key")


def _grown(server: Server, before: int) -> int:
    """Return how many revisions there are since; waits for two of them."""
    deadline = CLOCK.monotonic() + 30
    while (now := _revision(server)) < before + 2 and CLOCK.monotonic() < deadline:
        pass  # each takes a request
    return now - before


def _revision(server: Server) -> int:
    return int(server.kv.Range(get("-")).header.revision)


def test_locks_and_elections(servers: tuple[Server, Server]) -> None:
    lock, key = lock_pb2, election_pb2.LeaderKey(name=b"/e", key=b"/e/5", rev=3, lease=5)
    calls: tuple[tuple[str, Call], ...] = (
        ask(rpc_pb2.LeaseGrantRequest(ID=5, TTL=1000)),
        ask(rpc_pb2.LeaseGrantRequest(ID=6, TTL=1000)),
        ("lock", lambda s: s.lock.Lock(lock.LockRequest(name=b"/l", lease=5))),
        ("lock again", lambda s: s.lock.Lock(lock.LockRequest(name=b"/l", lease=5))),
        ask(get("/l", "/m")),
        ("wait", lambda s: kept_waiting(s, lock.LockRequest(name=b"/l", lease=6))),
        ("unlock", lambda s: s.lock.Unlock(lock.UnlockRequest(key=b"/l/5"))),
        ("no lease", lambda s: s.lock.Lock(lock.LockRequest(name=b"/l", lease=4711))),
        ("nobody leads", lambda s: s.election.Leader(election_pb2.LeaderRequest(name=b"/none"))),
        ("no leader key", lambda s: s.election.Resign(election_pb2.ResignRequest())),
        (
            "not leader",
            lambda s: s.election.Proclaim(election_pb2.ProclaimRequest(leader=key, value=b"v")),
        ),
    )
    problems = differences(servers, calls)
    assert not problems, "\n".join(problems)


def test_an_election(servers: tuple[Server, Server]) -> None:
    for server in servers:
        server.lease.LeaseGrant(rpc_pb2.LeaseGrantRequest(ID=5, TTL=1000))
        server.lease.LeaseGrant(rpc_pb2.LeaseGrantRequest(ID=6, TTL=1000))
        campaign = election_pb2.CampaignRequest
        first = server.election.Campaign(campaign(name=b"/e", lease=5, value=b"one"))
        observed = server.election.Observe(election_pb2.LeaderRequest(name=b"/e"), timeout=90)
        assert next(observed).kv.value == b"one"
        waiting = server.election.Campaign.future(campaign(name=b"/e", lease=6, value=b"two"))
        with pytest.raises(grpc.FutureTimeoutError):
            waiting.result(timeout=0.3)
        server.election.Proclaim(
            election_pb2.ProclaimRequest(leader=first.leader, value=b"still me")
        )
        assert next(observed).kv.value == b"still me"
        assert server.election.Leader(election_pb2.LeaderRequest(name=b"/e")).kv.lease == 5
        server.election.Resign(election_pb2.ResignRequest(leader=first.leader))
        assert waiting.result(timeout=90).leader.lease == 6
        assert next(observed).kv.value == b"two"
        observed.cancel()


def test_maintenance(servers: tuple[Server, Server]) -> None:
    m = rpc_pb2

    def alarm(action: str) -> Call:
        number = m.AlarmRequest.AlarmAction.Value(action)
        request = m.AlarmRequest(action=number, alarm=m.NOSPACE, memberID=77)
        return lambda server: server.maintenance.Alarm(request)

    calls: tuple[tuple[str, Call], ...] = (
        ask(put("/a", "1")),
        ("alarms", lambda s: s.maintenance.Alarm(m.AlarmRequest())),
        ("raise", alarm("ACTIVATE")),
        ("list", lambda s: s.maintenance.Alarm(m.AlarmRequest())),
        ask(put("/a", "2")),
        ask(txn([], [put("/a", "2")])),
        ask(rpc_pb2.LeaseGrantRequest(ID=5, TTL=10)),
        ask(get("/a")),
        ask(delete("/a")),
        ("end", alarm("DEACTIVATE")),
        ("end again", alarm("DEACTIVATE")),
        ask(put("/a", "2")),
        ("defragment", lambda s: s.maintenance.Defragment(m.DefragmentRequest())),
        ("future hash", lambda s: s.maintenance.HashKV(m.HashKVRequest(revision=99))),
        ("move", lambda s: s.maintenance.MoveLeader(m.MoveLeaderRequest(targetID=99))),
        ("no urls", lambda s: s.cluster.MemberAdd(m.MemberAddRequest())),
        ("bad url", lambda s: s.cluster.MemberAdd(m.MemberAddRequest(peerURLs=["x"]))),
        ("no member", lambda s: s.cluster.MemberRemove(m.MemberRemoveRequest(ID=99))),
        ("none to promote", lambda s: s.cluster.MemberPromote(m.MemberPromoteRequest(ID=99))),
        (
            "none to update",
            lambda s: s.cluster.MemberUpdate(
                m.MemberUpdateRequest(ID=99, peerURLs=["http://127.0.0.1:9"])
            ),
        ),
    )
    problems = differences(servers, calls)
    assert not problems, "\n".join(problems)
    for server in servers:
        status = server.maintenance.Status(m.StatusRequest())
        assert status.leader == status.header.member_id
        assert status.raftIndex >= status.raftAppliedIndex > 0
        assert (list(status.errors), status.isLearner) == ([], False)
        (member,) = server.cluster.MemberList(m.MemberListRequest()).members
        assert (member.ID, member.name) == (status.header.member_id, "m1")
        hashed = server.maintenance.HashKV(m.HashKVRequest())
        assert hashed.header.revision == status.header.revision
        assert hashed.hash == server.maintenance.HashKV(m.HashKVRequest()).hash
        assert sum(len(one.blob) for one in server.maintenance.Snapshot(m.SnapshotRequest())) > 0
