"""Asking other name servers for what is not of the cluster.

Messages pass through unchanged but for their identifier, so that whatever the client and the
server agree on (EDNS, DNSSEC) works. Each exchange has a socket, and so a source port, of
its own, and a reply is believed only from the server asked, with the identifier and the
question that were sent.
"""

import asyncio
import socket
import struct
from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import Protocol

from wherry.api.errors import UnavailableError
from wherry.dns.message import TCP_BYTES, same_question
from wherry.host.thread import HostThread

Server = tuple[str, int]


class Upstream(Protocol):
    """Where names outside of the cluster are asked for."""

    @property
    def available(self) -> bool:
        """Tell whether there is any server to ask."""
        ...

    async def exchange(self, message: bytes, *, tcp: bool) -> bytes:
        """Send a query and return the reply, with the query's identifier.

        Raises:
            UnavailableError: no server answered.
        """
        ...


class NoUpstream:
    """A cluster that knows only itself."""

    available = False

    async def exchange(self, message: bytes, *, tcp: bool) -> bytes:
        """Refuse."""
        raise UnavailableError(f"no upstream server for {len(message)} bytes, tcp {tcp}")


class SocketUpstream:
    """Servers asked in their order, each for `timeout_s`, all of them twice."""

    def __init__(
        self, host: HostThread, servers: Sequence[Server], rng: Random, *, timeout_s: float = 2.0
    ) -> None:
        self._host = host
        self._servers = tuple(servers)
        self._rng = rng
        self._timeout_s = timeout_s

    @property
    def available(self) -> bool:
        """Tell whether there is any server to ask."""
        return bool(self._servers)

    async def exchange(self, message: bytes, *, tcp: bool) -> bytes:
        """Ask one server after the other; a reply of any outcome is a reply."""
        sent = struct.pack("!H", self._rng.getrandbits(16)) + message[2:]
        problem: Exception | None = None
        for server in (*self._servers, *self._servers):
            try:
                async with asyncio.timeout(self._timeout_s):
                    ask = self._ask_tcp if tcp else self._ask_udp
                    return message[:2] + (await ask(server, sent))[2:]
            except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
                problem = error
        raise UnavailableError(f"no upstream server answered: {problem!r}") from problem

    async def _ask_udp(self, server: Server, message: bytes) -> bytes:
        loop = asyncio.get_running_loop()
        with await self._host.call(_socket, socket.SOCK_DGRAM) as asking:
            await loop.sock_connect(asking, server)
            await loop.sock_sendall(asking, message)
            while True:
                reply = await loop.sock_recv(asking, TCP_BYTES)
                if same_question(message, reply):
                    return reply

    async def _ask_tcp(self, server: Server, message: bytes) -> bytes:
        loop = asyncio.get_running_loop()
        asking = await self._host.call(_socket, socket.SOCK_STREAM)
        try:
            await loop.sock_connect(asking, server)
        except BaseException:
            asking.close()
            raise
        reader, writer = await asyncio.open_connection(sock=asking)
        try:
            writer.write(struct.pack("!H", len(message)) + message)
            (length,) = struct.unpack("!H", await reader.readexactly(2))
            reply = await reader.readexactly(length)
        finally:
            writer.close()
        if not same_question(message, reply):
            raise ConnectionError(f"{server[0]} answered another question")
        return reply


def _socket(kind: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, kind)
    made.settimeout(0)
    return made


def parse_resolv_conf(text: str) -> list[str]:
    """Return the IPv4 name servers of a resolv.conf, in their order."""
    words = (line.split("#")[0].split() for line in text.splitlines())
    found = (w[1] for w in words if len(w) > 1 and w[0] == "nameserver")
    return list(dict.fromkeys(address for address in found if ":" not in address))


def without_loops(
    servers: Iterable[Server], listening: Iterable[Server], warn: Callable[[str], None]
) -> list[Server]:
    """Leave out servers that are ourselves: a query would go round until the queue is full."""
    ours = set(listening)
    kept = []
    for server in servers:
        if server in ours:
            warn(f"upstream {server[0]}:{server[1]} is this server itself; not used")
        else:
            kept.append(server)
    return kept
