"""Certificate requests: who may have which certificate. Pure.

    signer `wherry.io/node`      approved or denied here, by the tables below
    signer `kubernetes.io/kube-apiserver-client`
                                 left to a person (`kubectl certificate approve`), then signed
    every other signer           left to others altogether

Who may ask for a node's certificates:

    requester                    subject
    system:bootstrappers         any node (O system:nodes, CN system:node:NAME, its own names
                                 and addresses), any of a node's helpers
    system:node:NAME             the same node, any of a node's helpers

A node's certificate serves too, so it must not name what clients take for somebody else:
the API servers, or a Service. Of all other requesters a person decides.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from wherry.controllers.views import SigningRequest
from wherry.pki.certificates import PublicKey
from wherry.pki.node import (
    API_CLIENT,
    BOOTSTRAPPERS,
    HELPERS,
    LOCAL_NAMES,
    NODE_PREFIX,
    NODES,
    SIGNER,
    why_no_node_name,
)
from wherry.pki.request import Request, parse_request
from wherry.pki.subject import Subject

APPROVED: Final = "Approved"
DENIED: Final = "Denied"
FAILED: Final = "Failed"
LEAST_S: Final = 600.0
"""No certificate is shorter than this (`expirationSeconds` has the same bound)."""
_CLIENT_USAGES: Final = frozenset({"client auth", "digital signature", "key encipherment"})
_NODE_USAGES: Final = _CLIENT_USAGES | {"server auth"}


@dataclass(frozen=True, slots=True)
class Verdict:
    """The condition to set: `type_` is Approved or Denied."""

    type_: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Order:
    """A certificate to issue, lasting at most `most_s` seconds."""

    subject: Subject
    public_key: PublicKey
    most_s: float | None


def has(csr: SigningRequest, *types: str) -> bool:
    """Tell whether the request has a condition of one of the types."""
    return any(c.type in types for c in csr.status.conditions)


def judge(csr: SigningRequest, reserved: frozenset[str]) -> Verdict | None:
    """Approve or deny a request for a node's certificate; None leaves it to others.

    Args:
        csr: The request.
        reserved: Addresses that no node may serve: those of the API servers and of Services.
    """
    spec = csr.spec
    from_node = NODES in spec.groups and spec.username.startswith(NODE_PREFIX)
    joining = BOOTSTRAPPERS in spec.groups
    if spec.signer_name != SIGNER or not (from_node or joining):
        return None
    why = why_not(csr, reserved)
    if not why and from_node and not joining:
        user = parse_request(spec.request).user
        if user not in (spec.username, *(helper.user for helper in HELPERS.values())):
            why = f"{spec.username} may not ask for a certificate of {user}"
    if why:
        return Verdict(DENIED, "NotPermitted", why)
    how = "its own" if from_node and not joining else "a joining"
    message = f"Auto approving certificate of {how} node for {spec.username}"
    return Verdict(APPROVED, "AutoApproved", message)


def why_not(csr: SigningRequest, reserved: frozenset[str]) -> str:
    """Say why a request cannot be signed by its signer, whoever asks and approves; "" if it can."""
    try:
        request = parse_request(csr.spec.request)
    except ValueError as error:
        return str(error)
    usages = frozenset(csr.spec.usages)
    if csr.spec.signer_name == API_CLIENT:
        return _usages(usages, _CLIENT_USAGES)
    if request.other:
        return f"names {', '.join(request.other)}: only DNS names and IP addresses are possible"
    if request.user.startswith(NODE_PREFIX):
        return _node(request, reserved) or _usages(usages, _NODE_USAGES)
    for helper in HELPERS.values():
        if request.user == helper.user:
            return _helper(request, helper) or _usages(usages, _CLIENT_USAGES)
    return f"{request.user or 'its subject'!r} is neither a node nor a process of one"


def order(csr: SigningRequest, reserved: frozenset[str]) -> Order | str:
    """Return what to issue for an approved request, or why nothing can be."""
    why = why_not(csr, reserved)
    if why:
        return why
    request = parse_request(csr.spec.request)
    subject = Subject(
        request.user,
        request.groups,
        hosts=(*request.dns, *request.ips),
        server="server auth" in csr.spec.usages,
    )
    return Order(subject, request.public_key, csr.spec.expiration_seconds)


def lifetime_s(wanted_s: float | None, most_s: float, ca_left_s: float) -> float:
    """Return how long a certificate is to last, never longer than its authority.

    Args:
        wanted_s: What the request says, None for as long as possible.
        most_s: `--cluster-signing-duration`.
        ca_left_s: How long the authority lasts.
    """
    asked_s = most_s if wanted_s is None else min(most_s, max(wanted_s, LEAST_S))
    return min(asked_s, ca_left_s)


def _node(request: Request, reserved: frozenset[str]) -> str:
    name = request.user.removeprefix(NODE_PREFIX)
    if why := why_no_node_name(name):
        return why
    if request.groups != (NODES,):
        return f"a node's organization is {NODES}, not {_list(request.groups)}"
    foreign = [n for n in request.dns if n not in (name, *LOCAL_NAMES)]
    if foreign:
        return f"node {name!r} may not serve as {_list(foreign)}"
    taken = [ip for ip in request.ips if ip in reserved or _is_nobodys(ip)]
    if taken:
        return f"node {name!r} may not serve at {_list(taken)}: it is not a node's address"
    return ""


def _is_nobodys(ip: str) -> bool:
    address = ipaddress.ip_address(ip)
    return address.is_unspecified or address.is_multicast


def _helper(request: Request, helper: Subject) -> str:
    if request.groups != helper.groups:
        return f"the organization of {helper.user} is {_list(helper.groups)}, not {_list(request.groups)}"
    if request.dns or request.ips:
        return f"{helper.user} serves nobody: no names and addresses are possible"
    return ""


def _usages(usages: frozenset[str], allowed: frozenset[str]) -> str:
    if surplus := usages - allowed:
        return f"usages {_list(sorted(surplus))} are not possible here"
    return "" if "client auth" in usages else "usages must include 'client auth'"


def _list(words: Sequence[str]) -> str:
    return ", ".join(words) or "none"
