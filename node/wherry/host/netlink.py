"""A nudge when links, addresses or routes of the host change.

What changed is not looked at: who is nudged reads the level again.
"""

import asyncio
import errno
import socket
from typing import Protocol

from wherry.host.thread import HostThread

_RTMGRP_LINK = 0x1
_RTMGRP_IPV4_IFADDR = 0x10
_RTMGRP_IPV4_ROUTE = 0x40


class HostEvents(Protocol):
    """Tells that something about the host's network changed."""

    async def changed(self) -> None:
        """Return after the next change since the last call; many may be one."""
        ...


class NoHostEvents:
    """A host that never changes behind our back: tests and the simulated world."""

    async def changed(self) -> None:
        """Wait for ever."""
        await asyncio.Event().wait()


class NetlinkEvents:
    """The kernel's multicast groups for links, IPv4 addresses and IPv4 routes."""

    def __init__(self, host: HostThread) -> None:
        self._host = host
        self._socket: socket.socket | None = None

    async def changed(self) -> None:
        """Return after the next change; what is queued already is drained into one nudge."""
        if self._socket is None:
            self._socket = await self._host.call(_open)
        loop = asyncio.get_running_loop()
        try:
            await loop.sock_recv(self._socket, 65536)
            while True:
                self._socket.recv(65536)
        except BlockingIOError:
            return
        except OSError as error:
            # ENOBUFS says that events were dropped, which is an event as well.
            if error.errno != errno.ENOBUFS:
                raise

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _open() -> socket.socket:
    kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
    opened = socket.socket(socket.AF_NETLINK, kind, 0)
    opened.bind((0, _RTMGRP_LINK | _RTMGRP_IPV4_IFADDR | _RTMGRP_IPV4_ROUTE))
    return opened
