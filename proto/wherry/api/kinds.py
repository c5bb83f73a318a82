"""Which kinds there are, as far as more than one process names them.

`Kind` is the address of a resource type. The API server's table
(`wherry.apiserver.resources`) holds everything else about a kind.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kind:
    """Group, version, kind and plural; `namespaced` says whether objects live in a namespace."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """Return `v1` or `apps/v1`, as in an object's `apiVersion`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        """Return `pods` or `deployments.apps`, as in messages."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """Return the REST path of the collection or object."""
        parts = ["", "apis", self.group, self.version] if self.group else ["", "api", self.version]
        if self.namespaced and namespace:
            parts += ["namespaces", namespace]
        parts += [p for p in (self.plural, name, subresource) if p]
        return "/".join(parts)


NAMESPACE = Kind("", "v1", "Namespace", "namespaces", namespaced=False)
NODE = Kind("", "v1", "Node", "nodes", namespaced=False)
POD = Kind("", "v1", "Pod", "pods")
SERVICE = Kind("", "v1", "Service", "services")
ENDPOINTS = Kind("", "v1", "Endpoints", "endpoints")
CONFIG_MAP = Kind("", "v1", "ConfigMap", "configmaps")
SECRET = Kind("", "v1", "Secret", "secrets")
SERVICE_ACCOUNT = Kind("", "v1", "ServiceAccount", "serviceaccounts")
EVENT = Kind("", "v1", "Event", "events")
REPLICATION_CONTROLLER = Kind("", "v1", "ReplicationController", "replicationcontrollers")
REPLICA_SET = Kind("apps", "v1", "ReplicaSet", "replicasets")
DEPLOYMENT = Kind("apps", "v1", "Deployment", "deployments")
ENDPOINT_SLICE = Kind("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices")
CERTIFICATE_SIGNING_REQUEST = Kind(
    "certificates.k8s.io",
    "v1",
    "CertificateSigningRequest",
    "certificatesigningrequests",
    namespaced=False,
)
LEASE = Kind("coordination.k8s.io", "v1", "Lease", "leases")
SUBNET_LEASE = Kind("wherry.io", "v1", "SubnetLease", "subnetleases", namespaced=False)
"""A node's pod subnet; stored under flannel's own key `/coreos.com/network/subnets/`."""
NETWORK_CONFIG = Kind("wherry.io", "v1", "NetworkConfig", "networkconfigs", namespaced=False)
"""The one object `config`: flannel's `net-conf.json`, stored under `/coreos.com/network/config`."""

KINDS = (
    NAMESPACE,
    NODE,
    POD,
    SERVICE,
    ENDPOINTS,
    CONFIG_MAP,
    SECRET,
    SERVICE_ACCOUNT,
    EVENT,
    REPLICATION_CONTROLLER,
    REPLICA_SET,
    DEPLOYMENT,
    ENDPOINT_SLICE,
    CERTIFICATE_SIGNING_REQUEST,
    LEASE,
    SUBNET_LEASE,
    NETWORK_CONFIG,
)
