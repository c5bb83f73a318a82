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

from wherry.pki.node import HELPERS, LOCAL_NAMES, SERVICE_NAMES, node_subject, unique
from wherry.pki.subject import Subject


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
    reach = [part for m in masters for part in (m.name, m.address)]
    found = {
        "apiserver": Subject(
            "system:apiserver",
            ("system:masters",),
            hosts=unique((*SERVICE_NAMES, service_ip, *LOCAL_NAMES, *reach)),
            server=True,
        ),
        "apiserver-kubelet-client": Subject("system:apiserver", ("system:masters",)),
        "scheduler": Subject("system:kube-scheduler"),
        "controller-manager": Subject("system:kube-controller-manager"),
        **HELPERS,
        "admin": Subject("kubernetes-admin", ("system:masters",)),
    }
    for master in masters:
        found[f"store-{master.name}"] = Subject(
            "system:store",
            ("system:store",),
            hosts=unique((master.name, master.address, *LOCAL_NAMES)),
            server=True,
        )
    if hollow:
        found["hollow"] = Subject(
            "system:hollow-nodes",
            ("system:masters",),
            hosts=unique((*LOCAL_NAMES, *(part for n in nodes for part in (n.name, n.address)))),
            server=True,
        )
    for node in nodes:
        found[f"agent-{node.name}"] = node_subject(node.name, node.address)
    return found


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
