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
from random import Random
from typing import Protocol, cast

from wherry.api.errors import StatusError
from wherry.apiserver.http import encode
from wherry.apiserver.http.compression import compress
from wherry.apiserver.http.deadlines import Deadlines
from wherry.apiserver.http.flight import Flight
from wherry.apiserver.http.handling import Handling
from wherry.apiserver.http.holdings import Holdings
from wherry.apiserver.http.message import (
    Handler,
    Limits,
    Peer,
    Request,
    Response,
    Stream,
    Upgrade,
    status_response,
)
from wherry.apiserver.http.output import Output
from wherry.apiserver.http.parser import RequestParser
from wherry.apiserver.http.upgraded import Upgraded
from wherry.apiserver.http.wakeup import Wakeup
from wherry.apiserver.name import new_uid
from wherry.pki.tls import presented

log = logging.getLogger(__name__)

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
    flight: Flight
    holdings: Holdings
    draining: bool
    now: float
    date: str
    rng: Random

    def opened(self, connection: "Connection") -> asyncio.Task[None]:
        """Start the connection's task."""
        ...

    def closed(self, connection: "Connection") -> None:
        """Forget the connection."""
        ...


class Connection(asyncio.Protocol):
    """See the module."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._limits = host.limits
        self._phase = Phase.IDLE
        self._requests: deque[Request] = deque()
        self._unfed = b""
        self._reading = True
        self._ending = False
        self._task: asyncio.Task[None] | None = None
        self._continue_due = False
        self._wakeup = Wakeup()
        self._upgraded: Upgraded | None = None
        self._deadlines = Deadlines(host.limits, host.now)
        self._handling = Handling(host.handler, host.flight, self._deadlines)
        self.held = 0

    # The transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin (after the TLS handshake)."""
        self._transport = cast("asyncio.Transport", transport)
        self._output = Output(self._transport, self._deadlines)
        if self._host.draining:  # a handshake that ended after everything else did
            self._phase = Phase.CLOSED
            self._transport.abort()
            return
        address = transport.get_extra_info("peername") or ("",)
        tls = transport.get_extra_info("ssl_object")
        peer = Peer(str(address[0]), presented(tls) if tls is not None else None)
        self._parser = RequestParser(self._limits, peer, self._enqueue, self._expect)
        self._task = self._host.opened(self)

    def data_received(self, data: bytes) -> None:
        """Take bytes from the client."""
        if self._phase is Phase.CLOSED or self._parser.refused is not None:
            return
        if self._upgraded is not None:
            self._upgraded.feed(data)
            return
        self._feed(data)
        self._throttle()
        self._wakeup.wake()

    def eof_received(self) -> None:
        """Let the transport close: HTTP has no use for half a connection."""

    def pause_writing(self) -> None:
        """The client does not keep up."""
        self._output.pause(self._host.now)
        self._hold()

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._output.resume()
        self._hold()

    def connection_lost(self, _exc: Exception | None) -> None:
        """The client is gone."""
        self._output.end()
        if self._task is None:
            return
        self._parser.detach()
        self._host.closed(self)
        self._hold()
        if self._upgraded is not None:
            self._upgraded.feed(b"")
        self._wakeup.wake()
        if self._phase is Phase.STREAMING:
            self._task.cancel()

    def _feed(self, data: bytes) -> None:
        self._unfed = self._parser.feed(data, self._wants_more)
        self._deadlines.reading(
            self._host.now, in_headers=self._parser.in_headers, in_body=self._parser.in_body
        )
        if self._parser.upgraded is not None:
            self._tunnelled().feed(self._parser.upgraded)
        if self._parser.in_body or self._parser.in_headers or self.held:
            self._hold()

    def _hold(self) -> None:
        """Account for what the client makes us hold; small things that come at once do not count."""
        size = 0
        if not self._output.closing:
            size = self._parser.held + self._queued_bytes() + self._output.held
        if size != self.held:
            self._host.holdings.hold(self, size, self._host.now)

    def _queued_bytes(self) -> int:
        return sum(len(request.body) for request in self._requests)

    def _wants_more(self) -> bool:
        waiting = len(self._requests)
        return waiting < self._limits.pipeline and (
            waiting < 2 or self._queued_bytes() <= self._limits.body_bytes
        )

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
        full = self._upgraded is None and (bool(self._unfed) or not self._wants_more())
        if full == self._reading and not self._transport.is_closing():
            self._reading = not full
            if full:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    # The server's side

    def check(self, now: float) -> None:
        """Cut the connection if a deadline has passed; called about every second."""
        if self._deadlines.overdue(now):
            self._transport.abort()
        elif self._handling.active:
            if self._task is not None:
                self._handling.check(now, self._task)
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

    # Holder, to the server's holdings

    def holding_since(self) -> float:
        """Return since when what is held has waited."""
        return self._deadlines.holding_since()

    def cut(self) -> None:
        """Cut the connection; it holds nothing any more."""
        self._transport.abort()
        self._hold()

    async def serve(self) -> None:
        """Answer until either side is done."""
        try:
            while (request := await self._next()) is not None:
                self._phase = Phase.BUSY
                if not await self._answer(request):
                    break
                self._deadlines.answered(self._host.now)
                self._phase = Phase.IDLE
            if self._parser.refused is not None and not self._output.lost:
                await self._refuse(self._parser.refused)
        except ConnectionError:
            pass  # the client went away while it was being answered
        finally:
            self._phase = Phase.CLOSED
            self._transport.close()

    async def _next(self) -> Request | None:
        while True:
            if self._requests:
                request = self._requests.popleft()
                if self.held:
                    self._hold()
                return request
            if self._output.lost or self._ending or self._parser.refused is not None:
                return None
            if self._unfed:
                self._feed(self._unfed)
                self._throttle()
                continue
            self._throttle()
            self._continue()
            await self._wakeup.wait()

    async def _refuse(self, response: Response) -> None:
        """Answer a request that could not be read; wait a little, or the answer is lost to a reset."""
        body = response.body
        head = encode.response_head(response, len(body), date=self._host.date, close=True)
        await self._output.send(head, body)
        try:
            async with asyncio.timeout(_LINGER_S):
                while not self._output.lost:
                    await self._wakeup.wait()
        except TimeoutError:
            pass

    async def _answer(self, request: Request) -> bool:
        """Handle one request; False ends the connection."""
        reply = await self._handling.reply(request)
        if isinstance(reply, Upgrade):
            await self._tunnel(reply)
            return False
        if isinstance(reply, Stream):
            return await self._stream(request, reply)
        close = reply.close or request.upgrade or self._closing(request)
        body = reply.body
        extra: encode.Headers = (self._audit_id(request),)
        if len(body) > self._limits.gzip_bytes and encode.wants_gzip(request, reply):
            body = await compress(bytes(body))
            extra = (*extra, *encode.GZIPPED)
        head = encode.response_head(
            reply,
            len(body),
            date=self._host.date,
            close=close,
            extra=extra,
            http_1_0=request.http_1_0,
        )
        await self._output.send(head, b"" if request.method == "HEAD" else body)
        if self.held:
            self._hold()
        return not close

    def _audit_id(self, request: Request) -> tuple[str, str]:
        """Return the header by which the client finds its request in logs: its own id, or a new one.

        Source: apiserver `filters.WithAuditInit`, which takes an id of any length, and is not
        asked about what is no HTTP; what is tunnelled has its backend's headers.
        """
        return "Audit-Id", request.headers.get("audit-id") or new_uid(self._host.rng)

    def _closing(self, request: Request) -> bool:
        return not request.keep_alive or self._host.draining or self._ending

    async def _stream(self, request: Request, stream: Stream) -> bool:
        """Send pieces as they come. Ends the connection when the stream breaks in the middle."""
        framing = encode.Framing(stream, http_1_0=request.http_1_0)
        chunked = framing.chunked
        close = self._closing(request) or request.http_1_0 or request.upgrade
        head = encode.stream_head(
            stream,
            date=self._host.date,
            chunked=chunked,
            close=close,
            extra=(self._audit_id(request),),
        )
        try:
            async with aclosing(stream.chunks) as pieces:
                self._phase = Phase.STREAMING
                await self._output.write(head)
                if request.method != "HEAD":
                    stream.sink = self._output.push if chunked else None
                    async for piece in pieces:
                        if piece:
                            await self._output.write(framing.frame(piece))
                    framing.check_complete()
        except asyncio.CancelledError:
            if not self._ending or self._output.lost or self._task is None:
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
            await self._output.write(encode.LAST_CHUNK)
        return not close and not self._host.draining

    def _tunnelled(self) -> Upgraded:
        if self._upgraded is None:
            self._upgraded = Upgraded(self._transport, self._output)
        return self._upgraded

    async def _tunnel(self, upgrade: Upgrade) -> None:
        self._phase = Phase.TUNNEL
        try:
            await upgrade.run(self._tunnelled())
        except ConnectionError:
            raise
        except Exception:
            log.exception("an upgraded connection broke off")
