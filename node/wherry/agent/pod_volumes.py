"""When a pod's volumes are made, and made again.

Before its sandbox runs, once more for each sandbox (only then is the pod's address known, which
/etc/hosts and the downward API show), at once when a source of theirs has changed, and from
time to time though nothing called for it.
"""

import contextlib
from typing import Final

from wherry.agent.container_actions import PodEvents
from wherry.agent.pod_host import PodHost
from wherry.agent.projection import MountError
from wherry.agent.runtime import Sandbox
from wherry.agent.views import Pod
from wherry.api.clock import Clock

REFRESH_S: Final = 60.0
"""How often volumes are compared with their sources though nothing called for it (tokens age)."""


class PodVolumes:
    """Of one pod."""

    def __init__(self, host: PodHost, clock: Clock, events: PodEvents) -> None:
        self._host = host
        self._clock = clock
        self._events = events
        self._prepared_at = float("-inf")
        self._outdated = False
        self._prepared_for: str | None = None

    def outdate(self) -> None:
        """Something that the volumes show has changed, be they in the making or made."""
        self._outdated = True

    def made_for(self, sandbox: Sandbox) -> bool:
        """Tell whether the volumes were made while `sandbox` was there."""
        return self._prepared_for == sandbox.id

    async def prepare(self, pod: Pod, sandbox: Sandbox | None, pod_ip: str) -> None:
        """Make the pod's volumes; what stands in the way becomes an event, and is raised.

        Raises:
            MountError: a volume cannot be made.
        """
        self._prepared_at, self._outdated = self._clock.now(), False
        try:
            await self._host.prepare(pod, pod_ip)
        except MountError as error:
            self._events.pod("Warning", "FailedMount", str(error))
            raise
        self._prepared_for = sandbox.id if sandbox is not None else None

    async def refresh(self, pod: Pod, sandbox: Sandbox, pod_ip: str, now: float) -> float:
        """Make the volumes again if it is time; return when it will be."""
        if self._outdated or now >= self._prepared_at + REFRESH_S:
            with contextlib.suppress(MountError):  # the event has been written
                await self.prepare(pod, sandbox, pod_ip)
        return now if self._outdated else self._prepared_at + REFRESH_S
