"""`Store` on the Raft store, over its sockets.

Requests are pipelined on one connection to the first endpoint that answers (the local one
comes first in the list). What fails is tried again, there or elsewhere, with a growing pause,
until it succeeds or `timeout_s` is over. A command keeps its (session, seq) while it is
tried again, so that it is applied once however often it arrives.

Each watch has a connection of its own: a slow consumer then holds up nobody else, back to
the store. It goes on at another endpoint behind the last revision that it saw.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from random import Random
from typing import Final

from wherry.api.errors import UnavailableError
from wherry.client.backoff import Backoff
from wherry.store import rpc
from wherry.store.channel import Endpoints, WatchStream
from wherry.store.entry import (
    SESSION_EXPIRED,
    Alarm,
    Command,
    Compact,
    Forget,
    Grant,
    Granted,
    Origin,
    Outcome,
    Refused,
    Register,
    Registered,
    Revoke,
    SessionExpiredError,
    Transacted,
    encode_command,
    refusal,
    transaction,
    txn_result,
)
from wherry.store.kv import (
    CompactedError,
    Compare,
    FutureRevisionError,
    LeaseNotFoundError,
    Op,
    Range,
    RangeResult,
    TxnResult,
    WatchBatch,
)
from wherry.store.membership import Change, MemberError, MemberInfo
from wherry.store.net import Network
from wherry.store.operation import RangeOp

_ATTEMPT_S: Final = 3.0  # no answer for so long: ask elsewhere
_GOODBYE_S: Final = 0.5
_MakeCommand = Callable[[Origin], Command]


class StoreClient:
    """See the module.

    Args:
        endpoints: `unix:///path` or `host:port`, the preferred one first.
        network: How to reach them: `Sockets`, or a simulated one.
        rng: Jitter of pauses.
        timeout_s: Deadline of every request; then `UnavailableError`.
    """

    def __init__(
        self,
        endpoints: Sequence[str],
        network: Network,
        rng: Random,
        *,
        timeout_s: float = 10.0,
    ) -> None:
        self._endpoints = Endpoints(endpoints, network)
        self._rng = rng
        self._timeout_s = timeout_s
        self._session = 0
        self._opening = asyncio.Lock()
        self._seq = 0
        self._outstanding: dict[int, None] = {}  # ascending: the first is the oldest
        self._closed = False

    # ---- asking

    async def _ask(
        self, question: Callable[[int], rpc.Request], *, timeout_s: float | None = None
    ) -> tuple[rpc.Answer, int]:
        """Return the answer and the number of attempts that it took.

        Raises:
            UnavailableError: there was none in time; it may or may not have been done.
        """
        loop = asyncio.get_running_loop()  # a system call each time: it looks for a fork
        deadline = loop.time() + (timeout_s or self._timeout_s)
        backoff: Backoff | None = None
        attempts = 0
        while True:
            if self._closed:
                raise UnavailableError("the store client is closed")
            attempts += 1
            now = loop.time()
            endpoint = self._endpoints.pick(now)
            answer, why = await self._attempt(
                endpoint, question, deadline, min(deadline, now + _ATTEMPT_S)
            )
            if answer is not None:
                return answer, attempts
            left_s = deadline - loop.time()
            if left_s <= 0:
                raise UnavailableError(f"the store does not answer: {why} ({attempts} attempts)")
            if backoff is None:
                backoff = Backoff(self._rng, first_s=0.005, most_s=0.2)  # a hand-over takes 10 ms
            await asyncio.sleep(min(backoff.next_s(), left_s))

    async def _attempt(
        self,
        endpoint: str,
        question: Callable[[int], rpc.Request],
        deadline: float,
        patience: float,
    ) -> tuple[rpc.Answer | None, str]:
        """Ask one; to connect may take until `deadline`, the answer until `patience`."""
        try:
            channel = self._endpoints.ready_channel(endpoint)
            if channel is None:
                async with asyncio.timeout_at(deadline):
                    channel = await self._endpoints.channel(endpoint)
            answer = await channel.ask(question, patience)
        except (OSError, TimeoutError, UnavailableError) as error:
            self._endpoints.bar(endpoint)
            return None, f"{endpoint}: {str(error) or 'no answer'}"
        if isinstance(answer, rpc.Failed) and answer.code == rpc.RETRY:
            self._endpoints.bar(endpoint, 0.1)
            return None, f"{endpoint}: {answer.message}"
        return answer, ""

    async def _command(self, make: _MakeCommand) -> Outcome:
        """Propose a command and have it applied exactly once.

        Raises:
            UnavailableError: not known whether it was applied.
        """
        while True:
            session = self._session or await self._open_session()
            self._seq += 1
            seq = self._seq
            self._outstanding[seq] = None
            try:
                oldest = next(iter(self._outstanding))
                command = encode_command(make(Origin(session, seq, oldest)))
                outcome, attempts = await self._propose(command)
            finally:
                del self._outstanding[seq]
            if isinstance(outcome, Refused):
                if outcome.code == SESSION_EXPIRED:
                    if self._session == session:
                        self._session = 0
                    if attempts == 1:
                        continue  # it was certainly not applied
                raise refusal(outcome)
            return outcome

    async def _propose(
        self, command: bytes, *, timeout_s: float | None = None
    ) -> tuple[Outcome, int]:
        answer, attempts = await self._ask(
            lambda number: rpc.Propose(number, command), timeout_s=timeout_s
        )
        if isinstance(answer, rpc.Result):
            return answer.outcome, attempts
        raise _error(answer)

    async def _open_session(self) -> int:
        async with self._opening:
            if not self._session:
                outcome, _ = await self._propose(encode_command(Register()))
                if not isinstance(outcome, Registered):
                    raise SessionExpiredError(f"no session: {outcome}")
                self._session = outcome.session
            return self._session

    # ---- Store

    async def range(self, request: Range, *, serializable: bool = False) -> RangeResult:
        """See `Store.range`."""
        op = RangeOp(
            request.key,
            request.end,
            request.limit,
            request.revision,
            request.keys_only,
            request.count_only,
        )
        answer, _ = await self._ask(lambda number: rpc.Read(number, op, serializable))
        if isinstance(answer, rpc.Found):
            return answer.result
        raise _error(answer)

    def known_revision(self) -> int:
        """See `Store.known_revision`."""
        return self._endpoints.published()

    async def txn(
        self,
        compares: Sequence[Compare],
        success: Sequence[Op],
        failure: Sequence[Op] = (),
    ) -> TxnResult:
        """See `Store.txn`."""
        outcome = await self._command(
            lambda origin: transaction(origin, compares, success, failure)
        )
        if not isinstance(outcome, Transacted):
            raise TypeError(f"a transaction gave {outcome!r}")
        return txn_result(outcome)

    async def watch(
        self, key: bytes, end: bytes | None = None, *, revision: int, progress_s: float = 5.0
    ) -> AsyncIterator[WatchBatch]:
        """See `Store.watch`."""
        position = revision
        backoff = Backoff(self._rng, first_s=0.02, most_s=0.2)
        while True:
            if self._closed:
                raise UnavailableError("the store client is closed")
            endpoint = self._endpoints.pick(asyncio.get_running_loop().time())
            stream: WatchStream | None = None
            try:
                stream = await self._endpoints.stream(
                    endpoint, rpc.Watch(1, key, end, position, progress_s)
                )
                while True:
                    answer = await stream.next(2 * progress_s + 2.0)
                    if isinstance(answer, rpc.Batch):
                        backoff.reset()
                        if answer.revision >= position:
                            position = answer.revision
                            yield WatchBatch(answer.revision, answer.events)
                    elif isinstance(answer, rpc.Failed) and answer.code == rpc.RETRY:
                        self._endpoints.bar(endpoint)
                        break
                    else:
                        raise _error(answer)
            except (OSError, TimeoutError, UnavailableError):
                self._endpoints.bar(endpoint)
            finally:
                if stream is not None:
                    stream.close()
            await asyncio.sleep(backoff.next_s())

    async def lease_grant(self, ttl_s: int, lease: int = 0) -> int:
        """See `Store.lease_grant`."""
        outcome = await self._command(lambda origin: Grant(origin, ttl_s, lease))
        if not isinstance(outcome, Granted):
            raise TypeError(f"a grant gave {outcome!r}")
        return outcome.lease

    async def lease_keepalive(self, lease: int) -> int:
        """See `Store.lease_keepalive`."""
        answer, _ = await self._ask(lambda number: rpc.KeepAlive(number, lease))
        if isinstance(answer, rpc.LeaseState):
            return answer.ttl_s
        raise _error(answer)

    async def lease_revoke(self, lease: int) -> None:
        """See `Store.lease_revoke`."""
        await self._command(lambda origin: Revoke(origin, lease))

    async def compact(self, revision: int) -> None:
        """See `Store.compact`."""
        await self._command(lambda origin: Compact(origin, revision))

    # ---- beyond `Store`

    async def lease_state(self, lease: int) -> rpc.LeaseState:
        """Return a lease's TTL and the seconds it has left; raises `LeaseNotFoundError`."""
        answer, _ = await self._ask(lambda number: rpc.LeaseGet(number, lease))
        if isinstance(answer, rpc.LeaseState):
            return answer
        raise _error(answer)

    async def alarm(self, member: int, kind: int, *, active: bool) -> None:
        """Raise an alarm of a member, or end it; see `entry.NOSPACE`."""
        await self._command(lambda origin: Alarm(origin, member, kind, active))

    async def status(self) -> rpc.Member:
        """Describe the store that answers."""
        answer, _ = await self._ask(rpc.Status)
        if isinstance(answer, rpc.Member):
            return answer
        raise _error(answer)

    async def members(self, *, serializable: bool = False) -> tuple[MemberInfo, ...]:
        """Return the members as they are now; if `serializable`, as one store knows them.

        A store whose disk is new knows those that its flags name, and nothing of what was
        changed since.
        """
        answer, _ = await self._ask(lambda number: rpc.ListMembers(number, serializable))
        if isinstance(answer, rpc.Members):
            return answer.members
        raise _error(answer)

    async def change_members(self, change: Change) -> tuple[MemberInfo, ...] | MemberError:
        """Change the members; return them as they are then, or why it was refused."""
        answer, _ = await self._ask(lambda number: rpc.ChangeMembers(number, change))
        if isinstance(answer, rpc.Members):
            return answer.members
        if isinstance(answer, rpc.MembersRefused):
            return MemberError(answer.code, answer.message)
        raise _error(answer)

    async def close(self) -> None:
        """End the session, if that is quickly done, and all connections."""
        if self._session and not self._closed:
            with contextlib.suppress(UnavailableError):
                await self._propose(encode_command(Forget(self._session)), timeout_s=_GOODBYE_S)
        self._closed = True
        self._endpoints.close()


def _error(answer: rpc.Answer) -> Exception:
    """Return the exception for an answer that is not the one hoped for."""
    if not isinstance(answer, rpc.Failed):
        return TypeError(f"the store answered {answer!r}")
    match answer.code:
        case rpc.COMPACTED:
            return CompactedError(answer.detail)
        case rpc.FUTURE_REVISION:
            return FutureRevisionError(answer.message)
        case rpc.LEASE_NOT_FOUND:
            return LeaseNotFoundError("etcdserver: requested lease not found")
        case rpc.INVALID:
            return ValueError(answer.message)
        case _:
            return UnavailableError(answer.message or answer.code)
