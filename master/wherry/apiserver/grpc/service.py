"""The service: each call is authenticated, authorized, performed and counted."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from functools import partial
from typing import Any, NoReturn, TypeVar

import grpc.aio
import orjson

from wherry.api.clock import Clock
from wherry.api.errors import BadRequestError, InternalError, NotFoundError, StatusError
from wherry.apiserver.asked import (
    check_options,
    check_segment,
    check_served,
    check_write,
    propagation_causes,
)
from wherry.apiserver.gate import Action, Gate, authorize, bearer
from wherry.apiserver.grpc.message import (
    BATCH_BYTES,
    batches,
    check_asked,
    manager,
    object_of,
    patch_of,
    patch_type,
    refusal,
)
from wherry.apiserver.metrics import NO_RESOURCE, Metrics, address_of
from wherry.apiserver.resources import BY_ADDRESS, Resource
from wherry.apiserver.verbs import (
    Context,
    DeleteOptions,
    ListOptions,
    User,
    Verbs,
    WatchOptions,
    Written,
)
from wherry.client.api import WatchEvent
from wherry.client.grpc_failure import STATUS_KEY
from wherry.process.memory import Turnover
from wherry.wire.v1 import cluster_pb2 as pb
from wherry.wire.v1.cluster_pb2_grpc import ClusterServicer

log = logging.getLogger(__name__)

_BATCH_WRITES = 32
"""Writes of one Batch stream under way at once."""
_STREAM_BYTES = 4 * BATCH_BYTES
"""What a watch costs whose client does not read: a batch as objects, as bytes and as frames."""
_BUG = "an internal error occurred; see the server's log"
T = TypeVar("T")
Call = grpc.aio.ServicerContext[Any, Any]
Shown = tuple[bytes | None, str]
"""A certificate or a token, as `Gate.authenticate` takes them."""


class ClusterService(ClusterServicer):
    """The service; each call is authenticated, authorized, performed and counted."""

    def __init__(
        self,
        verbs: Verbs,
        gate: Gate,
        *,
        clock: Clock,
        metrics: Metrics,
        resources: Mapping[tuple[str, str, str], Resource] = BY_ADDRESS,
    ) -> None:
        self._verbs = verbs
        self._gate = gate
        self._clock = clock
        self._metrics = metrics
        self._resources = resources
        self._streams: set[asyncio.Task[Any]] = set()
        self._draining = False
        self.turnover = Turnover()

    def drain(self) -> None:
        """End every watch and read no more of any batch; their clients go to another server."""
        self._draining = True
        for task in self._streams:
            task.cancel()

    async def Get(self, request: pb.GetRequest, context: Call) -> pb.ObjectReply:
        """Return one object."""

        async def perform(user: User, resource: Resource) -> pb.ObjectReply:
            ctx = Context(user)
            raw = await self._verbs.get(
                ctx, resource, request.namespace, request.name, request.subresource
            )
            return pb.ObjectReply(object=raw, warnings=ctx.warnings)

        return await self._call(context, "get", request, perform)

    async def List(self, request: pb.ListRequest, context: Call) -> pb.ListReply:
        """Return a page."""

        async def perform(user: User, resource: Resource) -> pb.ListReply:
            check_asked(request.labels, request.fields, request.continue_token)
            options = ListOptions(
                labels=request.labels,
                fields=request.fields,
                limit=max(0, request.limit),  # as over REST
                continue_token=request.continue_token,
                revision="0" if request.cached and not request.continue_token else "",
            )
            page = await self._verbs.list(Context(user), resource, request.namespace, options)
            return pb.ListReply(
                items=page.items, revision=page.revision, continue_token=page.continue_token
            )

        return await self._call(context, "list", request, perform)

    async def Create(self, request: pb.CreateRequest, context: Call) -> pb.ObjectReply:
        """Create, or act on a subresource."""
        return await self._call(context, "create", request, self._writer(request))

    async def Update(self, request: pb.UpdateRequest, context: Call) -> pb.ObjectReply:
        """Replace."""
        return await self._call(context, "update", request, self._writer(request))

    async def Patch(self, request: pb.PatchRequest, context: Call) -> pb.ObjectReply:
        """Patch."""
        return await self._call(context, "patch", request, self._writer(request))

    async def Delete(self, request: pb.DeleteRequest, context: Call) -> pb.ObjectReply:
        """Delete."""
        return await self._call(context, "delete", request, self._writer(request))

    async def Watch(  # type: ignore[override]  # a coroutine that writes: it can be ended cleanly
        self, request: pb.WatchRequest, context: Call
    ) -> None:
        """Stream changes until the client goes or this server drains."""

        async def perform(user: User, resource: Resource) -> None:
            check_asked(request.labels, request.fields)
            options = WatchOptions(
                labels=request.labels,
                fields=request.fields,
                revision=str(request.revision),
                bookmarks=True,
            )
            events = self._verbs.watch(Context(user), resource, request.namespace, options)
            await context.send_initial_metadata(())
            await self._stream(context, events)

        await self._call(context, "watch", request, perform)

    async def Batch(  # type: ignore[override]  # as Watch
        self, request_iterator: AsyncIterator[pb.BatchRequest], context: Call
    ) -> None:
        """Perform writes as they come, some at once, and answer each by its id."""
        shown = _shown(context)
        try:
            await self._gate.authenticate(*shown)
        except StatusError as error:
            await abort(context, error)
        writing = asyncio.Lock()
        slots = asyncio.Semaphore(_BATCH_WRITES)

        async def one(request: pb.BatchRequest) -> None:
            try:
                reply = await self._batched(shown, request)
                async with writing:
                    await context.write(reply)
            finally:
                slots.release()

        async def read() -> None:
            async for request in request_iterator:
                await slots.acquire()
                tasks.create_task(one(request))

        async with asyncio.TaskGroup() as tasks:
            if not self._draining:
                reader = tasks.create_task(read())
                self._streams.add(reader)
                reader.add_done_callback(self._streams.discard)

    async def _batched(self, shown: Shown, request: pb.BatchRequest) -> pb.BatchReply:
        verb = request.WhichOneof("request")
        if verb is None:
            status = BadRequestError("the batch request is empty").to_status()
            return pb.BatchReply(id=request.id, status=orjson.dumps(status))
        write = getattr(request, verb)
        try:
            async with self._counted(verb, write):
                user = await self._gate.authenticate(*shown)  # it may last longer than these do
                resource = self._allowed(user, verb, write)
                reply = await self._writer(write)(user, resource)
        except StatusError as error:
            return pb.BatchReply(id=request.id, status=orjson.dumps(error.to_status()))
        return pb.BatchReply(id=request.id, object=reply.object, warnings=reply.warnings)

    # How a call is carried out

    async def _stream(self, context: Call, events: AsyncIterator[Sequence[WatchEvent]]) -> None:
        task = asyncio.current_task()
        if task is None or self._is_draining():
            return  # nothing to end: the client finds another server
        self._streams.add(task)
        self._metrics.opened("grpc")
        try:
            async with aclosing(_closable(events)) as source:
                async for some in source:
                    for batch in batches(some):
                        await context.write(batch)
        except asyncio.CancelledError:
            if not self._is_draining():
                raise
            task.uncancel()
        finally:
            self._metrics.closed("grpc")
            self._streams.discard(task)
            self.turnover.let_go(_STREAM_BYTES)

    def _is_draining(self) -> bool:
        return self._draining  # asked anew after each wait

    def _writer(self, request: Any) -> Callable[[User, Resource], Awaitable[pb.ObjectReply]]:
        """Return what performs a write request."""

        async def perform(user: User, resource: Resource) -> pb.ObjectReply:
            options = request.options
            kind = type(request).__name__.replace("Request", "Options")
            check_write(kind, options.field_manager, options.field_validation)
            ctx = Context(
                user,
                dry_run=options.dry_run,
                field_manager=options.field_manager or manager(user, request),
                field_validation=options.field_validation or "Warn",
                force=options.force,
                may_create=partial(
                    authorize, self._gate, user, self._action("create", request).attributes
                ),
            )
            written = await self._write(ctx, resource, request)
            return pb.ObjectReply(object=written.object, warnings=ctx.warnings)

        return perform

    async def _write(self, ctx: Context, resource: Resource, request: Any) -> Written:
        verbs, namespace, name = self._verbs, request.namespace, request.name
        match request:
            case pb.CreateRequest():
                obj = object_of(ctx, resource, request)
                return await verbs.create(ctx, resource, namespace, obj, name, request.subresource)
            case pb.UpdateRequest():
                obj = object_of(ctx, resource, request)
                return await verbs.update(ctx, resource, namespace, name, obj, request.subresource)
            case pb.PatchRequest():
                form = patch_type(request.patch_type)
                patch = patch_of(ctx, request)
                return await verbs.patch(
                    ctx, resource, namespace, name, patch, form, request.subresource
                )
            case _:
                grace = request.grace_seconds if request.HasField("grace_seconds") else None
                check_options("DeleteOptions", propagation_causes(request.propagation))
                options = DeleteOptions(grace, request.propagation, request.uid)
                return await verbs.delete(ctx, resource, namespace, name, options)

    async def _call(
        self,
        context: Call,
        verb: str,
        request: Any,
        perform: Callable[[User, Resource], Awaitable[T]],
    ) -> T:
        try:
            async with self._counted(verb, request):
                user = await self._gate.authenticate(*_shown(context))
                resource = self._allowed(user, verb, request)
                return await perform(user, resource)
        except StatusError as error:
            await abort(context, error)

    @asynccontextmanager
    async def _counted(self, verb: str, request: Any) -> AsyncIterator[None]:
        """Count a call with the code that it ends with; a bug of ours ends as InternalError."""
        began = self._clock.monotonic()
        code = 200
        try:
            yield
        except StatusError as error:
            code = error.code
            raise
        except Exception as bug:
            code = 500
            log.exception("%s failed", verb)
            raise InternalError(_BUG) from bug
        finally:
            asked = request.resource
            known = self._resources.get((asked.group, asked.version, asked.plural))
            sub = getattr(request, "subresource", "")
            if known is None or (sub and known.subresource(sub) is None):
                address = NO_RESOURCE  # labels are bounded, what clients send is not
            else:
                name = getattr(request, "name", "")
                action = Action(verb, known, request.namespace, name, sub)
                address = address_of(action.attributes)
            self._metrics.count("grpc", verb, address, code, self._clock.monotonic() - began)

    def _allowed(self, user: User, verb: str, request: Any) -> Resource:
        """Return the resource that a request is about, once the user may."""
        action = self._action(verb, request)
        check_served(action)
        authorize(self._gate, user, action.attributes)
        return action.resource

    def _action(self, verb: str, request: Any) -> Action:
        asked = request.resource
        resource = self._resources.get((asked.group, asked.version, asked.plural))
        subresource = getattr(request, "subresource", "")
        if resource is None or (subresource and resource.subresource(subresource) is None):
            raise NotFoundError("the server could not find the requested resource")
        name = getattr(request, "name", "")
        check_segment("Namespace", request.namespace)
        check_segment("Name", name)
        namespace = request.namespace if resource.kind.namespaced else ""
        return Action(verb, resource, namespace, name, subresource)


def _shown(context: Call) -> Shown:
    """Return what says who calls: the token, or else the certificate and what was sent along."""
    token = ""
    for key, value in context.invocation_metadata() or ():
        if key == "authorization":
            token = bearer(value if isinstance(value, str) else value.decode())
    if token:
        return None, token
    properties = context.auth_context()
    own, others = (properties.get(name) or () for name in ("x509_pem_cert", "x509_pem_cert_chain"))
    return b"".join((*own, *others)), ""


async def _closable(events: AsyncIterator[T]) -> AsyncGenerator[T, None]:
    """Make a generator of any iterator, so that it is closed with the stream."""
    try:
        async for event in events:
            yield event
    finally:
        close = getattr(events, "aclose", None)
        if close is not None:
            await close()


async def abort(context: Call, error: StatusError) -> NoReturn:
    """End a call with an error's code, message and Status."""
    code, details, status = refusal(error)
    await context.abort(code, details, ((STATUS_KEY, status),))
