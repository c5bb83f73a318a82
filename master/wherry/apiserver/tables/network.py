"""Services, Endpoints, EndpointSlices; Ingresses, policies and addresses."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from wherry.api import kinds
from wherry.api.kinds import Kind
from wherry.apiserver.tables.cells import (
    NONE,
    UNSET,
    Obj,
    created,
    labels_text,
    name_of,
    selector_text,
)
from wherry.apiserver.tables.column import Printer, printer

_SHOWN_ADDRESSES = 3


def service(obj: Obj, now: float) -> list[Any]:
    """Return a Service's cells."""
    spec = obj.get("spec", {})
    return [
        name_of(obj),
        spec.get("type") or "ClusterIP",
        next(iter(spec.get("clusterIPs") or ()), None) or spec.get("clusterIP") or NONE,
        _external(obj),
        ",".join(_port(port) for port in spec.get("ports") or ()) or NONE,
        created(obj, now),
        labels_text(spec.get("selector")),
    ]


def _port(port: Obj) -> str:
    node_port = f":{port['nodePort']}" if port.get("nodePort") else ""
    return f"{port.get('port')}{node_port}/{port.get('protocol', 'TCP')}"


def _external(obj: Obj) -> str:
    spec = obj.get("spec", {})
    addresses = list(spec.get("externalIPs") or ())
    if spec.get("type") == "ExternalName":
        return str(spec.get("externalName", ""))
    if spec.get("type") != "LoadBalancer":
        return ",".join(addresses) or NONE
    return ",".join([*_balancers(obj), *addresses]) or "<pending>"


def _balancers(obj: Obj) -> list[str]:
    ingress = (obj.get("status", {}).get("loadBalancer") or {}).get("ingress") or ()
    return sorted({entry.get("ip") or entry.get("hostname") or "" for entry in ingress} - {""})


def _addresses(subsets: Any) -> Iterator[str]:
    for subset in subsets or ():
        ports = [port.get("port") for port in subset.get("ports") or ()]
        for address in subset.get("addresses") or ():
            ip = address.get("ip", "")
            shown = f"[{ip}]" if ":" in ip else ip
            yield from (f"{shown}:{port}" for port in ports)
            if not ports:
                yield ip


def _shortened(parts: list[str]) -> str:
    more = len(parts) - _SHOWN_ADDRESSES
    text = ",".join(parts[:_SHOWN_ADDRESSES])
    return f"{text} + {more} more..." if more > 0 else text


def endpoints(obj: Obj, now: float) -> list[Any]:
    """Return the cells of an Endpoints object."""
    return [
        name_of(obj),
        _shortened(list(_addresses(obj.get("subsets")))) or NONE,
        created(obj, now),
    ]


def endpoint_slice(obj: Obj, now: float) -> list[Any]:
    """Return an EndpointSlice's cells."""
    ports = [str(p.get("port") or p.get("name") or "*") for p in obj.get("ports") or ()]
    found = [a for e in obj.get("endpoints") or () for a in e.get("addresses") or ()]
    return [
        name_of(obj),
        obj.get("addressType", ""),
        _shortened(ports) or UNSET,
        _shortened(found) or UNSET,
        created(obj, now),
    ]


def _ingress(obj: Obj, now: float) -> list[Any]:
    spec = obj.get("spec", {})
    hosts = [rule["host"] for rule in spec.get("rules") or () if rule.get("host")]
    return [
        name_of(obj),
        spec.get("ingressClassName") or NONE,
        _shortened(hosts) or "*",
        ",".join(_balancers(obj)),
        "80, 443" if spec.get("tls") else "80",
        created(obj, now),
    ]


def _ingress_class(obj: Obj, now: float) -> list[Any]:
    spec = obj.get("spec", {})
    parameters = spec.get("parameters")
    shown = NONE
    if parameters:
        group = f".{parameters['apiGroup']}" if parameters.get("apiGroup") else ""
        shown = f"{parameters.get('kind', '')}{group}/{parameters.get('name', '')}"
    return [name_of(obj), spec.get("controller", ""), shown, created(obj, now)]


def _network_policy(obj: Obj, now: float) -> list[Any]:
    selector = obj.get("spec", {}).get("podSelector") or {}
    return [name_of(obj), selector_text(selector), created(obj, now)]


def _service_cidr(obj: Obj, now: float) -> list[Any]:
    cidrs = obj.get("spec", {}).get("cidrs") or ()
    return [name_of(obj), ",".join(cidrs), created(obj, now)]


def _ip_address(obj: Obj, now: float) -> list[Any]:
    parent = obj.get("spec", {}).get("parentRef")
    shown = NONE
    if parent:
        group = f".{parent['group']}" if parent.get("group") else ""
        of = (f"{parent.get('resource', '')}{group}".lower(), parent.get("namespace", ""))
        shown = "/".join([*filter(None, of), parent.get("name", "")])
    return [name_of(obj), shown, created(obj, now)]


PRINTERS: Final[Mapping[Kind, Printer]] = {
    kinds.INGRESS: printer("Name|Class|Hosts|Address|Ports|Age", _ingress),
    kinds.INGRESS_CLASS: printer("Name|Controller|Parameters|Age", _ingress_class),
    kinds.NETWORK_POLICY: printer("Name|Pod-Selector|Age", _network_policy),
    kinds.SERVICE_CIDR: printer("Name|CIDRs|Age", _service_cidr),
    kinds.IP_ADDRESS: printer("Name|ParentRef|Age", _ip_address),
}
