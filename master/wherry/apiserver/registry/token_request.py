"""The token subresource of ServiceAccounts: `authentication.k8s.io/v1 TokenRequest`."""

import random
from typing import Any

from wherry.api import kinds
from wherry.api.clock import Clock
from wherry.api.errors import (
    Cause,
    ConflictError,
    InvalidError,
    NotFoundError,
    ServiceUnavailableError,
)
from wherry.api.times import format_time
from wherry.apiserver.admission import Lookup
from wherry.apiserver.name import new_uid
from wherry.apiserver.resources import BY_KIND
from wherry.apiserver.strategy import fields
from wherry.apiserver.tokens import BoundObject, TokenConfig, TokenIssuer

Object = dict[str, Any]
_DEFAULT_S = 3600
_LEAST_S = 600
_MOST_S = 1 << 32
_BINDABLE = {"Pod": kinds.POD, "Secret": kinds.SECRET, "Node": kinds.NODE}


class TokenRequests:
    """Answers token requests."""

    def __init__(self, config: TokenConfig, *, clock: Clock, rng: random.Random) -> None:
        self._clock = clock
        self._rng = rng
        self._audiences = config.audiences
        self._issuer = TokenIssuer(config) if config.signing_key is not None else None

    async def answer(self, account: Object, request: Object, lookup: Lookup) -> Object:
        """Return the TokenRequest with its status filled in.

        Raises:
            InvalidError: the time asked for is out of range.
            NotFoundError, ConflictError: the object to bind to is not there.
            ServiceUnavailableError: this server has no key to sign with.
        """
        if self._issuer is None:
            raise ServiceUnavailableError("this server has no key to sign tokens with")
        meta = account["metadata"]
        spec = request.get("spec") or {}
        seconds = _DEFAULT_S if spec.get("expirationSeconds") is None else spec["expirationSeconds"]
        causes = _check_seconds(seconds)
        if causes:
            raise InvalidError(
                _message(meta["name"], causes),
                name=meta["name"],
                kind="TokenRequest",
                causes=causes,
            )
        bound = await self._bound(spec.get("boundObjectRef"), meta["namespace"], lookup)
        audiences = spec.get("audiences") or list(self._audiences)
        now = self._clock.now()
        token = self._issuer.issue(
            meta["namespace"],
            meta["name"],
            meta["uid"],
            now=now,
            lifetime_s=seconds,
            token_id=new_uid(self._rng),
            audiences=audiences,
            bound=bound,
        )
        shown = {k: meta[k] for k in ("name", "namespace")}
        return {
            "metadata": {**shown, "creationTimestamp": format_time(now)},
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {**spec, "audiences": audiences, "expirationSeconds": seconds},
            "status": {"token": token, "expirationTimestamp": format_time(now + seconds)},
        }

    async def _bound(
        self, ref: Object | None, namespace: str, lookup: Lookup
    ) -> BoundObject | None:
        if not ref:
            return None
        kind, name, uid = ref.get("kind", ""), ref.get("name", ""), ref.get("uid", "")
        if kind not in _BINDABLE:
            message = f"cannot bind token for serviceaccount to a {kind!r}: Pod, Secret or Node"
            causes = [fields.unsupported("spec.boundObjectRef.kind", kind, sorted(_BINDABLE))]
            raise InvalidError(message, kind="TokenRequest", causes=causes)
        resource = BY_KIND[_BINDABLE[kind]]
        where = namespace if resource.kind.namespaced else ""
        found = await lookup.find(resource, where, name, fresh=True)
        if found is None:
            raise NotFoundError(
                f'{resource.kind.plural} "{name}" not found', name=name, kind=resource.kind.plural
            )
        actual = found.index.metadata.uid
        if uid and uid != actual:
            raise ConflictError(
                f'Operation cannot be fulfilled on {resource.kind.plural} "{name}": the UID in the '
                f"bound object reference ({uid}) does not match the UID in record. The object might "
                "have been deleted and then recreated",
                name=name,
                kind=resource.kind.plural,
            )
        return BoundObject(kind, name, actual)


def _check_seconds(seconds: Any) -> list[Cause]:
    path = "spec.expirationSeconds"
    if not isinstance(seconds, int):
        return [fields.invalid(path, seconds, "must be a number of seconds")]
    if seconds < _LEAST_S:
        return [fields.invalid(path, seconds, "may not specify a duration less than 10 minutes")]
    if seconds > _MOST_S:
        return [
            fields.invalid(path, seconds, "may not specify a duration larger than 2^32 seconds")
        ]
    return []


def _message(name: str, causes: list[Cause]) -> str:
    text = "; ".join(f"{c.field}: {c.message}" for c in causes)
    return f'TokenRequest.authentication.k8s.io "{name}" is invalid: {text}'
