"""HTTP/1.1 to a node's agent, over mTLS: one connection for each request.

An answer is either the head of an upgrade (101), after which the connection is raw, or an
ordinary response, whose body comes as it arrives. Only 101 makes a connection raw: otherwise
a client could go on talking to the agent with the API server's identity (CVE-2018-1002105).
"""

import asyncio
import ssl
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import httptools

from wherry.api.errors import BadGatewayError
from wherry.pki.certificates import identity

HOLLOW_NODES = "system:hollow-nodes"
"""Whom the certificate of a process names that is many hollow nodes."""
_HEAD_BYTES = 64 * 1024
_CHUNK = 64 * 1024
_CONNECT_S = 10.0
_HEAD_S = 30.0


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


class TlsDialer:
    """Connects by TCP and checks that the certificate names the node, or hollow ones.

    `context` gives the client context (no host name check: a node is known by its name,
    its address may change), and is asked at every connection, as certificates rotate.
    """

    def __init__(self, context: Callable[[], ssl.SSLContext]) -> None:
        self._context = context

    async def dial(self, address: AgentAddress) -> AgentConnection:
        """Connect and verify."""
        try:
            async with asyncio.timeout(_CONNECT_S):
                reader, writer = await asyncio.open_connection(
                    address.host, address.port, ssl=self._context(), limit=_HEAD_BYTES
                )
        except (OSError, TimeoutError) as error:
            why = "i/o timeout" if isinstance(error, TimeoutError) else str(error)
            raise BadGatewayError(
                f"error dialing backend: dial tcp {address.host}:{address.port}: {why}"
            ) from error
        certificate = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        user, _ = identity(certificate)
        if user not in (f"system:node:{address.node}", HOLLOW_NODES):
            writer.transport.abort()
            raise BadGatewayError(
                f"error dialing backend: {address.host}:{address.port} is {user!r}, "
                f"not node {address.node}"
            )
        return AgentConnection(reader, writer)


@dataclass(slots=True)
class AgentResponse:
    """The beginning of an answer. `head` is it as it came, up to and with the empty line."""

    connection: AgentConnection
    status: int
    head: bytes
    content_type: str

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
                    raise BadGatewayError(f"the agent's answer cannot be read: {error}") from error
                if collector.parts:
                    piece = b"".join(collector.parts)
                    collector.parts.clear()
                    yield piece
                if collector.done:
                    return
                data = await self.connection.reader.read(_CHUNK)
                if not data:
                    if collector.framed:
                        raise BadGatewayError("the agent's answer broke off")
                    return
        except OSError as error:
            raise BadGatewayError(f"the agent's answer broke off: {error}") from error
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
    lines = [f"{method} {target} HTTP/1.1", f"Host: {address.host}:{address.port}"]
    lines += [f"{name}: {value}" for name, value in headers]
    try:
        connection.writer.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
        async with asyncio.timeout(_HEAD_S):
            await connection.writer.drain()
            head = await connection.reader.readuntil(b"\r\n\r\n")
        status, content_type = _read_head(head)
    except (OSError, TimeoutError, ValueError, EOFError, asyncio.LimitOverrunError) as error:
        connection.writer.transport.abort()
        raise BadGatewayError(
            f"error dialing backend: {address.host}:{address.port} gave no answer: {error!r}"
        ) from error
    except BaseException:
        connection.writer.transport.abort()
        raise
    return AgentResponse(connection, status, head, content_type)


def _read_head(head: bytes) -> tuple[int, str]:
    lines = head.decode("latin-1").split("\r\n")
    version, _, rest = lines[0].partition(" ")
    if version not in ("HTTP/1.1", "HTTP/1.0"):
        raise ValueError(f"not HTTP: {lines[0][:80]!r}")
    content_type = ""
    for line in lines[1:]:
        name, _, value = line.partition(":")
        if name.lower() == "content-type":
            content_type = value.strip()
    return int(rest[:3]), content_type
