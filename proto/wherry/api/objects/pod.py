"""Pods."""

from typing import Any

import msgspec

from wherry.api.objects.meta import Condition, LabelSelectorRequirement, ObjectMeta
from wherry.api.objects.taint import Toleration
from wherry.api.objects.view import View


class ContainerPort(View, frozen=True, kw_only=True):
    """Entry of a container's `.ports`."""

    container_port: int = 0
    name: str = ""
    protocol: str = "TCP"
    host_port: int = 0
    host_ip: str = msgspec.field(name="hostIP", default="")


class ResourceRequirements(View, frozen=True, kw_only=True):
    """`.resources`: quantities by resource name, as text."""

    requests: dict[str, str | int | float] = {}
    limits: dict[str, str | int | float] = {}


class Container(View, frozen=True, kw_only=True):
    """What scheduler, controllers and Services need of a container; the agent has its own view."""

    name: str = ""
    image: str = ""
    ports: list[ContainerPort] = []
    resources: ResourceRequirements = ResourceRequirements()
    restart_policy: str | None = None


class NodeSelectorTerm(View, frozen=True, kw_only=True):
    """One alternative of a required node affinity."""

    match_expressions: list[LabelSelectorRequirement] = []
    match_fields: list[LabelSelectorRequirement] = []


class NodeSelector(View, frozen=True, kw_only=True):
    """Alternatives, of which one must hold."""

    node_selector_terms: list[NodeSelectorTerm] = []


class PreferredSchedulingTerm(View, frozen=True, kw_only=True):
    """A wish with a weight of 1..100."""

    weight: int = 1
    preference: NodeSelectorTerm = NodeSelectorTerm()


class NodeAffinity(View, frozen=True, kw_only=True):
    """`.spec.affinity.nodeAffinity`."""

    required: NodeSelector | None = msgspec.field(
        name="requiredDuringSchedulingIgnoredDuringExecution", default=None
    )
    preferred: list[PreferredSchedulingTerm] = msgspec.field(
        name="preferredDuringSchedulingIgnoredDuringExecution", default_factory=list
    )


class Affinity(View, frozen=True, kw_only=True):
    """`.spec.affinity`, as far as it is scheduled on."""

    node_affinity: NodeAffinity | None = None


class PodSpec(View, frozen=True, kw_only=True):
    """`.spec` of a Pod for those who place and count it."""

    node_name: str = ""
    scheduler_name: str = "default-scheduler"
    containers: list[Container] = []
    init_containers: list[Container] = []
    overhead: dict[str, str | int | float] = {}
    node_selector: dict[str, str] = {}
    affinity: Affinity | None = None
    tolerations: list[Toleration] = []
    restart_policy: str = "Always"
    host_network: bool = False
    hostname: str = ""
    subdomain: str = ""
    priority: int | None = None
    termination_grace_period_seconds: int | None = None


class ContainerState(View, frozen=True, kw_only=True):
    """Which of waiting, running, terminated a container is in."""

    waiting: dict[str, Any] | None = None
    running: dict[str, Any] | None = None
    terminated: dict[str, Any] | None = None


class ContainerStatus(View, frozen=True, kw_only=True):
    """Entry of `.status.containerStatuses`."""

    name: str = ""
    ready: bool = False
    started: bool | None = None
    restart_count: int = 0
    state: ContainerState = ContainerState()


class PodIP(View, frozen=True, kw_only=True):
    """Entry of `.status.podIPs`."""

    ip: str = ""


class PodStatus(View, frozen=True, kw_only=True):
    """`.status` of a Pod."""

    phase: str = ""
    reason: str = ""
    message: str = ""
    conditions: list[Condition] = []
    host_ip: str = msgspec.field(name="hostIP", default="")
    pod_ip: str = msgspec.field(name="podIP", default="")
    pod_ips: list[PodIP] = msgspec.field(name="podIPs", default_factory=list)
    container_statuses: list[ContainerStatus] = []
    start_time: str | None = None


class Pod(View, frozen=True, kw_only=True):
    """A Pod as scheduler, controllers, proxy and dns see it."""

    metadata: ObjectMeta = ObjectMeta()
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()

    @property
    def ready(self) -> bool:
        """Tell whether the Ready condition is True."""
        return any(c.type == "Ready" and c.status == "True" for c in self.status.conditions)

    @property
    def finished(self) -> bool:
        """Tell whether the pod has run to its end."""
        return self.status.phase in ("Succeeded", "Failed")

    @property
    def active(self) -> bool:
        """Tell whether the pod counts as a replica: neither finished nor being deleted."""
        return not self.finished and not self.metadata.deleting
