"""The table of kinds: everything the API server knows about a kind stands in its row.

Discovery, OpenAPI paths, routing, storage keys and field selectors are derived from it.
Printer columns are in `tables`, defaults and validation in `strategy`, keyed by the same
`Kind`. Adding a kind is adding a row.
"""

from dataclasses import dataclass

from wherry.api import kinds
from wherry.api.kinds import Kind

ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True, slots=True)
class Subresource:
    """`pods/eviction`: the kind of its body and the verbs it serves."""

    name: str
    verbs: tuple[str, ...] = ("get", "patch", "update")
    body: tuple[str, str, str] | None = None
    """(group, version, kind) of what is sent, where it differs from the parent's."""


@dataclass(frozen=True, slots=True)
class Resource:
    """One row."""

    kind: Kind
    singular: str
    storage_prefix: str
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: tuple[Subresource, ...] = ()
    field_selectors: tuple[str, ...] = ()
    """Dotted paths served besides metadata.name and metadata.namespace."""
    verbs: tuple[str, ...] = ALL_VERBS

    def subresource(self, name: str) -> Subresource | None:
        """Return the subresource of that name, if there is one."""
        return next((s for s in self.subresources if s.name == name), None)

    def key(self, namespace: str, name: str) -> bytes:
        """Return the storage key of one object."""
        return self.prefix(namespace) + name.encode()

    def prefix(self, namespace: str = "") -> bytes:
        """Return the storage prefix of all objects, or of one namespace's."""
        if self.kind.namespaced and namespace:
            return f"{self.storage_prefix}{namespace}/".encode()
        return self.storage_prefix.encode()

    def owns(self, key: bytes) -> bool:
        """Tell whether a key below the prefix is one of this resource's own objects.

        `/coreos.com/network/` holds the network's configuration, and below it
        `subnets/` is another resource.
        """
        return key.count(b"/", len(self.storage_prefix)) == int(self.kind.namespaced)


STATUS = Subresource("status")
SCALE = Subresource("scale", body=("autoscaling", "v1", "Scale"))
_STREAM = ("create", "get")
_EVENT_FIELDS = (
    "involvedObject.kind",
    "involvedObject.namespace",
    "involvedObject.name",
    "involvedObject.uid",
    "involvedObject.apiVersion",
    "involvedObject.resourceVersion",
    "involvedObject.fieldPath",
    "reason",
    "reportingComponent",
    "source",
    "type",
)

RESOURCES: tuple[Resource, ...] = (
    Resource(
        kinds.NAMESPACE,
        "namespace",
        "/registry/namespaces/",
        ("ns",),
        subresources=(STATUS, Subresource("finalize", ("update",))),
        field_selectors=("status.phase",),
    ),
    Resource(
        kinds.NODE,
        "node",
        "/registry/minions/",
        ("no",),
        subresources=(STATUS,),
        field_selectors=("spec.unschedulable",),
    ),
    Resource(
        kinds.POD,
        "pod",
        "/registry/pods/",
        ("po",),
        ("all",),
        (
            STATUS,
            Subresource("binding", ("create",), ("", "v1", "Binding")),
            Subresource("eviction", ("create",), ("policy", "v1", "Eviction")),
            Subresource("log", ("get",)),
            Subresource("exec", _STREAM, ("", "v1", "PodExecOptions")),
            Subresource("attach", _STREAM, ("", "v1", "PodAttachOptions")),
            Subresource("portforward", _STREAM, ("", "v1", "PodPortForwardOptions")),
        ),
        (
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ),
    ),
    Resource(
        kinds.SERVICE,
        "service",
        "/registry/services/specs/",
        ("svc",),
        ("all",),
        (STATUS,),
        ("spec.clusterIP", "spec.type"),
    ),
    Resource(kinds.ENDPOINTS, "endpoints", "/registry/services/endpoints/", ("ep",)),
    Resource(kinds.CONFIG_MAP, "configmap", "/registry/configmaps/", ("cm",)),
    Resource(kinds.SECRET, "secret", "/registry/secrets/", field_selectors=("type",)),
    Resource(
        kinds.SERVICE_ACCOUNT,
        "serviceaccount",
        "/registry/serviceaccounts/",
        ("sa",),
        subresources=(
            Subresource("token", ("create",), ("authentication.k8s.io", "v1", "TokenRequest")),
        ),
    ),
    Resource(kinds.EVENT, "event", "/registry/events/", ("ev",), field_selectors=_EVENT_FIELDS),
    Resource(
        kinds.REPLICATION_CONTROLLER,
        "replicationcontroller",
        "/registry/controllers/",
        ("rc",),
        ("all",),
        (STATUS, SCALE),
        ("status.replicas",),
    ),
    Resource(
        kinds.REPLICA_SET,
        "replicaset",
        "/registry/replicasets/",
        ("rs",),
        ("all",),
        (STATUS, SCALE),
        ("status.replicas",),
    ),
    Resource(
        kinds.DEPLOYMENT,
        "deployment",
        "/registry/deployments/",
        ("deploy",),
        ("all",),
        (STATUS, SCALE),
    ),
    Resource(kinds.ENDPOINT_SLICE, "endpointslice", "/registry/endpointslices/"),
    Resource(
        kinds.CERTIFICATE_SIGNING_REQUEST,
        "certificatesigningrequest",
        "/registry/certificatesigningrequests/",
        ("csr",),
        subresources=(STATUS, Subresource("approval")),
        field_selectors=("spec.signerName",),
    ),
    Resource(kinds.LEASE, "lease", "/registry/leases/"),
    Resource(kinds.SUBNET_LEASE, "subnetlease", "/coreos.com/network/subnets/"),
    Resource(kinds.NETWORK_CONFIG, "networkconfig", "/coreos.com/network/"),
)

SCALE_VIEW = Resource(Kind("autoscaling", "v1", "Scale", "scales"), "scale", "")
"""What `scale` subresources are shown as; nothing is stored under it."""

BY_KIND = {r.kind: r for r in RESOURCES}
BY_ADDRESS = {(r.kind.group, r.kind.version, r.kind.plural): r for r in RESOURCES}
