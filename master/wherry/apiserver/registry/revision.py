"""The store's current revision: where the store shows it, else asked once for all who wait for it.

    arrives while nobody asks      asks
    arrives while somebody asks    waits for the next question: this one may be too old for him
    a question has ended           the first of those who wait asks for all of them

A question that *began* after a request arrived is as good for it as one of its own. So the store
is asked twice however many arrive at once. Who asks is always one of those who wait; if he is
cancelled, the next one asks.
"""

import asyncio

from wherry.api.errors import UnavailableError
from wherry.store.kv import Range, Store

_QUESTION = Range(b"\0", count_only=True)
"""A key that nobody has: the answer's revision is what is asked for."""
_Told = int | UnavailableError | None
"""What a waiter is told; None: it is for him to ask."""


class RevisionReader:
    """See the module."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._asking = False
        self._waiting: list[asyncio.Future[_Told]] = []

    async def current(self) -> int:
        """Return a revision not older than any write acknowledged before the call.

        Raises:
            UnavailableError: the store did not answer.
        """
        known = self._store.known_revision()
        if known:
            return known
        told = await self._wait() if self._asking else None
        if told is None:
            return await self._ask()
        if isinstance(told, UnavailableError):
            raise UnavailableError(str(told)) from told
        return told

    async def _wait(self) -> _Told:
        waiter: asyncio.Future[_Told] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            if not waiter.cancelled() and waiter.result() is None:
                self._pass_on()  # was told to ask, and cannot
            raise

    async def _ask(self) -> int:
        self._asking = True
        asking_too, self._waiting = self._waiting, []
        try:
            revision = (await self._store.range(_QUESTION)).revision
        except UnavailableError as error:
            _tell(asking_too, error)
            raise
        except BaseException:
            self._waiting[:0] = asking_too
            raise
        else:
            _tell(asking_too, revision)
            return revision
        finally:
            self._pass_on()

    def _pass_on(self) -> None:
        """Let the next one ask, if anybody waits."""
        self._waiting = [waiter for waiter in self._waiting if not waiter.done()]
        self._asking = bool(self._waiting)
        if self._waiting:
            self._waiting.pop(0).set_result(None)


def _tell(waiters: list[asyncio.Future[_Told]], told: _Told) -> None:
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(told)
