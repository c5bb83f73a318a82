"""Admission: what may still change or refuse an object before it is stored.

A plugin looks at one request. First each may change the object, or refuse what it cannot
complete; then the object is validated, and each may refuse what has become of it. A plugin
that decided on *another* object (a Namespace) adds a guard: the write happens only if that
object is still the one decided on, so a pod can never be created in a namespace that began
to terminate a moment ago.
"""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

import orjson

from wherry.api import kinds
from wherry.api.errors import Cause, ForbiddenError, NotFoundError
from wherry.api.namespace_content import DEFAULT_ACCOUNT
from wherry.apiserver import account_token, pod_priority, refusal
from wherry.apiserver.name import generate_name
from wherry.apiserver.plan import Guard
from wherry.apiserver.resources import BY_KIND, Resource
from wherry.apiserver.storage import Entry
from wherry.apiserver.strategy.certificate import requested_groups
from wherry.apiserver.strategy.pod import MIRROR
from wherry.apiserver.verbs import User
from wherry.pki.node import API_CLIENT, MASTERS
from wherry.store.kv import Compare, Target

IMMORTAL = ("default", "kube-system", "kube-public")
"""Namespaces that may not be deleted (kube-apiserver's NamespaceLifecycle)."""
_NAMESPACE = BY_KIND[kinds.NAMESPACE]
_ACCOUNT = BY_KIND[kinds.SERVICE_ACCOUNT]
_PRIORITY_CLASS = BY_KIND[kinds.PRIORITY_CLASS]
_ATTEMPTS = 10
_RETRY_S = (0.1, 0.2)
"""How often, and how long apart, upstream looks for an account `default` that is not there yet."""


class Operation(StrEnum):
    """What the request does."""

    CREATE = "CREATE"
    UPDATE = "UPDATE"
    DELETE = "DELETE"


@dataclass(slots=True)
class Request:
    """One request; `guards` is what plugins add. `fresh`: the cache's word is not enough.

    `name` is what was asked for: of a creation it may be a prefix for a name that is made up.
    """

    operation: Operation
    user: User
    resource: Resource
    namespace: str
    name: str
    subresource: str = ""
    object: dict[str, Any] = field(default_factory=dict)
    old: dict[str, Any] | None = None
    fresh: bool = False
    guards: list[Guard] = field(default_factory=list)


class Lookup(Protocol):
    """How one object is found."""

    async def find(
        self, resource: Resource, namespace: str, name: str, *, fresh: bool = False
    ) -> Entry | None:
        """Return an object from the cache, or with `fresh` (or when it is not there) from the store."""
        ...


class View(Lookup, Protocol):
    """What plugins see of the cluster."""

    def known(self, resource: Resource) -> Sequence[Entry]:
        """Return all objects of a kind, as the cache has them: perhaps not the newest."""
        ...


class Plugin(Protocol):
    """One rule. Plugins keep no state between requests."""

    async def mutate(self, request: Request, lookup: View) -> None:
        """Change `request.object` in place; raise a `StatusError` to refuse the request, or add guards."""
        ...

    async def validate(self, request: Request, lookup: View) -> None:
        """Raise a `StatusError` to refuse the request, or add guards."""
        ...


class NamespaceLifecycle:
    """Nothing is created in a namespace that does not exist or is terminating."""

    async def mutate(self, request: Request, lookup: View) -> None:
        """Check the namespace of a creation, before anything else is said about the object."""
        if request.operation is not Operation.CREATE or not request.resource.kind.namespaced:
            return
        found = await lookup.find(_NAMESPACE, "", request.namespace, fresh=request.fresh)
        if found is not None and found.index.metadata.deletion_timestamp and not request.fresh:
            found = await lookup.find(_NAMESPACE, "", request.namespace, fresh=True)
        if found is None:
            raise NotFoundError(
                f'namespaces "{request.namespace}" not found',
                name=request.namespace,
                kind="namespaces",
            )
        if found.index.metadata.deletion_timestamp:
            raise _terminating(request)
        request.guards.append(Guard(Compare(found.key, Target.MOD, "=", found.revision)))

    async def validate(self, request: Request, lookup: View) -> None:  # noqa: ARG002
        """Check that a namespace may be deleted."""
        if request.operation is not Operation.DELETE or request.resource is not _NAMESPACE:
            return
        if request.name in IMMORTAL:
            raise refusal.forbidden(_NAMESPACE, request.name, "this namespace may not be deleted")


def _terminating(request: Request) -> ForbiddenError:
    why = (
        f"unable to create new content in namespace {request.namespace} because it is being "
        "terminated"
    )
    error = refusal.forbidden(request.resource, request.name, why)
    error.causes = (
        Cause(
            "NamespaceTerminating",
            f"namespace {request.namespace} is being terminated",
            "metadata.namespace",
        ),
    )
    return error


class ServiceAccount:
    """Every pod runs as somebody: `default` where it names nobody; and has that account's token.

    Source: kubernetes `plugin/pkg/admission/serviceaccount`.
    """

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    async def mutate(self, request: Request, lookup: View) -> None:
        """Give a new pod its account, the token, and the logins for its images."""
        if not _is_new_pod(request) or _is_mirror(request.object):
            return
        spec = request.object.setdefault("spec", {})
        name = spec.get("serviceAccountName") or DEFAULT_ACCOUNT
        spec["serviceAccountName"] = spec["serviceAccount"] = name
        account = await self._account(request, name, lookup)
        if account is None:
            where = f"{request.namespace}/{name}"
            why = f'error looking up service account {where}: serviceaccount "{name}" not found'
            raise refusal.forbidden(request.resource, request.name, why)
        if account_token.wants_token(spec, account):
            account_token.mount_token(spec, generate_name(account_token.VOLUME_PREFIX, self._rng))
        if not spec.get("imagePullSecrets") and account.get("imagePullSecrets"):
            spec["imagePullSecrets"] = account["imagePullSecrets"]

    async def _account(self, request: Request, name: str, lookup: View) -> dict[str, Any] | None:
        """Return the account; `default` is waited for, since a controller brings it back."""
        for attempt in range(_ATTEMPTS if name == DEFAULT_ACCOUNT else 1):
            if attempt:
                await asyncio.sleep(self._rng.uniform(*_RETRY_S))
            found = await lookup.find(_ACCOUNT, request.namespace, name)
            if found is not None:
                account: dict[str, Any] = orjson.loads(found.object)
                return account
        return None

    async def validate(self, request: Request, lookup: View) -> None:  # noqa: ARG002
        """Let no mirror of a static pod have what its node may not give away."""
        if not _is_new_pod(request) or not _is_mirror(request.object):
            return
        spec = request.object["spec"]
        why = ""
        if spec.get("serviceAccountName"):
            why = "a mirror pod may not reference service accounts"
        elif any("secret" in volume for volume in spec.get("volumes", ())):
            why = "a mirror pod may not reference secrets"
        if why:
            raise refusal.forbidden(request.resource, request.name, why)


def _is_new_pod(request: Request) -> bool:
    return request.resource.kind == kinds.POD and request.operation is Operation.CREATE


def _is_mirror(pod: dict[str, Any]) -> bool:
    return MIRROR in pod["metadata"].get("annotations", {})


class DefaultTolerationSeconds:
    """A pod stays five minutes on a node that stopped answering, unless it says otherwise."""

    seconds = 300

    async def mutate(self, request: Request, lookup: View) -> None:  # noqa: ARG002
        """Add tolerations of not-ready and unreachable to a new pod that has none."""
        if not _is_new_pod(request):
            return
        spec = request.object.setdefault("spec", {})
        tolerations = spec.get("tolerations", [])
        for key in ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"):
            if not any(_tolerates(t, key) for t in tolerations):
                added = {
                    "key": key,
                    "operator": "Exists",
                    "effect": "NoExecute",
                    "tolerationSeconds": self.seconds,
                }
                tolerations = [*tolerations, added]
        spec["tolerations"] = tolerations

    async def validate(self, request: Request, lookup: View) -> None:
        """Refuse nothing."""


def _tolerates(toleration: dict[str, Any], key: str) -> bool:
    return toleration.get("key", "") in ("", key) and toleration.get("effect", "") in (
        "",
        "NoExecute",
    )


class Priority:
    """Pods have the number of their PriorityClass; of these at most one is for pods that name none."""

    async def mutate(self, request: Request, lookup: View) -> None:
        """Give a pod its priority."""
        if request.resource.kind != kinds.POD or request.operation is Operation.DELETE:
            return
        spec = request.object.setdefault("spec", {})
        if request.operation is Operation.UPDATE:
            pod_priority.keep(spec, (request.old or {}).get("spec", {}))
            return
        why = pod_priority.prioritize(spec, await self._class(request, spec, lookup))
        if why:
            raise refusal.forbidden(request.resource, request.name, why)

    async def _class(self, request: Request, spec: dict[str, Any], lookup: View) -> Any:
        name = spec.get("priorityClassName")
        if not name:
            return pod_priority.default_class(one.object for one in lookup.known(_PRIORITY_CLASS))
        found = await lookup.find(_PRIORITY_CLASS, "", name)
        if found is None:
            why = f"no PriorityClass with name {name} was found"
            raise refusal.forbidden(request.resource, request.name, why)
        return orjson.loads(found.object)

    async def validate(self, request: Request, lookup: View) -> None:
        """Refuse a second class for pods that name none."""
        if request.resource is not _PRIORITY_CLASS or request.operation is Operation.DELETE:
            return
        if not request.object.get("globalDefault"):
            return
        known = pod_priority.default_class(one.object for one in lookup.known(_PRIORITY_CLASS))
        name = known["metadata"]["name"] if known is not None else request.name
        if name != request.name or (known is not None and request.operation is Operation.CREATE):
            why = f"PriorityClass {name} is already marked as default. Only one default can exist"
            raise refusal.forbidden(request.resource, request.name, why)


class CertificateRequests:
    """A certificate request says who made it, and nobody becomes an administrator by one."""

    _resource = BY_KIND[kinds.CERTIFICATE_SIGNING_REQUEST]

    async def mutate(self, request: Request, lookup: View) -> None:  # noqa: ARG002
        """Write down who asks, whatever the client says."""
        if request.resource is not self._resource or request.operation is not Operation.CREATE:
            return
        spec, user = request.object.setdefault("spec", {}), request.user
        told = {
            "username": user.name,
            "uid": user.uid,
            "groups": list(user.groups),
            "extra": {key: list(values) for key, values in user.extra.items()},
        }
        for field_name, value in told.items():
            spec.pop(field_name, None)
            if value:
                spec[field_name] = value

    async def validate(self, request: Request, lookup: View) -> None:  # noqa: ARG002
        """Refuse a client certificate of system:masters (upstream's CertificateSubjectRestriction)."""
        if request.resource is not self._resource or request.operation is not Operation.CREATE:
            return
        spec = request.object["spec"]
        if spec["signerName"] == API_CLIENT and MASTERS in requested_groups(spec["request"]):
            raise refusal.forbidden(
                request.resource,
                request.name,
                f"use of {API_CLIENT} signer with {MASTERS} group is not allowed",
            )


class Chain:
    """The plugins of this server, in order."""

    def __init__(self, plugins: Sequence[Plugin]) -> None:
        self._plugins = tuple(plugins)

    async def mutate(self, request: Request, lookup: View) -> None:
        """Let every plugin change the object; the first refusal counts."""
        for plugin in self._plugins:
            await plugin.mutate(request, lookup)

    async def validate(self, request: Request, lookup: View) -> None:
        """Ask every plugin; the first refusal counts."""
        for plugin in self._plugins:
            await plugin.validate(request, lookup)


def default_chain(rng: random.Random) -> Chain:
    """Return the plugins that every server runs; `rng` is for names that they give."""
    return Chain(
        (
            NamespaceLifecycle(),
            ServiceAccount(rng),
            Priority(),
            DefaultTolerationSeconds(),
            CertificateRequests(),
        )
    )
