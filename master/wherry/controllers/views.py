"""What the control loops read of the kinds that they manage.

Pods, nodes, services and slices have their view in `wherry.api.objects`; here stand the
workloads, whose pod template is passed through and therefore stays a plain dict.
"""

from typing import Any

import msgspec

from wherry.api import kinds
from wherry.api.kinds import Kind
from wherry.api.objects import (
    Condition,
    LabelSelector,
    Lease,
    Meta,
    Node,
    ObjectMeta,
    Pod,
    Service,
    View,
    null_free,
)


class ReplicaSetSpec(View, frozen=True):
    """`.spec` of a ReplicaSet."""

    replicas: int | None = None
    selector: LabelSelector = LabelSelector()
    template: dict[str, Any] = {}
    min_ready_seconds: int = 0


class ReplicationControllerSpec(View, frozen=True):
    """`.spec` of a ReplicationController; its selector is a plain map of labels."""

    replicas: int | None = None
    selector: dict[str, str] | None = None
    template: dict[str, Any] = {}
    min_ready_seconds: int = 0


class ReplicaSetStatus(View, frozen=True):
    """`.status` of a ReplicaSet and of a ReplicationController."""

    replicas: int = 0
    fully_labeled_replicas: int = 0
    ready_replicas: int = 0
    available_replicas: int = 0
    observed_generation: int = 0
    conditions: list[Condition] = []


class ReplicaSet(View, frozen=True):
    """A ReplicaSet."""

    metadata: ObjectMeta = ObjectMeta()
    spec: ReplicaSetSpec = ReplicaSetSpec()
    status: ReplicaSetStatus = ReplicaSetStatus()

    @property
    def replicas(self) -> int:
        """Return how many pods are wanted; absent means one."""
        return 1 if self.spec.replicas is None else self.spec.replicas


class StatefulSet(View, frozen=True):
    """A StatefulSet: of which only the size matters here."""

    metadata: ObjectMeta = ObjectMeta()
    spec: ReplicaSetSpec = ReplicaSetSpec()


class ReplicationController(View, frozen=True):
    """A ReplicationController."""

    metadata: ObjectMeta = ObjectMeta()
    spec: ReplicationControllerSpec = ReplicationControllerSpec()
    status: ReplicaSetStatus = ReplicaSetStatus()


class RollingUpdate(View, frozen=True):
    """Bounds of a rolling update: a number of pods, or a percentage such as `25%`."""

    max_surge: int | str = "25%"
    max_unavailable: int | str = "25%"


class DeploymentStrategy(View, frozen=True):
    """`.spec.strategy`: RollingUpdate or Recreate."""

    type: str = "RollingUpdate"
    rolling_update: RollingUpdate | None = None


class DeploymentSpec(View, frozen=True):
    """`.spec` of a Deployment."""

    replicas: int | None = None
    selector: LabelSelector = LabelSelector()
    template: dict[str, Any] = {}
    strategy: DeploymentStrategy = DeploymentStrategy()
    min_ready_seconds: int = 0
    revision_history_limit: int | None = 10
    progress_deadline_seconds: int | None = 600
    paused: bool = False


class DeploymentStatus(View, frozen=True):
    """`.status` of a Deployment."""

    observed_generation: int = 0
    replicas: int = 0
    updated_replicas: int = 0
    ready_replicas: int = 0
    available_replicas: int = 0
    unavailable_replicas: int = 0
    collision_count: int | None = None
    conditions: list[Condition] = []


class Deployment(View, frozen=True):
    """A Deployment."""

    metadata: ObjectMeta = ObjectMeta()
    spec: DeploymentSpec = DeploymentSpec()
    status: DeploymentStatus = DeploymentStatus()

    @property
    def replicas(self) -> int:
        """Return how many pods are wanted; absent means one."""
        return 1 if self.spec.replicas is None else self.spec.replicas


class NamespaceSpec(View, frozen=True):
    """`.spec` of a Namespace."""

    finalizers: list[str] = []


class NamespaceStatus(View, frozen=True):
    """`.status` of a Namespace; phase is Active or Terminating."""

    phase: str = ""
    conditions: list[Condition] = []


class Namespace(View, frozen=True):
    """A Namespace."""

    metadata: ObjectMeta = ObjectMeta()
    spec: NamespaceSpec = NamespaceSpec()
    status: NamespaceStatus = NamespaceStatus()


class ConfigMap(View, frozen=True):
    """A ConfigMap's text data."""

    metadata: ObjectMeta = ObjectMeta()
    data: dict[str, str] = {}


class SigningRequestSpec(View, frozen=True):
    """`.spec` of a CertificateSigningRequest; `request` is PEM."""

    request: bytes = b""
    signer_name: str = ""
    expiration_seconds: int | None = None
    usages: list[str] = []
    username: str = ""
    groups: list[str] = []


class SigningRequestStatus(View, frozen=True):
    """`.status` of a CertificateSigningRequest; `certificate` is PEM."""

    certificate: bytes = b""
    conditions: list[Condition] = []


class SigningRequest(View, frozen=True):
    """A CertificateSigningRequest."""

    metadata: ObjectMeta = ObjectMeta()
    spec: SigningRequestSpec = SigningRequestSpec()
    status: SigningRequestStatus = SigningRequestStatus()


class DisruptionBudgetSpec(View, frozen=True):
    """`.spec` of a PodDisruptionBudget: one of two numbers, or percentages."""

    min_available: int | str | None = None
    max_unavailable: int | str | None = None
    selector: LabelSelector | None = None


class DisruptionBudgetStatus(View, frozen=True):
    """`.status` of a PodDisruptionBudget; `disrupted_pods` are names and dates of evictions."""

    observed_generation: int = 0
    disruptions_allowed: int = 0
    current_healthy: int = 0
    desired_healthy: int = 0
    expected_pods: int = 0
    disrupted_pods: dict[str, str] = {}
    conditions: list[Condition] = []


class DisruptionBudget(View, frozen=True):
    """A PodDisruptionBudget."""

    metadata: ObjectMeta = ObjectMeta()
    spec: DisruptionBudgetSpec = DisruptionBudgetSpec()
    status: DisruptionBudgetStatus = DisruptionBudgetStatus()

    def covers(self, labels: dict[str, str]) -> bool:
        """Tell whether a pod with these labels is meant; no selector means none (policy/v1)."""
        return self.spec.selector is not None and self.spec.selector.compiled().matches(labels)


class EndpointAddress(View, frozen=True):
    """Entry of an Endpoints subset's addresses."""

    ip: str = ""
    hostname: str | None = None
    node_name: str | None = None
    target_ref: dict[str, Any] | None = None


class EndpointSubset(View, frozen=True):
    """Addresses that share their ports."""

    addresses: list[EndpointAddress] = []
    not_ready_addresses: list[EndpointAddress] = []
    ports: list[dict[str, Any]] = []


class Endpoints(View, frozen=True):
    """An Endpoints object."""

    metadata: ObjectMeta = ObjectMeta()
    subsets: list[EndpointSubset] = []


class SliceConditions(View, frozen=True):
    """Of one endpoint in a slice."""

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class SliceTarget(View, frozen=True):
    """What an endpoint stands for."""

    kind: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""


class SliceEndpoint(View, frozen=True):
    """Entry of an EndpointSlice's `.endpoints`, with all that the controller writes."""

    addresses: list[str] = []
    conditions: SliceConditions = SliceConditions()
    hostname: str | None = None
    node_name: str | None = None
    target_ref: SliceTarget | None = None
    zone: str | None = None


class SlicePort(View, frozen=True):
    """Entry of an EndpointSlice's `.ports`."""

    name: str | None = None
    protocol: str | None = None
    port: int | None = None
    app_protocol: str | None = None


class EndpointSlice(View, frozen=True):
    """An EndpointSlice as it is written, not only as it is read by proxies."""

    metadata: ObjectMeta = ObjectMeta()
    address_type: str = "IPv4"
    endpoints: list[SliceEndpoint] = []
    ports: list[SlicePort] = []


VIEWS: dict[Kind, type[View]] = {
    kinds.NAMESPACE: Namespace,
    kinds.NODE: Node,
    kinds.POD: Pod,
    kinds.SERVICE: Service,
    kinds.ENDPOINTS: Endpoints,
    kinds.CERTIFICATE_SIGNING_REQUEST: SigningRequest,
    kinds.ENDPOINT_SLICE: EndpointSlice,
    kinds.CONFIG_MAP: ConfigMap,
    kinds.LEASE: Lease,
    kinds.POD_DISRUPTION_BUDGET: DisruptionBudget,
    kinds.REPLICATION_CONTROLLER: ReplicationController,
    kinds.REPLICA_SET: ReplicaSet,
    kinds.DEPLOYMENT: Deployment,
    kinds.STATEFUL_SET: StatefulSet,
}
"""The view of each kind in the shared caches; every other kind is cached as `Meta`."""


def view_of(kind: Kind) -> type[View]:
    """Return the view type that the cache of `kind` holds."""
    return VIEWS.get(kind, Meta)


def to_dict(view: Any) -> Any:
    """Return a view, or a list of views, as the JSON value it was decoded from, nulls left out."""
    return null_free(msgspec.to_builtins(view))
