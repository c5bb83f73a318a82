"""Typed views of API objects: frozen, compared by content, safe to share between tasks.

A view names just the fields that somebody decides on; `decode` skips the rest. Objects
themselves travel and are stored as JSON bytes, so a view is never written back: what is
sent is built as a dict or a patch. camelCase exists only here, through `rename`.

A package that needs other fields of a kind declares its own view in the same way.
"""

from typing import Any, Generic, TypeVar

import msgspec

from wherry.api.selectors import LabelSelector as Selector
from wherry.api.selectors import selector_from


class View(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """Base of all views: absent and null both mean the default where the type allows None."""


class OwnerReference(View, frozen=True, kw_only=True):
    """Entry of `.metadata.ownerReferences`."""

    api_version: str = ""
    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool = False
    block_owner_deletion: bool = False


class ObjectMeta(View, frozen=True, kw_only=True):
    """`.metadata`, as the API server fills it."""

    name: str = ""
    generate_name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    deletion_grace_period_seconds: int | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    finalizers: list[str] = []
    owner_references: list[OwnerReference] = []

    @property
    def key(self) -> str:
        """Return `namespace/name`, or the name alone for cluster-scoped objects."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name

    @property
    def deleting(self) -> bool:
        """Tell whether deletion has begun."""
        return self.deletion_timestamp is not None

    @property
    def controller(self) -> OwnerReference | None:
        """Return the managing owner, if any."""
        return next((ref for ref in self.owner_references if ref.controller), None)


class Meta(View, frozen=True, kw_only=True):
    """Any object, only its identity and metadata."""

    api_version: str = ""
    kind: str = ""
    metadata: ObjectMeta = ObjectMeta()


class LabelSelectorRequirement(View, frozen=True, kw_only=True):
    """Entry of `.matchExpressions`; also a node selector's."""

    key: str = ""
    operator: str = ""
    values: list[str] = []


class LabelSelector(View, frozen=True, kw_only=True):
    """metav1.LabelSelector."""

    match_labels: dict[str, str] = {}
    match_expressions: list[LabelSelectorRequirement] = []

    def compiled(self) -> Selector:
        """Return the matcher."""
        return selector_from(
            self.match_labels, ((r.key, r.operator, r.values) for r in self.match_expressions)
        )


class Condition(View, frozen=True, kw_only=True):
    """Entry of `.status.conditions` of any kind."""

    type: str = ""
    status: str = ""
    reason: str = ""
    message: str = ""
    last_transition_time: str | None = None
    last_heartbeat_time: str | None = None
    last_probe_time: str | None = None
    last_update_time: str | None = None
    observed_generation: int = 0


class Taint(View, frozen=True, kw_only=True):
    """Entry of a Node's `.spec.taints`; effect NoSchedule, PreferNoSchedule or NoExecute."""

    key: str = ""
    effect: str = ""
    value: str = ""
    time_added: str | None = None


class Toleration(View, frozen=True, kw_only=True):
    """Entry of a Pod's `.spec.tolerations`; an empty effect means every effect."""

    key: str = ""
    operator: str = "Equal"
    value: str = ""
    effect: str = ""
    toleration_seconds: int | None = None

    def tolerates(self, taint: Taint) -> bool:
        """Tell whether this toleration covers `taint` (an empty key needs `Exists`)."""
        if self.effect and self.effect != taint.effect:
            return False
        if self.key and self.key != taint.key:
            return False
        if self.operator == "Exists":
            return True
        return bool(self.key) and self.value == taint.value


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


class NodeSpec(View, frozen=True, kw_only=True):
    """`.spec` of a Node."""

    pod_cidr: str = msgspec.field(name="podCIDR", default="")
    unschedulable: bool = False
    taints: list[Taint] = []
    provider_id: str = msgspec.field(name="providerID", default="")


class NodeAddress(View, frozen=True, kw_only=True):
    """Entry of `.status.addresses`."""

    type: str = ""
    address: str = ""


class NodeStatus(View, frozen=True, kw_only=True):
    """`.status` of a Node."""

    capacity: dict[str, str] = {}
    allocatable: dict[str, str] = {}
    conditions: list[Condition] = []
    addresses: list[NodeAddress] = []


class Node(View, frozen=True, kw_only=True):
    """A Node as scheduler, controllers, overlay and proxy see it."""

    metadata: ObjectMeta = ObjectMeta()
    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()

    @property
    def internal_ip(self) -> str:
        """Return the first InternalIP, "" where none is known yet."""
        return next((a.address for a in self.status.addresses if a.type == "InternalIP"), "")


class ServicePort(View, frozen=True, kw_only=True):
    """Entry of a Service's `.spec.ports`; `target_port` is a number or a container port's name."""

    port: int = 0
    name: str = ""
    protocol: str = "TCP"
    target_port: int | str | None = None
    node_port: int = 0
    app_protocol: str | None = None


class ClientIPConfig(View, frozen=True, kw_only=True):
    """How long ClientIP affinity lasts."""

    timeout_seconds: int | None = 10800


class SessionAffinityConfig(View, frozen=True, kw_only=True):
    """`.spec.sessionAffinityConfig`."""

    client_ip: ClientIPConfig | None = msgspec.field(name="clientIP", default=None)


class ServiceSpec(View, frozen=True, kw_only=True):
    """`.spec` of a Service."""

    type: str = "ClusterIP"
    cluster_ip: str = msgspec.field(name="clusterIP", default="")
    cluster_ips: list[str] = msgspec.field(name="clusterIPs", default_factory=list)
    ports: list[ServicePort] = []
    selector: dict[str, str] | None = None
    session_affinity: str = "None"
    session_affinity_config: SessionAffinityConfig | None = None
    external_traffic_policy: str = ""
    internal_traffic_policy: str | None = None
    external_ips: list[str] = msgspec.field(name="externalIPs", default_factory=list)
    external_name: str = ""
    publish_not_ready_addresses: bool = False


class Service(View, frozen=True, kw_only=True):
    """A Service."""

    metadata: ObjectMeta = ObjectMeta()
    spec: ServiceSpec = ServiceSpec()


class EndpointConditions(View, frozen=True, kw_only=True):
    """Of one endpoint; None means unknown and is treated as True for `ready`."""

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class ObjectReference(View, frozen=True, kw_only=True):
    """A reference to another object."""

    api_version: str = ""
    kind: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""


class Endpoint(View, frozen=True, kw_only=True):
    """Entry of an EndpointSlice's `.endpoints`."""

    addresses: list[str] = []
    conditions: EndpointConditions = EndpointConditions()
    hostname: str | None = None
    node_name: str | None = None
    target_ref: ObjectReference | None = None


class EndpointPort(View, frozen=True, kw_only=True):
    """Entry of an EndpointSlice's `.ports`."""

    name: str | None = ""
    protocol: str | None = "TCP"
    port: int | None = None


class EndpointSlice(View, frozen=True, kw_only=True):
    """An EndpointSlice; its Service is named by label `kubernetes.io/service-name`."""

    metadata: ObjectMeta = ObjectMeta()
    address_type: str = "IPv4"
    endpoints: list[Endpoint] = []
    ports: list[EndpointPort] = []


class LeaseSpec(View, frozen=True, kw_only=True):
    """`.spec` of a coordination Lease."""

    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    acquire_time: str | None = None
    renew_time: str | None = None
    lease_transitions: int | None = None


class Lease(View, frozen=True, kw_only=True):
    """A coordination Lease: a node's heartbeat, or a leader's claim."""

    metadata: ObjectMeta = ObjectMeta()
    spec: LeaseSpec = LeaseSpec()


V = TypeVar("V", bound=View)


class Decoder(Generic[V]):
    """Decodes JSON bytes into one view; reused, because building a decoder costs."""

    def __init__(self, view: type[V]) -> None:
        self._decoder = msgspec.json.Decoder(view)

    def __call__(self, raw: bytes) -> V:
        """Decode one object.

        Raises:
            msgspec.ValidationError: the bytes are not of this kind; the API server checks
                types before it stores, so this is a bug, not a user's mistake.
        """
        return self._decoder.decode(raw)


def null_free(value: Any) -> Any:
    """Return `value` without dict entries that are null: to Kubernetes, null is absent."""
    if isinstance(value, dict):
        return {k: null_free(v) for k, v in value.items() if v is not None}
    if isinstance(value, list):
        return [null_free(v) for v in value]
    return value
