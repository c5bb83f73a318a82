"""EndpointSlices and Endpoints: which addresses stand behind a Service, and are they ready.

A pod that is being deleted stays in the slices, not ready but perhaps still *serving*, so
that a proxy can drain it. Slices hold at most 100 endpoints; an endpoint stays in its
slice while it lives, because every proxy in the cluster reads each slice that changes.
`Endpoints` is the old form: all addresses of a Service in one object.
Source: kubernetes `staging/src/k8s.io/endpointslice`, `pkg/controller/endpoint`.
"""

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from wherry.api.kinds import ENDPOINT_SLICE, NODE, POD, SERVICE
from wherry.api.objects import Node, Pod, Service
from wherry.controllers.framework import (
    NAMESPACE_INDEX,
    Action,
    Caches,
    Create,
    Delete,
    Environment,
    Index,
    Json,
    Patch,
    Result,
    Source,
    controller_reference,
    namespace_index,
    own_key,
    split_key,
)
from wherry.controllers.views import EndpointSlice, to_dict

MAX_ENDPOINTS: Final = 100
"""Endpoints a slice (`--max-endpoints-per-slice`)."""
MANAGED_BY: Final = "endpointslice.kubernetes.io/managed-by"
MANAGER: Final = "endpointslice-controller.k8s.io"
SERVICE_NAME: Final = "kubernetes.io/service-name"
HEADLESS: Final = "service.kubernetes.io/headless"
_ZONE: Final = "topology.kubernetes.io/zone"
BATCH_S: Final = 0.05
"""Pod changes of this long become one pass: a roll-out must not rewrite slices per pod."""

PortSet = tuple[tuple[str, str, int, str], ...]
"""(name, protocol, port, appProtocol) of each port; endpoints in a slice share them."""


@dataclass(slots=True)
class _Slice:
    """A slice as it should be; `old` is None for one to be created."""

    family: str
    ports: PortSet
    old: EndpointSlice | None = None
    endpoints: list[Json] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.old.metadata.name if self.old is not None else ""


def reconcile(
    service: Service,
    pods: Iterable[Pod],
    nodes: Mapping[str, Node],
    slices: Sequence[EndpointSlice],
) -> list[Action]:
    """Decide which slices of a Service to create, change and delete.

    Args:
        service: With a selector; without one its slices are somebody else's.
        pods: The pods that it selects.
        nodes: By name, for the zones.
        slices: The slices that this controller manages for the Service.
    """
    wanted = _desired(service, pods, nodes)
    placed = _place(wanted, [s for s in slices if not s.metadata.deleting])
    actions: list[Action] = []
    for item in placed:
        if item.old is None:
            actions.append(_create(service, item))
        elif _changed(service, item, item.old):
            actions.append(_patch(service, item, item.old))
    kept = {item.name for item in placed}
    actions += [
        Delete(ENDPOINT_SLICE, s.metadata.namespace, s.metadata.name, s.metadata.uid)
        for s in slices
        if s.metadata.name not in kept and not s.metadata.deleting
    ]
    return actions


def eligible(pod: Pod) -> bool:
    """Tell whether a pod can be an endpoint at all."""
    return bool(pod.status.pod_ip) and not pod.finished


def addresses_of(pod: Pod) -> list[str]:
    """Return the pod's addresses, one a family."""
    return [p.ip for p in pod.status.pod_ips if p.ip] or [pod.status.pod_ip]


def ports_of(service: Service, pod: Pod) -> PortSet:
    """Resolve the Service's ports for one pod; a named port that the pod lacks is left out."""
    found = []
    for port in service.spec.ports:
        target = port.port if port.target_port in (None, "", 0) else port.target_port
        number = target if isinstance(target, int) else _named_port(pod, str(target), port.protocol)
        if number is not None:
            found.append((port.name, port.protocol, number, port.app_protocol or ""))
    return tuple(found)


def _named_port(pod: Pod, name: str, protocol: str) -> int | None:
    if name.isdigit():
        return int(name)
    sidecars = (c for c in pod.spec.init_containers if c.restart_policy == "Always")
    for container in (*pod.spec.containers, *sidecars):
        for port in container.ports:
            if port.name == name and port.protocol == protocol:
                return port.container_port
    return None


def is_headless(service: Service) -> bool:
    """Tell whether the Service has no address of its own."""
    return service.spec.cluster_ip == "None"


def hostname_of(service: Service, pod: Pod) -> str:
    """Return the name under which the pod is found below the Service's, "" for none."""
    spec, same = pod.spec, pod.metadata.namespace == service.metadata.namespace
    return spec.hostname if same and spec.subdomain == service.metadata.name else ""


def pod_reference(pod: Pod) -> Json:
    """Return `targetRef`."""
    meta = pod.metadata
    return {"kind": "Pod", "namespace": meta.namespace, "name": meta.name, "uid": meta.uid}


def _desired(
    service: Service, pods: Iterable[Pod], nodes: Mapping[str, Node]
) -> dict[tuple[str, PortSet], dict[str, Json]]:
    """Return endpoints by (address family, ports) and then by pod uid."""
    families = {_family(ip) for ip in service.spec.cluster_ips if ip and ip != "None"}
    wanted: dict[tuple[str, PortSet], dict[str, Json]] = {}
    for pod in filter(eligible, pods):
        ports = ports_of(service, pod)
        if service.spec.ports and not ports:
            continue
        for address in addresses_of(pod):
            family = _family(address)
            if not families or family in families:
                endpoint = _endpoint(service, pod, nodes.get(pod.spec.node_name), address)
                wanted.setdefault((family, ports), {})[pod.metadata.uid] = endpoint
    if not wanted:  # one empty slice says that there is nothing, rather than nothing being known
        wanted[min(families, default="IPv4"), ()] = {}
    return wanted


def _family(address: str) -> str:
    return f"IPv{ipaddress.ip_address(address).version}"


def _endpoint(service: Service, pod: Pod, node: Node | None, address: str) -> Json:
    terminating = pod.metadata.deleting
    ready = service.spec.publish_not_ready_addresses or (pod.ready and not terminating)
    endpoint: Json = {
        "addresses": [address],
        "conditions": {"ready": ready, "serving": pod.ready, "terminating": terminating},
        "targetRef": pod_reference(pod),
    }
    if pod.spec.node_name:
        endpoint["nodeName"] = pod.spec.node_name
    zone = node.metadata.labels.get(_ZONE) if node is not None else None
    if zone:
        endpoint["zone"] = zone
    if hostname := hostname_of(service, pod):
        endpoint["hostname"] = hostname
    return endpoint


def _place(
    wanted: dict[tuple[str, PortSet], dict[str, Json]], slices: Sequence[EndpointSlice]
) -> list[_Slice]:
    """Assign endpoints to slices: those placed already stay, new ones fill what has room.

    Slices that change anyway are filled first, so that the fewest are written.
    """
    placed: list[_Slice] = []
    for (family, ports), endpoints in sorted(wanted.items(), key=lambda item: item[0]):
        mine = [s for s in slices if s.address_type == family and _ports_of_slice(s) == ports]
        left = dict(endpoints)
        group: list[_Slice] = []
        for old in sorted(mine, key=lambda s: s.metadata.name):
            uids = [e.target_ref.uid for e in old.endpoints if e.target_ref is not None]
            stay = [left.pop(uid) for uid in uids if uid in left]
            group.append(_Slice(family, ports, old, stay))
        new = [left[uid] for uid in sorted(left)]
        for item in sorted(group, key=_unchanged_and_full):
            room = MAX_ENDPOINTS - len(item.endpoints)
            item.endpoints += new[:room]
            new = new[room:]
        while new:
            group.append(_Slice(family, ports, None, new[:MAX_ENDPOINTS]))
            new = new[MAX_ENDPOINTS:]
        placed += [item for item in group if item.endpoints] or group[:1]
    return [item for item in placed if item.endpoints] or placed[:1] or [_Slice("IPv4", ())]


def _unchanged_and_full(item: _Slice) -> tuple[bool, int]:
    unchanged = item.old is not None and len(item.old.endpoints) == len(item.endpoints)
    return unchanged, -len(item.endpoints)


def _ports_of_slice(slice_: EndpointSlice) -> PortSet:
    return tuple(
        (p.name or "", p.protocol or "TCP", p.port or 0, p.app_protocol or "") for p in slice_.ports
    )


def _changed(service: Service, item: _Slice, old: EndpointSlice) -> bool:
    if [to_dict(e) for e in old.endpoints] != item.endpoints:
        return True
    return not _labels(service).items() <= old.metadata.labels.items()


def _labels(service: Service) -> dict[str, str]:
    labels = {k: v for k, v in service.metadata.labels.items() if k != HEADLESS}
    labels |= {MANAGED_BY: MANAGER, SERVICE_NAME: service.metadata.name}
    return {**labels, HEADLESS: ""} if is_headless(service) else labels


def ports_to_json(ports: PortSet) -> list[Json]:
    """Return the wire form; an unnamed port keeps its empty name, as upstream writes it."""
    return [
        {"name": name, "protocol": protocol, "port": port} | ({"appProtocol": app} if app else {})
        for name, protocol, port, app in ports
    ]


def _create(service: Service, item: _Slice) -> Create:
    meta = service.metadata
    body = {
        "apiVersion": ENDPOINT_SLICE.api_version,
        "kind": ENDPOINT_SLICE.kind,
        "metadata": {
            "generateName": f"{meta.name}-",
            "namespace": meta.namespace,
            "labels": _labels(service),
            "ownerReferences": [controller_reference(SERVICE, meta)],
        },
        "addressType": item.family,
        "endpoints": item.endpoints,
        "ports": ports_to_json(item.ports),
    }
    return Create(ENDPOINT_SLICE, meta.namespace, body)


def _patch(service: Service, item: _Slice, old: EndpointSlice) -> Patch:
    """Replace the endpoints, only at the revision that was read: nobody else's may be undone."""
    body = {"metadata": {"labels": _labels(service)}, "endpoints": item.endpoints}
    meta = old.metadata
    return Patch(
        ENDPOINT_SLICE,
        meta.namespace,
        meta.name,
        body,
        uid=meta.uid,
        revision=meta.resource_version,
    )


def pod_service_keys(caches: Caches, old: Pod | None, new: Pod | None) -> set[str]:
    """Wake the Services that selected the pod before or select it now, if it matters to them."""
    if old is not None and new is not None and _looks(old) == _looks(new):
        return set()
    found: set[str] = set()
    for pod in (old, new):
        if pod is None:
            continue
        labels = pod.metadata.labels.items()
        for service in caches[SERVICE].by_index(NAMESPACE_INDEX, pod.metadata.namespace):
            if service.spec.selector and service.spec.selector.items() <= labels:
                found.add(service.metadata.key)
    return found


def _looks(pod: Pod) -> tuple[Any, ...]:
    """Return what endpoints are made from."""
    return (
        pod.metadata.uid,
        pod.metadata.labels,
        pod.metadata.deleting,
        pod.spec.node_name,
        pod.status.pod_ip,
        pod.status.pod_ips,
        pod.ready,
        pod.finished,
    )


def selected_pods(caches: Caches, service: Service) -> list[Pod]:
    """Return the pods of the Service's namespace that carry its selector's labels."""
    selector = (service.spec.selector or {}).items()
    pods = caches[POD].by_index(NAMESPACE_INDEX, service.metadata.namespace)
    return [p for p in pods if selector <= p.metadata.labels.items()]


INDICES = (
    Index(POD, NAMESPACE_INDEX, namespace_index),
    Index(SERVICE, NAMESPACE_INDEX, namespace_index),
)


def _slice_keys(_caches: Caches, old: EndpointSlice | None, new: EndpointSlice | None) -> set[str]:
    return {
        f"{s.metadata.namespace}/{s.metadata.labels[SERVICE_NAME]}"
        for s in (old, new)
        if s is not None and s.metadata.labels.get(MANAGED_BY) == MANAGER and _service_of(s)
    }


def _service_of(slice_: EndpointSlice) -> str:
    return slice_.metadata.labels.get(SERVICE_NAME, "")


def _service_index(slice_: EndpointSlice) -> tuple[str, ...]:
    mine = slice_.metadata.labels.get(MANAGED_BY) == MANAGER and _service_of(slice_)
    return (f"{slice_.metadata.namespace}/{_service_of(slice_)}",) if mine else ()


def _zone_keys(caches: Caches, old: Node | None, new: Node | None) -> set[str]:
    """Wake every Service when a node's zone changes."""
    zones = [n.metadata.labels.get(_ZONE) if n is not None else None for n in (old, new)]
    if zones[0] == zones[1]:
        return set()
    return {s.metadata.key for s in caches[SERVICE].values() if s.spec.selector}


class EndpointSliceController:
    """Runs `reconcile` for Services with a selector."""

    name = "endpointslice-controller"

    def __init__(self) -> None:
        self.sources = (
            Source(SERVICE, own_key),
            Source(POD, pod_service_keys, BATCH_S),
            Source(ENDPOINT_SLICE, _slice_keys),
            Source(NODE, _zone_keys),
        )
        self.indices = (*INDICES, Index(ENDPOINT_SLICE, SERVICE_NAME, _service_index))

    async def reconcile(self, key: str, env: Environment) -> Result:
        """See `reconcile` of this module; the slices of a Service that is gone go too."""
        if not env.current:
            return Result()
        slices = env.caches[ENDPOINT_SLICE].by_index(SERVICE_NAME, key)
        service: Service | None = env.caches[SERVICE].get(key)
        if service is None:
            namespace, _ = split_key(key)
            gone = [s.metadata for s in slices if not s.metadata.deleting]
            return Result([Delete(ENDPOINT_SLICE, namespace, m.name, m.uid) for m in gone])
        if not service.spec.selector or service.spec.type == "ExternalName":
            return Result()
        if service.metadata.deleting:
            return Result()
        pods = selected_pods(env.caches, service)
        names = {p.spec.node_name for p in pods}
        nodes = {n: node for n in names if (node := env.caches[NODE].get(n)) is not None}
        return Result(reconcile(service, pods, nodes, slices))
