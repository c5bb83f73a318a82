"""The API server as a client sees it.

`Api` is one interface with three implementations: gRPC to a list of API servers
(`wherry.client.grpc_api`), the registry itself in the same process (the simulated world
and tests), and a small fake for unit tests (`wherry.client.fake`). Objects are JSON bytes
both ways; who decides decodes a view from them (`wherry.api.objects`).

Every method raises a `StatusError` when the server refuses, and `UnavailableError` when no
server answers. After `UnavailableError` or `TimeoutStatusError` a write may or may not
have happened: read again before deciding, as every level-triggered loop does anyway.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from wherry.api.exchange import EventType, ObjectList, PatchType, WatchEvent
from wherry.api.kinds import Kind

__all__ = ["Api", "EventType", "ObjectList", "PatchType", "WatchEvent"]


class Api(Protocol):
    """Verbs of the API server. `namespace` is "" for cluster-scoped kinds and for all namespaces."""

    async def get(
        self, kind: Kind, name: str, namespace: str = "", *, subresource: str = ""
    ) -> bytes:
        """Return the object, read linearizably."""
        ...

    async def list(
        self,
        kind: Kind,
        namespace: str = "",
        *,
        labels: str = "",
        fields: str = "",
        limit: int = 0,
        continue_token: str = "",
        cached: bool = False,
    ) -> ObjectList:
        """Return a page of objects; `cached` allows an answer from the server's watch cache (rv=0)."""
        ...

    def watch(
        self,
        kind: Kind,
        namespace: str = "",
        *,
        labels: str = "",
        fields: str = "",
        revision: int,
    ) -> AsyncIterator[Sequence[WatchEvent]]:
        """Yield changes after `revision`, in batches, in order, with bookmarks from time to time.

        Ends, or raises `UnavailableError`, when the server goes away: watch again from the
        last revision seen. Raises `ExpiredError` when that revision is compacted: list again.
        """
        ...

    async def create(
        self, kind: Kind, body: bytes, namespace: str = "", *, name: str = "", subresource: str = ""
    ) -> bytes:
        """Create and return the object as stored.

        With `subresource` (`binding`, `eviction`, `token`) it acts on the existing object `name`.
        """
        ...

    async def update(
        self, kind: Kind, name: str, body: bytes, namespace: str = "", *, subresource: str = ""
    ) -> bytes:
        """Replace the object; a resourceVersion in `body` must be the stored one (`ConflictError`)."""
        ...

    async def patch(
        self,
        kind: Kind,
        name: str,
        body: bytes,
        namespace: str = "",
        *,
        patch_type: PatchType = PatchType.MERGE,
        subresource: str = "",
    ) -> bytes:
        """Patch and return the object."""
        ...

    async def delete(
        self,
        kind: Kind,
        name: str,
        namespace: str = "",
        *,
        uid: str = "",
        grace_s: int | None = None,
        propagation: str = "",
    ) -> bytes:
        """Delete; with `uid`, only that incarnation (`ConflictError` otherwise).

        Args:
            kind: The kind.
            name: The object.
            namespace: Its namespace.
            uid: Precondition, "" for none.
            grace_s: Grace period of a pod in seconds; 0 removes the object at once.
            propagation: Background, Foreground, Orphan, or "" for the kind's default.
        """
        ...
