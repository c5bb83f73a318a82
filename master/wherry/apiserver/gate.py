"""What both doors ask before anything is done: who is it, and may they?"""

from dataclasses import dataclass
from typing import Protocol

from wherry.apiserver.resources import Resource
from wherry.apiserver.verbs import User


@dataclass(frozen=True, slots=True)
class Action:
    """What somebody wants to do: `verb` on a resource, or on a path that is none (`/metrics`)."""

    verb: str
    resource: Resource | None = None
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    path: str = ""


class Gate(Protocol):
    """Authentication and authorization, as the doors use them."""

    async def authenticate(self, certificate: bytes | None, token: str) -> User:
        """Return who presents this client certificate (DER or PEM, verified) or bearer token.

        Raises:
            UnauthorizedError: neither names anybody.
        """
        ...

    def authorize(self, user: User, action: Action) -> None:
        """Return if `user` may.

        Raises:
            ForbiddenError: in kube-apiserver's words.
        """
        ...


def bearer(header: str) -> str:
    """Return the token of an Authorization header, "" where there is none."""
    scheme, _, token = header.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
