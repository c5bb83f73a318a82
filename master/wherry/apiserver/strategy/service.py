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
    check_port,
    check_port_or_name,
    choice,
    is_ipv4,
    option,
)

_TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_POLICIES = ("Cluster", "Local")
_OUTSIDE = ("NodePort", "LoadBalancer")
_BALANCER_ONLY = (
    "allocateLoadBalancerNodePorts",
    "healthCheckNodePort",
    "loadBalancerClass",
)
_FAMILIES = ("IPv4", "IPv6")
_FAMILY_POLICIES = ("PreferDualStack", "RequireDualStack", "SingleStack")
_DISTRIBUTIONS = ("PreferClose", "PreferSameNode", "PreferSameZone")
_KUBELET_PORT = 10250
_ONLY_BALANCED = "may only be used when `type` is 'LoadBalancer'"
_AFFINITIES = ("ClientIP", "None")
_AFFINITY_S = 10800
_MOST_AFFINITY_S = 86400
_IP_TEXT = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"


def _by_type(spec: Object) -> None:
    if spec["sessionAffinity"] == "None":
        spec.pop("sessionAffinityConfig", None)
    elif spec["sessionAffinity"] == "ClientIP":
        config = spec.setdefault("sessionAffinityConfig", {})
        config.setdefault("clientIP", {}).setdefault("timeoutSeconds", _AFFINITY_S)
    if spec["type"] == "ExternalName":
        return
    spec.setdefault("internalTrafficPolicy", "Cluster")
    spec.setdefault("ipFamilies", ["IPv4"])
    spec.setdefault("ipFamilyPolicy", "SingleStack")
    if spec["type"] in _OUTSIDE:
        spec.setdefault("externalTrafficPolicy", "Cluster")
    if spec["type"] == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)
    _default_cluster_ip(spec)


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
        if spec.get("type", "ClusterIP") == "ExternalName":
            for field in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
                spec.pop(field, None)
            return
        if was.get("type") != "ExternalName" and not spec.get("clusterIP"):
            spec["clusterIP"] = was.get("clusterIP", "")
            spec["clusterIPs"] = list(was.get("clusterIPs", []))
        _node_ports(spec, was)
        inside = spec.get("type", "ClusterIP") not in _OUTSIDE and not spec.get("externalIPs")
        if inside and spec.get("externalTrafficPolicy") == was.get("externalTrafficPolicy"):
            spec.pop("externalTrafficPolicy", None)
        if spec.get("type") != "LoadBalancer":
            for field in _BALANCER_ONLY:
                if spec.get(field) == was.get(field):
                    spec.pop(field, None)

    def default(self, obj: Object) -> None:
        """Fill in everything but addresses."""
        _DEFAULTS.apply(obj)

    def validate(self, obj: Object) -> list[Cause]:
        """Return everything that is wrong with the Service."""
        spec = obj["spec"]
        wrong = choice("spec", spec, "type", _TYPES)
        wrong += choice("spec", spec, "sessionAffinity", _AFFINITIES)
        wrong += _ports(spec)
        wrong += names.check_labels("spec.selector", spec.get("selector", {}))
        wrong += _cluster_ip(spec)
        wrong += _external(spec)
        wrong += _affinity(spec)
        wrong += _families(spec)
        wrong += _traffic(spec)
        return wrong + _balancer(spec)

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        """Keep the cluster IP for as long as there is one."""
        was, is_ = old["spec"], new["spec"]
        if "ExternalName" in (was.get("type"), is_.get("type")) or not was.get("clusterIP"):
            return []
        if is_.get("clusterIP") == was["clusterIP"]:
            return []
        return [
            fields.invalid(
                "spec.clusterIPs[0]", is_.get("clusterIPs", []), "may not change once set"
            )
        ]


def _node_ports(spec: Object, was: Object) -> None:
    """Carry node ports over to the ports that remain, or drop them with the type that has them."""
    if spec.get("type", "ClusterIP") == "ClusterIP":
        if was.get("type") in ("NodePort", "LoadBalancer"):
            old = {p.get("nodePort") for p in was.get("ports", ())}
            for port in spec.get("ports", ()):
                if port.get("nodePort") in old:
                    port.pop("nodePort", None)
        return
    held = {
        (p.get("protocol", "TCP"), p.get("port")): p["nodePort"]
        for p in was.get("ports", ())
        if p.get("nodePort")
    }
    for port in spec.get("ports", ()):
        if not port.get("nodePort"):
            kept = held.get((port.get("protocol", "TCP"), port.get("port")))
            if kept:
                port["nodePort"] = kept


def _default_cluster_ip(spec: Object) -> None:
    """Keep the old field and the new one the same."""
    if spec.get("clusterIP") and not spec.get("clusterIPs"):
        spec["clusterIPs"] = [spec["clusterIP"]]
    elif spec.get("clusterIPs") and not spec.get("clusterIP"):
        spec["clusterIP"] = spec["clusterIPs"][0]


def _ports(spec: Object) -> list[Cause]:
    ports = spec.get("ports", [])
    headless = spec.get("clusterIP") == "None"
    if not ports and not headless and spec["type"] != "ExternalName":
        return [fields.required("spec.ports")]
    wrong: list[Cause] = []
    taken_names: set[str] = set()
    taken: set[tuple[str, int]] = set()
    taken_node: set[tuple[str, int]] = set()
    for index, port in enumerate(ports):
        at, name = f"spec.ports[{index}]", port.get("name", "")
        if not name and len(ports) > 1:
            wrong.append(fields.required(f"{at}.name"))
        elif name:
            wrong += names.check(f"{at}.name", name, names.dns1123_label)
            if name in taken_names:
                wrong.append(fields.duplicate(f"{at}.name", name))
            taken_names.add(name)
        wrong += _port(at, port)
        if spec["type"] == "LoadBalancer" and port.get("port") == _KUBELET_PORT:
            detail = "may not expose port 10250 externally since it is used by kubelet"
            wrong.append(fields.invalid(at, _KUBELET_PORT, detail))
        key = (port.get("protocol", ""), port.get("port", 0))
        if key in taken:
            shown = {"protocol": key[0], "port": key[1]}
            wrong.append(fields.duplicate(at, shown))
        taken.add(key)
        wrong += _node_port(at, port, spec["type"], taken_node)
    return wrong


def _port(at: str, port: Object) -> list[Cause]:
    wrong = check_port(f"{at}.port", port.get("port", 0))
    wrong += choice(at, port, "protocol", PROTOCOLS)
    wrong += check_port_or_name(f"{at}.targetPort", port.get("targetPort", 0))
    if port.get("appProtocol"):
        wrong += names.check(f"{at}.appProtocol", port["appProtocol"], names.qualified_name)
    return wrong


def _node_port(at: str, port: Object, kind: str, taken: set[tuple[str, int]]) -> list[Cause]:
    number = port.get("nodePort", 0)
    if not number:
        return []
    if kind in ("ClusterIP", "ExternalName"):
        detail = f"may not be used when `type` is '{kind}'"
        return [fields.forbidden(f"{at}.nodePort", detail)]
    key = (port.get("protocol", ""), number)
    if key in taken:
        return [fields.duplicate(f"{at}.nodePort", number)]
    taken.add(key)
    return []


def _cluster_ip(spec: Object) -> list[Cause]:
    ip, ips = spec.get("clusterIP", ""), spec.get("clusterIPs", [])
    if spec["type"] == "ExternalName":
        detail = "may not be set when `type` is 'ExternalName'"
        return [fields.forbidden("spec.clusterIPs", detail)] if ip or ips else []
    if not ip:
        return []
    wrong: list[Cause] = []
    if ips[:1] != [ip]:
        wrong.append(fields.invalid("spec.clusterIPs", ips, "first value must match `clusterIP`"))
    elif len(ips) > 1:
        detail = "may only hold one address: the cluster has one address family"
        wrong.append(fields.invalid("spec.clusterIPs", ips, detail))
    elif ip == "None" and spec["type"] in ("NodePort", "LoadBalancer"):
        detail = f"may not be set to 'None' for {spec['type']} services"
        wrong.append(fields.invalid("spec.clusterIPs[0]", ip, detail))
    elif ip != "None" and not is_ipv4(ip):
        wrong.append(fields.invalid("spec.clusterIPs[0]", ip, _IP_TEXT))
    return wrong


def _external(spec: Object) -> list[Cause]:
    wrong: list[Cause] = []
    for index, ip in enumerate(spec.get("externalIPs", ())):
        wrong += check_endpoint_ip(f"spec.externalIPs[{index}]", ip)
    if spec["type"] != "ExternalName":
        return wrong
    name = spec.get("externalName", "").removesuffix(".")
    if not name:
        return [*wrong, fields.required("spec.externalName")]
    return wrong + names.check("spec.externalName", name, names.dns1123_subdomain)


def _affinity(spec: Object) -> list[Cause]:
    config = spec.get("sessionAffinityConfig", {}).get("clientIP", {})
    seconds = config.get("timeoutSeconds")
    if seconds is None or 0 < seconds <= _MOST_AFFINITY_S:
        return []
    path = "spec.sessionAffinityConfig.clientIP.timeoutSeconds"
    detail = f"must be greater than 0 and less than or equal to {_MOST_AFFINITY_S}"
    return [fields.invalid(path, seconds, detail)]


def _families(spec: Object) -> list[Cause]:
    families = spec.get("ipFamilies", [])
    wrong: list[Cause] = []
    seen: set[str] = set()
    for index, family in enumerate(families):
        path = f"spec.ipFamilies[{index}]"
        if family not in _FAMILIES:
            wrong.append(fields.unsupported(path, family, _FAMILIES))
        elif family in seen:
            wrong.append(fields.duplicate(path, family))
        seen.add(family)
    return wrong + option("spec", spec, "ipFamilyPolicy", _FAMILY_POLICIES)


def _traffic(spec: Object) -> list[Cause]:
    wrong: list[Cause] = []
    if spec["type"] != "ExternalName":
        wrong += choice("spec", spec, "internalTrafficPolicy", _POLICIES)
    policy, at = spec.get("externalTrafficPolicy"), "spec.externalTrafficPolicy"
    if spec["type"] in _OUTSIDE or spec.get("externalIPs"):
        wrong += option("spec", spec, "externalTrafficPolicy", _POLICIES)
    elif policy:
        detail = "may only be set for externally-accessible services"
        wrong.append(fields.invalid(at, policy, detail))
    return wrong + option("spec", spec, "trafficDistribution", _DISTRIBUTIONS)


def _balancer(spec: Object) -> list[Cause]:
    balanced = spec["type"] == "LoadBalancer"
    wrong: list[Cause] = []
    ranges = spec.get("loadBalancerSourceRanges", [])
    if ranges and not balanced:
        wrong.append(fields.forbidden("spec.loadBalancerSourceRanges", _ONLY_BALANCED))
    for index, cidr in enumerate(ranges):
        wrong += check_cidr(f"spec.loadBalancerSourceRanges[{index}]", cidr.strip())
    if not balanced:
        wrong += [
            fields.forbidden(f"spec.{field}", _ONLY_BALANCED)
            for field in ("allocateLoadBalancerNodePorts", "loadBalancerClass")
            if field in spec
        ]
    elif "loadBalancerClass" in spec:
        at, name = "spec.loadBalancerClass", spec["loadBalancerClass"]
        wrong += names.check(at, name, names.qualified_name)
    port = spec.get("healthCheckNodePort", 0)
    if port and not (balanced and spec.get("externalTrafficPolicy") == "Local"):
        detail = (
            "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
        )
        wrong.append(fields.invalid("spec.healthCheckNodePort", port, detail))
    return wrong
