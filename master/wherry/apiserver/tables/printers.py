"""One printer for each kind: its columns, and a function that makes the cells."""

from collections.abc import Mapping
from typing import Any, Final

from wherry.api import kinds
from wherry.api.kinds import Kind
from wherry.apiserver.resources import SCALE_VIEW
from wherry.apiserver.tables import network, policies, running, volumes, workloads
from wherry.apiserver.tables.cells import NONE, Obj, created, name_of
from wherry.apiserver.tables.column import Printer, printer
from wherry.apiserver.tables.duration import UNKNOWN, age, format_duration
from wherry.apiserver.tables.network import endpoint_slice, endpoints, service
from wherry.apiserver.tables.pods import pod_state
from wherry.apiserver.versions import events


def _generic(obj: Obj, now: float) -> list[Any]:  # noqa: ARG001  (it shows when, not how long ago)
    return [name_of(obj), obj["metadata"].get("creationTimestamp") or UNKNOWN]


def _pod(obj: Obj, now: float) -> list[Any]:
    state = pod_state(obj, now)
    spec, status = obj.get("spec", {}), obj.get("status", {})
    ips = [entry.get("ip") for entry in status.get("podIPs") or ()]
    gates = [gate.get("conditionType") for gate in spec.get("readinessGates") or ()]
    met = {c.get("type") for c in status.get("conditions") or () if c.get("status") == "True"}
    return [
        name_of(obj),
        state.ready,
        state.status,
        state.restarts,
        created(obj, now),
        next(iter(ips), None) or status.get("podIP") or NONE,
        spec.get("nodeName") or NONE,
        status.get("nominatedNodeName") or NONE,
        f"{sum(gate in met for gate in gates)}/{len(gates)}" if gates else NONE,
    ]


def _node(obj: Obj, now: float) -> list[Any]:
    status, labels = obj.get("status", {}), obj["metadata"].get("labels") or {}
    ready = next((c for c in status.get("conditions") or () if c.get("type") == "Ready"), None)
    word = "Unknown" if ready is None else "Ready" if ready.get("status") == "True" else "NotReady"
    if obj.get("spec", {}).get("unschedulable"):
        word += ",SchedulingDisabled"
    prefix = "node-role.kubernetes.io/"
    roles = {key.removeprefix(prefix) for key in labels if key.startswith(prefix)} - {""}
    if labels.get("kubernetes.io/role"):
        roles.add(labels["kubernetes.io/role"])
    info = status.get("nodeInfo") or {}
    return [
        name_of(obj),
        word,
        ",".join(sorted(roles)) or NONE,
        created(obj, now),
        info.get("kubeletVersion", ""),
        _address(status, "InternalIP"),
        _address(status, "ExternalIP"),
        info.get("osImage") or UNKNOWN,
        info.get("kernelVersion") or UNKNOWN,
        info.get("containerRuntimeVersion") or UNKNOWN,
    ]


def _address(status: Obj, kind: str) -> str:
    found = (a.get("address") for a in status.get("addresses") or () if a.get("type") == kind)
    return next(found, None) or NONE


def _event_v1(obj: Obj, now: float) -> list[Any]:
    return _event(events.to_stored(obj), now)


def _event(obj: Obj, now: float) -> list[Any]:
    about, source = obj.get("involvedObject") or {}, obj.get("source") or {}
    series = obj.get("series") or {}
    first = obj.get("firstTimestamp") or obj.get("eventTime")
    last = series.get("lastObservedTime") or obj.get("lastTimestamp") or first
    component = source.get("component") or obj.get("reportingComponent", "")
    host = source.get("host") or obj.get("reportingInstance", "")
    kind = str(about.get("kind", "")).lower()
    return [
        age(last, now),
        obj.get("type", ""),
        obj.get("reason", ""),
        f"{kind}/{about['name']}" if about.get("name") else kind,
        about.get("fieldPath", ""),
        f"{component}, {host}" if host else component,
        str(obj.get("message", "")).strip(),
        age(first, now),
        series.get("count") or obj.get("count") or 1,
        name_of(obj),
    ]


def _namespace(obj: Obj, now: float) -> list[Any]:
    return [name_of(obj), obj.get("status", {}).get("phase", ""), created(obj, now)]


def _config_map(obj: Obj, now: float) -> list[Any]:
    count = len(obj.get("data") or ()) + len(obj.get("binaryData") or ())
    return [name_of(obj), count, created(obj, now)]


def _secret(obj: Obj, now: float) -> list[Any]:
    return [name_of(obj), obj.get("type", ""), len(obj.get("data") or ()), created(obj, now)]


def _service_account(obj: Obj, now: float) -> list[Any]:
    return [name_of(obj), len(obj.get("secrets") or ()), created(obj, now)]


def _scale(obj: Obj, now: float) -> list[Any]:
    desired, actual = obj.get("spec", {}), obj.get("status", {})
    return [
        name_of(obj),
        desired.get("replicas", 0),
        actual.get("replicas", 0),
        created(obj, now),
    ]


def _signing_request(obj: Obj, now: float) -> list[Any]:
    spec, status = obj.get("spec", {}), obj.get("status", {})
    types = {c.get("type") for c in status.get("conditions") or ()}
    word = "Denied" if "Denied" in types else "Approved" if "Approved" in types else "Pending"
    word += ",Failed" if "Failed" in types else ""
    seconds = spec.get("expirationSeconds")
    return [
        name_of(obj),
        created(obj, now),
        spec.get("signerName") or NONE,
        spec.get("username", ""),
        NONE if seconds is None else format_duration(seconds),
        word + (",Issued" if status.get("certificate") else ""),
    ]


def _lease(obj: Obj, now: float) -> list[Any]:
    return [name_of(obj), obj.get("spec", {}).get("holderIdentity") or "", created(obj, now)]


def _subnet_lease(obj: Obj, now: float) -> list[Any]:
    data = obj.get("BackendData") or {}
    return [
        name_of(obj),
        obj.get("node") or NONE,
        obj.get("PublicIP") or NONE,
        obj.get("BackendType") or NONE,
        created(obj, now),
        obj.get("Expiration") or NONE,
        data.get("VtepMAC") or NONE,
    ]


def _network_config(obj: Obj, now: float) -> list[Any]:
    backend = obj.get("Backend") or {}
    return [name_of(obj), obj.get("Network", ""), backend.get("Type", ""), created(obj, now)]


_GENERIC = printer("Name|Created At:date", _generic)
_EVENT = "Last Seen|Type|Reason|Object|Subobject+|Source+|Message|First Seen+|Count+|Name+"
_WORKLOAD_WIDE = "Containers+|Images+|Selector+"
_PRINTERS: Final[Mapping[Kind, Printer]] = {
    **running.PRINTERS,
    **volumes.PRINTERS,
    **policies.PRINTERS,
    **network.PRINTERS,
    kinds.POD: printer(
        "Name|Ready|Status|Restarts|Age|IP+|Node+|Nominated Node+|Readiness Gates+", _pod
    ),
    kinds.NODE: printer(
        "Name|Status|Roles|Age|Version|Internal-IP+|External-IP+|OS-Image+"
        "|Kernel-Version+|Container-Runtime+",
        _node,
    ),
    kinds.NAMESPACE: printer("Name|Status|Age", _namespace),
    kinds.SERVICE: printer("Name|Type|Cluster-IP|External-IP|Port(s)|Age|Selector+", service),
    kinds.ENDPOINTS: printer("Name|Endpoints|Age", endpoints),
    kinds.ENDPOINT_SLICE: printer("Name|AddressType|Ports|Endpoints|Age", endpoint_slice),
    kinds.CONFIG_MAP: printer("Name|Data|Age", _config_map),
    kinds.SECRET: printer("Name|Type|Data|Age", _secret),
    kinds.SERVICE_ACCOUNT: printer("Name|Secrets|Age", _service_account),
    kinds.EVENT: printer(_EVENT, _event),
    kinds.EVENT_V1: printer(_EVENT, _event_v1),
    kinds.DEPLOYMENT: printer(
        f"Name|Ready|Up-to-date|Available|Age|{_WORKLOAD_WIDE}",
        workloads.deployment,
    ),
    kinds.REPLICA_SET: printer(
        f"Name|Desired:integer|Current:integer|Ready:integer|Age|{_WORKLOAD_WIDE}",
        workloads.replica_set,
    ),
    kinds.REPLICATION_CONTROLLER: printer(
        f"Name|Desired:integer|Current:integer|Ready:integer|Age|{_WORKLOAD_WIDE}",
        workloads.replica_set,
    ),
    SCALE_VIEW.kind: printer("Name|Desired:integer|Available:integer|Age", _scale),
    kinds.CERTIFICATE_SIGNING_REQUEST: printer(
        "Name|Age|SignerName|Requestor|RequestedDuration|Condition", _signing_request
    ),
    kinds.LEASE: printer("Name|Holder|Age", _lease),
    kinds.SUBNET_LEASE: printer(
        "Name|Node|Public-IP|Backend|Age|Expiration+|Vtep-MAC+", _subnet_lease
    ),
    kinds.NETWORK_CONFIG: printer("Name|Network|Backend|Age", _network_config),
}


def printer_of(kind: Kind) -> Printer:
    """Return a kind's printer; NAME and CREATED AT where it has none of its own."""
    return _PRINTERS.get(kind, _GENERIC)
