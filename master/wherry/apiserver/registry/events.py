"""Leases that make Events go away after an hour, few leases for many Events."""

import math

from wherry.api.clock import Clock
from wherry.store.kv import Store

_REUSE_PART = 0.05
"""A lease serves new Events for this part of the TTL, and lives that much longer."""


class EventLease:
    """Gives out the lease that an Event created now is to hang on."""

    def __init__(self, store: Store, clock: Clock, ttl_s: int) -> None:
        self._store = store
        self._clock = clock
        self._ttl_s = ttl_s
        self._reuse_s = max(1, math.ceil(ttl_s * _REUSE_PART))
        self._lease = 0
        self._until = -math.inf

    async def current(self) -> int:
        """Return a lease that lives at least the TTL."""
        if not self._lease or self._clock.monotonic() >= self._until:
            lease = await self._store.lease_grant(self._ttl_s + self._reuse_s)
            self._lease, self._until = lease, self._clock.monotonic() + self._reuse_s
        return self._lease

    def forget(self) -> None:
        """Use another lease next time: this one is gone."""
        self._lease = 0
