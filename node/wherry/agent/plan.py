"""What one decision of the agent looks at, and what comes out of it: values. See `sync`."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from wherry.agent.resize import Applied, NodeSize, pending, promised
from wherry.agent.runtime import RuntimePod
from wherry.agent.views import Pod


@dataclass(frozen=True, slots=True)
class Failure:
    """A container that could not be started and left none behind; retried at `retry_at`."""

    reason: str
    message: str
    retry_at: float


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why this node will not run the pod; it becomes Failed with these words."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that one decision looks at.

    `unhealthy` maps the ids of containers that a probe condemned to what the probe said;
    `started` are the ids of running containers whose startup probe has passed, or that have none.
    `applied`, `size` and `others` are what resizes are decided on: see `resize`.
    """

    pod: Pod | None
    runtime: RuntimePod
    now: float
    failures: Mapping[str, Failure] = field(default_factory=dict)
    unhealthy: Mapping[str, str] = field(default_factory=dict)
    started: frozenset[str] = frozenset()
    rejection: Rejection | None = None
    applied: Applied = field(default_factory=dict)
    size: NodeSize = field(default_factory=NodeSize)
    others: NodeSize = field(default_factory=NodeSize)

    def resize_pending(self, pod: Pod) -> tuple[str, str]:
        """Return why the pod's resize has to wait, and in words; ("", "") if it has not."""
        has = promised(pod, self.runtime, self.applied)
        return pending(pod, has, self.size, self.others)


@dataclass(frozen=True, slots=True)
class RunSandbox:
    """Make the pod's sandbox."""

    attempt: int


@dataclass(frozen=True, slots=True)
class StopSandbox:
    """Kill what is in the sandbox and free its address."""

    id: str


@dataclass(frozen=True, slots=True)
class RemoveSandbox:
    """Forget the sandbox."""

    id: str


@dataclass(frozen=True, slots=True)
class StartContainer:
    """Pull if needed, create and start; `backoff_s` is what the attempt after this will wait."""

    name: str
    attempt: int
    backoff_s: float
    init: bool = False
    target_id: str = ""


@dataclass(frozen=True, slots=True)
class KillContainer:
    """preStop hook, signal, and after the grace period kill; `message` is for the event."""

    id: str
    name: str
    grace_s: float
    message: str


@dataclass(frozen=True, slots=True)
class RemoveContainer:
    """Forget a dead container and its log."""

    id: str
    name: str
    attempt: int


@dataclass(frozen=True, slots=True)
class ResizeContainer:
    """Tell the runtime the container's new resources, which are those of the spec."""

    id: str
    name: str


Action = (
    RunSandbox
    | StopSandbox
    | RemoveSandbox
    | StartContainer
    | KillContainer
    | RemoveContainer
    | ResizeContainer
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do now, in this order; look again at `wake_at` even if nothing happens.

    `settled`: nothing of the pod runs any more and nothing will.
    """

    actions: tuple[Action, ...] = ()
    wake_at: float | None = None
    settled: bool = False
