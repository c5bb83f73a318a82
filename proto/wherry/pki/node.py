"""Whom a node's certificates name, and what one must not name. Pure.

A node has one certificate for its agent (client and server: the API servers come back to it)
and one for each process beside it. Who issues them (`wherry init`), who asks for them
(`wherry join`) and who decides about such requests (the controller manager) agree here.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final

from wherry.pki.subject import Subject

SIGNER: Final = "wherry.io/node"
"""`spec.signerName` of a request for one of the certificates below."""
API_CLIENT: Final = "kubernetes.io/kube-apiserver-client"
"""Kubernetes' signer of certificates for users; somebody has to approve each request."""
NODE_PREFIX: Final = "system:node:"
NODES: Final = "system:nodes"
BOOTSTRAPPERS: Final = "system:bootstrappers"
MASTERS: Final = "system:masters"
LOCAL_NAMES: Final = ("localhost", "127.0.0.1")
SERVICE_NAMES: Final = (
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)
"""Names of the API servers inside the cluster."""
HELPERS: Final[Mapping[str, Subject]] = {
    "overlay": Subject("system:kube-overlay"),
    "proxy": Subject("system:kube-proxy", ("system:node-proxier",)),
    "dns": Subject("system:kube-dns"),
}
"""The processes beside the agent, by the names of their files."""

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_NAME_MOST = 64 - len(NODE_PREFIX)
"""A common name has at most 64 characters (X.520, ub-common-name)."""


def node_subject(name: str, address: str) -> Subject:
    """Return whom the agent's certificate names (the convention of Kubernetes' Node authorizer)."""
    return Subject(
        f"{NODE_PREFIX}{name}", (NODES,), hosts=unique((name, address, *LOCAL_NAMES)), server=True
    )


def node_pairs(name: str, address: str) -> dict[str, Subject]:
    """Return the subjects of all certificates that a node needs, by file name, the agent's first."""
    return {f"agent-{name}": node_subject(name, address), **HELPERS}


def why_no_node_name(name: str) -> str:
    """Say what is wrong with a node's name, "" if nothing is."""
    if not _NAME.fullmatch(name):
        return f"{name!r} is no node name: expected lower case letters, digits, '-' and '.'"
    if len(name) > _NAME_MOST:
        return f"{name!r} is no node name: it has more than {_NAME_MOST} characters"
    if name.partition(".")[0] in ("kubernetes", "localhost"):
        return f"{name!r} is no node name: clients expect an API server there"
    return ""


def usages(subject: Subject) -> list[str]:
    """Return `spec.usages` of a request for `subject`."""
    wanted = ["digital signature"]
    wanted += ["client auth"] * subject.client
    wanted += ["server auth"] * subject.server
    return wanted


def unique(hosts: Iterable[str]) -> tuple[str, ...]:
    """Return the hosts in their order, without repetitions and empty ones."""
    return tuple(dict.fromkeys(h for h in hosts if h))
