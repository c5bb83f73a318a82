"""The verbs of the API server, between its doors and its registry.

REST and gRPC (the doors) turn what came over the wire into these calls; the registry
(`wherry.apiserver.registry`) performs them. The doors know media types and connections,
the registry knows objects; nothing crosses but the values below. Objects go in as dicts
(just decoded) and come out as JSON bytes that begin with `{"metadata":{` and contain
apiVersion, kind and resourceVersion.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from wherry.api.exchange import PatchType, WatchEvent
from wherry.apiserver.resources import Resource


@dataclass(frozen=True, slots=True)
class User:
    """Who asks, after authentication."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, Sequence[str]] = field(default_factory=dict)


Push = Callable[[Sequence[WatchEvent]], bool]
"""Takes a batch of live events and must not wait; False: it cannot now, they are to be yielded."""
ANONYMOUS = User("system:anonymous", ("system:unauthenticated",))


@dataclass(slots=True)
class Context:
    """What belongs to one request whatever its verb; `warnings` collects Warning headers.

    `field_manager` is who the write is ascribed to, "" leaves `managedFields` as they are;
    `applies` marks a server-side apply. `may_create` raises where a write that finds nothing to change
    may not create it instead.
    """

    user: User
    dry_run: bool = False
    field_manager: str = ""
    field_validation: str = "Warn"
    force: bool = False
    applies: bool = False
    may_create: Callable[[], object] | None = None
    warnings: list[str] = field(default_factory=list)
    advice: list[str] = field(default_factory=list)
    """Those of the warnings that are no fault in the body: nobody is refused for them."""


@dataclass(frozen=True, slots=True)
class ListOptions:
    """Selectors as text, and Kubernetes' resourceVersion semantics.

    `revision` is "" (linearizable), "0" (whatever the cache has) or a number;
    `revision_match` is "", NotOlderThan or Exact.
    """

    labels: str = ""
    fields: str = ""
    limit: int = 0
    continue_token: str = ""
    revision: str = ""
    revision_match: str = ""


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """`revision` as the client sent it: "" or "0" begins with synthetic ADDED events.

    `send_initial_events` asks for these and a bookmark at their end at any revision; False asks
    for none, None leaves it to the revision.
    """

    labels: str = ""
    fields: str = ""
    revision: str = ""
    bookmarks: bool = False
    timeout_s: float | None = None
    send_initial_events: bool | None = None


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """`metav1.DeleteOptions`, decoded."""

    grace_s: int | None = None
    propagation: str = ""
    uid: str = ""
    revision: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """Part of a collection, all at one revision."""

    items: Sequence[bytes]
    revision: int
    continue_token: str = ""
    remaining: int | None = None


@dataclass(frozen=True, slots=True)
class Written:
    """The object as it is now; `created` asks for 201; `deleted` says that it is gone for good."""

    object: bytes
    created: bool = False
    deleted: bool = False


class Verbs(Protocol):
    """What a registry can do; every method raises `StatusError`.

    Authorization has been done by the door (`wherry.apiserver.authz`), admission happens inside.
    """

    async def get(
        self,
        ctx: Context,
        resource: Resource,
        namespace: str,
        name: str,
        subresource: str = "",
        revision: str = "",
    ) -> bytes:
        """Return one object (or its scale), not older than `revision`: see `ListOptions`."""
        ...

    async def list(
        self, ctx: Context, resource: Resource, namespace: str, options: ListOptions
    ) -> Page:
        """Return a page; namespace "" is all namespaces."""
        ...

    def watch(
        self,
        ctx: Context,
        resource: Resource,
        namespace: str,
        options: WatchOptions,
        push: Push | None = None,
    ) -> AsyncIterator[Sequence[WatchEvent]]:
        """Yield batches of events; selector transitions become ADDED and DELETED.

        Whoever waits for the next batch gets it by `push`, if there is one, in the turn in which
        it was applied, and goes on waiting: no task is woken for it.

        Raises `ExpiredError` (before or between batches) when the revision is gone.
        """
        ...

    async def create(
        self,
        ctx: Context,
        resource: Resource,
        namespace: str,
        obj: dict[str, Any],
        name: str = "",
        subresource: str = "",
    ) -> Written:
        """Create; with a subresource (binding, eviction, token) act on `name`."""
        ...

    async def update(
        self,
        ctx: Context,
        resource: Resource,
        namespace: str,
        name: str,
        obj: dict[str, Any],
        subresource: str = "",
    ) -> Written:
        """Replace an object, its status or its scale."""
        ...

    async def patch(
        self,
        ctx: Context,
        resource: Resource,
        namespace: str,
        name: str,
        patch: Any,
        patch_type: PatchType,
        subresource: str = "",
    ) -> Written:
        """Patch, retrying internally when another write came between."""
        ...

    async def delete(
        self, ctx: Context, resource: Resource, namespace: str, name: str, options: DeleteOptions
    ) -> Written:
        """Begin or finish deletion."""
        ...

    async def delete_collection(
        self,
        ctx: Context,
        resource: Resource,
        namespace: str,
        selection: ListOptions,
        options: DeleteOptions,
    ) -> Page:
        """Delete every selected object and return what they were."""
        ...
