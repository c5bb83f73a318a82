"""One pod's worker: look, decide, report, act, wait.

A worker is woken by a change of its pod in the API, an event of the runtime, a verdict of a
probe or a timer, and each time looks at everything anew. Its actions can be interrupted when
the pod is deleted (a pull may take minutes) or its grace period becomes shorter; what was
half done is found by the next look.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Final

from wherry.agent.configure import sandbox_config
from wherry.agent.container_actions import ContainerActions, NodeServices, PodEvents, StartError
from wherry.agent.crash_loop import CrashLoops
from wherry.agent.environment import ContainerConfigError
from wherry.agent.failures import Failures
from wherry.agent.images import ImageError
from wherry.agent.plan import (
    Action,
    KillContainer,
    Plan,
    Rejection,
    RemoveContainer,
    RemoveSandbox,
    ResizeContainer,
    RunSandbox,
    Snapshot,
    StartContainer,
    StopSandbox,
)
from wherry.agent.pod_reporter import PodReporter
from wherry.agent.pod_volumes import PodVolumes
from wherry.agent.prober import Prober
from wherry.agent.probes import ProbeKind
from wherry.agent.projection import MountError
from wherry.agent.resize import NodeSize, promised, wanted
from wherry.agent.runtime import RuntimePod, RuntimeRefusedError
from wherry.agent.runtime_config import PodRef
from wherry.agent.standing import ending
from wherry.agent.sync import (
    resize_key,
    sync_pod,
)
from wherry.agent.views import Container, Pod
from wherry.api.errors import StatusError, UnavailableError, WherryError
from wherry.api.objects import ResourceRequirements

log = logging.getLogger(__name__)
RETRY_S: Final = 2.0
MOST_RETRY_S: Final = 30.0


class PodWorker:
    """See the module; `run` ends when the pod is gone from the API and from the node."""

    def __init__(self, ref: PodRef, node: NodeServices, seen: Callable[[RuntimePod], None]) -> None:
        self.ref = ref
        self._node = node
        self._seen = seen
        self._pod: Pod | None = None
        self._wake = asyncio.Event()
        self._interrupt = asyncio.Event()
        self._failures = Failures(node.clock)
        self._rejection: Rejection | None = None
        self._applied: dict[str, ResourceRequirements] = {}
        settings = node.settings
        self._size = NodeSize(settings.node_cpu_millicores, settings.node_memory_bytes)
        self._events = PodEvents(ref, node.event)
        self._crash_loops = CrashLoops(self._events)
        self._volumes = PodVolumes(node.host, node.clock, self._events)
        self._containers = ContainerActions(node, self._events)
        self._prober = Prober(node.probes, node.clock, node.rng, self._probe_failed, self.wake)
        self._reporter = PodReporter(ref, node, self._prober, self.wake)
        self.runtime = RuntimePod(ref)
        self.settled = False

    @property
    def pod(self) -> Pod | None:
        """Return the pod as last seen, None when it is gone from the API."""
        return self._pod

    @property
    def rejection(self) -> Rejection | None:
        """Return why this node has refused the pod, if it has."""
        return self._rejection

    @property
    def promised(self) -> NodeSize:
        """Return what of the node the pod counts on; nothing once it has ended."""
        pod = self._pod
        if pod is None or pod.status.phase in ("Succeeded", "Failed"):
            return NodeSize()
        return promised(pod, self.runtime, self._applied)

    def update(self, pod: Pod | None, rejection: Rejection | None = None) -> None:
        """Take the pod as the API server has it now; None: it is gone."""
        old, self._pod = self._pod, pod
        self._rejection = rejection
        if pod is not None:
            self._reporter.seen(pod)
        if old is not None and _sooner(old, pod):
            self._interrupt.set()
        if pod is not None and old is not None and _volatile(old) != _volatile(pod):
            self._volumes.outdate()
        self._wake.set()

    def wake(self) -> None:
        """Look again soon."""
        self._wake.set()

    def references_changed(self) -> None:
        """A ConfigMap or Secret that the pod uses has changed."""
        self._volumes.outdate()
        self._failures.references_changed()
        self._wake.set()

    async def run(self) -> None:
        """Work until the pod is gone."""
        retry_s = RETRY_S
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._wake.clear()
                try:
                    wake_at = await self._pass(tasks)
                    retry_s = RETRY_S
                except (UnavailableError, StatusError, RuntimeRefusedError, MountError) as error:
                    log.warning("pod %s/%s: %s", self.ref.namespace, self.ref.name, error)
                    wake_at = self._node.clock.now() + retry_s
                    retry_s = min(retry_s * 2, MOST_RETRY_S)
                except Exception:  # a bug that one pod meets must not stop the others
                    log.exception("pod %s/%s", self.ref.namespace, self.ref.name)
                    wake_at = self._node.clock.now() + MOST_RETRY_S
                if self._pod is None and self.settled:
                    break
                await self._wait(wake_at)
            self._prober.reconcile(tasks, _NOTHING, RuntimePod(self.ref), "", stop=True)

    async def _wait(self, wake_at: float | None) -> None:
        timeout_s = None if wake_at is None else max(wake_at - self._node.clock.now(), 0.0)
        try:
            async with asyncio.timeout(timeout_s):
                await self._wake.wait()
        except TimeoutError:
            return

    # -- look and decide ----------------------------------------------------------------

    async def _pass(self, tasks: asyncio.TaskGroup) -> float | None:
        """Act until nothing is left to do now; return when to look again."""
        while True:
            await self._look()
            if self._pod is not None:
                await self._node.checkpoint.save_pod(self._pod)
            self._interrupt.clear()  # what was asked until now is in the snapshot
            snapshot = self._snapshot()
            if snapshot.pod is not None:
                stop = ending(snapshot) is not None
                self._prober.reconcile(
                    tasks, snapshot.pod, self.runtime, self._pod_ip(snapshot.pod), stop=stop
                )
                snapshot = self._snapshot()
                self._crash_loops.note(snapshot)
            plan = sync_pod(snapshot)
            self.settled = plan.settled
            if snapshot.pod is not None:
                await self._reporter.report(snapshot, snapshot.pod, plan)
            elif plan.settled:
                await self._cleanup()
                return None
            if not plan.actions:
                return await self._idle(snapshot, plan)
            await self._perform(plan)

    async def _look(self) -> None:
        self.runtime = await self._node.runtime.pod_status(self.ref)
        self._seen(self.runtime)

    def _snapshot(self) -> Snapshot:
        now = self._node.clock.now()
        return Snapshot(
            pod=self._reporter.current(self._pod) if self._pod is not None else None,
            runtime=self.runtime,
            now=now,
            failures=self._failures.all,
            unhealthy=dict(self._prober.unhealthy),
            started=self._prober.started,
            rejection=self._rejection,
            applied=dict(self._applied),
            size=self._size,
            others=self._others(),
        )

    def _others(self) -> NodeSize:
        """Return what the node's other pods were promised, where it matters."""
        pod = self._pod
        changes = wanted(pod, self.runtime, self._applied) if pod is not None else ()
        return self._node.others(self.ref.uid) if changes else NodeSize()

    def _pod_ip(self, pod: Pod) -> str:
        if pod.spec.host_network:
            return self._node.host_ip
        return self.runtime.sandbox.ip if self.runtime.sandbox is not None else ""

    async def _idle(self, snapshot: Snapshot, plan: Plan) -> float | None:
        """Keep volumes fresh while there is nothing to do; return when to look again."""
        pod = snapshot.pod
        if pod is None or plan.settled or ending(snapshot) is not None:
            return plan.wake_at
        refresh_at, sandbox = None, self.runtime.sandbox
        if pod.spec.volumes and sandbox is not None:
            pod_ip = self._pod_ip(pod)
            refresh_at = await self._volumes.refresh(pod, sandbox, pod_ip, snapshot.now)
        times = [t for t in (plan.wake_at, refresh_at, self._begin_image_backoff(pod)) if t]
        return min(times, default=None)

    def _begin_image_backoff(self, pod: Pod) -> float | None:
        """Let ErrImagePull, once seen, read ImagePullBackOff; return when that is due."""
        now, due = self._node.clock.now(), None
        for name, change_at in self._failures.failed_pulls():
            container = pod.container(name)
            if container is None:
                continue
            if now < change_at:
                due = change_at if due is None else min(due, change_at)
                continue
            message = f'Back-off pulling image "{container.image}"'
            self._failures.back_off(name, message)
            self._container_event(container, "Normal", "BackOff", message)
            self._container_event(container, "Warning", "Failed", "Error: ImagePullBackOff")
            due = now
        return due

    # -- act ----------------------------------------------------------------------------

    async def _perform(self, plan: Plan) -> None:
        """Perform the plan's actions; an interrupt ends them early."""
        if self._interrupt.is_set():
            return
        errors: list[WherryError] = []
        async with asyncio.TaskGroup() as tasks:
            work = tasks.create_task(self._perform_all(plan.actions, errors))
            interrupted = tasks.create_task(self._interrupt.wait())
            await asyncio.wait({work, interrupted}, return_when=asyncio.FIRST_COMPLETED)
            work.cancel()
            interrupted.cancel()
        if errors:
            raise errors[0]

    async def _perform_all(self, actions: tuple[Action, ...], errors: list[WherryError]) -> None:
        try:
            kills = [a for a in actions if isinstance(a, KillContainer)]
            async with asyncio.TaskGroup() as tasks:
                for kill in kills:
                    tasks.create_task(self._kill(kill, errors))
            for action in actions:
                if not isinstance(action, KillContainer) and not await self._act(action):
                    return
        except (UnavailableError, RuntimeRefusedError, StatusError) as error:
            errors.append(error)

    async def _act(self, action: Action) -> bool:
        """Perform one action; False ends the plan (look again first)."""
        runtime = self._node.runtime
        match action:
            case RunSandbox(attempt):
                return await self._run_sandbox(attempt)
            case StartContainer():
                return await self._start(action)
            case StopSandbox(sandbox_id):
                await runtime.stop_sandbox(sandbox_id)
            case RemoveSandbox(sandbox_id):
                await runtime.remove_sandbox(sandbox_id)
            case RemoveContainer(container_id, name, attempt):
                await runtime.remove_container(container_id)
                await self._node.host.remove_log(self.ref, name, attempt)
            case ResizeContainer():
                await self._resize(action)
            case KillContainer():
                raise AssertionError("kills are performed together, before")
        return True

    async def _prepare(self, pod: Pod) -> None:
        await self._volumes.prepare(pod, self.runtime.sandbox, self._pod_ip(pod))

    async def _run_sandbox(self, attempt: int) -> bool:
        pod = self._pod
        if pod is None:
            return False
        if attempt > 0:
            self._events.pod(
                "Normal", "SandboxChanged", "Pod sandbox changed, it will be killed and re-created."
            )
        config = sandbox_config(pod, attempt, self._node.settings)
        try:
            await self._prepare(pod)
            async with self._node.slots:
                await self._node.runtime.run_sandbox(config)
        except MountError as error:
            self._failures.add("", "FailedMount", str(error))
        except RuntimeRefusedError as error:
            message = f"Failed to create pod sandbox: {error}"
            self._events.pod("Warning", "FailedCreatePodSandBox", message)
            self._failures.add("", "FailedCreatePodSandBox", message)
        else:
            self._failures.end("")
        return False

    async def _start(self, action: StartContainer) -> bool:
        """Start a container; its failure does not keep the pod's other containers waiting."""
        name = action.name
        pod, sandbox = self._pod, self.runtime.sandbox
        container = pod.container(name) if pod is not None else None
        if pod is None or sandbox is None or container is None:
            return False
        try:
            late = container in pod.spec.ephemeral_containers
            # Again with the address: /etc/hosts, downward API.
            if late or not self._volumes.made_for(sandbox):
                await self._prepare(pod)
            await self._containers.start(pod, sandbox, container, action, self._pod_ip(pod))
        except ImageError as error:
            retry_at = self._node.images.retry_at(self.ref.uid, container.image)
            self._failures.add_pull(name, error.reason, str(error), retry_at)
        except MountError:
            self._failures.add(name, "ContainerCreating", "")
        except ContainerConfigError as error:
            self._failures.add(name, "CreateContainerConfigError", str(error))
            self._container_event(container, "Warning", "Failed", f"Error: {error}")
        except StartError as error:
            self._failures.add(name, error.reason, str(error), error.retry_at)
            self._container_event(container, "Warning", "Failed", f"Error: {error}")
        else:
            self._failures.end(name)
        return True

    async def _resize(self, action: ResizeContainer) -> None:
        """Tell the runtime; the pod's own cgroup grows before its containers, and shrinks after."""
        pod = self._pod
        container = pod.container(action.name) if pod is not None else None
        if pod is None or container is None:
            return
        try:
            await self._prepare(pod)
            await self._containers.resize(pod, container, action.id)
            await self._prepare(pod)
        except (RuntimeRefusedError, MountError) as error:
            self._failures.add(resize_key(action.id), "Error", str(error))
            return
        self._failures.end(resize_key(action.id))
        known = {c.id for c in self.runtime.containers}
        self._applied = {i: r for i, r in self._applied.items() if i in known}
        self._applied[action.id] = container.resources

    async def _kill(self, action: KillContainer, errors: list[WherryError]) -> None:
        pod = self._pod
        try:
            await self._containers.kill(pod, action, self._pod_ip(pod) if pod is not None else "")
        except (UnavailableError, RuntimeRefusedError) as error:
            errors.append(error)

    async def _cleanup(self) -> None:
        await self._node.host.cleanup(self.ref)
        await self._node.checkpoint.forget_pod(self.ref.uid)
        self._node.images.forget(self.ref.uid)
        self._node.statuses.forget(self.ref.uid)

    def _probe_failed(self, container: Container, kind: ProbeKind, message: str) -> None:
        self._container_event(container, "Warning", "Unhealthy", f"{kind} probe failed: {message}")

    def _container_event(self, container: Container, type_: str, reason: str, message: str) -> None:
        if self._pod is not None:
            self._events.container(self._pod, container, type_, reason, message)


_NOTHING: Final = Pod()


def _sooner(old: Pod, new: Pod | None) -> bool:
    """Tell whether what is going on should be left for what is asked now."""
    if new is None:
        return True
    if new.metadata.deleting and not old.metadata.deleting:
        return True
    before, now = (p.metadata.deletion_grace_period_seconds for p in (old, new))
    return before is not None and now is not None and now < before


def _volatile(pod: Pod) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Return what the downward API shows and users may change."""
    return pod.metadata.labels, pod.metadata.annotations
