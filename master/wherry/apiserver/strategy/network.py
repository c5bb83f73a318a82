"""Ingress, IngressClass and NetworkPolicy: networking's validation."""

from collections.abc import Sequence

from wherry.api.errors import Cause
from wherry.apiserver.strategy import fields, names
from wherry.apiserver.strategy.address import strict_cidr, strict_ip
from wherry.apiserver.strategy.base import Object, Strategy
from wherry.apiserver.strategy.defaulting import Defaults
from wherry.apiserver.strategy.formats import (
    check_domain_path,
    check_no_ip,
    check_port,
    option,
    parse_cidr,
    unchanged,
)
from wherry.apiserver.strategy.selector import validate_label_selector

_CLASS_ANNOTATION = "kubernetes.io/ingress.class"
_OLD_CLASS = (
    f"annotation \"{_CLASS_ANNOTATION}\" is deprecated, please use 'spec.ingressClassName' instead"
)
_PATH_TYPES = ("Exact", "ImplementationSpecific", "Prefix")
_BAD_SEQUENCES = ("//", "/./", "/../", "%2f", "%2F")
_BAD_ENDS = ("/..", "/.")
_POLICY_TYPES = ("Ingress", "Egress")
_PROTOCOLS = ("TCP", "UDP", "SCTP")
_SCOPES = ("Cluster", "Namespace")
_MOST_CONTROLLER = 250


class IngressStrategy(Strategy):
    """Which host and path leads to which Service."""

    generation = True
    step_first = False

    def prepare_create(self, obj: Object) -> None:
        """Begin without a load balancer."""
        obj["status"] = {"loadBalancer": {}}

    def default(self, obj: Object) -> None:
        """Have a spec."""
        obj.setdefault("spec", {})

    def validate(self, obj: Object) -> list[Cause]:
        """Check rules, backends, TLS and class."""
        spec = obj["spec"]
        rules, backend = spec.get("rules", []), spec.get("defaultBackend")
        wrong: list[Cause] = []
        if not rules and backend is None:
            detail = "either `defaultBackend` or `rules` must be specified"
            wrong.append(fields.invalid("spec", rules or None, detail))
        if backend is not None:
            wrong += _backend("spec.defaultBackend", backend)
        for index, rule in enumerate(rules):
            wrong += _rule(f"spec.rules[{index}]", rule)
        for index, tls in enumerate(spec.get("tls", ())):
            wrong += _tls(f"spec.tls[{index}]", tls)
        if "ingressClassName" in spec:
            at, name = "spec.ingressClassName", spec["ingressClassName"]
            wrong += names.check(at, name, names.dns1123_subdomain)
        return wrong

    def validate_create(self, obj: Object) -> list[Cause]:
        """Be of one class, whichever way it is said."""
        said = obj["metadata"].get("annotations", {}).get(_CLASS_ANNOTATION)
        name = obj["spec"].get("ingressClassName")
        if said is None or name is None or said == name:
            return []
        detail = "must match `ingressClassName` when both are specified"
        return [fields.invalid(f"annotations.{_CLASS_ANNOTATION}", said, detail)]

    def warnings(self, obj: Object) -> Sequence[str]:
        """Warn of the class as it was said before there was a field for it."""
        annotated = _CLASS_ANNOTATION in obj["metadata"].get("annotations", {})
        if not annotated or "ingressClassName" in obj.get("spec", {}):
            return ()
        return (_OLD_CLASS,)

    def validate_status(self, new: Object, old: Object) -> list[Cause]:  # noqa: ARG002
        """Check where the load balancer is."""
        wrong: list[Cause] = []
        points = new.get("status", {}).get("loadBalancer", {}).get("ingress", ())
        for index, point in enumerate(points):
            at = f"status.loadBalancer.ingress[{index}]"
            if point.get("ip"):
                wrong += names.check(f"{at}.ip", point["ip"], strict_ip)
            if point.get("hostname"):
                wrong += _host_name(f"{at}.hostname", point["hostname"])
        return wrong


def _host_name(path: str, host: str) -> list[Cause]:
    return names.check(path, host, names.dns1123_subdomain) + check_no_ip(path, host)


def _rule(path: str, rule: Object) -> list[Cause]:
    host, at = rule.get("host", ""), f"{path}.host"
    wrong: list[Cause] = []
    if host:
        wrong += check_no_ip(at, host)
        if "*" in host:
            wrong += names.check(at, host, names.wildcard_subdomain)
        else:
            wrong += names.check(at, host, names.dns1123_subdomain)
    if "http" not in rule:
        return wrong
    paths = rule["http"].get("paths", [])
    if not paths:
        return [*wrong, fields.required(f"{path}.http.paths")]
    for index, each in enumerate(paths):
        wrong += _path(f"{path}.http.paths[{index}]", each)
    return wrong


def _path(path: str, each: Object) -> list[Cause]:
    where, at = each.get("path", ""), f"{path}.path"
    kind = each.get("pathType")
    wrong: list[Cause] = []
    if kind is None:
        return [fields.required(f"{path}.pathType", "pathType must be specified")]
    if kind in ("Exact", "Prefix"):
        if not where.startswith("/"):
            wrong.append(fields.invalid(at, where, "must be an absolute path"))
        wrong += [
            fields.invalid(at, where, f"must not contain '{bad}'")
            for bad in _BAD_SEQUENCES
            if bad in where
        ]
        wrong += [
            fields.invalid(at, where, f"cannot end with '{bad}'")
            for bad in _BAD_ENDS
            if where.endswith(bad)
        ]
    elif kind == "ImplementationSpecific":
        if where and not where.startswith("/"):
            wrong.append(fields.invalid(at, where, "must be an absolute path"))
    else:
        wrong.append(fields.unsupported(f"{path}.pathType", kind, _PATH_TYPES))
    return wrong + _backend(f"{path}.backend", each.get("backend", {}))


def _backend(path: str, backend: Object) -> list[Cause]:
    resource, service = backend.get("resource"), backend.get("service")
    if resource is not None and service is not None:
        detail = "cannot set both resource and service backends"
        return [fields.invalid(path, "", detail)]
    if resource is not None:
        return _typed_reference(f"{path}.resource", resource)
    if service is None:
        return [fields.invalid(path, "", "resource or service backend is required")]
    at, name, port = f"{path}.service", service.get("name", ""), service.get("port", {})
    wrong = [] if name else [fields.required(f"{at}.name")]
    if name:
        wrong += names.check(f"{at}.name", name, names.dns1035_label)
    if port.get("name") and port.get("number"):
        detail = "cannot set both port name & port number"
        wrong.append(fields.invalid(path, "", detail))
    elif port.get("name"):
        wrong += names.check(f"{at}.port.name", port["name"], names.port_name)
    elif port.get("number"):
        wrong += check_port(f"{at}.port.number", port["number"])
    else:
        wrong.append(fields.required(path, "port name or number is required"))
    return wrong


def _typed_reference(path: str, ref: Object) -> list[Cause]:
    wrong: list[Cause] = []
    if "apiGroup" in ref:
        wrong += names.check(f"{path}.apiGroup", ref["apiGroup"], names.dns1123_subdomain)
    for field in ("kind", "name"):
        at, value = f"{path}.{field}", ref.get(field, "")
        wrong += [] if value else [fields.required(at, f"{field} is required")]
        wrong += names.check(at, value, names.path_segment)
    return wrong


def _tls(path: str, tls: Object) -> list[Cause]:
    wrong: list[Cause] = []
    for index, host in enumerate(tls.get("hosts", ())):
        rule = names.wildcard_subdomain if "*" in host else names.dns1123_subdomain
        wrong += names.check(f"{path}.hosts[{index}]", host, rule)
    if tls.get("secretName"):
        wrong += names.check(f"{path}.secretName", tls["secretName"], names.dns1123_subdomain)
    return wrong


_PARAMETERS = Defaults(
    made={"spec": Defaults(within={"parameters": Defaults(absent={"scope": "Cluster"})})}
)


class IngressClassStrategy(Strategy):
    """Who serves the Ingresses of this class."""

    generation = True

    def default(self, obj: Object) -> None:
        """Let parameters be of the cluster."""
        _PARAMETERS.apply(obj)

    def validate(self, obj: Object) -> list[Cause]:
        """Check controller and parameters."""
        spec = obj["spec"]
        controller, at = spec.get("controller", ""), "spec.controller"
        wrong: list[Cause] = []
        if len(controller) > _MOST_CONTROLLER:
            wrong.append(fields.too_long(at, _MOST_CONTROLLER))
        if not controller:
            wrong.append(fields.required(at))
        else:
            wrong += check_domain_path(at, controller)
        if "parameters" in spec:
            wrong += _parameters("spec.parameters", spec["parameters"])
        return wrong

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        """Keep the controller."""
        return unchanged("spec", new["spec"], old.get("spec", {}), "controller")


def _parameters(path: str, parameters: Object) -> list[Cause]:
    wrong = _typed_reference(path, parameters)
    scope = parameters.get("scope", "")
    if scope not in _SCOPES:
        return [*wrong, fields.unsupported(f"{path}.scope", scope, _SCOPES)]
    namespace, at = parameters.get("namespace"), f"{path}.namespace"
    if scope == "Namespace":
        if namespace is None:
            detail = "`parameters.scope` is set to 'Namespace'"
            wrong.append(fields.required(at, detail))
        else:
            wrong += names.check(at, namespace, names.dns1123_label)
    elif namespace is not None:
        detail = "`parameters.scope` is set to 'Cluster'"
        wrong.append(fields.forbidden(at, detail))
    return wrong


def _policy_types(spec: Object) -> None:
    if not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]


_PEERS = Defaults(within={"ports": Defaults(absent={"protocol": "TCP"})})
_POLICY = Defaults(
    made={
        "spec": Defaults(
            made={"podSelector": Defaults()},
            within={"ingress": _PEERS, "egress": _PEERS},
            then=_policy_types,
        )
    }
)


class NetworkPolicyStrategy(Strategy):
    """Who may talk to whom."""

    generation = True

    def default(self, obj: Object) -> None:
        """Be about what comes in, and about what goes out where something is said of it."""
        _POLICY.apply(obj)

    def validate(self, obj: Object) -> list[Cause]:
        """Check selectors, ports and address ranges."""
        spec = obj["spec"]
        wrong = validate_label_selector("spec.podSelector", spec["podSelector"])
        for direction, side in (("ingress", "from"), ("egress", "to")):
            for index, rule in enumerate(spec.get(direction, ())):
                at = f"spec.{direction}[{index}]"
                for number, port in enumerate(rule.get("ports", ())):
                    wrong += _policy_port(f"{at}.ports[{number}]", port)
                for number, peer in enumerate(rule.get(side, ())):
                    wrong += _peer(f"{at}.{side}[{number}]", peer)
        types = spec.get("policyTypes", [])
        if len(types) > len(_POLICY_TYPES):
            detail = "may not specify more than two policyTypes"
            return [*wrong, fields.invalid("spec.policyTypes", types, detail)]
        return wrong + [
            fields.unsupported(f"spec.policyTypes[{index}]", kind, _POLICY_TYPES)
            for index, kind in enumerate(types)
            if kind not in _POLICY_TYPES
        ]


def _policy_port(path: str, each: Object) -> list[Cause]:
    wrong = option(path, each, "protocol", _PROTOCOLS)
    port, end, at = each.get("port"), each.get("endPort"), f"{path}.endPort"
    if port is None:
        if end is not None:
            detail = "may not be specified when `port` is not specified"
            wrong.append(fields.invalid(at, end, detail))
    elif isinstance(port, int):
        wrong += check_port(f"{path}.port", port)
        if end is not None:
            if end < port:
                detail = "must be greater than or equal to `port`"
                wrong.append(fields.invalid(at, port, detail))  # upstream shows the other port
            wrong += check_port(at, end)
    else:
        if end is not None:
            detail = "may not be specified when `port` is non-numeric"
            wrong.append(fields.invalid(at, end, detail))
        wrong += names.check(f"{path}.port", port, names.port_name)
    return wrong


def _peer(path: str, peer: Object) -> list[Cause]:
    wrong: list[Cause] = []
    for field in ("podSelector", "namespaceSelector"):
        if field in peer:
            wrong += validate_label_selector(f"{path}.{field}", peer[field])
    if "ipBlock" in peer:
        wrong += _block(f"{path}.ipBlock", peer["ipBlock"])
        if len(peer) > 1:
            detail = "may not specify both ipBlock and another peer"
            wrong.append(fields.forbidden(path, detail))
    return wrong if peer else [fields.required(path, "must specify a peer")]


def _block(path: str, block: Object) -> list[Cause]:
    cidr = block.get("cidr", "")
    if not cidr:
        return [fields.required(f"{path}.cidr")]
    wrong, whole = names.check(f"{path}.cidr", cidr, strict_cidr), parse_cidr(cidr)
    if whole is None:
        return wrong
    for index, text in enumerate(block.get("except", ())):
        at, part = f"{path}.except[{index}]", parse_cidr(text)
        wrong += names.check(at, text, strict_cidr)
        if part is not None and (
            part.version != whole.version
            or part.prefixlen <= whole.prefixlen
            or part.network_address not in whole
        ):
            wrong.append(fields.invalid(at, text, "must be a strict subset of `cidr`"))
    return wrong
