"""Where queries come in: UDP and TCP sockets on the cluster's DNS address.

Every node answers on the same address, which is therefore on the loopback interface of each
(the scheme of NodeLocal DNSCache): packets of pods and of the host itself to it never leave
the node, and a name resolves as long as the node stands.
"""

import asyncio
import logging
import socket
import struct
from collections.abc import Iterable
from ipaddress import IPv4Address
from typing import Any, Final, Protocol

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from wherry.api.errors import ConfigError
from wherry.dns.upstream import Server
from wherry.host.thread import HostError, HostThread

log = logging.getLogger(__name__)
_IN_FLIGHT: Final = 1000
_TCP_IDLE_S: Final = 10.0
_TCP_CONNECTIONS: Final = 200
_REFRESH_S: Final = 30.0


class Handler(Protocol):
    """Who answers."""

    async def __call__(self, message: bytes, *, tcp: bool) -> bytes | None:
        """Return the reply to a message, None for silence."""
        ...


class Listener(Protocol):
    """Where queries come in."""

    async def serve(self, handler: Handler) -> None:
        """Answer queries by `handler` until cancelled."""
        ...


class SocketListener:
    """UDP and TCP on each address; an address that the host lacks is added to `interface`."""

    def __init__(
        self, host: HostThread, addresses: Iterable[Server], *, interface: str = "lo"
    ) -> None:
        self._host = host
        self._addresses = tuple(addresses)
        self._interface = interface
        self._connections = 0
        self.serving = False

    async def serve(self, handler: Handler) -> None:
        """Listen until cancelled.

        Raises:
            ConfigError: an address is in use, or ports below 1024 are not ours to take.
        """
        await self._add_addresses()
        sockets: list[tuple[socket.socket, socket.socket]] = []
        try:
            for address in self._addresses:
                sockets.append(await self._bind(address))  # noqa: PERF401  closed if the next fails
            async with asyncio.TaskGroup() as tasks:
                for udp, tcp in sockets:
                    tasks.create_task(self._serve_udp(udp, handler), name="dns-udp")
                    tasks.create_task(self._serve_tcp(tcp, handler), name="dns-tcp")
                self.serving = True
                while True:
                    await asyncio.sleep(_REFRESH_S)
                    await self._refresh()
        finally:
            self.serving = False
            for pair in sockets:
                for one in pair:
                    one.close()

    async def _refresh(self) -> None:
        """Put the addresses back if somebody took them away; the sockets live through it."""
        try:
            await self._add_addresses()
        except HostError as error:
            log.warning("%s", error)

    async def _add_addresses(self) -> None:
        for address, _ in self._addresses:
            if not IPv4Address(address).is_unspecified and not IPv4Address(address).is_loopback:
                await self._host.call(_add_address, address, self._interface)

    async def _bind(self, address: Server) -> tuple[socket.socket, socket.socket]:
        try:
            return await self._host.call(_bind, address)
        except OSError as error:
            raise ConfigError(
                f"cannot listen on {address[0]}:{address[1]}: {error.strerror}; is another DNS "
                "server running there? choose another address by --listen"
            ) from error

    async def _serve_udp(self, bound: socket.socket, handler: Handler) -> None:
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as tasks:
            protocol = _Datagrams(tasks, handler)
            transport, _ = await loop.create_datagram_endpoint(lambda: protocol, sock=bound)
            try:
                await asyncio.Event().wait()
            finally:
                transport.close()

    async def _serve_tcp(self, bound: socket.socket, handler: Handler) -> None:
        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if self._connections >= _TCP_CONNECTIONS:
                writer.close()
                return
            self._connections += 1
            try:
                await _converse(reader, writer, handler)
            except (OSError, TimeoutError, asyncio.IncompleteReadError):
                log.debug("TCP connection ended")
            finally:
                self._connections -= 1
                writer.close()

        server = await asyncio.start_server(connected, sock=bound)
        async with server:
            await server.serve_forever()


class _Datagrams(asyncio.DatagramProtocol):
    """Each datagram is answered by a task; past a bound they are dropped, and asked again."""

    def __init__(self, tasks: asyncio.TaskGroup, handler: Handler) -> None:
        self._tasks = tasks
        self._handler = handler
        self._in_flight = 0
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        if self._in_flight < _IN_FLIGHT:
            self._in_flight += 1
            self._tasks.create_task(self._answer(data, addr))

    async def _answer(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        try:
            reply = await self._handler(data, tcp=False)
            if reply is not None and not self._transport.is_closing():
                self._transport.sendto(reply, addr)
        finally:
            self._in_flight -= 1

    def error_received(self, exc: Exception) -> None:
        log.debug("UDP: %s", exc)


async def _converse(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handler: Handler
) -> None:
    """Answer the queries of one connection, one after the other (RFC 7766)."""
    while True:
        async with asyncio.timeout(_TCP_IDLE_S):
            (length,) = struct.unpack("!H", await reader.readexactly(2))
            message = await reader.readexactly(length)
        reply = await handler(message, tcp=True)
        if reply is None:
            return
        async with asyncio.timeout(_TCP_IDLE_S):
            writer.write(struct.pack("!H", len(reply)) + reply)
            await writer.drain()


def _bind(address: Server) -> tuple[socket.socket, socket.socket]:
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        udp.settimeout(0)
        udp.bind(address)
        # Port 0 means any: then both are on the one that UDP got.
        tcp = socket.create_server((address[0], udp.getsockname()[1]), backlog=100)
    except BaseException:
        udp.close()
        raise
    tcp.settimeout(0)
    return udp, tcp


def _add_address(address: str, interface: str) -> None:
    try:
        with IPRoute() as route:
            if not list(route.get_addr(family=socket.AF_INET, local=address)):
                found = route.link_lookup(ifname=interface)
                if not found:
                    raise HostError(f"no interface {interface}")
                route.addr("add", index=found[0], address=address, prefixlen=32)
                log.info("added %s to %s", address, interface)
    except (NetlinkError, OSError) as error:
        raise HostError(f"cannot add {address} to {interface}: {error}") from error
