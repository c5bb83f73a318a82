"""The decision of the agent: what to do next for one pod.

`sync_pod` is given the pod as the API server has it (None: it is gone), what the runtime has
of it, and what the worker remembers; it says what to do and when to look again. It recomputes
everything each time, so a lost or doubled event is harmless.

    gone ------------------------> kill containers, stop and remove sandboxes
    ending (deleted, finished,
      deadline, rejected) -------> kill containers (apps, then sidecars), stop sandboxes
    no ready sandbox ------------> kill what is left of the old one, run the next attempt
    ready sandbox ---------------> init containers in order, then app containers,
                                   each restarted as the restart policy says

CrashLoopBackOff is written on the containers: attempt n carries, as an annotation, the seconds
that attempt n+1 waits after n has ended: 0, 10, 20, ... 300; 0 again after a run of ten
minutes. So an agent that was killed goes on where it was. Source: client-go's `flowcontrol.Backoff`
as the kubelet uses it (the first restart is immediate).
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from wherry.agent.plan import (
    Action,
    KillContainer,
    Plan,
    RemoveContainer,
    RemoveSandbox,
    ResizeContainer,
    RunSandbox,
    Snapshot,
    StartContainer,
    StopSandbox,
)
from wherry.agent.resize import wanted
from wherry.agent.runtime import ContainerRecord, ContainerState, RuntimePod, Sandbox
from wherry.agent.standing import (
    deadline,
    ended,
    ending,
    init_done,
    init_restarts,
    initialized,
    newest,
    next_backoff_s,
    restart_at,
    restarts,
    usable_sandbox,
)
from wherry.agent.views import Container, Pod

DEFERRED_S: Final = 10.0
"""How often a resize for which there is no room is looked at again."""
GRACE_ANNOTATION: Final = "io.kubernetes.pod.terminationGracePeriod"
"""On a container: its pod's grace period, for the time when the pod is no longer known."""


def sync_pod(snapshot: Snapshot) -> Plan:
    """Decide the next actions for one pod."""
    pod = snapshot.pod
    if pod is None:
        return _remove_all(snapshot)
    if ending(snapshot) is not None:
        return _end(snapshot, pod)
    sandbox = usable_sandbox(pod, snapshot.runtime)
    plan = _replace_sandbox(snapshot, pod) if sandbox is None else _run(snapshot, pod, sandbox)
    wakes = [t for t in (plan.wake_at, deadline(pod)) if t is not None]
    garbage = tuple(_garbage(snapshot.runtime)) if not plan.actions else ()
    return Plan((*plan.actions, *garbage), min(wakes, default=None), plan.settled)


# -- ending -----------------------------------------------------------------------------


def _remove_all(snapshot: Snapshot) -> Plan:
    kills = tuple(_kills(snapshot, None))
    if kills:
        return Plan(kills)
    stops = [StopSandbox(s.id) for s in snapshot.runtime.sandboxes if s.ready]
    removals = [RemoveSandbox(s.id) for s in snapshot.runtime.sandboxes]
    loose = {s.id for s in snapshot.runtime.sandboxes}
    strays = [
        RemoveContainer(c.id, c.name, c.attempt)
        for c in snapshot.runtime.containers
        if c.sandbox_id not in loose
    ]
    actions: tuple[Action, ...] = (*stops, *removals, *strays)
    return Plan(actions, settled=not actions)


def _end(snapshot: Snapshot, pod: Pod) -> Plan:
    kills = list(_kills(snapshot, pod))
    sidecars = {c.name for c in pod.spec.init_containers if c.sidecar}
    apps = tuple(k for k in kills if k.name not in sidecars)
    if apps or kills:
        return Plan(apps or tuple(kills))
    stops = tuple(StopSandbox(s.id) for s in snapshot.runtime.sandboxes if s.ready)
    return Plan(stops, settled=not stops)


def _kills(snapshot: Snapshot, pod: Pod | None) -> Iterator[KillContainer]:
    for record in snapshot.runtime.containers:
        if record.state in (ContainerState.RUNNING, ContainerState.UNKNOWN):
            yield KillContainer(
                record.id, record.name, grace_s(pod, record), f"Stopping container {record.name}"
            )


def grace_s(pod: Pod | None, record: ContainerRecord) -> float:
    """Return how long a container may take to end."""
    if pod is None:
        return float(record.annotations.get(GRACE_ANNOTATION, "30"))
    given = pod.metadata.deletion_grace_period_seconds
    if pod.metadata.deleting and given is not None:
        return float(given)
    return float(pod.spec.termination_grace_period_seconds)


# -- running ----------------------------------------------------------------------------


def _replace_sandbox(snapshot: Snapshot, pod: Pod) -> Plan:
    runtime = snapshot.runtime
    kills = [
        KillContainer(
            k.id, k.name, k.grace_s, "Pod sandbox changed, it will be killed and re-created."
        )
        for k in _kills(snapshot, pod)
    ]
    if kills:
        return Plan(tuple(kills))
    failure = snapshot.failures.get("")
    if failure is not None and snapshot.now < failure.retry_at:
        return Plan(wake_at=failure.retry_at)
    stops = [StopSandbox(s.id) for s in runtime.sandboxes if s.ready]
    attempt = runtime.sandbox.attempt + 1 if runtime.sandbox is not None else 0
    return Plan((*stops, RunSandbox(attempt)))


def _run(snapshot: Snapshot, pod: Pod, sandbox: Sandbox) -> Plan:
    steps = [_init_step(snapshot, pod, sandbox)]
    steps += [_ephemeral_step(snapshot, pod, sandbox, c) for c in pod.spec.ephemeral_containers]
    if initialized(pod, snapshot.runtime, snapshot.started):
        steps += [_app_step(snapshot, pod, sandbox, c) for c in pod.spec.containers]
    steps.append(_resize_step(snapshot, pod))
    wakes = [s.wake_at for s in steps if s.wake_at is not None]
    return Plan(tuple(a for s in steps for a in s.actions), min(wakes, default=None))


def _resize_step(snapshot: Snapshot, pod: Pod) -> Plan:
    """Change, or restart, the containers that have other resources than they should."""
    changes = wanted(pod, snapshot.runtime, snapshot.applied)
    reason, _ = snapshot.resize_pending(pod) if changes else ("", "")
    if reason:
        return Plan((), snapshot.now + DEFERRED_S if reason == "Deferred" else None)
    actions: list[Action] = []
    for resize in changes:
        record = resize.record
        failure = snapshot.failures.get(resize_key(record.id))
        if record.id in snapshot.unhealthy or (failure and snapshot.now < failure.retry_at):
            continue
        if resize.restart:
            message = f"Container {record.name} resize requires restart"
            grace = grace_s(pod, record)
            actions.append(KillContainer(record.id, record.name, grace, message))
        else:
            actions.append(ResizeContainer(record.id, record.name))
    return Plan(tuple(actions))


def resize_key(container_id: str) -> str:
    """Return where `Snapshot.failures` has the failure of a container's resize."""
    return f"resize/{container_id}"


def _init_step(snapshot: Snapshot, pod: Pod, sandbox: Sandbox) -> Plan:
    """Look after sidecars that should be up, and start the first init container that is due."""
    steps: list[Plan] = []
    past = initialized(pod, snapshot.runtime, snapshot.started)
    for container in pod.spec.init_containers:
        done = init_done(container, snapshot.runtime, sandbox, snapshot.started)
        if container.sidecar or not (done or past):
            steps.append(_init_container_step(snapshot, pod, sandbox, container))
        if not (done or past):
            break
    wakes = [s.wake_at for s in steps if s.wake_at is not None]
    return Plan(tuple(a for s in steps for a in s.actions), min(wakes, default=None))


def _init_container_step(
    snapshot: Snapshot, pod: Pod, sandbox: Sandbox, container: Container
) -> Plan:
    record = newest(snapshot.runtime, container.name)
    through = (
        record is not None
        and record.sandbox_id == sandbox.id
        and ended(record)
        and not init_restarts(container, pod.spec.restart_policy, record)
    )
    if through:
        return Plan()
    return _container_step(snapshot, pod, sandbox, container, init=True)


def _app_step(snapshot: Snapshot, pod: Pod, sandbox: Sandbox, container: Container) -> Plan:
    record = newest(snapshot.runtime, container.name)
    if record is not None and ended(record) and not restarts(pod.spec.restart_policy, record):
        return Plan()
    return _container_step(snapshot, pod, sandbox, container, init=False)


def _ephemeral_step(snapshot: Snapshot, pod: Pod, sandbox: Sandbox, container: Container) -> Plan:
    """Start a container for debugging, once; it is never restarted, and is not waited for."""
    record = newest(snapshot.runtime, container.name)
    if record is not None and record.state is not ContainerState.CREATED:
        return Plan()
    target = container.target_container_name
    if record is None and target and not _runs(newest(snapshot.runtime, target)):
        return Plan()  # its processes are what is to be looked at
    plan = _container_step(snapshot, pod, sandbox, container, init=False)
    aimed = newest(snapshot.runtime, target) if target else None
    if aimed is None:
        return plan
    actions = [
        replace(a, target_id=aimed.id) if isinstance(a, StartContainer) else a for a in plan.actions
    ]
    return replace(plan, actions=tuple(actions))


def _runs(record: ContainerRecord | None) -> bool:
    return record is not None and record.state is ContainerState.RUNNING


def _container_step(
    snapshot: Snapshot, pod: Pod, sandbox: Sandbox, container: Container, *, init: bool
) -> Plan:
    """Bring one container, that shall run or run again, one step nearer to it."""
    name = container.name
    record = newest(snapshot.runtime, name)
    if record is not None and record.sandbox_id == sandbox.id:
        match record.state:
            case ContainerState.RUNNING if record.id in snapshot.unhealthy:
                message = snapshot.unhealthy[record.id]
                return Plan(
                    (KillContainer(record.id, name, _probe_grace_s(pod, container), message),)
                )
            case ContainerState.RUNNING:
                return Plan()
            case ContainerState.UNKNOWN:
                message = f"Container {name} is in unknown state, try killing it before restart"
                return Plan((KillContainer(record.id, name, grace_s(pod, record), message),))
            case ContainerState.CREATED:  # an agent died between create and start
                again = StartContainer(name, record.attempt, record.backoff_s, init)
                return Plan((RemoveContainer(record.id, name, record.attempt), again))
            case ContainerState.EXITED:
                pass
    not_before = restart_at(record) if record is not None else 0.0
    failure = snapshot.failures.get(name)
    if failure is not None:
        not_before = max(not_before, failure.retry_at)
    if snapshot.now < not_before:
        return Plan(wake_at=not_before)
    attempt = record.attempt + 1 if record is not None else _first_attempt(pod, name)
    return Plan((StartContainer(name, attempt, next_backoff_s(record), init),))


def _probe_grace_s(pod: Pod, container: Container) -> float:
    probe = container.liveness_probe
    if probe is not None and probe.termination_grace_period_seconds is not None:
        return float(probe.termination_grace_period_seconds)
    return float(pod.spec.termination_grace_period_seconds)


def _first_attempt(pod: Pod, name: str) -> int:
    """Return the attempt of a container that the runtime knows nothing of.

    If the pod's status says that it ran before, the runtime has lost it: count on.
    """
    ran = pod.container_status(name)
    return 0 if ran is None or not ran.container_id else ran.restart_count + 1


def _garbage(runtime: RuntimePod) -> Iterator[Action]:
    """Keep of each name the newest container and the one before it (`logs --previous`)."""
    kept: dict[str, int] = {}
    homes: set[str] = set()
    for record in runtime.containers:
        kept[record.name] = kept.get(record.name, 0) + 1
        if kept[record.name] <= 2 or not ended(record):
            homes.add(record.sandbox_id)
        else:
            yield RemoveContainer(record.id, record.name, record.attempt)
    for sandbox in runtime.sandboxes[1:]:
        if sandbox.id not in homes:
            if sandbox.ready:
                yield StopSandbox(sandbox.id)
            yield RemoveSandbox(sandbox.id)
