"""The fixed policy as a table: who, what, allowed?"""

from dataclasses import replace

import pytest

from wherry.apiserver.authz import FixedPolicy
from wherry.apiserver.gate import Attributes, forbidden
from wherry.apiserver.verbs import ANONYMOUS, User

PODS_ON = {("default", "mine"): "n1", ("default", "other"): "n2"}
REQUESTS_OF = {"mine": "system:bootstrap:abcdef", "n1s": "system:node:n1", "joes": "joe"}
POLICY = FixedPolicy(lambda namespace, name: PODS_ON.get((namespace, name)), REQUESTS_OF.get)

ADMIN = User("admin", ("system:masters", "system:authenticated"))
NODE = User("system:node:n1", ("system:nodes", "system:authenticated"))
SCHEDULER = User("system:kube-scheduler", ("system:authenticated",))
PROXY = User("system:kube-proxy", ("system:authenticated",))
OVERLAY = User("system:kube-overlay", ("system:authenticated",))
JOINING = User("system:bootstrap:abcdef", ("system:bootstrappers", "system:authenticated"))
JOE = User("joe", ("system:authenticated",))
SYSTEM_ACCOUNT = User(
    "system:serviceaccount:kube-system:x",
    ("system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated"),
)
ACCOUNT = User(
    "system:serviceaccount:default:x",
    ("system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"),
)


def on(verb: str, resource: str, name: str = "", namespace: str = "default") -> Attributes:
    resource, _, subresource = resource.partition("/")
    group = {
        "leases": "coordination.k8s.io",
        "subnetleases": "wherry.io",
        "certificatesigningrequests": "certificates.k8s.io",
    }.get(resource, "")
    return Attributes(verb, group, "v1", resource, subresource, namespace, name)


@pytest.mark.parametrize(
    ("user", "attributes", "allowed"),
    [
        (ADMIN, on("delete", "nodes", "n1"), True),
        (ADMIN, Attributes("get", path="/metrics"), True),
        (ANONYMOUS, Attributes("get", path="/readyz"), True),
        (ANONYMOUS, Attributes("get", path="/api"), False),
        (ANONYMOUS, on("list", "pods"), False),
        (JOE, Attributes("get", path="/apis/apps/v1"), True),
        (JOE, Attributes("get", path="/metrics"), False),
        (JOE, on("list", "pods"), False),
        (
            JOE,
            Attributes("create", "authorization.k8s.io", "v1", "selfsubjectaccessreviews"),
            True,
        ),
        (NODE, on("list", "pods", namespace=""), True),
        (NODE, on("patch", "pods/status", "mine"), True),
        (NODE, on("patch", "pods/status", "other"), False),
        (NODE, on("delete", "pods", "mine"), True),
        (NODE, on("delete", "pods", "other"), False),
        (NODE, on("update", "pods", "mine"), False),
        (NODE, on("create", "pods/binding", "mine"), False),
        (NODE, on("create", "pods", "mine"), False),
        (NODE, on("patch", "nodes/status", "n1", ""), True),
        (NODE, on("patch", "nodes/status", "n2", ""), False),
        (NODE, on("delete", "nodes", "n1", ""), False),
        (NODE, on("update", "leases", "n1", "kube-node-lease"), True),
        (NODE, on("update", "leases", "n2", "kube-node-lease"), False),
        (NODE, on("update", "leases", "kube-scheduler", "kube-system"), False),
        (NODE, on("create", "subnetleases", "10.244.1.0-24", ""), True),
        (SCHEDULER, on("create", "pods/binding", "x"), True),
        (SCHEDULER, on("watch", "nodes", namespace=""), True),
        (SCHEDULER, on("update", "leases", "kube-scheduler", "kube-system"), True),
        (SCHEDULER, on("update", "leases", "x", "default"), False),
        (SCHEDULER, on("create", "pods"), False),
        (PROXY, on("watch", "services", namespace=""), True),
        (PROXY, on("list", "secrets", namespace=""), False),
        (OVERLAY, on("delete", "subnetleases", "10.244.1.0-24", ""), True),
        (OVERLAY, on("create", "pods"), False),
        (SYSTEM_ACCOUNT, on("create", "pods"), True),
        (
            replace(SYSTEM_ACCOUNT, name="system:serviceaccount:kube-system:default"),
            on("get", "pods"),
            False,
        ),
        (ACCOUNT, on("get", "secrets", "s"), False),
        (JOINING, on("create", "certificatesigningrequests", "", ""), True),
        (JOINING, on("get", "certificatesigningrequests", "mine", ""), True),
        (JOINING, on("get", "certificatesigningrequests", "not-yet", ""), True),
        (JOINING, on("get", "certificatesigningrequests", "n1s", ""), False),
        (JOINING, on("list", "certificatesigningrequests", "", ""), False),
        (JOINING, on("watch", "certificatesigningrequests", "", ""), False),
        (JOINING, on("delete", "certificatesigningrequests", "mine", ""), False),
        (JOINING, on("update", "certificatesigningrequests/approval", "mine", ""), False),
        (JOINING, on("patch", "certificatesigningrequests/status", "mine", ""), False),
        (JOINING, on("get", "nodes", "n1", ""), False),
        (JOINING, on("list", "secrets", namespace=""), False),
        (NODE, on("create", "certificatesigningrequests", "", ""), True),
        (NODE, on("get", "certificatesigningrequests", "n1s", ""), True),
        (NODE, on("get", "certificatesigningrequests", "mine", ""), False),
        (NODE, on("update", "certificatesigningrequests/approval", "n1s", ""), False),
        (JOE, on("create", "certificatesigningrequests", "", ""), False),
        (ADMIN, on("update", "certificatesigningrequests/approval", "mine", ""), True),
        (ANONYMOUS, on("get", "configmaps", "cluster-info", "kube-public"), True),
        (ANONYMOUS, on("update", "configmaps", "cluster-info", "kube-public"), False),
        (ANONYMOUS, on("get", "configmaps", "cluster-info", "default"), False),
        (ANONYMOUS, on("get", "configmaps", "other", "kube-public"), False),
        (ANONYMOUS, on("get", "secrets", "cluster-info", "kube-public"), False),
    ],
)
def test_policy(user: User, attributes: Attributes, allowed: bool) -> None:
    assert POLICY.decide(user, attributes).allowed is allowed


def test_a_refusal_reads_as_upstreams() -> None:
    attributes = on("list", "pods")
    error = forbidden(JOE, attributes, POLICY.decide(JOE, attributes).reason)
    assert error.message == (
        'pods is forbidden: User "joe" cannot list resource "pods" in API group "" in the '
        'namespace "default"'
    )


def test_rules_are_listed_in_the_form_of_rbac() -> None:
    resources, others = POLICY.rules(JOE, "default")
    assert resources == [
        # Two rules: one of two groups would grant, and kubectl list, reviews that do not exist.
        {
            "verbs": ["create"],
            "apiGroups": ["authorization.k8s.io"],
            "resources": ["selfsubjectaccessreviews", "selfsubjectrulesreviews"],
        },
        {
            "verbs": ["create"],
            "apiGroups": ["authentication.k8s.io"],
            "resources": ["selfsubjectreviews"],
        },
    ]
    assert any("/healthz" in rule["nonResourceURLs"] for rule in others)
    everything, _ = POLICY.rules(ADMIN, "default")
    assert {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]} in everything
