"""What both doors ask before anything is done: who is it, and may they?

The values made for every request are structs: a frozen dataclass costs ten times as much to make.
"""

from base64 import urlsafe_b64decode
from collections.abc import Sequence
from typing import Any, Final, Protocol

import msgspec

from wherry.api.errors import ForbiddenError
from wherry.api.kinds import NAMESPACE
from wherry.apiserver.certified import Certified
from wherry.apiserver.resources import Resource
from wherry.apiserver.verbs import User

PROTOCOL_TOKEN: Final = "base64url.bearer.authorization.k8s.io."  # noqa: S105 - a prefix
"""Begins the subprotocol that is a browser's token: it can set no header of a WebSocket."""


class Attributes(msgspec.Struct, frozen=True):
    """What authorization decides on: a resource, or with `path` something that is none."""

    verb: str
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""


class Action(msgspec.Struct, frozen=True):
    """What somebody wants to do with a resource that exists."""

    verb: str
    resource: Resource
    namespace: str = ""
    name: str = ""
    subresource: str = ""

    @property
    def attributes(self) -> Attributes:
        """Return it in authorization's terms, in which a namespace is in itself."""
        kind = self.resource.kind
        return Attributes(
            self.verb,
            kind.group,
            kind.version,
            kind.plural,
            self.subresource,
            self.name if kind is NAMESPACE else self.namespace,
            self.name,
        )


class Decision(msgspec.Struct, frozen=True):
    """Allowed or not; `reason` is for the user."""

    allowed: bool
    reason: str = ""


class Gate(Protocol):
    """Authentication and authorization, as the doors use them."""

    async def authenticate(self, certificate: bytes | None, token: str) -> User:
        """Return who presents this client certificate (verified by TLS) or bearer token.

        The certificate counts first, while it is valid. It is PEM, and what was sent along with it
        follows, or DER.

        Raises:
            UnauthorizedError: neither names anybody.
        """
        ...

    def certified(self, certificate: bytes) -> Certified | None:
        """Return whom a certificate names and until when that may be remembered; None: nobody.

        Raises:
            UnauthorizedError: it is not valid (now, or here).
        """
        ...

    async def review(self, token: str, audiences: Sequence[str]) -> tuple[User, tuple[str, ...]]:
        """Return whose token somebody asks about, and for which of the audiences (none: ours) it is.

        Raises:
            UnauthorizedError: it is not valid, or for others; the message says why.
        """
        ...

    def decide(self, user: User, attributes: Attributes) -> Decision:
        """Tell whether `user` may."""
        ...

    def rules(self, user: User, namespace: str) -> tuple[Sequence[Any], Sequence[Any]]:
        """Return what `user` may do in a namespace, as SelfSubjectRulesReview lists it.

        Returns:
            resourceRules and nonResourceRules, as dicts.
        """
        ...


def authorize(gate: Gate, user: User, attributes: Attributes) -> None:
    """Return if `user` may.

    Raises:
        ForbiddenError: in kube-apiserver's words.
    """
    decision = gate.decide(user, attributes)
    if not decision.allowed:
        raise forbidden(user, attributes, decision.reason)


def forbidden(user: User, attributes: Attributes, reason: str = "") -> ForbiddenError:
    """Say who may not do what, and where."""
    tail = f": {reason}" if reason else ""
    who = f'User "{user.name}" cannot {attributes.verb}'
    if attributes.path:
        return ForbiddenError(f'forbidden: {who} path "{attributes.path}"{tail}')
    plural, group = attributes.resource, attributes.group
    qualified = f"{plural}.{group}" if group else plural
    what = f"{plural}/{attributes.subresource}" if attributes.subresource else plural
    where = (
        f'in the namespace "{attributes.namespace}"'
        if attributes.namespace
        else "at the cluster scope"
    )
    name = f' "{attributes.name}"' if attributes.name else ""
    return ForbiddenError(
        f'{qualified}{name} is forbidden: {who} resource "{what}" in API group "{group}" '
        f"{where}{tail}",
        name=attributes.name,
        kind=plural,
        group=group,
    )


def bearer(header: str) -> str:
    """Return the token of an Authorization header, "" where there is none.

    Words are parted by one blank each, and what stands after the token does not count; another
    scheme, and a token after two blanks, is as good as no header.
    Source: apiserver `request/bearertoken`.
    """
    scheme, token, *_ = [*header.strip().split(" ", 2), ""]
    return token if scheme.lower() == "bearer" else ""


def websocket_bearer(protocols: str) -> str:
    """Return the token among a Sec-WebSocket-Protocol header's subprotocols, "" where there is none.

    A browser can send no other header with a WebSocket. The token does not count where nothing
    else is offered: there would be no subprotocol to choose.
    Source: apiserver `request/websocket`.
    """
    offered = [each.strip() for each in protocols.split(",")]
    tokens = [each for each in offered if each.startswith(PROTOCOL_TOKEN)]
    if len(tokens) != 1 or len(offered) == 1:
        return ""
    encoded = tokens[0].removeprefix(PROTOCOL_TOKEN)
    try:
        return urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()
    except ValueError:
        return ""
