"""A connection after an upgrade: a stream of bytes in both directions."""

import asyncio

from wherry.apiserver.http.output import Output
from wherry.apiserver.http.wakeup import Wakeup

_INBOX_BYTES = 256 * 1024


class Upgraded:
    """The `Tunnel` that an upgraded handler reads and writes.

    A client that sends faster than the handler reads is no longer read from.
    """

    def __init__(self, transport: asyncio.Transport, output: Output) -> None:
        self._transport = transport
        self._output = output
        self._inbox: list[bytes] = []
        self._inbox_bytes = 0
        self._full = False
        self._wakeup = Wakeup()

    def feed(self, data: bytes) -> None:
        """Take bytes from the client, or b"": its end."""
        if data:
            self._inbox.append(data)
            self._inbox_bytes += len(data)
        if self._inbox_bytes > _INBOX_BYTES and not self._output.closing:
            self._full = True
            self._transport.pause_reading()
        self._wakeup.wake()

    async def read(self) -> bytes:
        """Return the next bytes, b"" at the end."""
        while not self._inbox:
            if self._output.closing:
                return b""
            await self._wakeup.wait()
        data = b"".join(self._inbox)
        self._inbox.clear()
        self._inbox_bytes = 0
        if self._full and not self._output.closing:
            self._full = False
            self._transport.resume_reading()
        return data

    async def write(self, data: bytes) -> None:
        """Send; returns when the client keeps up. Raises `ConnectionError` when it is gone."""
        await self._output.write(data)
