"""Where a pod stands: what both the next decision (`sync`) and the status are made from. Pure.

Back-off of crashing containers is arithmetic on what the runtime remembers: see `sync`.
"""

from typing import Final

from wherry.agent.plan import Rejection, Snapshot
from wherry.agent.runtime import ContainerRecord, ContainerState, RuntimePod, Sandbox
from wherry.agent.views import Container, Pod
from wherry.api.times import parse_time

FIRST_BACKOFF_S: Final = 10.0
MOST_BACKOFF_S: Final = 300.0
FORGIVEN_AFTER_S: Final = 600.0
"""A container that ran this long starts with a clean record."""
DEADLINE_MESSAGE: Final = "Pod was active on the node longer than the specified deadline"


def deadline(pod: Pod) -> float | None:
    """Return when activeDeadlineSeconds runs out, None where there is none."""
    if pod.spec.active_deadline_seconds is None or pod.status.start_time is None:
        return None
    return parse_time(pod.status.start_time) + pod.spec.active_deadline_seconds


def ending(snapshot: Snapshot) -> Rejection | None:
    """Return why the pod is to be stopped, None while it shall run.

    A pod that is deleted, or has come to its end, has no reason of its own: both are "".
    """
    pod = snapshot.pod
    if pod is None or pod.metadata.deleting:
        return Rejection("", "")
    if snapshot.rejection is not None:
        return snapshot.rejection
    if pod.status.phase in ("Succeeded", "Failed"):
        return Rejection(pod.status.reason, pod.status.message)
    limit = deadline(pod)
    if limit is not None and snapshot.now >= limit:
        return Rejection("DeadlineExceeded", DEADLINE_MESSAGE)
    return Rejection("", "") if finished(pod, snapshot.runtime) else None


def usable_sandbox(pod: Pod, runtime: RuntimePod) -> Sandbox | None:
    """Return the newest sandbox if it is ready and has an address."""
    sandbox = runtime.sandbox
    if sandbox is None or not sandbox.ready:
        return None
    return sandbox if sandbox.ip or pod.spec.host_network else None


def restarts(policy: str, record: ContainerRecord) -> bool:
    """Tell whether an app container that has ended is started again."""
    return policy == "Always" or (policy == "OnFailure" and record.exit_code != 0)


def init_restarts(container: Container, policy: str, record: ContainerRecord) -> bool:
    """Tell whether an init container that has ended is started again."""
    if container.sidecar:
        return True
    return record.exit_code != 0 and policy != "Never"


def restart_at(record: ContainerRecord) -> float:
    """Return when the successor of a container that has ended may start."""
    return record.finished_at + (0.0 if _forgiven(record) else record.backoff_s)


def next_backoff_s(record: ContainerRecord | None) -> float:
    """Return the back-off to write on the successor of `record`."""
    if record is None:
        return 0.0
    if _forgiven(record) or not record.backoff_s:
        return FIRST_BACKOFF_S
    return min(record.backoff_s * 2, MOST_BACKOFF_S)


def _forgiven(record: ContainerRecord) -> bool:
    return record.finished_at - record.created_at > FORGIVEN_AFTER_S


def finished(pod: Pod, runtime: RuntimePod) -> bool:
    """Tell whether every app container has ended for good, or an init container has failed so."""
    policy = pod.spec.restart_policy
    if policy == "Always":
        return False
    for init in pod.spec.init_containers:
        record = newest(runtime, init.name)
        if record is None or not ended(record):
            continue
        if record.exit_code != 0 and not init_restarts(init, policy, record):
            return True
    records = [newest(runtime, c.name) for c in pod.spec.containers]
    return bool(records) and all(
        r is not None and ended(r) and not restarts(policy, r) for r in records
    )


def newest(runtime: RuntimePod, name: str) -> ContainerRecord | None:
    """Return the newest container of that name, alive or dead."""
    return next((c for c in runtime.containers if c.name == name), None)


def initialized(pod: Pod, runtime: RuntimePod, started: frozenset[str]) -> bool:
    """Tell whether app containers may start: every init container is through, sidecars are up."""
    sandbox = runtime.sandbox
    if sandbox is None:
        return not pod.spec.init_containers
    here = {c.name for c in runtime.containers if c.sandbox_id == sandbox.id}
    if any(c.name in here for c in pod.spec.containers):
        return True
    return all(init_done(c, runtime, sandbox, started) for c in pod.spec.init_containers)


def init_done(
    container: Container, runtime: RuntimePod, sandbox: Sandbox, started: frozenset[str]
) -> bool:
    """Tell whether an init container has done its part in this sandbox; a sidecar, whether it is up."""
    record = newest(runtime, container.name)
    if record is None or record.sandbox_id != sandbox.id:
        return False
    if container.sidecar:
        return record.state is ContainerState.RUNNING and record.id in started
    return ended(record) and record.exit_code == 0


def ended(record: ContainerRecord) -> bool:
    """Tell whether a container runs no more."""
    return record.state is ContainerState.EXITED
