"""A watch of a connection: what is applied is sent in the same turn of the event loop.

There is no task and no timer for an event: with 200 watchers and 500 writes a second that
would cost more than the sending. Only who does not take what was sent is waited for, and then
it reads on from where it stands (`watch.py`): so it costs no memory while it is slow.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from wherry.api.errors import UnavailableError
from wherry.store import rpc
from wherry.store.kv import CompactedError, WatchBatch
from wherry.store.net import Connection
from wherry.store.watch import Watcher

MOST_UNSENT_BYTES: Final = 1 << 20  # then the peer must take some of it first
_LEAST_PROGRESS_S: Final = 0.01


class Push:
    """Sends the batches of one watcher.

    Args:
        request: What is watched; its id is in every answer.
        watcher: Closed with this.
        connection: Where to.
        encoded: Makes the frame of a batch.
        ended: Called when it is over, with the answer that says why.
        tasks: Wait for a peer that is slow.
    """

    def __init__(
        self,
        request: rpc.Watch,
        watcher: Watcher,
        connection: Connection,
        encoded: Callable[[int, WatchBatch], bytes],
        ended: Callable[[rpc.Failed], None],
        tasks: asyncio.TaskGroup,
    ) -> None:
        self._number = request.id
        self._watcher = watcher
        self._connection = connection
        self._encoded = encoded
        self._ended = ended
        self._tasks = tasks
        self._progress_s = max(_LEAST_PROGRESS_S, request.progress_s)
        self._loop = asyncio.get_running_loop()
        self._sent_at = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Send what there is already, and go on."""
        self._timer = self._loop.call_later(self._progress_s, self._progress)
        self._send_on()

    def close(self) -> None:
        """Send nothing more."""
        self._watcher.close()
        if self._timer is not None:
            self._timer.cancel()
        if self._waiting is not None:
            self._waiting.cancel()

    def _send_on(self) -> None:
        """Send until nothing is left, or the peer must take some of it first."""
        try:
            while (batch := self._watcher.poll()) is not None:
                self._send(batch)
                if self._connection.buffered_bytes > MOST_UNSENT_BYTES:
                    self._waiting = self._tasks.create_task(self._wait())
                    return
        except CompactedError as error:
            why = rpc.Failed(self._number, rpc.COMPACTED, str(error), error.compact_revision)
        except UnavailableError as error:
            why = rpc.Failed(self._number, rpc.RETRY, str(error))
        else:
            self._watcher.when_due(self._send_on)
            return
        self.close()
        self._ended(why)

    async def _wait(self) -> None:
        await self._connection.drained()
        self._waiting = None
        self._send_on()

    def _send(self, batch: WatchBatch) -> None:
        self._sent_at = self._loop.time()
        self._connection.send(self._encoded(self._number, batch))

    def _progress(self) -> None:
        """When nothing was sent for a while, say up to where nothing happened."""
        now = self._loop.time()
        if self._waiting is None and now >= self._sent_at + self._progress_s:
            self._send(WatchBatch(self._watcher.position, []))
        again = now if self._waiting is not None else self._sent_at
        self._timer = self._loop.call_at(again + self._progress_s, self._progress)
