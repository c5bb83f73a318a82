"""Authentication and authorization together: the `Gate` that both doors ask."""

import logging
from collections.abc import Sequence
from typing import Any

import orjson

from wherry.api import kinds
from wherry.api.errors import UnauthorizedError
from wherry.apiserver.authn import Authenticator
from wherry.apiserver.authz import Authorizer, NodeOfPod, RequesterOf
from wherry.apiserver.certified import Certified
from wherry.apiserver.gate import Attributes, Decision
from wherry.apiserver.registry import Registry
from wherry.apiserver.resources import BY_KIND
from wherry.apiserver.verbs import User

log = logging.getLogger(__name__)


class Access:
    """Implements `wherry.apiserver.gate.Gate`."""

    def __init__(self, authenticator: Authenticator, authorizer: Authorizer) -> None:
        self._authenticator = authenticator
        self._authorizer = authorizer

    async def authenticate(self, certificate: bytes | None, token: str) -> User:
        """See `Gate.authenticate`. Why somebody is not let in is for the log: it would help who guesses."""
        try:
            return await self._authenticator.authenticate(certificate, token)
        except UnauthorizedError as error:
            raise _refused(error) from error

    def certified(self, certificate: bytes) -> Certified | None:
        """See `Gate.certified`."""
        try:
            return self._authenticator.certified(certificate)
        except UnauthorizedError as error:
            raise _refused(error) from error

    async def review(self, token: str, audiences: Sequence[str]) -> tuple[User, tuple[str, ...]]:
        """See `Gate.review`."""
        return await self._authenticator.review(token, audiences)

    def decide(self, user: User, attributes: Attributes) -> Decision:
        """See `Gate.decide`."""
        return self._authorizer.decide(user, attributes)

    def rules(self, user: User, namespace: str) -> tuple[Sequence[Any], Sequence[Any]]:
        """See `Gate.rules`."""
        return self._authorizer.rules(user, namespace)


def _refused(error: UnauthorizedError) -> UnauthorizedError:
    log.info("unable to authenticate the request: %s", error)
    return UnauthorizedError("Unauthorized")


def node_of_pod(registry: Registry) -> NodeOfPod:
    """Return a function that looks up a pod's node in the watch cache."""
    resource = BY_KIND[kinds.POD]
    cache = registry.caches[resource]
    read = cache.codec.field("spec.nodeName")

    def find(namespace: str, name: str) -> str | None:
        entry = cache.get(resource.key(namespace, name))
        return None if entry is None else read(entry.index)

    return find


def requester_of(registry: Registry) -> RequesterOf:
    """Return a function that looks up in the watch cache who made a certificate request."""
    resource = BY_KIND[kinds.CERTIFICATE_SIGNING_REQUEST]
    cache = registry.caches[resource]

    def find(name: str) -> str | None:
        entry = cache.get(resource.key("", name))
        if entry is None:
            return None
        username: str = orjson.loads(entry.object)["spec"].get("username", "")
        return username

    return find
