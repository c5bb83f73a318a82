"""The token subresource of ServiceAccounts: `authentication.k8s.io/v1 TokenRequest`.

Source: kubernetes `pkg/registry/core/serviceaccount/storage/token.go`, `ValidateTokenRequest`, and what
NodeRestriction says about agents, who ask for their pods' tokens.
"""

import random
from dataclasses import dataclass
from typing import Any, Final

import orjson

from wherry.api import kinds
from wherry.api.clock import Clock
from wherry.api.errors import (
    BadRequestError,
    Cause,
    ConflictError,
    InvalidError,
    ServiceUnavailableError,
)
from wherry.api.times import format_time
from wherry.apiserver import refusal
from wherry.apiserver.account_token import LIFETIME_S
from wherry.apiserver.admission import Lookup
from wherry.apiserver.name import new_uid
from wherry.apiserver.resources import BY_KIND
from wherry.apiserver.strategy import fields
from wherry.apiserver.strategy.formats import check_token_lifetime
from wherry.apiserver.tokens import EXTENDED_S, BoundObject, TokenConfig, TokenIssuer
from wherry.apiserver.verbs import User
from wherry.pki.node import NODE_PREFIX, NODES

Object = dict[str, Any]
_ACCOUNT: Final = BY_KIND[kinds.SERVICE_ACCOUNT]
_POD: Final = BY_KIND[kinds.POD]
_NODE: Final = BY_KIND[kinds.NODE]
_DEFAULT_S = 3600
_BINDABLE = {"Pod": kinds.POD, "Secret": kinds.SECRET, "Node": kinds.NODE}


@dataclass(frozen=True, slots=True)
class _Bound:
    """What a token is bound to; `node` is where a pod runs."""

    object: BoundObject | None = None
    node: BoundObject | None = None


class TokenRequests:
    """Answers token requests."""

    def __init__(self, config: TokenConfig, *, clock: Clock, rng: random.Random) -> None:
        self._clock = clock
        self._rng = rng
        self._audiences = config.audiences
        self._issuer = TokenIssuer(config) if config.signing_key is not None else None

    async def answer(self, account: Object, request: Object, user: User, lookup: Lookup) -> Object:
        """Return the TokenRequest (which has passed the schema) with its status filled in.

        Raises:
            InvalidError: it is of another account, or the time asked for is out of range.
            BadRequestError: a token cannot be bound to that.
            NotFoundError, ConflictError: the object to bind to is not there.
            ForbiddenError: an agent asks for a token that is not of a pod of its own.
            ServiceUnavailableError: this server has no key to sign with.
        """
        if self._issuer is None:
            raise ServiceUnavailableError("this server has no key to sign tokens with")
        meta, asked = account["metadata"], request.get("metadata") or {}
        spec = request.get("spec") or {}
        for field, what in (("name", "name"), ("namespace", "namespace")):
            if asked.get(field, "") not in ("", meta[field]):
                why = f"must match the service account {what} if specified"
                raise _invalid(meta["name"], fields.invalid(f"metadata.{field}", asked[field], why))
        seconds = spec.get("expirationSeconds", _DEFAULT_S)
        for wrong in check_token_lifetime("spec.expirationSeconds", seconds):
            raise _invalid("", wrong)
        audiences = spec.get("audiences") or list(self._audiences)
        await _check_node(user, meta, spec.get("boundObjectRef"), lookup)
        bound = await _bound(spec.get("boundObjectRef"), meta, lookup)
        # Who was given a token without asking may be a program of the time when tokens did not end, and
        # never read it again: it is let in for a year, as long as its pod is there.
        in_pod = bound.object is not None and bound.object.kind == "Pod"
        extended = in_pod and seconds == LIFETIME_S and set(audiences) <= set(self._audiences)
        now = self._clock.now()
        token = self._issuer.issue(
            meta["namespace"],
            meta["name"],
            meta["uid"],
            now=now,
            lifetime_s=EXTENDED_S if extended else seconds,
            warn_after_s=seconds if extended else None,
            token_id=new_uid(self._rng),
            audiences=audiences,
            bound=bound.object,
            node=bound.node,
        )
        shown = {k: meta[k] for k in ("name", "namespace")}
        return {
            "metadata": {**asked, **shown, "creationTimestamp": format_time(now)},
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {**spec, "audiences": audiences, "expirationSeconds": seconds},
            "status": {"token": token, "expirationTimestamp": format_time(now + seconds)},
        }


async def _bound(ref: Object | None, meta: Object, lookup: Lookup) -> _Bound:
    if not ref:
        return _Bound()
    kind, name, uid = ref.get("kind", ""), ref.get("name", ""), ref.get("uid", "")
    group, _, version = ref.get("apiVersion", "").rpartition("/")
    if group or kind not in _BINDABLE:
        raise BadRequestError(f"cannot bind token to object of type {group}/{version}, Kind={kind}")
    resource = BY_KIND[_BINDABLE[kind]]
    where = meta["namespace"] if resource.kind.namespaced else ""
    found = await lookup.find(resource, where, name, fresh=True)
    if found is None:
        raise refusal.not_found(resource, name)
    node = None
    if resource is _POD:
        spec = orjson.loads(found.object)["spec"]
        if spec.get("serviceAccountName", "") != meta["name"]:
            raise BadRequestError(
                f'cannot bind token for serviceaccount "{meta["name"]}" to pod running with '
                "different serviceaccount name."
            )
        node = await _node_of(spec, lookup)
    actual = found.index.metadata.uid
    if uid and uid != actual:
        raise ConflictError(
            f'Operation cannot be fulfilled on {kind} "{name}": {_other_uid(uid)}',
            name=name,
            kind=kind,
        )
    return _Bound(BoundObject(kind, name, actual), node)


async def _node_of(spec: Object, lookup: Lookup) -> BoundObject | None:
    """Return where a pod runs; without a uid where there is no such Node."""
    name = spec.get("nodeName")
    if not name:
        return None
    node = await lookup.find(_NODE, "", name)
    return BoundObject("Node", name, "" if node is None else node.index.metadata.uid)


async def _check_node(user: User, meta: Object, ref: Object | None, lookup: Lookup) -> None:
    """Let an agent have tokens only for pods that run on its node.

    Raises:
        ForbiddenError: it asks for another.
        NotFoundError: there is no such pod.
    """
    if NODES not in user.groups or not user.name.startswith(NODE_PREFIX):
        return
    ref = ref or {}
    why = ""
    if (ref.get("apiVersion"), ref.get("kind")) != ("v1", "Pod") or not ref.get("name"):
        why = "node requested token not bound to a pod"
    elif not ref.get("uid"):
        why = "node requested token with a pod binding without a uid"
    else:
        pod = await lookup.find(_POD, meta["namespace"], ref["name"], fresh=True)
        if pod is None:
            raise refusal.not_found(_POD, ref["name"])
        if pod.index.metadata.uid != ref["uid"]:
            why = _other_uid(ref["uid"])
        elif orjson.loads(pod.object)["spec"].get("nodeName") != user.name.removeprefix(
            NODE_PREFIX
        ):
            why = "node requested token bound to a pod scheduled on a different node"
    if why:
        raise refusal.forbidden(_ACCOUNT, meta["name"], why)


def _other_uid(uid: str) -> str:
    return (
        f"the UID in the bound object reference ({uid}) does not match the UID in record. The object "
        "might have been deleted and then recreated"
    )


def _invalid(name: str, cause: Cause) -> InvalidError:
    return refusal.invalid_kind("TokenRequest", "authentication.k8s.io", name, [cause])
