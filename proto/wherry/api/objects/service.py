"""Services and their endpoints."""

import msgspec

from wherry.api.objects.meta import ObjectMeta, ObjectReference
from wherry.api.objects.view import View


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
