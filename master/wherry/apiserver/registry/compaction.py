"""Forgetting old revisions: one API server of all compacts the store every five minutes.

As kube-apiserver's compactor. The key `compact_rev_key` holds the revision that was current
at the last round. Whoever advances it first (a compare on its version) compacts to what it
held before, so what is forgotten is at least one interval old, and continue tokens and
watches live that long. The others see that the version moved and wait for the next round.
"""

import asyncio
import logging

from wherry.api.errors import UnavailableError
from wherry.store.kv import (
    CompactedError,
    Compare,
    FutureRevisionError,
    Put,
    Range,
    RangeResult,
    Store,
    Target,
)

_LOG = logging.getLogger(__name__)
_KEY = b"compact_rev_key"


class Compactor:
    """`run()` compacts for ever."""

    def __init__(self, store: Store, *, interval_s: float) -> None:
        self._store = store
        self._interval_s = interval_s
        self._version = 0
        self._revision = 0

    async def run(self) -> None:
        """Do a round every interval; never returns."""
        while True:
            await asyncio.sleep(self._interval_s)
            try:
                await self.round()
            except UnavailableError as error:
                _LOG.info("nothing compacted: %s", error)

    async def round(self) -> None:
        """Advance the key and compact, or learn that somebody else did."""
        answer = await self._store.txn(
            [Compare(_KEY, Target.VERSION, "=", self._version)],
            [Put(_KEY, b"%d" % self._revision)],
            [Range(_KEY)],
        )
        if answer.succeeded:
            await self._compact(self._revision)
            self._version, self._revision = self._version + 1, answer.revision
            return
        found = answer.results[0]
        kv = found.kvs[0] if isinstance(found, RangeResult) and found.kvs else None
        self._version = kv.version if kv is not None else 0
        self._revision = answer.revision

    async def _compact(self, revision: int) -> None:
        if not revision:
            return
        try:
            await self._store.compact(revision)
        except (CompactedError, FutureRevisionError) as error:
            _LOG.info("revision %d is not compacted: %s", revision, error)
        else:
            _LOG.debug("compacted to revision %d", revision)
