"""One client: requests in order, answers in order.

    IDLE --request--> BUSY --Response written--> IDLE
                        |---Stream-----> STREAMING --> IDLE      (watch, logs)
                        `---Upgrade----> TUNNEL    --> CLOSED    (exec, port-forward)
    any state --connection lost, deadline, refusal, drain--> CLOSED

The transport's callbacks only queue; one task (`serve`) answers. When the client goes away,
a stream is cancelled where it waits, while an ordinary request is carried to its end: a
write that has begun is not worth tearing apart for a client that no longer listens.

Back-pressure: a client that does not read stops its own stream (`pause_writing`), and one
that sends faster than it is answered is no longer read from.
"""

import asyncio
import logging
from collections import deque
from contextlib import aclosing
from enum import Enum, auto
from typing import Protocol, cast

from wherry.api.errors import (
    InternalError,
    StatusError,
    TimeoutStatusError,
    TooManyRequestsError,
)
from wherry.apiserver.http import encode
from wherry.apiserver.http.compression import compress
from wherry.apiserver.http.deadlines import Deadlines
from wherry.apiserver.http.message import (
    Handler,
    Limits,
    Peer,
    Reply,
    Request,
    Response,
    Stream,
    Upgrade,
    status_response,
)
from wherry.apiserver.http.parser import RequestParser

log = logging.getLogger(__name__)

_INBOX_BYTES = 256 * 1024
_LINGER_S = 1.0


class Phase(Enum):
    """What a connection is doing."""

    IDLE = auto()
    BUSY = auto()
    STREAMING = auto()
    TUNNEL = auto()
    CLOSED = auto()


class Host(Protocol):
    """What a connection needs of its server."""

    handler: Handler
    limits: Limits
    in_flight: int
    draining: bool
    now: float
    date: str

    def opened(self, connection: "Connection") -> asyncio.Task[None]:
        """Start the connection's task."""
        ...

    def closed(self, connection: "Connection") -> None:
        """Forget the connection."""
        ...


class Connection(asyncio.Protocol):
    """See the module. Also the `Tunnel` that an upgraded handler reads and writes."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._limits = host.limits
        self._phase = Phase.IDLE
        self._requests: deque[Request] = deque()
        self._unfed = b""
        self._inbox: list[bytes] = []
        self._inbox_bytes = 0
        self._reading = True
        self._lost = False
        self._ending = False
        self._task: asyncio.Task[None] | None = None
        self._continue_due = False
        self._wake: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._deadlines = Deadlines(host.limits, host.now)

    # The transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin (after the TLS handshake)."""
        self._transport = cast("asyncio.Transport", transport)
        if self._host.draining:  # a handshake that ended after everything else did
            self._phase = Phase.CLOSED
            self._transport.abort()
            return
        address = transport.get_extra_info("peername") or ("",)
        tls = transport.get_extra_info("ssl_object")
        certificate = tls.getpeercert(binary_form=True) if tls is not None else None
        peer = Peer(str(address[0]), certificate)
        self._parser = RequestParser(self._limits, peer, self._enqueue, self._expect)
        self._task = self._host.opened(self)

    def data_received(self, data: bytes) -> None:
        """Take bytes from the client."""
        if self._phase is Phase.CLOSED or self._parser.refused is not None:
            return
        if self._parser.upgraded is not None:
            self._inbox.append(data)
            self._inbox_bytes += len(data)
        else:
            self._feed(data)
        self._throttle()
        self._notify()

    def eof_received(self) -> None:
        """Let the transport close: HTTP has no use for half a connection."""

    def pause_writing(self) -> None:
        """The client does not keep up."""
        if self._writable is None:
            self._writable = asyncio.get_running_loop().create_future()
            self._deadlines.stalled(self._host.now)

    def resume_writing(self) -> None:
        """The client has caught up."""
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None
        self._deadlines.flowing()

    def connection_lost(self, _exc: Exception | None) -> None:
        """The client is gone."""
        self._lost = True
        if self._task is None:
            return
        self._parser.detach()
        self._host.closed(self)
        self.resume_writing()
        self._notify()
        if self._phase is Phase.STREAMING:
            self._task.cancel()

    def _feed(self, data: bytes) -> None:
        self._unfed = self._parser.feed(data, self._wants_more)
        self._deadlines.reading(
            self._host.now, in_headers=self._parser.in_headers, in_body=self._parser.in_body
        )

    def _wants_more(self) -> bool:
        return len(self._requests) < self._limits.pipeline

    def _enqueue(self, request: Request) -> None:
        self._deadlines.request_complete()
        self._requests.append(request)

    def _expect(self) -> None:
        self._continue_due = True
        self._continue()

    def _continue(self) -> None:
        if self._continue_due and self._phase is Phase.IDLE and not self._requests:
            self._continue_due = False
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _throttle(self) -> None:
        full = bool(self._unfed) or self._inbox_bytes > _INBOX_BYTES or not self._wants_more()
        if full == self._reading and not self._transport.is_closing():
            self._reading = not full
            if full:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    def _notify(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    async def _wait(self) -> None:
        self._wake = asyncio.get_running_loop().create_future()
        try:
            await self._wake
        finally:
            self._wake = None

    # The server's side

    def check(self, now: float) -> None:
        """Cut the connection if a deadline has passed; called about every second."""
        if self._deadlines.overdue(now):
            self._transport.abort()
        elif (
            self._phase is Phase.IDLE
            and not (self._requests or self._parser.in_body)
            and self._deadlines.idle_too_long(now)
        ):
            self._transport.close()

    def end(self) -> None:
        """Drain: close when idle, end a stream properly, let anything else finish."""
        self._ending = True
        if self._phase is Phase.IDLE and not self._requests:
            self._transport.close()
        elif self._phase is Phase.STREAMING and self._task is not None:
            self._task.cancel()

    def waiting_since(self) -> float | None:
        """Return since when the client owes the next byte; None while it is owed something."""
        if self._phase is not Phase.IDLE or self._requests:
            return None
        return self._deadlines.waiting_since()

    def refuse(self, error: StatusError) -> None:
        """Answer nothing but this, whatever is asked."""
        self._parser.refused = status_response(error)

    def abort(self) -> None:
        """Cut the connection now."""
        self._transport.abort()

    async def serve(self) -> None:
        """Answer until either side is done."""
        try:
            while (request := await self._next()) is not None:
                self._phase = Phase.BUSY
                if not await self._answer(request):
                    break
                self._deadlines.answered(self._host.now)
                self._phase = Phase.IDLE
            if self._parser.refused is not None and not self._lost:
                await self._refuse(self._parser.refused)
        except ConnectionError:
            pass  # the client went away while it was being answered
        finally:
            self._phase = Phase.CLOSED
            self._transport.close()

    async def _next(self) -> Request | None:
        while True:
            if self._requests:
                return self._requests.popleft()
            if self._lost or self._ending or self._parser.refused is not None:
                return None
            if self._unfed:
                self._feed(self._unfed)
                self._throttle()
                continue
            self._throttle()
            self._continue()
            await self._wait()

    async def _refuse(self, response: Response) -> None:
        """Answer a request that could not be read; wait a little, or the answer is lost to a reset."""
        body = response.body
        head = encode.response_head(response, len(body), date=self._host.date, close=True)
        await self._send(head, body)
        try:
            async with asyncio.timeout(_LINGER_S):
                while not self._lost:
                    await self._wait()
        except TimeoutError:
            pass

    async def _answer(self, request: Request) -> bool:
        """Handle one request; False ends the connection."""
        reply = await self._handle(request)
        if isinstance(reply, Upgrade):
            await self._tunnel(reply)
            return False
        if isinstance(reply, Stream):
            return await self._stream(request, reply)
        close = reply.close or request.upgrade or self._closing(request)
        body = reply.body
        extra: encode.Headers = ()
        if len(body) > self._limits.gzip_bytes and encode.wants_gzip(request, reply):
            body = await compress(body)
            extra = encode.GZIPPED
        head = encode.response_head(
            reply,
            len(body),
            date=self._host.date,
            close=close,
            extra=extra,
            http_1_0=request.http_1_0,
        )
        await self._send(head, b"" if request.method == "HEAD" else body)
        return not close

    def _closing(self, request: Request) -> bool:
        return not request.keep_alive or self._host.draining or self._ending

    async def _handle(self, request: Request) -> Reply:
        host = self._host
        if host.in_flight >= self._limits.in_flight:
            busy = TooManyRequestsError(
                "too many requests, please try again later", retry_after_s=1
            )
            return status_response(busy)
        host.in_flight += 1
        try:
            async with asyncio.timeout(self._limits.request_s):
                return await host.handler(request)
        except StatusError as error:
            return status_response(error)
        except TimeoutError:
            return status_response(
                TimeoutStatusError("request did not complete within its timeout")
            )
        except Exception:  # a bug of ours: its text is for the log, not for the client
            log.exception("%s %s failed", request.method, request.target)
            return status_response(
                InternalError("an internal error occurred; see the server's log")
            )
        finally:
            host.in_flight -= 1

    async def _stream(self, request: Request, stream: Stream) -> bool:
        """Send pieces as they come. Ends the connection when the stream breaks in the middle."""
        chunked = not request.http_1_0
        close = self._closing(request) or not chunked or request.upgrade
        head = encode.stream_head(stream, date=self._host.date, chunked=chunked, close=close)
        try:
            async with aclosing(stream.chunks) as pieces:
                self._phase = Phase.STREAMING
                await self._write(head)
                if request.method != "HEAD":
                    stream.sink = self._push if chunked else None
                    async for piece in pieces:
                        if piece:
                            await self._write(encode.chunk(piece) if chunked else piece)
        except asyncio.CancelledError:
            if not self._ending or self._lost or self._task is None:
                raise
            self._task.uncancel()
            close = True
        except ConnectionError:
            raise
        except StatusError as error:
            log.warning("%s %s broke off: %s", request.method, request.target, error)
            self._transport.abort()
            return False
        except Exception:
            log.exception("%s %s broke off", request.method, request.target)
            self._transport.abort()
            return False
        finally:
            self._phase = Phase.BUSY
        if chunked and request.method != "HEAD":
            await self._write(encode.LAST_CHUNK)
        return not close and not self._host.draining

    def _push(self, piece: bytes) -> bool:
        """Write a piece of a stream now; False when the client does not keep up, or is gone."""
        if self._lost or self._writable is not None or self._transport.is_closing():
            return False
        self._transport.write(encode.chunk(piece))
        return True

    async def _tunnel(self, upgrade: Upgrade) -> None:
        self._phase = Phase.TUNNEL
        if self._parser.upgraded:
            self._inbox.insert(0, self._parser.upgraded)
            self._inbox_bytes += len(self._parser.upgraded)
        try:
            await upgrade.run(self)
        except ConnectionError:
            raise
        except Exception:
            log.exception("an upgraded connection broke off")

    async def _send(self, head: bytes, body: bytes) -> None:
        for piece in encode.slices(head, body):
            await self._write(piece)

    async def _write(self, data: bytes | memoryview) -> None:
        if self._lost:
            raise ConnectionResetError("the client has closed the connection")
        self._transport.write(data)
        if self._writable is not None:
            await self._writable

    # Tunnel

    async def read(self) -> bytes:
        """Return the next bytes of an upgraded connection, b"" at its end."""
        while not self._inbox:
            if self._lost or self._transport.is_closing():
                return b""
            await self._wait()
        data = b"".join(self._inbox)
        self._inbox.clear()
        self._inbox_bytes = 0
        self._throttle()
        return data

    async def write(self, data: bytes) -> None:
        """Send on an upgraded connection."""
        await self._write(data)
