"""What the agent says of a pod: `.status`, rendered from spec, runtime and probe results.

`render_status` is a pure function of its input: the same input gives the same text, so that
"has anything changed?" is one comparison. Times of conditions are kept from the status
before while a condition's value stays. Source of the rules: the kubelet's `generateAPIPodStatus`,
`getPhase`, `convertStatusToAPIStatus` and its status package's condition generators.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from wherry.agent.plan import Snapshot
from wherry.agent.resize import actual
from wherry.agent.resize import wanted as resizes
from wherry.agent.resources import qos_class
from wherry.agent.runtime import ContainerRecord, ContainerState
from wherry.agent.standing import (
    ending,
    init_restarts,
    initialized,
    newest,
    restart_at,
    restarts,
    usable_sandbox,
)
from wherry.agent.sync import (
    resize_key,
)
from wherry.agent.views import Container, ContainerStatus, Pod
from wherry.api.times import format_time

Json = dict[str, Any]

MOST_MESSAGE: Final = 4096
LOST_EXIT_CODE: Final = 137
OURS: Final = (
    "PodReadyToStartContainers",
    "Initialized",
    "Ready",
    "ContainersReady",
    "PodScheduled",
    "PodResizePending",
    "PodResizeInProgress",
)
"""The conditions that the agent owns; others (readiness gates) are passed on as they are."""


@dataclass(frozen=True, slots=True)
class Observed:
    """What a status needs besides the snapshot.

    `ready`: ids of running containers whose readiness probe passes, or that have none.
    `messages`: termination messages by container id. `runtime_name`: prefix of container ids.
    `settled`: nothing of the pod runs any more.
    """

    host_ip: str
    runtime_name: str
    ready: frozenset[str] = frozenset()
    messages: Mapping[str, str] = field(default_factory=dict)
    settled: bool = False


def render_status(pod: Pod, snapshot: Snapshot, observed: Observed) -> Json:
    """Return the pod's status as JSON."""
    inits = _statuses(pod.spec.init_containers, pod, snapshot, observed, init=True)
    apps = _statuses(pod.spec.containers, pod, snapshot, observed)
    ephemeral = _statuses(pod.spec.ephemeral_containers, pod, snapshot, observed, ephemeral=True)
    phase = _phase(pod, snapshot, inits, apps, settled=observed.settled)
    why = ending(snapshot) if phase == "Failed" else None
    pod_ip = _pod_ip(pod, snapshot, observed)
    status: Json = {
        "phase": phase,
        "conditions": _conditions(pod, snapshot, phase, inits, apps),
        "hostIP": observed.host_ip,
        "hostIPs": [{"ip": observed.host_ip}],
        "startTime": pod.status.start_time or format_time(snapshot.now),
        "containerStatuses": apps,
        "qosClass": qos_class(pod),
    }
    if inits:
        status["initContainerStatuses"] = inits
    if ephemeral:
        status["ephemeralContainerStatuses"] = ephemeral
    if pod_ip:
        status |= {"podIP": pod_ip, "podIPs": [{"ip": pod_ip}]}
    if why is not None and why.reason:
        status |= {"reason": why.reason, "message": why.message}
    return status


def _pod_ip(pod: Pod, snapshot: Snapshot, observed: Observed) -> str:
    if pod.spec.host_network:
        return observed.host_ip
    sandbox = usable_sandbox(pod, snapshot.runtime)
    if sandbox is not None:
        return sandbox.ip
    # A sandbox that was stopped has lost its address; the last one stays visible.
    return pod.status.pod_ip if snapshot.runtime.sandboxes else ""


# -- containers -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Subject:
    """One container and all that its status is made from."""

    container: Container
    init: bool
    ephemeral: bool
    pod: Pod
    snapshot: Snapshot
    observed: Observed
    record: ContainerRecord | None
    before: ContainerStatus | None


def _statuses(
    containers: Iterable[Container],
    pod: Pod,
    snapshot: Snapshot,
    observed: Observed,
    *,
    init: bool = False,
    ephemeral: bool = False,
) -> list[Json]:
    result = []
    for container in containers:
        record, before = (
            newest(snapshot.runtime, container.name),
            pod.container_status(container.name),
        )
        subject = _Subject(container, init, ephemeral, pod, snapshot, observed, record, before)
        result.append(_status(subject))
    return result


def _status(of: _Subject) -> Json:
    record, before, container = of.record, of.before, of.container
    state = _state(of)
    started = "running" in state and record is not None and record.id in of.snapshot.started
    ready = started and record is not None and record.id in of.observed.ready
    if of.init and not container.sidecar:
        ready = state.get("terminated", {}).get("exitCode") == 0
        started = "running" in state
    if of.ephemeral:
        ready = started = False
    status: Json = {
        "name": container.name,
        "state": state,
        "lastState": _last_state(of, state),
        "ready": ready,
        "restartCount": record.attempt if record else (before.restart_count if before else 0),
        "image": _image(container, record),
        "imageID": record.image_ref if record else "",
        **({} if of.ephemeral else {"started": started}),
    }
    if record is not None:
        status["containerID"] = f"{of.observed.runtime_name}://{record.id}"
    return status | _resources(of)


def _resources(of: _Subject) -> Json:
    """Return what a container has, and what it was promised: no less, while a resize goes on."""
    record, asked = of.record, of.container.resources
    if of.ephemeral or record is None or not (asked.requests or asked.limits):
        return {}
    has = actual(of.pod, record, of.snapshot.applied) or asked
    granted = has if of.snapshot.resize_pending(of.pod)[0] else asked
    promised = {k: granted.requests[k] for k in ("cpu", "memory") if k in granted.requests}
    shown = {"requests": has.requests, "limits": has.limits}
    status: Json = {"resources": {k: dict(v) for k, v in shown.items() if v}}
    return status | ({"allocatedResources": promised} if promised else {})


def _image(container: Container, record: ContainerRecord | None) -> str:
    if record is None or not record.image or record.image.startswith("sha256:"):
        return container.image
    return record.image


def _state(of: _Subject) -> Json:
    record = of.record
    if record is not None and record.state is ContainerState.RUNNING:
        return {"running": {"startedAt": format_time(record.started_at)}}
    if record is not None and record.state is ContainerState.EXITED:
        return _ended_state(of, record)
    if of.observed.settled:
        return _lost(of.before)
    return {"waiting": _waiting(of)}


def _ended_state(of: _Subject, record: ContainerRecord) -> Json:
    if of.ephemeral:
        return {"terminated": terminated(record, of.observed)}
    policy = of.pod.spec.restart_policy
    again = init_restarts(of.container, policy, record) if of.init else restarts(policy, record)
    if again and ending(of.snapshot) is None:
        if restart_at(record) > of.snapshot.now:
            message = crash_loop_message(of.container.name, of.pod, record.backoff_s)
            return {"waiting": {"reason": "CrashLoopBackOff", "message": message}}
        if of.container.name in of.snapshot.failures:
            return {"waiting": _waiting(of)}
    return {"terminated": terminated(record, of.observed)}


def _waiting(of: _Subject) -> Json:
    failure = of.snapshot.failures.get(of.container.name)
    if failure is not None:
        named = {"reason": failure.reason, "message": failure.message}
        return {key: text for key, text in named.items() if text}
    return {"reason": "PodInitializing" if of.pod.spec.init_containers else "ContainerCreating"}


def _lost(before: ContainerStatus | None) -> Json:
    """A container of a pod that has ended, of which nothing was found: never say "waiting" for ever."""
    if before is not None and "terminated" in before.state:
        return before.state
    return {
        "terminated": {
            "reason": "ContainerStatusUnknown",
            "message": "The container could not be located when the pod was terminated",
            "exitCode": LOST_EXIT_CODE,
            "startedAt": None,
            "finishedAt": None,
        }
    }


def crash_loop_message(name: str, pod: Pod, backoff_s: float) -> str:
    """Return the kubelet's words, the delay as Go prints durations."""
    minutes, seconds = divmod(int(backoff_s), 60)
    delay = f"{minutes}m{seconds}s" if minutes else f"{seconds}s"
    return f"back-off {delay} restarting failed container={name} pod={pod.full_name}"


def terminated(record: ContainerRecord, observed: Observed) -> Json:
    """Return the state of a container that has ended."""
    state: Json = {
        "exitCode": record.exit_code,
        "reason": record.reason or ("Completed" if record.exit_code == 0 else "Error"),
        "startedAt": format_time(record.started_at or record.created_at),
        "finishedAt": format_time(record.finished_at),
        "containerID": f"{observed.runtime_name}://{record.id}",
    }
    message = observed.messages.get(record.id) or record.message
    if message:
        state["message"] = message[:MOST_MESSAGE]
    return state


def _last_state(of: _Subject, state: Json) -> Json:
    attempts = of.snapshot.runtime.attempts(of.container.name)
    dead = [r for r in attempts if r.state is ContainerState.EXITED]
    current = state.get("terminated", {}).get("containerID")
    for record in dead:
        if f"{of.observed.runtime_name}://{record.id}" != current:
            return {"terminated": terminated(record, of.observed)}
    return of.before.last_state if of.before is not None and not dead else {}


# -- phase ------------------------------------------------------------------------------


def _phase(
    pod: Pod, snapshot: Snapshot, inits: list[Json], apps: list[Json], *, settled: bool
) -> str:
    if pod.status.phase in ("Succeeded", "Failed"):
        return pod.status.phase
    why = ending(snapshot)
    if why is not None and settled:
        succeeded = all(s["state"].get("terminated", {}).get("exitCode") == 0 for s in apps)
        return "Succeeded" if succeeded and not why.reason else "Failed"
    plain = [s for s, c in zip(inits, pod.spec.init_containers, strict=True) if not c.sidecar]
    if why is None and not initialized(pod, snapshot.runtime, snapshot.started):
        return "Pending"
    if any("waiting" in s["state"] and not s["lastState"] for s in (*plain, *apps)):
        return "Pending"
    return "Running"


# -- conditions -------------------------------------------------------------------------


def _conditions(
    pod: Pod, snapshot: Snapshot, phase: str, inits: list[Json], apps: list[Json]
) -> list[Json]:
    sandboxed = usable_sandbox(pod, snapshot.runtime) is not None
    wanted = [
        ("PodReadyToStartContainers", sandboxed, "", ""),
        ("Initialized", *_initialized(pod, snapshot, phase, inits)),
        ("Ready", *_ready(pod, phase, apps)),
        ("ContainersReady", *_containers_ready(phase, apps)),
        ("PodScheduled", True, "", ""),
    ]
    wanted += _resizing(pod, snapshot)
    before = {c.type: c for c in pod.status.conditions}
    result: list[Json] = []
    for kind, holds, reason, message in wanted:
        value = "True" if holds else "False"
        old = before.get(kind)
        since = old.last_transition_time if old is not None and old.status == value else None
        condition: Json = {
            "type": kind,
            "status": value,
            "lastProbeTime": None,
            "lastTransitionTime": since or format_time(snapshot.now),
        }
        if reason:
            condition["reason"] = reason
        if message:
            condition["message"] = message
        result.append(condition)
    return result + [_foreign(c) for c in pod.status.conditions if c.type not in OURS]


def _resizing(pod: Pod, snapshot: Snapshot) -> list[tuple[str, bool, str, str]]:
    """Return the condition of a resize that cannot be, or that is not through; mostly none."""
    changing = resizes(pod, snapshot.runtime, snapshot.applied)
    if not changing or ending(snapshot) is not None:
        return []
    reason, why = snapshot.resize_pending(pod)
    if reason:
        return [("PodResizePending", True, reason, why)]
    failures = [snapshot.failures.get(resize_key(r.record.id)) for r in changing]
    failed = next((f for f in failures if f is not None), None)
    reason, message = ("Error", failed.message) if failed is not None else ("", "")
    return [("PodResizeInProgress", True, reason, message)]


def _foreign(condition: Any) -> Json:
    fields = {
        "type": condition.type,
        "status": condition.status,
        "reason": condition.reason,
        "message": condition.message,
        "lastProbeTime": condition.last_probe_time,
        "lastTransitionTime": condition.last_transition_time,
    }
    return {k: v for k, v in fields.items() if v or k == "lastProbeTime"}


Verdict = tuple[bool, str, str]


def _initialized(pod: Pod, snapshot: Snapshot, phase: str, inits: list[Json]) -> Verdict:
    if phase == "Succeeded":
        return True, "PodCompleted", ""
    if initialized(pod, snapshot.runtime, snapshot.started):
        return True, "", ""
    names = [s["name"] for s in inits if not s["ready"]]
    return False, "ContainersNotInitialized", f"containers with incomplete status: {_go(names)}"


def _containers_ready(phase: str, apps: list[Json]) -> Verdict:
    if phase == "Succeeded":
        return False, "PodCompleted", ""
    if phase == "Failed":
        return False, "PodFailed", ""
    unready = [s["name"] for s in apps if not s["ready"]]
    if unready:
        return False, "ContainersNotReady", f"containers with unready status: {_go(unready)}"
    return True, "", ""


def _ready(pod: Pod, phase: str, apps: list[Json]) -> Verdict:
    holds, reason, message = _containers_ready(phase, apps)
    if not holds:
        return holds, reason, message
    conditions = {c.type: c.status for c in pod.status.conditions}
    missing = [
        g.condition_type
        for g in pod.spec.readiness_gates
        if conditions.get(g.condition_type) != "True"
    ]
    if not missing:
        return True, "", ""
    parts = [
        f'corresponding condition of pod readiness gate "{gate}" does not exist.'
        if gate not in conditions
        else f'the status of pod readiness gate "{gate}" is not "True", but {conditions[gate]}'
        for gate in missing
    ]
    return False, "ReadinessGatesNotReady", ", ".join(parts)


def _go(names: Iterable[str]) -> str:
    """Print a list as Go's %v does, which is what users know."""
    return f"[{' '.join(names)}]"
