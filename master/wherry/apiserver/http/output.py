"""The sending half of a connection: what goes to a client, at the client's pace."""

import asyncio

from wherry.apiserver.http.deadlines import Deadlines
from wherry.apiserver.http.encode import chunk, slices
from wherry.apiserver.http.pieces import Pieces


class Output:
    """Writes to one transport; a writer waits while its client does not keep up."""

    def __init__(self, transport: asyncio.Transport, deadlines: Deadlines) -> None:
        self._transport = transport
        self._deadlines = deadlines
        self._writable: asyncio.Future[None] | None = None
        self.lost = False
        """The client is gone."""
        self._unsent = 0

    @property
    def closing(self) -> bool:
        """Whether nothing can be sent any more."""
        return self.lost or self._transport.is_closing()

    @property
    def held(self) -> int:
        """Bytes that wait for the client: what remains of an answer, or of a stream's last piece."""
        if self._writable is None and not self._unsent:
            return 0
        return self._unsent + self._transport.get_write_buffer_size()

    def pause(self, now: float) -> None:
        """The client does not keep up."""
        if self._writable is None:
            self._writable = asyncio.get_running_loop().create_future()
            self._deadlines.stalled(now)

    def resume(self) -> None:
        """The client has caught up."""
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None
        self._deadlines.flowing()

    def end(self) -> None:
        """The client is gone; who waits for it is told by the next write."""
        self.lost = True
        self.resume()

    async def write(self, data: bytes | memoryview) -> None:
        """Send; returns when the client keeps up.

        Raises:
            ConnectionResetError: it is gone.
        """
        if self.lost:
            raise ConnectionResetError("the client has closed the connection")
        self._transport.write(data)
        if self._writable is not None:
            await self._writable

    async def send(self, head: bytes, body: bytes | Pieces) -> None:
        """Send an answer; as `write`."""
        self._unsent = len(head) + len(body)
        try:
            for piece in slices(head, body):
                self._unsent -= len(piece)
                await self.write(piece)
        finally:
            self._unsent = 0

    def push(self, piece: bytes) -> bool:
        """Send a piece of a stream now; False when the client does not keep up, or is gone."""
        if self._writable is not None or self.closing:
            return False
        self._transport.write(chunk(piece))
        return True
