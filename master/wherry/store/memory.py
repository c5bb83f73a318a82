"""The store in this process: the same state machine, no log, no disk, no peers.

For tests and `wherry up --ephemeral`. Commands go through their bytes like everywhere else,
so that what works here works in the Raft store.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence

from wherry.api.clock import Clock
from wherry.api.errors import UnavailableError
from wherry.store.entry import (
    NOBODY,
    Command,
    Compact,
    Expire,
    Grant,
    Granted,
    Outcome,
    Refused,
    Revoke,
    Transacted,
    encode_command,
    refusal,
    transaction,
    txn_result,
)
from wherry.store.kv import (
    Compare,
    LeaseNotFoundError,
    Op,
    Range,
    RangeResult,
    TxnResult,
    WatchBatch,
)
from wherry.store.lessor import Lessor
from wherry.store.mvcc import MvccState
from wherry.store.watch import WatchHub


class MemoryStore:
    """`Store` on a state machine of its own.

    Leases end by a timer of the running event loop, checked against `clock`.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.state = MvccState()
        self._hub = WatchHub(self.state)
        self._lessor = Lessor()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def _apply(self, command: Command) -> Outcome:
        if self._closed:
            raise UnavailableError("the store is closed")
        self._expire()
        outcome = self.state.apply(encode_command(command))
        self._applied()
        if isinstance(outcome, Refused):
            raise refusal(outcome)
        return outcome

    def _applied(self) -> None:
        while self.state.sweep():
            pass
        self._hub.advance()
        self._lessor.sync(self.state.leases, self.state.lease_epoch, self._clock.monotonic())
        self._arm()

    def _expire(self) -> None:
        over = self._lessor.expired(self._clock.monotonic())
        if over:
            self.state.apply(encode_command(Expire(tuple(over))))
            self._applied()

    def _arm(self) -> None:
        """Have the loop call when the next lease ends."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = self._lessor.next_deadline()
        if deadline is not None and not self._closed:
            delay_s = max(0.01, deadline - self._clock.monotonic())
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._expire()
        self._arm()

    async def range(
        self,
        request: Range,
        *,
        serializable: bool = False,  # noqa: ARG002  (there is one replica)
    ) -> RangeResult:
        """See `Store.range`."""
        if self._closed:
            raise UnavailableError("the store is closed")
        self._expire()
        return self.state.range(request)

    def known_revision(self) -> int:
        """See `Store.known_revision`."""
        if self._closed:
            return 0
        self._expire()
        return self.state.revision

    async def txn(
        self,
        compares: Sequence[Compare],
        success: Sequence[Op],
        failure: Sequence[Op] = (),
    ) -> TxnResult:
        """See `Store.txn`."""
        outcome = self._apply(transaction(NOBODY, compares, success, failure))
        if not isinstance(outcome, Transacted):
            raise TypeError(f"a transaction gave {outcome!r}")
        return txn_result(outcome)

    async def watch(
        self, key: bytes, end: bytes | None = None, *, revision: int, progress_s: float = 5.0
    ) -> AsyncIterator[WatchBatch]:
        """See `Store.watch`."""
        watcher = self._hub.watch(key, end, revision)
        try:
            while True:
                yield await watcher.next(progress_s)
        finally:
            watcher.close()

    async def lease_grant(self, ttl_s: int, lease: int = 0) -> int:
        """See `Store.lease_grant`."""
        outcome = self._apply(Grant(NOBODY, ttl_s, lease))
        if not isinstance(outcome, Granted):
            raise TypeError(f"a grant gave {outcome!r}")
        return outcome.lease

    async def lease_keepalive(self, lease: int) -> int:
        """See `Store.lease_keepalive`."""
        self._expire()
        one = self.state.leases.get(lease)
        if one is None:
            raise LeaseNotFoundError("etcdserver: requested lease not found")
        self._lessor.renew(lease, one, self._clock.monotonic())
        self._arm()
        return one.ttl_s

    async def lease_revoke(self, lease: int) -> None:
        """See `Store.lease_revoke`."""
        self._apply(Revoke(NOBODY, lease))

    async def compact(self, revision: int) -> None:
        """See `Store.compact`."""
        self._apply(Compact(NOBODY, revision))

    async def close(self) -> None:
        """End watches and refuse further requests."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._hub.close()
