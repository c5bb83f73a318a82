"""The client's side of connections to stores: which one to ask, and what it answered.

The endpoints are in order of preference. One that failed is passed over for a while, so that
everybody comes back to the local store soon after it does.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from wherry.api.errors import UnavailableError
from wherry.store import rpc
from wherry.store.net import Connection, Network

_DIAL_S: Final = 2.0
_PENALTY_S: Final = 1.0  # an endpoint that did not answer is passed over for so long
_MAX_QUEUED: Final = 64  # frames of a watch that wait for the consumer
_LOOK_S: Final = 0.1  # by so much a request's timeout may be late
_NOBODY: Final = (None, 0.0)  # who asked has given up


class LostError(UnavailableError):
    """The connection ended before the answer came."""


class Channel:
    """One connection with any number of requests outstanding."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._connection: Connection | None = None
        self._pending: dict[int, tuple[asyncio.Future[rpc.Answer], float]] = {}
        self._number = 0
        self._looks = False  # whether a look for what is overdue is arranged
        self.alive = True

    def attach(self, connection: Connection) -> None:
        """Use this connection, whose handler this is."""
        self._connection = connection

    def ask(
        self, question: Callable[[int], rpc.Request], deadline: float
    ) -> "asyncio.Future[rpc.Answer]":
        """Send a request; the future gets its answer, or `LostError`.

        It gets `TimeoutError` soon after `deadline` (loop time). One timer sees to that for
        all requests: one for each cost an eighth of what a client spends on a put.
        """
        self._number += 1
        number = self._number
        future: asyncio.Future[rpc.Answer] = self._loop.create_future()
        if not self.alive or self._connection is None:
            future.set_exception(LostError("the connection to the store ended"))
            return future
        self._pending[number] = future, deadline
        if not self._looks:
            self._looks = True
            self._loop.call_later(_LOOK_S, self._give_up)
        self._connection.send(rpc.encode(question(number)))
        return future

    def published(self) -> int:
        """See `net.Connection.published`."""
        return self._connection.published() if self.alive and self._connection is not None else 0

    def _give_up(self) -> None:
        """End what is overdue; look again as long as anything is pending."""
        now = self._loop.time()
        for number in [n for n, (_, deadline) in self._pending.items() if deadline <= now]:
            future, _ = self._pending.pop(number)
            if not future.done():
                future.set_exception(TimeoutError())
        self._looks = bool(self._pending)
        if self._looks:
            self._loop.call_later(_LOOK_S, self._give_up)

    def frames(self, frames: Sequence[bytes]) -> None:
        """See `net.Handler`."""
        for frame in frames:
            answer = rpc.decode_answer(frame)
            future, _ = self._pending.pop(answer.id, _NOBODY)
            if future is not None and not future.done():
                future.set_result(answer)

    def closed(self) -> None:
        """See `net.Handler`."""
        self.alive = False
        pending, self._pending = self._pending, {}
        for future, _ in pending.values():
            if not future.done():
                future.set_exception(LostError("the connection to the store ended"))
                future.exception()  # whoever asked may have gone

    def close(self) -> None:
        """End the connection."""
        self.alive = False
        if self._connection is not None:
            self._connection.close()


class WatchStream:
    """A connection that carries one watch, or one snapshot, at the consumer's pace."""

    def __init__(self) -> None:
        self._connection: Connection | None = None
        self._answers: deque[rpc.Answer] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._due = 0.0  # when it has waited for too long
        self._timer: asyncio.TimerHandle | None = None
        self._paused = False
        self._ended = False

    def begin(self, connection: Connection, request: rpc.Watch | rpc.SnapshotGet) -> None:
        """Ask for the stream."""
        self._connection = connection
        connection.send(rpc.encode(request))

    def frames(self, frames: Sequence[bytes]) -> None:
        """See `net.Handler`."""
        self._answers.extend(rpc.decode_answer(frame) for frame in frames)
        self._wake()
        if len(self._answers) > _MAX_QUEUED and not self._paused and self._connection is not None:
            self._paused = True
            self._connection.pause()

    def closed(self) -> None:
        """See `net.Handler`."""
        self._ended = True
        self._wake()
        if self._timer is not None:
            self._timer.cancel()

    async def next(self, timeout_s: float) -> rpc.Answer:
        """Return the next answer.

        Raises:
            LostError: the connection ended.
            TimeoutError: nothing came for so long.
        """
        while not self._answers:
            if self._ended:
                raise LostError("the connection to the store ended")
            await self._wait(timeout_s)
        answer = self._answers.popleft()
        if self._paused and not self._answers and self._connection is not None:
            self._paused = False
            self._connection.resume()
        return answer

    async def _wait(self, timeout_s: float) -> None:
        """Wait for anything; one timer sees to the deadlines of many waits."""
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        self._due = loop.time() + timeout_s
        if self._timer is None:
            self._timer = loop.call_at(self._due, self._look)
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _look(self) -> None:
        """End the wait if it is overdue; look again when it will be."""
        self._timer = None
        if self._waiter is None or self._waiter.done():
            return
        loop = asyncio.get_running_loop()
        if self._due > loop.time():
            self._timer = loop.call_at(self._due, self._look)
        else:
            self._waiter.set_exception(TimeoutError())

    def close(self) -> None:
        """End the watch."""
        if self._connection is not None:
            self._connection.close()


class Endpoints:
    """The stores, in order of preference."""

    def __init__(self, endpoints: Sequence[str], network: Network) -> None:
        if not endpoints:
            raise ValueError("no store to connect to")
        self._endpoints = tuple(endpoints)
        self._network = network
        self._barred: dict[str, float] = {}  # until when it is passed over
        self._channels: dict[str, Channel] = {}
        self._dialling: dict[str, asyncio.Lock] = {}

    def pick(self, now: float) -> str:
        """Return the first endpoint that is not passed over, or the one that will be first.

        `now` is the event loop's time.
        """
        for endpoint in self._endpoints:
            if self._barred.get(endpoint, 0.0) <= now:
                return endpoint
        return min(self._endpoints, key=lambda one: self._barred[one])

    def bar(self, endpoint: str, seconds: float = _PENALTY_S) -> None:
        """Pass an endpoint over for a while."""
        self._barred[endpoint] = asyncio.get_running_loop().time() + seconds

    async def channel(self, endpoint: str) -> Channel:
        """Return the connection for requests, made if need be.

        Raises:
            OSError, TimeoutError: it cannot be made.
        """
        async with self._dialling.setdefault(endpoint, asyncio.Lock()):
            channel = self._channels.get(endpoint)
            if channel is None or not channel.alive:
                channel = Channel()
                async with asyncio.timeout(_DIAL_S):
                    channel.attach(await self._network.dial(endpoint, channel))
                self._channels[endpoint] = channel
            return channel

    def ready_channel(self, endpoint: str) -> Channel | None:
        """Return the connection for requests if there is one."""
        channel = self._channels.get(endpoint)
        return channel if channel is not None and channel.alive else None

    def published(self) -> int:
        """Return what the preferred store shows; see `net.Connection.published`."""
        channel = self._channels.get(self._endpoints[0])
        return channel.published() if channel is not None else 0

    async def stream(self, endpoint: str, request: rpc.Watch | rpc.SnapshotGet) -> WatchStream:
        """Return a new connection with a watch, or a snapshot, on it.

        Raises:
            OSError, TimeoutError: it cannot be made.
        """
        stream = WatchStream()
        async with asyncio.timeout(_DIAL_S):
            stream.begin(await self._network.dial(endpoint, stream), request)
        return stream

    def close(self) -> None:
        """End all connections for requests."""
        for channel in self._channels.values():
            channel.close()
        self._channels.clear()
