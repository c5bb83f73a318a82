"""What one store answers another, or a client, about something that may have got lost."""

from wherry.store import rpc
from wherry.store.entry import Outcome
from wherry.store.raft.machine import Lost


def lost(answer: rpc.Between | Lost) -> Lost:
    """Return why an answer is not the one that was hoped for."""
    return answer if isinstance(answer, Lost) else Lost.UNKNOWN


def result_answer(number: int, got: Outcome | Lost) -> rpc.Result | rpc.Failed:
    """Return what is sent about a proposal."""
    if isinstance(got, Lost):
        return rpc.Failed(number, rpc.RETRY, got.value)
    return rpc.Result(number, got)


def index_answer(number: int, got: int | Lost) -> rpc.Index | rpc.Failed:
    """Return what is sent about a read's index."""
    if isinstance(got, Lost):
        return rpc.Failed(number, rpc.RETRY, got.value)
    return rpc.Index(number, got)


def lease_answer(number: int, got: rpc.LeaseState | Lost | None) -> rpc.LeaseState | rpc.Failed:
    """Return what is sent about a lease."""
    if got is None:
        return rpc.Failed(number, rpc.LEASE_NOT_FOUND)
    if isinstance(got, Lost):
        return rpc.Failed(number, rpc.RETRY, got.value)
    return rpc.LeaseState(number, got.ttl_s, got.remaining_s)
