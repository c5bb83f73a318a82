"""One request at its handler: counted while it is there, and given up when it takes too long."""

import asyncio
import logging
from typing import Final

from wherry.api.errors import (
    InternalError,
    StatusError,
    TimeoutStatusError,
    TooManyRequestsError,
)
from wherry.apiserver.http.deadlines import Deadlines
from wherry.apiserver.http.flight import Flight
from wherry.apiserver.http.message import Handler, Reply, Request, status_response

log = logging.getLogger(__name__)

OUT_OF_TIME: Final = "Timeout: request did not complete within the allotted timeout"


class Handling:
    """Asks the handler for one connection; whatever happens there becomes an answer."""

    __slots__ = ("_deadlines", "_flight", "_handler", "_late", "active")

    def __init__(self, handler: Handler, flight: Flight, deadlines: Deadlines) -> None:
        self._handler = handler
        self._flight = flight
        self._deadlines = deadlines
        self._late: asyncio.Task[None] | None = None  # cancelled, because it took too long
        self.active = False
        """Whether a request is at the handler now."""

    def check(self, now: float, task: asyncio.Task[None]) -> None:
        """Cancel the task that waits for the handler, if that takes too long.

        Called about every second: a timer for each request cost more than all of this.
        """
        if self._deadlines.handled_too_long(now) and self._late is None:
            self._late = task
            task.cancel()

    async def reply(self, request: Request) -> Reply:
        """Return the handler's reply, or the Status that says why there is none."""
        lane = self._flight.lane(request)
        if lane is not None and lane.full:
            busy = TooManyRequestsError(
                "too many requests, please try again later", retry_after_s=1
            )
            return status_response(busy)
        if lane is not None:
            lane.count += 1
        self.active = True
        try:
            return await self._handler(request)
        except StatusError as error:
            return status_response(error)
        except (TimeoutError, asyncio.CancelledError) as error:
            if isinstance(error, asyncio.CancelledError) and not self._given_up():
                raise
            return status_response(TimeoutStatusError(OUT_OF_TIME))
        except Exception:  # a bug of ours: its text is for the log, not for the client
            log.exception("%s %s failed", request.method, request.target)
            return status_response(
                InternalError("an internal error occurred; see the server's log")
            )
        finally:
            if lane is not None:
                lane.count -= 1
            self.active = False
            if self._late is not None:
                self._late.uncancel()
                self._late = None

    def _given_up(self) -> bool:
        """Tell whether the handler was cancelled because it took too long, and for nothing else."""
        return self._late is not None and self._late.cancelling() == 1
