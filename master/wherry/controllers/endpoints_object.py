"""The old `Endpoints` object of each Service with a selector, for clients that still read it.

Addresses that share their ports form a subset; ready and not ready ones are listed apart.
At most 1000 addresses are listed; those who need more read EndpointSlices.
Source: kubernetes `pkg/controller/endpoint/endpoints_controller.go`, `pkg/api/v1/endpoints`.
"""

from collections.abc import Iterable
from typing import Final

from wherry.api.kinds import ENDPOINTS, POD, SERVICE
from wherry.api.objects import Pod, Service
from wherry.controllers.endpoints import (
    BATCH_S,
    HEADLESS,
    INDICES,
    PortSet,
    eligible,
    hostname_of,
    is_headless,
    pod_reference,
    pod_service_keys,
    ports_of,
    ports_to_json,
    selected_pods,
)
from wherry.controllers.framework import (
    Action,
    Create,
    Delete,
    Environment,
    Json,
    Patch,
    Result,
    Source,
    own_key,
    split_key,
)
from wherry.controllers.views import Endpoints, to_dict

MAX_ADDRESSES: Final = 1000
OVER_CAPACITY: Final = "endpoints.kubernetes.io/over-capacity"
MANAGED_BY: Final = "endpoints.kubernetes.io/managed-by"
_MANAGER: Final = "endpoint-controller"


def reconcile(service: Service, pods: Iterable[Pod], have: Endpoints | None) -> list[Action]:
    """Decide how to bring the Endpoints of a Service up to date.

    Args:
        service: With a selector.
        pods: The pods that it selects.
        have: The object as it is, None if there is none yet.
    """
    subsets, truncated = _subsets(service, pods)
    labels = {k: v for k, v in service.metadata.labels.items() if k != HEADLESS}
    labels[MANAGED_BY] = _MANAGER
    if is_headless(service):
        labels[HEADLESS] = ""
    annotation = "truncated" if truncated else None
    meta = service.metadata
    if have is None:
        annotations = {"annotations": {OVER_CAPACITY: annotation}} if annotation else {}
        body = {
            "apiVersion": ENDPOINTS.api_version,
            "kind": ENDPOINTS.kind,
            "metadata": {
                "name": meta.name,
                "namespace": meta.namespace,
                "labels": labels,
                **annotations,
            },
            "subsets": subsets,
        }
        return [Create(ENDPOINTS, meta.namespace, body)]
    same = (
        subsets == [_comparable(s) for s in to_dict(have.subsets)]
        and labels.items() <= have.metadata.labels.items()
        and have.metadata.annotations.get(OVER_CAPACITY) == annotation
    )
    if same:
        return []
    body = {
        "metadata": {"labels": labels, "annotations": {OVER_CAPACITY: annotation}},
        "subsets": subsets,
    }
    revision = have.metadata.resource_version
    return [
        Patch(ENDPOINTS, meta.namespace, meta.name, body, uid=have.metadata.uid, revision=revision)
    ]


def _comparable(subset: Json) -> Json:
    return {key: value for key, value in subset.items() if value}


def _subsets(service: Service, pods: Iterable[Pod]) -> tuple[list[Json], bool]:
    """Return the subsets, and whether addresses had to be left out."""
    everybody = service.spec.publish_not_ready_addresses
    groups: dict[PortSet, tuple[list[Json], list[Json]]] = {}
    count = 0
    for pod in sorted(pods, key=lambda p: (p.status.pod_ip, p.metadata.uid)):
        if not eligible(pod) or (pod.metadata.deleting and not everybody):
            continue
        ports = ports_of(service, pod)
        if service.spec.ports and not ports:
            continue
        count += 1
        if count > MAX_ADDRESSES:
            break
        ready, not_ready = groups.setdefault(ports, ([], []))
        (ready if everybody or pod.ready else not_ready).append(_address(service, pod))
    subsets = [
        _comparable(
            {
                "addresses": ready,
                "notReadyAddresses": not_ready,
                "ports": [_without_empty(p) for p in ports_to_json(ports)],
            }
        )
        for ports, (ready, not_ready) in sorted(groups.items())
    ]
    return subsets, count > MAX_ADDRESSES


def _without_empty(port: Json) -> Json:
    return {key: value for key, value in port.items() if value != ""}


def _address(service: Service, pod: Pod) -> Json:
    full = {
        "ip": pod.status.pod_ip,
        "hostname": hostname_of(service, pod),
        "nodeName": pod.spec.node_name,
        "targetRef": pod_reference(pod),
    }
    return {key: value for key, value in full.items() if value}


class EndpointsController:
    """Runs `reconcile` for Services with a selector."""

    name = "endpoints-controller"

    def __init__(self) -> None:
        self.sources = (
            Source(SERVICE, own_key),
            Source(POD, pod_service_keys, BATCH_S),
            Source(ENDPOINTS, own_key),
        )
        self.indices = INDICES

    async def reconcile(self, key: str, env: Environment) -> Result:
        """See `reconcile` of this module.

        The Endpoints of a Service that is gone go too, if they are of our making.
        """
        if not env.current:
            return Result()
        have: Endpoints | None = env.caches[ENDPOINTS].get(key)
        service: Service | None = env.caches[SERVICE].get(key)
        if service is None:
            namespace, name = split_key(key)
            ours = have is not None and have.metadata.labels.get(MANAGED_BY) == _MANAGER
            if have is None or not ours or have.metadata.deleting:
                return Result()
            return Result([Delete(ENDPOINTS, namespace, name, have.metadata.uid)])
        ignored = not service.spec.selector or service.spec.type == "ExternalName"
        if ignored or service.metadata.deleting:
            return Result()
        return Result(reconcile(service, selected_pods(env.caches, service), have))
