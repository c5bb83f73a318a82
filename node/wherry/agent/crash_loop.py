"""Tells, once for each attempt, that a container waits before it is restarted."""

import logging

from wherry.agent.container_actions import PodEvents
from wherry.agent.plan import Snapshot
from wherry.agent.runtime import ContainerState
from wherry.agent.standing import newest, restart_at, restarts
from wherry.agent.status import crash_loop_message

log = logging.getLogger(__name__)


class CrashLoops:
    """Of one pod."""

    def __init__(self, events: PodEvents) -> None:
        self._events = events
        self._told: set[str] = set()

    def note(self, snapshot: Snapshot) -> None:
        """Record an event for each container that has begun to wait."""
        pod = snapshot.pod
        if pod is None:
            return
        for container in pod.spec.containers:
            record = newest(snapshot.runtime, container.name)
            if (
                record is None
                or record.state is not ContainerState.EXITED
                or record.id in self._told
                or not restarts(pod.spec.restart_policy, record)
                or restart_at(record) <= snapshot.now
            ):
                continue
            self._told.add(record.id)
            text = f"Back-off restarting failed container {container.name} in pod {pod.full_name}"
            self._events.container(pod, container, "Warning", "BackOff", text)
            log.info(crash_loop_message(container.name, pod, record.backoff_s))
