"""One client's watch: a bounded queue between the cache and a connection.

A consumer that keeps up has nothing queued and waits. It gives the cache a `push`, and what is
applied then leaves in the same turn: waking a task for each watcher and event cost more than
sending (ADR 14). Only who cannot take it at once is woken, and empties its queue at its own pace.
"""

import asyncio
from collections.abc import Sequence

from wherry.api.errors import ExpiredError, StatusError
from wherry.apiserver.cache.selection import Selection
from wherry.apiserver.verbs import Push
from wherry.client.api import WatchEvent


class Watcher:
    """Filled by the cache, emptied by one consumer.

    A consumer that stays `limit` events behind is cut off: it would otherwise hold the
    memory of everybody. It gets `ExpiredError`, lists again and catches up in one step.
    """

    def __init__(self, selection: Selection, *, bookmarks: bool, limit: int) -> None:
        self.selection = selection
        self.bookmarks = bookmarks
        self._limit = limit
        self._pending: list[WatchEvent] = []
        self._ended = False
        self._error: StatusError | None = None
        self._woken = asyncio.Event()
        self._push: Push | None = None  # only while the consumer waits and nothing is queued

    @property
    def ended(self) -> bool:
        """Tell whether nothing more will be queued."""
        return self._ended

    def start(self, events: Sequence[WatchEvent]) -> None:
        """Queue what comes before live events; it may be longer than the limit."""
        self._pending.extend(events)
        self._limit += len(self._pending)
        if self._pending:
            self._woken.set()

    def push(self, events: Sequence[WatchEvent]) -> bool:
        """Hand live events to the consumer, queue them, or cut it off; False once it is."""
        if self._ended:
            return False
        if self._push is not None:
            if self._push(events):
                return True
            self._push = None  # the consumer takes its queue first: order is kept
        if len(self._pending) + len(events) > self._limit:
            self._pending.clear()
            self.end(ExpiredError("the watch fell too far behind: list again"))
            return False
        self._pending.extend(events)
        self._woken.set()
        return True

    def end(self, error: StatusError | None = None) -> None:
        """Queue nothing more; `error` is raised once the queue is empty."""
        if not self._ended:
            self._ended, self._error = True, error
            self._woken.set()

    async def next_batch(self, push: Push | None = None) -> Sequence[WatchEvent]:
        """Wait for events and take all there are; () at the end of the stream.

        What comes while this waits is given to `push` as long as that takes it.

        Raises:
            ExpiredError: the consumer was too slow, or the history was lost.
        """
        while not self._pending:
            if self._error is not None:
                raise self._error
            if self._ended:
                return ()
            self._woken.clear()
            self._push = push
            try:
                await self._woken.wait()
            finally:
                self._push = None
        batch, self._pending = self._pending, []
        return batch
