"""`LocalApi`: the client's interface over a registry in the same process, without a wire."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import orjson

from wherry.api.errors import BadRequestError
from wherry.api.kinds import Kind
from wherry.apiserver.resources import BY_KIND
from wherry.apiserver.verbs import (
    Context,
    DeleteOptions,
    ListOptions,
    User,
    Verbs,
    WatchOptions,
)
from wherry.client.api import ObjectList, PatchType, WatchEvent


class LocalApi:
    """Implements `wherry.client.api.Api`; every call is made as `user`, who may do anything."""

    def __init__(self, verbs: Verbs, user: User) -> None:
        self._verbs = verbs
        self._user = user

    def _ctx(self) -> Context:
        return Context(self._user)

    async def get(
        self, kind: Kind, name: str, namespace: str = "", *, subresource: str = ""
    ) -> bytes:
        """See `Api.get`."""
        return await self._verbs.get(self._ctx(), BY_KIND[kind], namespace, name, subresource)

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
        """See `Api.list`."""
        options = ListOptions(
            labels=labels,
            fields=fields,
            limit=limit,
            continue_token=continue_token,
            revision="0" if cached and not continue_token else "",
        )
        page = await self._verbs.list(self._ctx(), BY_KIND[kind], namespace, options)
        return ObjectList(page.items, page.revision, page.continue_token)

    def watch(
        self,
        kind: Kind,
        namespace: str = "",
        *,
        labels: str = "",
        fields: str = "",
        revision: int,
    ) -> AsyncIterator[Sequence[WatchEvent]]:
        """See `Api.watch`."""
        options = WatchOptions(labels=labels, fields=fields, revision=str(revision), bookmarks=True)
        return self._verbs.watch(self._ctx(), BY_KIND[kind], namespace, options)

    async def create(
        self, kind: Kind, body: bytes, namespace: str = "", *, name: str = "", subresource: str = ""
    ) -> bytes:
        """See `Api.create`."""
        written = await self._verbs.create(
            self._ctx(), BY_KIND[kind], namespace, _decode(body), name, subresource
        )
        return written.object

    async def update(
        self, kind: Kind, name: str, body: bytes, namespace: str = "", *, subresource: str = ""
    ) -> bytes:
        """See `Api.update`."""
        written = await self._verbs.update(
            self._ctx(), BY_KIND[kind], namespace, name, _decode(body), subresource
        )
        return written.object

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
        """See `Api.patch`."""
        written = await self._verbs.patch(
            self._ctx(), BY_KIND[kind], namespace, name, _decode(body), patch_type, subresource
        )
        return written.object

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
        """See `Api.delete`."""
        options = DeleteOptions(grace_s=grace_s, propagation=propagation, uid=uid)
        written = await self._verbs.delete(self._ctx(), BY_KIND[kind], namespace, name, options)
        return written.object


def _decode(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequestError(f"the body is not JSON: {error}") from error
