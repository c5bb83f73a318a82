"""What `kubectl get pods` says about a pod: READY, STATUS, RESTARTS.

STATUS is a word that nothing stores: it is the phase, unless something more telling is
known. Later rules win: the pod's reason, init containers (`Init:1/2`, `Init:Error`), the
containers' reasons (the first container's over the last's), and `Terminating` over all but
a lost node. Source: kube-apiserver `printPod`.
"""

from dataclasses import dataclass
from typing import Any

from wherry.api.times import parse_time
from wherry.apiserver.tables.duration import age

_TERMINAL = ("Failed", "Succeeded")
_NODE_LOST = "NodeLost"


@dataclass(frozen=True, slots=True)
class PodState:
    """The three computed cells."""

    ready: str
    status: str
    restarts: str


@dataclass(slots=True)
class _Restarts:
    """Restarts, counted apart for regular containers and for those that restart beside them."""

    total: int = 0
    restartable_total: int = 0
    last: str = ""
    restartable_last: str = ""

    def add(self, status: dict[str, Any], *, restartable: bool) -> None:
        count = status.get("restartCount", 0)
        finished = _terminated(status.get("lastState")).get("finishedAt") or ""
        self.total += count
        self.last = _later(self.last, finished)
        if restartable:
            self.restartable_total += count
            self.restartable_last = _later(self.restartable_last, finished)


def pod_state(pod: dict[str, Any], now: float) -> PodState:
    """Return the computed cells of a pod.

    Args:
        pod: The decoded pod.
        now: Epoch seconds, for the time of the last restart.
    """
    spec, status = pod.get("spec", {}), pod.get("status", {})
    word = status.get("reason") or status.get("phase") or "Pending"
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("reason") == "SchedulingGated":
            word = "SchedulingGated"
    total = len(spec.get("containers") or ()) + len(_restartable_names(spec))
    restarts = _Restarts()
    word, initializing, sidecars_ready = _init_word(word, spec, status, restarts)
    ready = sidecars_ready
    if not initializing or _initialized(status):
        restarts.total, restarts.last = restarts.restartable_total, restarts.restartable_last
        word, containers_ready = _container_word(word, status, restarts)
        ready += containers_ready
    word = _deletion_word(word, pod)
    return PodState(f"{ready}/{total}", word, _restarts_text(restarts, now))


def _restartable_names(spec: dict[str, Any]) -> set[str]:
    init = spec.get("initContainers") or ()
    return {c.get("name", "") for c in init if c.get("restartPolicy") == "Always"}


def _terminated(state: dict[str, Any] | None) -> dict[str, Any]:
    return (state or {}).get("terminated") or {}


def _exit_word(terminated: dict[str, Any]) -> str:
    if terminated.get("reason"):
        return str(terminated["reason"])
    if terminated.get("signal"):
        return f"Signal:{terminated['signal']}"
    return f"ExitCode:{terminated.get('exitCode', 0)}"


def _init_word(
    word: str, spec: dict[str, Any], status: dict[str, Any], restarts: _Restarts
) -> tuple[str, bool, int]:
    """Return the word, whether an init container holds the pod up, and the ready sidecars."""
    sidecars = _restartable_names(spec)
    count = len(spec.get("initContainers") or ())
    ready = 0
    for index, container in enumerate(status.get("initContainerStatuses") or ()):
        sidecar = container.get("name") in sidecars
        restarts.add(container, restartable=sidecar)
        state = container.get("state") or {}
        terminated, waiting = _terminated(state), state.get("waiting") or {}
        if "terminated" in state and not terminated.get("exitCode"):
            continue
        if sidecar and container.get("started"):
            ready += 1 if container.get("ready") else 0
            continue
        if terminated:
            return f"Init:{_exit_word(terminated)}", True, ready
        if waiting.get("reason") and waiting["reason"] != "PodInitializing":
            return f"Init:{waiting['reason']}", True, ready
        return f"Init:{index}/{count}", True, ready
    return word, False, ready


def _initialized(status: dict[str, Any]) -> bool:
    conditions = status.get("conditions") or ()
    return any(c.get("type") == "Initialized" and c.get("status") == "True" for c in conditions)


def _container_word(word: str, status: dict[str, Any], restarts: _Restarts) -> tuple[str, int]:
    running, ready = False, 0
    for container in reversed(status.get("containerStatuses") or ()):
        restarts.add(container, restartable=False)
        state = container.get("state") or {}
        terminated = _terminated(state)
        if (state.get("waiting") or {}).get("reason"):
            word = state["waiting"]["reason"]
        elif "terminated" in state:
            word = _exit_word(terminated)
        elif container.get("ready") and "running" in state:
            running = True
            ready += 1
    if word == "Completed" and running:
        conditions = status.get("conditions") or ()
        is_ready = any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)
        word = "Running" if is_ready else "NotReady"
    return word, ready


def _deletion_word(word: str, pod: dict[str, Any]) -> str:
    if not pod.get("metadata", {}).get("deletionTimestamp"):
        return word
    status = pod.get("status", {})
    if status.get("reason") == _NODE_LOST:
        return "Unknown"
    return word if status.get("phase") in _TERMINAL else "Terminating"


def _later(one: str, other: str) -> str:
    if not one or not other:
        return one or other
    return max(one, other, key=parse_time)


def _restarts_text(restarts: _Restarts, now: float) -> str:
    if restarts.total and restarts.last:
        return f"{restarts.total} ({age(restarts.last, now)} ago)"
    return str(restarts.total)
