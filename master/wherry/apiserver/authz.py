"""Authorization: may this user do this? A fixed policy, written as the RBAC roles that it stands for.

A policy is a table of rules for each user or group, so `kubectl auth can-i --list` and a later
RBAC authorizer read the same form. Beside the table there is one thing that a table cannot
say: an agent (`system:node:NAME`) writes its own Node and its own Lease, and the status of
the pods on its node, and no other's (upstream's Node authorizer and NodeRestriction); and
who may ask for a certificate sees what has become of their own requests, and of no others.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from wherry.apiserver.gate import Attributes, Decision
from wherry.apiserver.verbs import User
from wherry.pki.node import BOOTSTRAPPERS

NODE_PREFIX = "system:node:"
NODES = "system:nodes"
MASTERS = "system:masters"
_REQUESTS = "certificatesigningrequests"

NodeOfPod = Callable[[str, str], str | None]
"""(namespace, name) -> the node of a pod, None where there is no such pod."""
RequesterOf = Callable[[str], str | None]
"""Name of a certificate request -> the user who made it, None where there is no such request."""


class Authorizer(Protocol):
    """Decides; needs no I/O, so it cannot fail."""

    def decide(self, user: User, attributes: Attributes) -> Decision:
        """Tell whether `user` may."""
        ...

    def rules(
        self, user: User, namespace: str
    ) -> tuple[Sequence[dict[str, Any]], Sequence[dict[str, Any]]]:
        """Return resourceRules and nonResourceRules, as SelfSubjectRulesReview lists them."""
        ...


@dataclass(frozen=True, slots=True)
class Rule:
    """One RBAC PolicyRule; "*" is everything. `paths` makes it a rule about non-resources."""

    verbs: tuple[str, ...]
    resources: tuple[str, ...] = ()
    groups: tuple[str, ...] = ("*",)
    names: tuple[str, ...] = ()
    namespace: str = ""
    paths: tuple[str, ...] = ()

    def allows(self, a: Attributes) -> bool:
        """Tell whether the rule covers a request."""
        if not _among(a.verb, self.verbs):
            return False
        if a.path:
            return any(_path_matches(a.path, p) for p in self.paths)
        resource = f"{a.resource}/{a.subresource}" if a.subresource else a.resource
        return (
            (_among(resource, self.resources) or f"*/{a.subresource}" in self.resources)
            and _among(a.group, self.groups)
            and (not self.names or a.name in self.names)
            and self.namespace in ("", a.namespace)
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the wire form."""
        if self.paths:
            return {"verbs": list(self.verbs), "nonResourceURLs": list(self.paths)}
        rule: dict[str, Any] = {
            "verbs": list(self.verbs),
            "apiGroups": list(self.groups),
            "resources": list(self.resources),
        }
        return rule | ({"resourceNames": list(self.names)} if self.names else {})


def _among(value: str, allowed: tuple[str, ...]) -> bool:
    return "*" in allowed or value in allowed


def _path_matches(path: str, pattern: str) -> bool:
    if pattern.endswith("*"):
        return path.startswith(pattern[:-1])
    return path == pattern


_READ = ("get", "list", "watch")
_WRITE = ("create", "update", "patch")
_EVERYTHING = (Rule(("*",), ("*",)), Rule(("*",), paths=("*",)))
_EVENTS = Rule(_WRITE, ("events",), ("", "events.k8s.io"))
_HEALTH = Rule(
    ("get",),
    paths=("/healthz", "/healthz/*", "/livez", "/livez/*", "/readyz", "/readyz/*", "/version"),
)
_DISCOVERY = Rule(
    ("get",),
    paths=(
        "/",
        "/api",
        "/api/*",
        "/apis",
        "/apis/*",
        "/openapi",
        "/openapi/*",
        "/.well-known/*",
        "/openid/v1/jwks",
    ),
)
_SELF_REVIEWS = (
    Rule(
        ("create",),
        ("selfsubjectaccessreviews", "selfsubjectrulesreviews"),
        ("authorization.k8s.io",),
    ),
    Rule(("create",), ("selfsubjectreviews",), ("authentication.k8s.io",)),
)
_REVIEWS = (
    Rule(("create",), ("subjectaccessreviews",), ("authorization.k8s.io",)),
    Rule(("create",), ("tokenreviews",), ("authentication.k8s.io",)),
)
_CLUSTER_INFO = Rule(
    ("get",), ("configmaps",), ("",), names=("cluster-info",), namespace="kube-public"
)
"""Who joins by a token reads it before knowing whom to trust (kubeadm's rule)."""
_ASK_FOR_CERTIFICATES = Rule(("create",), ("certificatesigningrequests",), ("certificates.k8s.io",))
_ADDONS = "system:serviceaccounts:kube-system"
_NOBODY_NAMED = "system:serviceaccount:kube-system:default"
"""The account of pods that name none: they must not become administrators by leaving something out."""
_LEADER_LEASES = Rule(("*",), ("leases",), ("coordination.k8s.io",), namespace="kube-system")

OF_GROUP: Mapping[str, tuple[Rule, ...]] = {
    MASTERS: _EVERYTHING,
    "system:unauthenticated": (_HEALTH, _CLUSTER_INFO),
    "system:authenticated": (_HEALTH, _CLUSTER_INFO, _DISCOVERY, *_SELF_REVIEWS),
    NODES: (
        Rule(
            _READ,
            (
                "configmaps",
                "endpoints",
                "endpointslices",
                "namespaces",
                "networkconfigs",
                "nodes",
                "pods",
                "secrets",
                "serviceaccounts",
                "services",
                "subnetleases",
            ),
        ),
        Rule(("create",), ("nodes",), ("",)),
        Rule(("create",), ("serviceaccounts/token",), ("",)),
        Rule((*_WRITE, "delete"), ("subnetleases",), ("wherry.io",)),
        _EVENTS,
        *_REVIEWS,
        _ASK_FOR_CERTIFICATES,
    ),
    BOOTSTRAPPERS: (_ASK_FOR_CERTIFICATES,),
    _ADDONS: _EVERYTHING,
}
OF_USER: Mapping[str, tuple[Rule, ...]] = {
    "system:apiserver": _EVERYTHING,
    "system:kube-controller-manager": _EVERYTHING,
    "system:kube-scheduler": (
        Rule(_READ, ("*",)),
        Rule(("create",), ("pods/binding", "bindings"), ("",)),
        Rule(("update", "patch"), ("pods/status",), ("",)),
        Rule(("delete",), ("pods",), ("",)),
        _LEADER_LEASES,
        _EVENTS,
        *_REVIEWS,
    ),
    "system:kube-proxy": (
        Rule(_READ, ("services", "endpoints", "endpointslices", "nodes")),
        _EVENTS,
    ),
    "system:kube-dns": (
        Rule(_READ, ("services", "endpoints", "endpointslices", "pods", "namespaces", "nodes")),
        _EVENTS,
    ),
    "system:kube-overlay": (
        Rule(_READ, ("nodes", "subnetleases", "networkconfigs", "pods")),
        Rule(("update", "patch"), ("nodes", "nodes/status"), ("",)),
        Rule((*_WRITE, "delete"), ("subnetleases",), ("wherry.io",)),
        _EVENTS,
    ),
}


class FixedPolicy:
    """`Authorizer` over the tables above."""

    def __init__(self, node_of_pod: NodeOfPod, requester_of: RequesterOf) -> None:
        """Build the policy.

        Args:
            node_of_pod: From the watch cache.
            requester_of: From the watch cache.
        """
        self._node_of_pod = node_of_pod
        self._requester_of = requester_of

    def decide(self, user: User, attributes: Attributes) -> Decision:
        """Allow what any rule of the user or its groups allows."""
        if MASTERS in user.groups or any(rule.allows(attributes) for rule in _rules_of(user)):
            return _ALLOWED
        if attributes.resource == _REQUESTS and {BOOTSTRAPPERS, NODES} & set(user.groups):
            return self._own_request(user, attributes)
        if NODES in user.groups and user.name.startswith(NODE_PREFIX):
            return self._own(user.name.removeprefix(NODE_PREFIX), attributes)
        return Decision(allowed=False)

    def _own_request(self, user: User, a: Attributes) -> Decision:
        """Let who asked for a certificate fetch it."""
        if (a.verb, a.subresource) != ("get", ""):
            return Decision(allowed=False)
        why = f"{user.name} may only see its own certificate requests"
        return _only(self._requester_of(a.name) in (None, user.name), why)

    def _own(self, node: str, a: Attributes) -> Decision:
        """Let an agent write what is its own."""
        if a.resource == "nodes" and a.verb in ("update", "patch"):
            why = f"node {node!r} is not allowed to modify node {a.name!r}"
            return _only(a.name == node and a.subresource in ("", "status"), why)
        if a.resource == "leases" and a.namespace == "kube-node-lease":
            why = "a node may only use the lease of its own name"
            return _only(a.verb == "create" or a.name == node, why)
        if a.resource == "pods" and (a.verb, a.subresource) in _ON_OWN_PODS:
            actual = self._node_of_pod(a.namespace, a.name)
            return _only(actual in (None, node), f"node {node!r} may only write pods bound to it")
        return Decision(allowed=False)

    def rules(
        self, user: User, namespace: str
    ) -> tuple[Sequence[dict[str, Any]], Sequence[dict[str, Any]]]:
        """List the rules that apply in a namespace."""
        applicable = [r for r in _rules_of(user) if r.namespace in ("", namespace)]
        return (
            [rule.to_dict() for rule in applicable if not rule.paths],
            [rule.to_dict() for rule in applicable if rule.paths],
        )


_ALLOWED = Decision(allowed=True)
_ON_OWN_PODS = {
    ("delete", ""),
    ("update", "status"),
    ("patch", "status"),
    ("create", "eviction"),
}


def _only(allowed: bool, why: str) -> Decision:  # noqa: FBT001
    return Decision(allowed, "" if allowed else why)


def _rules_of(user: User) -> list[Rule]:
    found = list(OF_USER.get(user.name, ()))
    for group in user.groups:
        if group != _ADDONS or user.name != _NOBODY_NAMED:
            found += OF_GROUP.get(group, ())
    return found
