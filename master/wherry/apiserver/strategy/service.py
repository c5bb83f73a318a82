"""Service: core `ValidateService` and `SetDefaults_Service`. IPv4, single stack."""

from collections.abc import Sequence

from wherry.api.errors import Cause
from wherry.apiserver.strategy import fields, names
from wherry.apiserver.strategy.base import Object, Strategy
from wherry.apiserver.strategy.defaulting import Defaults
from wherry.apiserver.strategy.formats import (
    PROTOCOLS,
    check_cidr,
    check_endpoint_ip,
    check_ip,
    check_no_ip,
    check_port,
    check_port_or_name,
    choice,
    option,
)
from wherry.apiserver.strategy.service_address import (
    default_addresses,
    follow_address,
    is_headless,
    keep_addresses,
    validate_addresses,
    validate_addresses_update,
)

_TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_POLICIES = ("Cluster", "Local")
_OUTSIDE = ("NodePort", "LoadBalancer")
_BALANCER_ONLY = ("allocateLoadBalancerNodePorts", "loadBalancerClass")
_DISTRIBUTIONS = ("PreferClose", "PreferSameNode", "PreferSameZone")
_ONLY_BALANCED = "may only be used when `type` is 'LoadBalancer'"
_AFFINITIES = ("ClientIP", "None")
_AFFINITY_S = 10800
_MOST_AFFINITY_S = 86400
_HINTS = "service.kubernetes.io/topology-aware-hints"
_MODE = "service.kubernetes.io/topology-mode"
_RANGES = "service.beta.kubernetes.io/load-balancer-source-ranges"


def _by_type(spec: Object) -> None:
    if spec["sessionAffinity"] == "None":
        spec.pop("sessionAffinityConfig", None)
    elif spec["sessionAffinity"] == "ClientIP":
        config = spec.setdefault("sessionAffinityConfig", {})
        config.setdefault("clientIP", {}).setdefault("timeoutSeconds", _AFFINITY_S)
    if _is_outside(spec):
        spec.setdefault("externalTrafficPolicy", "Cluster")
    if spec["type"] == "ExternalName":
        return
    if spec["type"] in _TYPES:
        spec.setdefault("internalTrafficPolicy", "Cluster")
    if spec["type"] == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)
    default_addresses(spec)


def _is_outside(spec: Object) -> bool:
    """Tell whether the Service can be reached from outside of the cluster."""
    kind = spec.get("type", "ClusterIP")
    return kind in _OUTSIDE or (kind == "ClusterIP" and bool(spec.get("externalIPs")))


def _same_target(port: Object) -> None:
    if port.get("targetPort") in (None, "", 0):
        port["targetPort"] = port.get("port", 0)


_DEFAULTS = Defaults(
    made={
        "spec": Defaults(
            empty={"sessionAffinity": "None", "type": "ClusterIP"},
            within={"ports": Defaults(empty={"protocol": "TCP"}, then=_same_target)},
            then=_by_type,
        )
    }
)


class ServiceStrategy(Strategy):
    """A name and an address for a set of pods. Addresses are the allocator's work."""

    create_on_update = True

    def check_name(self, name: str) -> Sequence[str]:
        """Be a DNS-1035 label: the name is a host name."""
        return names.dns1035_label(name)

    def prepare_create(self, obj: Object) -> None:
        """Begin without a load balancer."""
        obj["status"] = {"loadBalancer": {}}

    def prepare_update(self, new: Object, old: Object) -> None:
        """Keep addresses and ports that an update does not mention; drop what its type cannot have."""
        super().prepare_update(new, old)
        spec, was = new.setdefault("spec", {}), old["spec"]
        follow_address(spec, was)
        keep_addresses(spec, was)
        if spec.get("type") == "ExternalName" != was.get("type"):
            _drop_same(spec, was, "clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy")
        _node_ports(spec, was)
        if is_checked(was):
            if not is_checked(spec):
                _drop_same(spec, was, "healthCheckNodePort")
            elif not spec.get("healthCheckNodePort") and was.get("healthCheckNodePort"):
                spec["healthCheckNodePort"] = was["healthCheckNodePort"]
        if was.get("type") == "LoadBalancer" and spec.get("type") != "LoadBalancer":
            _drop_same(spec, was, *_BALANCER_ONLY)
        if was.get("type") in _OUTSIDE and spec.get("type") not in _OUTSIDE:
            _drop_same(spec, was, "externalTrafficPolicy")

    def default(self, obj: Object) -> None:
        """Fill in everything but addresses."""
        _DEFAULTS.apply(obj)

    def validate(self, obj: Object) -> list[Cause]:
        """Return everything that is wrong with the Service, in upstream's order."""
        spec, annotations = obj["spec"], obj.get("metadata", {}).get("annotations", {})
        wrong = _topology(annotations)
        wrong += _of_type(spec)
        several, taken = len(spec.get("ports", ())) > 1, set[str]()
        for index, port in enumerate(spec.get("ports", ())):
            wrong += _port(f"spec.ports[{index}]", port, taken, named=several)
        wrong += names.check_labels("spec.selector", spec.get("selector", {}))
        wrong += choice("spec", spec, "sessionAffinity", _AFFINITIES)
        wrong += _affinity(spec)
        wrong += validate_addresses(spec)
        for index, ip in enumerate(spec.get("externalIPs", ())):
            wrong += check_endpoint_ip(f"spec.externalIPs[{index}]", ip)
        wrong += choice("spec", spec, "type", _TYPES)
        wrong += _unique_ports(spec)
        wrong += _balancer(spec, annotations)
        return wrong + _traffic(spec)

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        """Keep address and load balancer for as long as there are any."""
        was, is_ = old["spec"], new["spec"]
        wrong = validate_addresses_update(is_, was)
        if was.get("type") == is_.get("type") == "LoadBalancer":
            now = is_.get("loadBalancerClass")
            if now != was.get("loadBalancerClass"):
                at = "spec.loadBalancerClass"
                wrong.append(fields.invalid(at, now, "may not change once set"))
        before = was.get("healthCheckNodePort")
        checked = before and is_checked(was) and is_checked(is_)
        if checked and is_.get("healthCheckNodePort") != before:
            wrong.append(fields.forbidden("spec.healthCheckNodePort", fields.IMMUTABLE))
        return wrong

    def validate_status(self, new: Object, old: Object) -> list[Cause]:
        """Check what a load balancer reports."""
        path = "status.loadBalancer.ingress"
        ingress = new.get("status", {}).get("loadBalancer", {}).get("ingress", [])
        if ingress and new["spec"].get("type") != "LoadBalancer":
            detail = "may only be used when `spec.type` is 'LoadBalancer'"
            return [fields.forbidden(path, detail)]
        return [
            cause
            for index, each in enumerate(ingress)
            for cause in _ingress(f"{path}[{index}]", each)
        ]

    def prepare_status(self, new: Object, old: Object) -> None:
        """Say of addresses that they are the balancer's own, unless it says otherwise."""
        if new["spec"].get("type") == "LoadBalancer":
            for each in new.get("status", {}).get("loadBalancer", {}).get("ingress", ()):
                if each.get("ip"):
                    each.setdefault("ipMode", "VIP")

    def warnings(self, obj: Object) -> list[str]:
        """Warn of what is old, and of what the type makes meaningless."""
        return service_warnings(obj)


def is_checked(spec: Object) -> bool:
    """Tell whether a load balancer asks nodes whether they have a pod of the Service."""
    return spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"


def _drop_same(spec: Object, was: Object, *names_: str) -> None:
    """Drop what the old type had and the new cannot have, unless it was asked for."""
    for field in names_:
        if field in spec and spec[field] == was.get(field):
            del spec[field]


def _node_ports(spec: Object, was: Object) -> None:
    """Carry node ports over to the ports that remain, or drop them with the type that has them."""
    if was.get("type") not in _OUTSIDE:
        return
    now, before = _numbers(spec), _numbers(was)
    if spec.get("type", "ClusterIP") not in _OUTSIDE:
        if now == before:
            for port in spec.get("ports", ()):
                port.pop("nodePort", None)
        return
    used = now & before
    held = {p.get("name", ""): p.get("nodePort", 0) for p in was.get("ports", ())}
    for port in spec.get("ports", ()):
        kept = 0 if port.get("nodePort") else held.get(port.get("name", ""), 0)
        if kept and kept not in used:
            port["nodePort"] = kept
            used.add(kept)


def _numbers(spec: Object) -> set[int]:
    return {p["nodePort"] for p in spec.get("ports", ()) if p.get("nodePort")}


def _topology(annotations: Object) -> list[Cause]:
    mode, hints = annotations.get(_MODE), annotations.get(_HINTS)
    if mode is None or hints is None or mode == hints:
        return []
    detail = f"must match annotations[{_HINTS}] when both are specified"
    return [fields.invalid(f"metadata.annotations[{_MODE}]", mode, detail)]


def _of_type(spec: Object) -> list[Cause]:
    kind, headless = spec["type"], is_headless(spec)
    wrong: list[Cause] = []
    if not spec.get("ports") and not headless and kind != "ExternalName":
        wrong.append(fields.required("spec.ports"))
    if headless and kind in _OUTSIDE:
        detail = f"may not be set to 'None' for {kind} services"
        wrong.append(fields.invalid("spec.clusterIPs[0]", "None", detail))
    if kind != "ExternalName":
        return wrong
    wrong += [
        fields.forbidden(f"spec.{field}", "may not be set for ExternalName services")
        for field in ("clusterIPs", "ipFamilies", "ipFamilyPolicy")
        if spec.get(field)
    ]
    name = spec.get("externalName", "").removesuffix(".")
    if not name:
        return [*wrong, fields.required("spec.externalName")]
    return wrong + names.check("spec.externalName", name, names.dns1123_subdomain)


def _port(at: str, port: Object, taken: set[str], *, named: bool) -> list[Cause]:
    name = port.get("name", "")
    wrong: list[Cause] = []
    if named and not name:
        wrong.append(fields.required(f"{at}.name"))
    elif name:
        wrong += names.check(f"{at}.name", name, names.dns1123_label)
        if name in taken:
            wrong.append(fields.duplicate(f"{at}.name", name))
        taken.add(name)
    wrong += check_port(f"{at}.port", port.get("port", 0))
    wrong += choice(at, port, "protocol", PROTOCOLS)
    wrong += check_port_or_name(f"{at}.targetPort", port.get("targetPort", 0))
    if "appProtocol" in port:
        wrong += names.check(f"{at}.appProtocol", port["appProtocol"], names.qualified_name)
    return wrong


def _unique_ports(spec: Object) -> list[Cause]:
    """Check that no port, and no port of the nodes, is there twice."""
    ports = list(enumerate(spec.get("ports", ())))
    wrong: list[Cause] = []
    if spec["type"] == "ClusterIP":
        wrong += [
            fields.forbidden(
                f"spec.ports[{index}].nodePort", "may not be used when `type` is 'ClusterIP'"
            )
            for index, port in ports
            if port.get("nodePort")
        ]
    wrong += repeated_node_ports(spec)
    seen: set[tuple[str, int]] = set()
    for index, port in ports:
        key = (port.get("protocol", ""), port.get("port", 0))
        if key in seen:
            shown = {"protocol": key[0], "port": key[1]}
            wrong.append(fields.duplicate(f"spec.ports[{index}]", shown))
        seen.add(key)
    return wrong


def repeated_node_ports(spec: Object) -> list[Cause]:
    """Return a cause for each port whose node port is another's of its protocol."""
    wrong: list[Cause] = []
    seen: set[tuple[str, int]] = set()
    for index, port in enumerate(spec.get("ports", ())):
        key = (port.get("protocol", ""), port.get("nodePort", 0))
        if key[1] and key in seen:
            wrong.append(fields.duplicate(f"spec.ports[{index}].nodePort", key[1]))
        seen.add(key)
    return wrong


def _affinity(spec: Object) -> list[Cause]:
    if spec.get("sessionAffinity") != "ClientIP":
        return []  # The default has dropped the configuration of none.
    seconds = spec["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"]
    if 0 < seconds <= _MOST_AFFINITY_S:
        return []
    path = "spec.sessionAffinityConfig.clientIP.timeoutSeconds"
    detail = f"must be greater than 0 and less than {_MOST_AFFINITY_S}"
    return [fields.invalid(path, seconds, detail)]


def _traffic(spec: Object) -> list[Cause]:
    policy, at = spec.get("externalTrafficPolicy"), "spec.externalTrafficPolicy"
    wrong: list[Cause] = []
    if _is_outside(spec):
        wrong += choice("spec", spec, "externalTrafficPolicy", _POLICIES)
    elif policy:
        detail = "may only be set for externally-accessible services"
        wrong.append(fields.invalid(at, policy, detail))
    port = spec.get("healthCheckNodePort", 0)
    if port and not is_checked(spec):
        detail = (
            "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
        )
        wrong.append(fields.invalid("spec.healthCheckNodePort", port, detail))
    elif port:
        wrong += check_port("spec.healthCheckNodePort", port)
    wrong += option("spec", spec, "internalTrafficPolicy", _POLICIES)
    return wrong + option("spec", spec, "trafficDistribution", _DISTRIBUTIONS)


def _balancer(spec: Object, annotations: Object) -> list[Cause]:
    balanced = spec["type"] == "LoadBalancer"
    wrong: list[Cause] = []
    ranges = {
        f"spec.LoadBalancerSourceRanges[{index}]": cidr  # upstream's path
        for index, cidr in enumerate(spec.get("loadBalancerSourceRanges", ()))
    }
    if ranges and not balanced:
        wrong.append(fields.forbidden("spec.LoadBalancerSourceRanges", _ONLY_BALANCED))
    for at, cidr in ranges.items():
        wrong += check_cidr(at, cidr.strip())
    if not ranges and _RANGES in annotations:
        at = f"metadata.annotations[{_RANGES}]"
        if not balanced:
            wrong.append(fields.forbidden(at, _ONLY_BALANCED))
        for cidr in annotations[_RANGES].strip().split(",") if annotations[_RANGES].strip() else ():
            wrong += check_cidr(at, cidr.strip())
    if not balanced:
        return wrong + [
            fields.forbidden(f"spec.{field}", _ONLY_BALANCED)
            for field in _BALANCER_ONLY
            if field in spec
        ]
    if "loadBalancerClass" in spec:
        at, name = "spec.loadBalancerClass", spec["loadBalancerClass"]
        wrong += names.check(at, name, names.qualified_name)
    return wrong


def _ingress(path: str, each: Object) -> list[Cause]:
    ip, mode, host = each.get("ip", ""), each.get("ipMode"), each.get("hostname", "")
    wrong = check_ip(f"{path}.ip", ip) if ip else []
    if mode is not None and not ip:
        detail = "may not be specified when `ip` is not set"
        wrong.append(fields.forbidden(f"{path}.ipMode", detail))
    elif ip:
        wrong += choice(path, {"ipMode": mode or ""}, "ipMode", ("Proxy", "VIP"))
    if host:
        wrong += names.check(f"{path}.hostname", host, names.dns1123_subdomain)
        wrong += check_no_ip(f"{path}.hostname", host)
    return wrong


def service_warnings(obj: Object) -> list[str]:
    """Return what is old in a Service, and what its type makes meaningless."""
    spec = obj.get("spec", {})
    kind = spec.get("type") or "ClusterIP"
    headless = kind == "ClusterIP" and spec.get("clusterIP") == "None"
    found: list[str] = []
    if _HINTS in obj.get("metadata", {}).get("annotations", {}):
        found.append(f"annotation {_HINTS} is deprecated, please use {_MODE} instead")
    if headless:
        found += [
            f"spec.{field} is ignored for headless services"
            for field in ("loadBalancerIP", "externalIPs")
            if spec.get(field)
        ]
        if spec.get("sessionAffinity", "None") not in ("", "None"):
            found.append("spec.SessionAffinity is ignored for headless services")
    elif spec.get("externalIPs"):
        found.append(
            'spec.externalIPs is ignored when spec.type is "ExternalName"'
            if kind == "ExternalName"
            else "spec.externalIPs is deprecated and may no longer be implemented in some clusters"
        )
    if kind != "ExternalName" and spec.get("externalName"):
        found.append('spec.externalName is ignored when spec.type is not "ExternalName"')
    if spec.get("trafficDistribution") == "PreferClose":
        found.append('spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"')
    return found
