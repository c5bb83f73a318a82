"""Callbacks wake a task."""

import asyncio


class Wakeup:
    """What one task waits for again and again. Nothing is kept: who does not wait is not woken."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()  # to ask for it each time is a system call
        self._future: asyncio.Future[None] | None = None

    def wake(self) -> None:
        """Let the task go on, if it waits."""
        if self._future is not None and not self._future.done():
            self._future.set_result(None)

    async def wait(self) -> None:
        """Wait to be woken."""
        self._future = self._loop.create_future()
        try:
            await self._future
        finally:
            self._future = None
