"""Endpoints and EndpointSlice."""

from wherry.api.errors import Cause
from wherry.apiserver.strategy import fields, names
from wherry.apiserver.strategy.base import Object, Strategy
from wherry.apiserver.strategy.defaulting import Defaults
from wherry.apiserver.strategy.formats import PROTOCOLS, check_endpoint_ip, check_port, choice
from wherry.apiserver.strategy.names import NameRule

_ADDRESS_TYPES = ("FQDN", "IPv4", "IPv6")
_MOST_ENDPOINTS = 1000
_MOST_ADDRESSES = 100
_MOST_PORTS = 20000
_MOST_TOPOLOGY = 16
_MOST_HINTS = 8


_TCP = Defaults(empty={"protocol": "TCP"})
_ENDPOINTS = Defaults(within={"subsets": Defaults(within={"ports": _TCP})})
_SLICE = Defaults(within={"ports": Defaults(empty={"protocol": "TCP"}, absent={"name": ""})})


class EndpointsStrategy(Strategy):
    """The old form: subsets of addresses and ports."""

    create_on_update = True

    def default(self, obj: Object) -> None:
        """Default every port to TCP."""
        _ENDPOINTS.apply(obj)

    def validate(self, obj: Object) -> list[Cause]:
        """Check every subset."""
        wrong: list[Cause] = []
        for index, subset in enumerate(obj.get("subsets", ())):
            path = f"subsets[{index}]"
            if not subset.get("addresses") and not subset.get("notReadyAddresses"):
                wrong.append(
                    fields.required(path, "must specify `addresses` or `notReadyAddresses`")
                )
            for field in ("addresses", "notReadyAddresses"):
                for at, address in enumerate(subset.get(field, ())):
                    wrong += _address(f"{path}.{field}[{at}]", address)
            wrong += _ports(f"{path}.ports", subset.get("ports", []))
        return wrong


def _address(path: str, address: Object) -> list[Cause]:
    wrong = check_endpoint_ip(f"{path}.ip", address.get("ip", ""))
    if address.get("hostname"):
        wrong += names.check(f"{path}.hostname", address["hostname"], names.dns1123_label)
    if address.get("nodeName"):
        wrong += names.check(f"{path}.nodeName", address["nodeName"], names.dns1123_subdomain)
    return wrong


def _ports(path: str, ports: list[Object]) -> list[Cause]:
    wrong: list[Cause] = []
    for index, port in enumerate(ports):
        at = f"{path}[{index}]"
        if not port.get("name") and len(ports) > 1:
            wrong.append(fields.required(f"{at}.name"))
        elif port.get("name"):
            wrong += names.check(f"{at}.name", port["name"], names.dns1123_label)
        wrong += check_port(f"{at}.port", port.get("port", 0))
        wrong += choice(at, port, "protocol", PROTOCOLS)
        if port.get("appProtocol"):
            wrong += names.check(f"{at}.appProtocol", port["appProtocol"], names.qualified_name)
    return wrong


class EndpointSliceStrategy(Strategy):
    """The new form: one address type, up to a thousand endpoints."""

    generation = True
    step_first = False

    def is_change(self, new: Object, old: Object) -> bool:
        """Look at everything, and of the metadata at the labels: they name the Service."""
        labels = [obj["metadata"].get("labels") for obj in (new, old)]
        rest = [{k: v for k, v in obj.items() if k != "metadata"} for obj in (new, old)]
        return labels[0] != labels[1] or rest[0] != rest[1]

    def default(self, obj: Object) -> None:
        """Default ports to TCP and no name."""
        _SLICE.apply(obj)

    def validate(self, obj: Object) -> list[Cause]:
        """Check addresses against the type, and ports."""
        kind = obj.get("addressType", "")
        wrong: list[Cause] = []
        if not kind:
            wrong.append(fields.required("addressType"))
        elif kind not in _ADDRESS_TYPES:
            wrong.append(fields.unsupported("addressType", kind, _ADDRESS_TYPES))
        endpoints = obj.get("endpoints", [])
        if len(endpoints) > _MOST_ENDPOINTS:
            wrong.append(fields.too_many("endpoints", len(endpoints), _MOST_ENDPOINTS))
        else:
            for index, endpoint in enumerate(endpoints):
                wrong += _endpoint(f"endpoints[{index}]", endpoint, kind)
        return wrong + _slice_ports(obj.get("ports", []))

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        """Keep the address type."""
        if new.get("addressType") == old.get("addressType"):
            return []
        return [fields.invalid("addressType", new.get("addressType"), "field is immutable")]


def _endpoint(path: str, endpoint: Object, kind: str) -> list[Cause]:
    addresses = endpoint.get("addresses", [])
    wrong: list[Cause] = []
    if not addresses:
        wrong.append(fields.required(f"{path}.addresses", "must contain at least 1 address"))
    if len(addresses) > _MOST_ADDRESSES:
        wrong.append(fields.too_many(f"{path}.addresses", len(addresses), _MOST_ADDRESSES))
    for index, address in enumerate(addresses):
        at = f"{path}.addresses[{index}]"
        if kind == "FQDN":
            wrong += _full_name(at, address)
        elif kind in ("IPv4", "IPv6"):  # of another kind nothing is known
            wrong += check_endpoint_ip(at, address)
            if (":" in address) != (kind == "IPv6"):
                wrong.append(fields.invalid(at, address, f"must be an {kind} address"))
    if "nodeName" in endpoint:
        wrong += names.check(f"{path}.nodeName", endpoint["nodeName"], names.dns1123_subdomain)
    topology, at = endpoint.get("deprecatedTopology", {}), f"{path}.deprecatedTopology"
    if len(topology) > _MOST_TOPOLOGY:
        wrong.append(fields.too_many(at, len(topology), _MOST_TOPOLOGY))
    wrong += names.check_labels(at, topology)
    if "hostname" in endpoint:
        wrong += names.check(f"{path}.hostname", endpoint["hostname"], names.dns1123_label)
    hints = endpoint.get("hints", {})
    wrong += _hints(f"{path}.hints.forZones", hints.get("forZones", []), names.label_value)
    return wrong + _hints(
        f"{path}.hints.forNodes", hints.get("forNodes", []), names.dns1123_subdomain
    )


def _full_name(path: str, name: str) -> list[Cause]:
    """Check a name that needs no search domain; a dot at its end is no part of it."""
    name = name.removesuffix(".")
    if not name:
        return [fields.required(path)]
    if reasons := names.dns1123_subdomain(name):
        return [fields.invalid(path, name, ",".join(reasons))]
    if "." not in name:
        detail = "should be a domain with at least two segments separated by dots"
        return [fields.invalid(path, name, detail)]
    for label in name.split("."):
        if reasons := names.dns1123_label(label):
            return [fields.invalid(path, label, ",".join(reasons))]
    return []


def _hints(path: str, hints: list[Object], rule: NameRule) -> list[Cause]:
    if len(hints) > _MOST_HINTS:
        return [fields.too_many(path, len(hints), _MOST_HINTS)]
    wrong: list[Cause] = []
    seen: set[str] = set()
    for index, hint in enumerate(hints):
        at, name = f"{path}[{index}].name", hint.get("name", "")
        if name in seen:
            wrong.append(fields.duplicate(at, name))
        seen.add(name)
        wrong += names.check(at, name, rule)
    return wrong


def _slice_ports(ports: list[Object]) -> list[Cause]:
    wrong: list[Cause] = []
    if len(ports) > _MOST_PORTS:
        return [fields.too_many("ports", len(ports), _MOST_PORTS)]
    seen: set[str] = set()
    for index, port in enumerate(ports):
        at, name = f"ports[{index}]", port.get("name", "")
        if name:
            wrong += names.check(f"{at}.name", name, names.dns1123_label)
        if name in seen:
            wrong.append(fields.duplicate(f"{at}.name", name))
        seen.add(name)
        wrong += choice(at, port, "protocol", PROTOCOLS)
        if port.get("appProtocol"):
            wrong += names.check(f"{at}.appProtocol", port["appProtocol"], names.qualified_name)
        if "port" in port:
            wrong += check_port(f"{at}.port", port["port"])
    return wrong
