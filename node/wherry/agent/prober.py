"""The probes of one pod: which run now, and what they have said.

Startup goes first; liveness and readiness begin when it has passed. After a restart of the agent,
a container that was ready stays ready until its probe says otherwise: the API's own status is
where that is remembered, so no traffic is lost by it.
"""

import asyncio
from collections.abc import Callable
from random import Random

from wherry.agent.probe_runner import ProbeRunner
from wherry.agent.probes import (
    ProbeKind,
    all_probes,
    condemned,
    counter_of,
)
from wherry.agent.runtime import ContainerRecord, ContainerState, RuntimePod
from wherry.agent.standing import newest
from wherry.agent.views import Container, Pod, Probe
from wherry.api.clock import Clock

Report = Callable[[Container, ProbeKind, str], None]
Key = tuple[str, ProbeKind]
"""A running container's id, and which of its probes."""


class Prober:
    """Runs the probes of one pod's containers.

    Args:
        runner: How a probe is run.
        clock: For delays since a container's start.
        rng: Spreads first probes of containers that an agent finds running.
        report: Told of each failed probe (for an event).
        changed: Called when a verdict changes.
    """

    def __init__(
        self,
        runner: ProbeRunner,
        clock: Clock,
        rng: Random,
        report: Report,
        changed: Callable[[], None],
    ) -> None:
        self._runner = runner
        self._clock = clock
        self._rng = rng
        self._report = report
        self._changed = changed
        self._tasks: dict[Key, asyncio.Task[None]] = {}
        self._ready: dict[str, bool] = {}
        self._started: set[str] = set()
        self._seen: set[str] = set()
        self._pod_ip = ""
        self.unhealthy: dict[str, str] = {}

    @property
    def started(self) -> frozenset[str]:
        """Return the running containers whose startup probe has passed, or that have none."""
        return frozenset(self._started)

    @property
    def ready(self) -> frozenset[str]:
        """Return the running containers whose readiness probe passes, or that have none."""
        return frozenset(i for i, ready in self._ready.items() if ready)

    def reconcile(
        self, tasks: asyncio.TaskGroup, pod: Pod, runtime: RuntimePod, pod_ip: str, *, stop: bool
    ) -> None:
        """Start and stop probes to fit what runs now; with `stop`, run none any more."""
        self._pod_ip = pod_ip
        pod = self._runner.adapt(pod)
        running: dict[str, tuple[Container, ContainerRecord]] = {}
        for container in (*pod.spec.init_containers, *pod.spec.containers):
            record = newest(runtime, container.name)
            if record is not None and record.state is ContainerState.RUNNING:
                running[record.id] = (container, record)
        self._forget(set(running))
        for container_id, (container, _) in running.items():
            if container_id not in self._seen:
                self._seen.add(container_id)
                self._adopt(pod, container, container_id)
        wanted = {} if stop else self._wanted(pod, runtime)
        for key in [k for k in self._tasks if k not in wanted]:
            self._tasks.pop(key).cancel()
        for key, (container, record, probe) in wanted.items():
            if key not in self._tasks:
                loop = self._loop(pod, container, record, key[1], probe)
                self._tasks[key] = tasks.create_task(loop)

    def _forget(self, running: set[str]) -> None:
        for gone in self._seen - running:
            self._started.discard(gone)
            self._ready.pop(gone, None)
            self.unhealthy.pop(gone, None)
        self._seen &= running

    def _adopt(self, pod: Pod, container: Container, container_id: str) -> None:
        statuses = (*pod.status.container_statuses, *pod.status.init_container_statuses)
        before = next((s for s in statuses if s.container_id.endswith(f"//{container_id}")), None)
        if container.startup_probe is None or (before is not None and before.started):
            self._started.add(container_id)
        self._ready[container_id] = container.readiness_probe is None or (
            before is not None and before.ready
        )

    def _wanted(
        self, pod: Pod, runtime: RuntimePod
    ) -> dict[Key, tuple[Container, ContainerRecord, Probe]]:
        wanted = {}
        for container, kind, probe in all_probes(pod):
            record = newest(runtime, container.name)
            if record is None or record.id not in self._seen or record.id in self.unhealthy:
                continue
            if (kind is ProbeKind.STARTUP) == (record.id in self._started):
                continue
            wanted[record.id, kind] = (container, record, probe)
        return wanted

    async def _loop(
        self,
        pod: Pod,
        container: Container,
        record: ContainerRecord,
        kind: ProbeKind,
        probe: Probe,
    ) -> None:
        period_s = max(probe.period_seconds, 1)
        age_s = self._clock.now() - record.started_at
        first_s = probe.initial_delay_seconds - age_s
        if age_s > period_s:  # found running by a fresh agent: not all at once
            first_s = max(first_s, self._rng.random() * min(period_s, 3))
        await asyncio.sleep(max(first_s, 0.0))
        counter = counter_of(probe)
        while True:
            result = await self._runner.run(pod, container, record, probe, self._pod_ip)
            if not result.success:
                self._report(container, kind, result.message)
            counter, verdict = counter.step(result.success)
            if verdict is not None and self._apply(container, record.id, kind, verdict):
                self._changed()
            await asyncio.sleep(period_s)

    def _apply(self, container: Container, container_id: str, kind: ProbeKind, ok: bool) -> bool:  # noqa: FBT001
        """Take a verdict; tell whether it changed anything."""
        if container_id not in self._seen:
            return False
        if kind is ProbeKind.READINESS:
            changed = self._ready.get(container_id) != ok
            self._ready[container_id] = ok
            return changed
        if not ok:
            self.unhealthy[container_id] = condemned(container.name, kind)
            return True
        if kind is ProbeKind.STARTUP:
            self._started.add(container_id)
            return True
        return False
