"""Where `wherry init` puts what, and whom each certificate names.

    DIR/pki/ca.crt ca.key            the cluster's authority
    DIR/pki/sa.key                   signs ServiceAccount tokens
    DIR/pki/NAME.crt NAME.key        one pair for each identity below
    DIR/tokens.csv                   static tokens: token,user,uid,"group,..."
    DIR/join.token                   what `wherry join` wants to hear
    DIR/admin.kubeconfig             for kubectl

The names are those of kubeadm where it has one. `identities` is pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from wherry.pki.certificates import Subject

SERVICE_NAMES = (
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)


@dataclass(frozen=True, slots=True)
class Host:
    """A machine of the cluster: its name and the address that the others reach it at."""

    name: str
    address: str


def identities(
    masters: Sequence[Host], nodes: Sequence[Host], *, service_ip: str, hollow: bool = False
) -> dict[str, Subject]:
    """Return the subject of every certificate, by file name.

    Args:
        masters: They share one apiserver certificate (clients fail over between them) and
            have one store certificate each (a member proves which member it is).
        nodes: Each gets `agent-NAME`; the agent serves 10250 with it too.
        service_ip: First address of the service range: the `kubernetes` Service.
        hollow: Also `hollow`, by which one process is any number of hollow nodes. It may
            do everything, so no other cluster has it.
    """
    local = ("localhost", "127.0.0.1")
    reach = [part for m in masters for part in (m.name, m.address)]
    found = {
        "apiserver": Subject(
            "system:apiserver",
            ("system:masters",),
            hosts=_unique((*SERVICE_NAMES, service_ip, *local, *reach)),
            server=True,
        ),
        "apiserver-kubelet-client": Subject("system:apiserver", ("system:masters",)),
        "scheduler": Subject("system:kube-scheduler"),
        "controller-manager": Subject("system:kube-controller-manager"),
        "proxy": Subject("system:kube-proxy", ("system:node-proxier",)),
        "overlay": Subject("system:kube-overlay"),
        "dns": Subject("system:kube-dns"),
        "admin": Subject("kubernetes-admin", ("system:masters",)),
    }
    for master in masters:
        found[f"store-{master.name}"] = Subject(
            "system:store",
            ("system:store",),
            hosts=_unique((master.name, master.address, *local)),
            server=True,
        )
    if hollow:
        found["hollow"] = Subject(
            "system:hollow-nodes",
            ("system:masters",),
            hosts=_unique((*local, *(part for n in nodes for part in (n.name, n.address)))),
            server=True,
        )
    for node in nodes:
        found[f"agent-{node.name}"] = node_subject(node)
    return found


def node_subject(node: Host) -> Subject:
    """Return whom a node's certificate names (Kubernetes' Node authorizer's convention)."""
    return Subject(
        f"system:node:{node.name}",
        ("system:nodes",),
        hosts=_unique((node.name, node.address, "localhost", "127.0.0.1")),
        server=True,
    )


def _unique(hosts: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(h for h in hosts if h))


def kubeconfig(*, server: str, ca: str, cert: str, key: str, user: str = "kubernetes-admin") -> str:
    """Return a kubeconfig as YAML; `ca`, `cert` and `key` are base64 of PEM."""
    return f"""apiVersion: v1
kind: Config
clusters:
- name: wherry
  cluster:
    server: {server}
    certificate-authority-data: {ca}
users:
- name: {user}
  user:
    client-certificate-data: {cert}
    client-key-data: {key}
contexts:
- name: {user}@wherry
  context:
    cluster: wherry
    user: {user}
current-context: {user}@wherry
"""
