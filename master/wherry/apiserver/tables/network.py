"""Services, Endpoints, EndpointSlices."""

from collections.abc import Iterator
from typing import Any

from wherry.apiserver.tables.cells import NONE, UNSET, Obj, created, labels_text, name_of

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
    ingress = obj.get("status", {}).get("loadBalancer", {}).get("ingress") or ()
    given = sorted({entry.get("ip") or entry.get("hostname") or "" for entry in ingress} - {""})
    return ",".join([*given, *addresses]) or "<pending>"


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
