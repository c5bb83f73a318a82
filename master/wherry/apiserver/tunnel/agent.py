"""HTTP/1.1 to a node's agent, over mTLS, or to a pod through it: one connection for each request.

An answer is either the head of an upgrade (101), after which the connection is raw, or an
ordinary response, whose body comes as it arrives. Only 101 makes a connection raw: otherwise
a client could go on talking to the agent with the API server's identity (CVE-2018-1002105).
"""

import asyncio
import re
import ssl
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

import httptools
import orjson

from wherry.api.dialing import dial_failure
from wherry.api.errors import BadGatewayError, UnavailableError, error_from_status
from wherry.pki.certificates import identity

HOLLOW_NODES = "system:hollow-nodes"
"""Whom the certificate of a process names that is many hollow nodes."""
_HEAD_BYTES = 64 * 1024
_CHUNK = 64 * 1024
_CONNECT_S = 10.0
_HEAD_S = 30.0
_ERROR_BYTES = 64 * 1024
_NAME = re.compile(r"[-!#$%&'*+.^_`|~0-9A-Za-z]+")
_WORDS = {
    asyncio.IncompleteReadError: "EOF",
    asyncio.LimitOverrunError: f"net/http: server response headers exceeded {_HEAD_BYTES} bytes",
}


@dataclass(frozen=True, slots=True)
class AgentAddress:
    """A node and where its agent listens."""

    node: str
    host: str
    port: int


@dataclass(slots=True)
class AgentConnection:
    """An open connection; whoever has it closes it."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


class Dialer(Protocol):
    """Opens connections to agents."""

    async def dial(self, address: AgentAddress) -> AgentConnection:
        """Connect.

        Raises:
            BadGatewayError: nobody answers, or somebody else does.
        """
        ...


class TcpDialer:
    """Connects by TCP and asks nobody who they are: for what is no agent."""

    async def dial(self, address: AgentAddress) -> AgentConnection:
        """Connect."""
        return await _connect(address, None)


class TlsDialer:
    """Connects by TCP and checks that the certificate names the node, or hollow ones.

    `context` gives the client context (no host name check: a node is known by its name,
    its address may change), and is asked at every connection, as certificates rotate.
    """

    def __init__(self, context: Callable[[], ssl.SSLContext]) -> None:
        self._context = context

    async def dial(self, address: AgentAddress) -> AgentConnection:
        """Connect and verify."""
        connection = await _connect(address, self._context())
        tls = connection.writer.get_extra_info("ssl_object")
        user, _ = identity(tls.getpeercert(binary_form=True))
        if user not in (f"system:node:{address.node}", HOLLOW_NODES):
            connection.writer.transport.abort()
            raise BadGatewayError(
                f"error dialing backend: {address.host}:{address.port} is {user!r}, "
                f"not node {address.node}"
            )
        return connection


async def _connect(address: AgentAddress, context: ssl.SSLContext | None) -> AgentConnection:
    try:
        async with asyncio.timeout(_CONNECT_S):
            reader, writer = await asyncio.open_connection(
                address.host, address.port, ssl=context, limit=_HEAD_BYTES
            )
    except (OSError, TimeoutError) as error:
        raise BadGatewayError(
            f"error dialing backend: dial tcp {address.host}:{address.port}: {dial_failure(error)}"
        ) from error
    return AgentConnection(reader, writer)


@dataclass(slots=True)
class AgentResponse:
    """The beginning of an answer. `head` is it as it came, up to and with the empty line."""

    connection: AgentConnection
    status: int
    head: bytes
    headers: Sequence[tuple[str, str]]

    async def refusal(self) -> dict[str, Any]:
        """Return the Status of an answer that is a refusal; kubelets answer in plain text."""
        body = bytearray()
        async with aclosing(self.body()) as pieces:
            async for piece in pieces:
                body += piece
                if len(body) > _ERROR_BYTES:
                    break
        with suppress(orjson.JSONDecodeError):
            status = orjson.loads(body)
            if isinstance(status, dict) and status.get("kind") == "Status":
                return status
        text = body.decode(errors="replace").strip() or f"the agent answered {self.status}"
        return error_from_status({"message": text, "code": self.status}).to_status()

    async def body(self) -> AsyncGenerator[bytes, None]:
        """Yield the body as it arrives, then close the connection.

        Raises:
            BadGatewayError: it broke off.
        """
        collector = _Body()
        parser = httptools.HttpResponseParser(collector)
        data = self.head
        try:
            while True:
                try:
                    parser.feed_data(data)
                except httptools.HttpParserError as error:
                    if not collector.done:  # what follows the end is nobody's
                        raise BadGatewayError(f"the answer cannot be read: {error}") from error
                if collector.parts:
                    piece = b"".join(collector.parts)
                    collector.parts.clear()
                    yield piece
                if collector.done:
                    return
                data = await self.connection.reader.read(_CHUNK)
                if not data:
                    if collector.framed:
                        raise BadGatewayError("the answer broke off")
                    return
        except OSError as error:
            raise BadGatewayError(f"the answer broke off: {error}") from error
        finally:
            self.connection.writer.close()


@dataclass(slots=True)
class _Body:
    """Collects what httptools finds; `framed` if the body says itself where it ends."""

    parts: list[bytes] = field(default_factory=list)
    done: bool = False
    framed: bool = False

    def on_header(self, name: bytes, _value: bytes) -> None:
        """Notice how the body ends."""
        if name.lower() in (b"content-length", b"transfer-encoding"):
            self.framed = True

    def on_body(self, data: bytes) -> None:
        """Keep a piece."""
        self.parts.append(data)

    def on_message_complete(self) -> None:
        """Note the end."""
        self.done = True


async def request(
    dialer: Dialer,
    address: AgentAddress,
    method: str,
    target: str,
    headers: Sequence[tuple[str, str]],
) -> AgentResponse:
    """Send a request without body and return the head of the answer.

    Raises:
        BadGatewayError: no connection, or no sensible answer.
    """
    connection = await dialer.dial(address)
    host = f"{address.host}:{address.port}"
    try:
        async with asyncio.timeout(_HEAD_S):
            return await exchange(connection, method, target, [("Host", host), *headers])
    except (UnavailableError, TimeoutError) as error:
        why = str(error) or "i/o timeout"
        raise BadGatewayError(f"error dialing backend: {host} gave no answer: {why}") from error


async def exchange(
    connection: AgentConnection,
    method: str,
    target: str,
    headers: Sequence[tuple[str, str]],
    body: bytes = b"",
) -> AgentResponse:
    """Send a request and return the head of the answer, what announced one (100, 103) left out.

    The body is handed over whole: an answer may come before all of it was taken. When this fails
    or is cancelled, the connection is gone.

    Raises:
        UnavailableError: there came no answer, or none that makes sense.
    """
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
    try:
        connection.writer.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body)
        while True:
            head = await connection.reader.readuntil(b"\r\n\r\n")
            status, answered = _read_head(head)
            if status >= 200 or status == 101:
                return AgentResponse(connection, status, head, answered)
    except (OSError, ValueError, EOFError, asyncio.LimitOverrunError) as error:
        connection.writer.transport.abort()
        raise UnavailableError(_WORDS.get(type(error), "") or str(error)) from error
    except BaseException:
        connection.writer.transport.abort()
        raise


def _read_head(head: bytes) -> tuple[int, list[tuple[str, str]]]:
    try:
        text = head.decode()
    except UnicodeDecodeError:
        text = head.decode("latin-1")
    first, *lines = text.removesuffix("\r\n\r\n").split("\r\n")
    version, _, rest = first.partition(" ")
    if version not in ("HTTP/1.1", "HTTP/1.0"):
        raise ValueError(f"malformed HTTP response {first[:80]!r}")
    headers = []
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not _NAME.fullmatch(name):
            raise ValueError(f"malformed HTTP header {line[:80]!r}")
        headers.append((name, value.strip(" \t")))
    status = int(rest[:3])
    if not 100 <= status <= 999:
        raise ValueError(f"malformed HTTP status code {rest[:3]!r}")
    return status, headers
