"""Listening, deadlines, draining."""

import asyncio
import heapq
import logging
import os
import socket
import ssl
from collections.abc import Callable
from email.utils import formatdate
from operator import itemgetter
from random import Random

from wherry.api.clock import Clock
from wherry.api.errors import ConfigError, TooManyRequestsError
from wherry.apiserver.http.connection import Connection
from wherry.apiserver.http.flight import Flight
from wherry.apiserver.http.holdings import Holdings
from wherry.apiserver.http.message import DEFAULT_LIMITS, Handler, Limits, Request
from wherry.process.memory import Turnover

log = logging.getLogger(__name__)

_SWEEP_S = 1.0
_CONNECTION_BYTES = 64 * 1024
"""What a connection costs that was made or lost: most of a storm is only accepted."""
_KEEP_ALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4),
)
"""Accepted sockets have these from the listening one: a watcher whose machine lost its power says
nothing, and is sent nothing where nothing changes; it is given up after two minutes."""
_ROOM = 0.01
"""Share of all connections that is cut at once when there are too many: to find them takes time."""


class HttpServer:
    """An HTTP/1.1 server on one address.

    `run` listens until it is cancelled, then drains: no new connections, idle ones close,
    requests are answered, streams end, and after `limits.drain_s` what is left is cut.

    When there are `limits.connections`, a new one takes the place of who has kept the server
    waiting for longest: a crowd that says nothing shuts nobody out. Where all are being
    served, the new one is told so (429).
    """

    def __init__(
        self,
        handler: Handler,
        *,
        host: str,
        port: int,
        clock: Clock,
        tls: ssl.SSLContext | None = None,
        limits: Limits = DEFAULT_LIMITS,
        reuse_port: bool = False,
        is_long_running: Callable[[Request], bool] = lambda _request: False,
        rng: Random | None = None,
    ) -> None:
        """Build one.

        Requests that are `is_long_running` are not counted as in flight. `rng` is asked once, for
        where the `Audit-Id`s begin: they tell requests apart and are no secrets, and the system's
        own source takes 1.5 us for each. Without it every server has the same ones.
        """
        self.handler = handler
        self.limits = limits
        self.flight = Flight(limits, is_long_running)
        self.holdings = Holdings(limits.held_bytes)
        self.draining = False
        self.now = clock.monotonic()
        self.date = formatdate(clock.now(), usegmt=True)
        self.rng = Random(rng.getrandbits(128) if rng is not None else 0)  # noqa: S311
        self.listening = asyncio.Event()
        self.port = port
        self._host = host
        self._clock = clock
        self._tls = tls
        self._reuse_port = reuse_port
        self._turnover = Turnover()
        self._told_of = 0  # bytes of holdings that were cut
        self._cut = self._refused = 0  # for want of room, since it was last logged
        self._connections: dict[Connection, None] = {}  # in the order in which they were opened
        self._empty = asyncio.Event()
        self._empty.set()

    async def run(self) -> None:
        """Serve until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            handshake_s = self.limits.handshake_s if self._tls else None
            try:
                server = await asyncio.get_running_loop().create_server(
                    self._accept,
                    self._host,
                    self.port,
                    ssl=self._tls,
                    ssl_handshake_timeout=handshake_s,
                    ssl_shutdown_timeout=self.limits.goodbye_s if self._tls else None,
                    backlog=1024,
                    reuse_port=self._reuse_port or None,
                )
            except OSError as error:
                why = os.strerror(error.errno) if error.errno else str(error)
                raise ConfigError(f"cannot listen on {self._host}:{self.port}: {why}") from error
            for listener in server.sockets:
                for level, option, value in _KEEP_ALIVE:
                    listener.setsockopt(level, option, value)
            self.port = server.sockets[0].getsockname()[1]
            self.listening.set()
            try:
                await self._sweep()
            finally:
                server.close()
                await self._drain()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_S)
            self._tick()
            self._check()
            self._turnover.sweep()
            if self.holdings.cut_bytes > self._told_of:
                self._turnover.let_go(self.holdings.cut_bytes - self._told_of)
                self._told_of = self.holdings.cut_bytes
                log.warning(
                    "clients keep us waiting with %d MB, the most is %d MB; cut %d of them so far",
                    *(self.holdings.bytes >> 20, self.limits.held_bytes >> 20, self.holdings.cut),
                )
            if self._cut or self._refused:
                log.warning(
                    "%d connections are open, which is the most: cut %d that had been waited for "
                    "longest, refused %d new ones",
                    *(len(self._connections), self._cut, self._refused),
                )
                self._cut = self._refused = 0

    def _check(self) -> None:
        """Look at every deadline; a name of the last one must not outlive this, or it would, too."""
        for connection in tuple(self._connections):
            connection.check(self.now)

    def _accept(self) -> Connection:
        self._turnover.let_go(_CONNECTION_BYTES)
        return Connection(self)

    def _tick(self) -> None:
        self.now = self._clock.monotonic()
        self.date = formatdate(self._clock.now(), usegmt=True)

    async def _drain(self) -> None:
        self.draining = True
        for connection in tuple(self._connections):
            connection.end()
        try:
            async with asyncio.timeout(self.limits.drain_s):
                await self._empty.wait()
        except TimeoutError:
            log.warning("cutting %d connections that did not end", len(self._connections))
            for connection in tuple(self._connections):
                connection.abort()

    # Host, to its connections

    def opened(self, connection: Connection) -> asyncio.Task[None]:
        """Start the connection's task; if there are too many, make room or refuse it."""
        if len(self._connections) >= self.limits.connections and not self._make_room():
            self._refused += 1
            connection.refuse(
                TooManyRequestsError(
                    "too many connections, please try again later", retry_after_s=1
                )
            )
        self._connections[connection] = None
        self._empty.clear()
        return self._tasks.create_task(connection.serve())

    def closed(self, connection: Connection) -> None:
        """Forget the connection."""
        self._turnover.let_go(_CONNECTION_BYTES + connection.held)
        self._connections.pop(connection, None)
        if not self._connections:
            self._empty.set()

    def _make_room(self) -> bool:
        """Cut those who have kept the server waiting for longest; tell whether there were any.

        Of those who have since the same tick of the clock, the ones that were opened first: a
        thousand may come within one, and the newest of them is about to say something.
        """
        waiting = (
            (since, one) for one in self._connections if (since := one.waiting_since()) is not None
        )
        count = max(1, int(self.limits.connections * _ROOM))
        longest = heapq.nsmallest(count, waiting, key=itemgetter(0))
        for _, connection in longest:
            connection.abort()
            del self._connections[connection]
        self._cut += len(longest)
        return bool(longest)
