"""`Api` over gRPC to a list of API servers: what every process of Wherry talks through.

One server is used until it fails; then the next one is. What counts as failure, and what a
caller sees of it:

    failure                         read                    write
    no connection (never sent)      next server             next server
    connection lost, no answer,     next server             UnavailableError: it may have happened
    503 (its store is away)
    deadline passed                 UnavailableError        UnavailableError
    any other refusal               StatusError             StatusError
    a watch loses its server        UnavailableError        -

So a write is sent to a second server only if the first one surely never got it. Between
rounds over all servers there is a pause with jitter. HTTP/2 pings notice a dead host in
four seconds (`grpc_channel`) while a call is under way (a watch always is); a closed port is
noticed at once.

Certificates may be renewed at any time: connections are then made anew (`grpc_channel`). Calls
under way come to their end, watches end as when their server drains. A server that answers 401
to a certificate which was renewed meanwhile is asked again, with the new one; it has done nothing.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import grpc
import grpc.aio

from wherry.api.errors import (
    ConfigError,
    UnauthorizedError,
    UnavailableError,
)
from wherry.api.kinds import Kind
from wherry.client.api import EventType, ObjectList, PatchType, WatchEvent
from wherry.client.backoff import Backoff
from wherry.client.grpc_channel import Files, Link, Server
from wherry.client.grpc_failure import LostError, translate
from wherry.wire.v1 import cluster_pb2 as pb

log = logging.getLogger(__name__)

_EVENT_TYPES = {
    pb.Event.ADDED: EventType.ADDED,
    pb.Event.MODIFIED: EventType.MODIFIED,
    pb.Event.DELETED: EventType.DELETED,
    pb.Event.BOOKMARK: EventType.BOOKMARK,
}


class GrpcApi:
    """`wherry.client.api.Api` over gRPC; see the module.

    Args:
        endpoints: `host:port` of the servers' gRPC doors. Which one is used first is drawn by
            `rng`, so that many clients spread.
        ca: The cluster's authority, PEM.
        cert: Our certificate, PEM.
        key: Its key, PEM.
        token: A bearer token; it then says who we are instead of the certificate.
        rng: For the first endpoint and jitter.
        timeout_s: How long a call may take, with all its attempts.
    """

    def __init__(
        self,
        endpoints: Sequence[str],
        *,
        ca: Path,
        cert: Path | None = None,
        key: Path | None = None,
        token: str | None = None,
        rng: Random,
        timeout_s: float = 10.0,
    ) -> None:
        if not endpoints:
            raise ConfigError("no API server is given: use --apiserver HOST:PORT")
        self._servers = [Server(e, Files(ca, cert, key)) for e in endpoints]
        self._rng = rng
        self._at = rng.randrange(len(endpoints))
        self._timeout_s = timeout_s
        self._metadata = (("authorization", f"Bearer {token}"),) if token else None

    @property
    def server(self) -> str:
        """Return the address of the server in use."""
        return self._servers[self._at].address

    async def close(self) -> None:
        """Close all connections; calls under way are cancelled."""
        for server in self._servers:
            await server.close()

    # Api

    async def get(
        self, kind: Kind, name: str, namespace: str = "", *, subresource: str = ""
    ) -> bytes:
        """Return the object, read linearizably."""
        request = pb.GetRequest(
            resource=_resource(kind), namespace=namespace, name=name, subresource=subresource
        )
        reply: pb.ObjectReply = await self._read("Get", request)
        return reply.object

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
        """Return a page of objects."""
        request = pb.ListRequest(
            resource=_resource(kind),
            namespace=namespace,
            labels=labels,
            fields=fields,
            limit=limit,
            continue_token=continue_token,
            cached=cached,
        )
        reply: pb.ListReply = await self._read("List", request)
        return ObjectList(list(reply.items), reply.revision, reply.continue_token)

    async def watch(
        self,
        kind: Kind,
        namespace: str = "",
        *,
        labels: str = "",
        fields: str = "",
        revision: int,
    ) -> AsyncIterator[Sequence[WatchEvent]]:
        """Yield changes after `revision`; ends when the server drains or certificates are renewed."""
        request = pb.WatchRequest(
            resource=_resource(kind),
            namespace=namespace,
            labels=labels,
            fields=fields,
            revision=revision,
        )
        server, link, call = await self._open_watch(request)
        try:
            link.follow(call)
            async for batch in call:
                yield [
                    WatchEvent(_EVENT_TYPES[event.type], event.object, event.revision)
                    for event in batch.events
                ]
                await server.look()
        except asyncio.CancelledError:
            if not link.given_up or _cancelled():
                raise
        except grpc.aio.AioRpcError as failure:
            error = translate(failure, server.address)
            if isinstance(error, LostError):
                await self._leave(server)
                raise UnavailableError(str(error)) from failure
            if not (isinstance(error, UnauthorizedError) and await _outdated(server, link)):
                raise error from failure
        finally:
            call.cancel()
            await link.release(call)

    async def create(
        self, kind: Kind, body: bytes, namespace: str = "", *, name: str = "", subresource: str = ""
    ) -> bytes:
        """Create and return the object as stored."""
        request = pb.CreateRequest(
            resource=_resource(kind),
            namespace=namespace,
            name=name,
            subresource=subresource,
            object=body,
        )
        return await self._write("Create", request)

    async def update(
        self, kind: Kind, name: str, body: bytes, namespace: str = "", *, subresource: str = ""
    ) -> bytes:
        """Replace the object."""
        request = pb.UpdateRequest(
            resource=_resource(kind),
            namespace=namespace,
            name=name,
            subresource=subresource,
            object=body,
        )
        return await self._write("Update", request)

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
        request = pb.PatchRequest(
            resource=_resource(kind),
            namespace=namespace,
            name=name,
            subresource=subresource,
            patch=body,
            patch_type=patch_type.value,
        )
        return await self._write("Patch", request)

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
        """Delete; returns the object as it was, or is while it is being deleted."""
        request = pb.DeleteRequest(
            resource=_resource(kind),
            namespace=namespace,
            name=name,
            uid=uid,
            grace_seconds=grace_s,
            propagation=propagation,
        )
        return await self._write("Delete", request)

    # Fail-over

    async def _read(self, method: str, request: Any) -> Any:
        return await self._call(method, request, again=True)

    async def _write(self, method: str, request: Any) -> bytes:
        reply: pb.ObjectReply = await self._call(method, request, again=False)
        return reply.object

    async def _call(self, method: str, request: Any, *, again: bool) -> Any:
        """Perform a call; `again` allows to repeat it after it may have been performed."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._timeout_s
        backoff = Backoff(self._rng, first_s=0.05, most_s=1.0)
        tried = 0
        while True:
            server = self._servers[self._at]
            left_s = deadline - loop.time()
            if again:  # leave time for a second server when the first one hangs
                left_s = min(left_s, max(self._timeout_s / 2, 1.0))
            link = await server.acquire()
            try:
                call = getattr(link.stub, method)
                return await call(request, timeout=left_s, metadata=self._metadata)
            except grpc.aio.AioRpcError as failure:
                error = translate(failure, server.address)
                if isinstance(error, UnauthorizedError) and await _outdated(server, link):
                    continue
                if not isinstance(error, LostError):
                    raise error from failure
                await self._leave(server)
                if error.sent and not again:
                    raise UnavailableError(str(error)) from failure
                tried += 1
                pause_s = backoff.next_s() if tried % len(self._servers) == 0 else 0.0
                if loop.time() + pause_s >= deadline:
                    raise UnavailableError(str(error)) from failure
                await asyncio.sleep(pause_s)
            finally:
                await link.release()

    async def _open_watch(
        self, request: pb.WatchRequest
    ) -> tuple[Server, Link, "grpc.aio.UnaryStreamCall[pb.WatchRequest, pb.WatchBatch]"]:
        """Begin a watch on the first server that can be reached; the link is to be released."""
        tried = 0
        while True:
            server = self._servers[self._at]
            link = await server.acquire()
            call = link.stub.Watch(request, metadata=self._metadata)
            opened = False
            try:
                async with asyncio.timeout(self._timeout_s):
                    await call.initial_metadata()  # sent at once by a server that is there
                if call.done():
                    await call.wait_for_connection()
                opened = True
            except (grpc.aio.AioRpcError, TimeoutError) as failure:
                error = (
                    translate(failure, server.address)
                    if isinstance(failure, grpc.aio.AioRpcError)
                    else LostError(f"{server.address}: no answer", sent=True)
                )
                if isinstance(error, UnauthorizedError) and await _outdated(server, link):
                    continue
                if not isinstance(error, LostError):
                    raise error from failure
                await self._leave(server)
                tried += 1
                if tried >= len(self._servers):
                    raise UnavailableError(str(error)) from failure
            finally:
                if not opened:
                    call.cancel()
                    await link.release()
            if opened:
                return server, link, call

    async def _leave(self, server: Server) -> None:
        """Use the next server from now on, if nobody has switched already."""
        if self._servers[self._at] is not server:
            return
        self._at = (self._at + 1) % len(self._servers)
        if len(self._servers) > 1:
            log.debug("leaving API server %s for %s", server.address, self.server)
        await server.renew()


async def _outdated(server: Server, link: Link) -> bool:
    """Tell whether there are newer certificates than those of the link."""
    return link.given_up or await server.renew()


def _cancelled() -> bool:
    """Tell whether it is the task that is cancelled, and not a call that it waits for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _resource(kind: Kind) -> pb.Resource:
    return pb.Resource(group=kind.group, version=kind.version, plural=kind.plural)
