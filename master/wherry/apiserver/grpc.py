"""The native door: `wherry.wire.v1.Cluster` on grpc.aio, over the same verbs as REST.

TLS with a client certificate is required: gRPC for Python can require one or ignore it, but
not leave it to the client (ADR 0020). A bearer token in the metadata is the more specific
word: it then says who asks. Refusals carry the Kubernetes Status in the trailing metadata.
Server reflection and `grpc.health.v1` are on.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any, Final, NoReturn, TypeVar

import grpc
import grpc.aio
import orjson
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from wherry.api.clock import Clock
from wherry.api.errors import (
    BadRequestError,
    ConfigError,
    InternalError,
    NotFoundError,
    StatusError,
    UnsupportedMediaError,
)
from wherry.apiserver.gate import Action, Gate, authorize, bearer
from wherry.apiserver.metrics import Metrics
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
from wherry.client.api import EventType, PatchType, WatchEvent
from wherry.client.grpc_api import STATUS_KEY
from wherry.pki.tls import TlsFiles
from wherry.wire.v1 import cluster_pb2 as pb
from wherry.wire.v1.cluster_pb2_grpc import ClusterServicer, add_ClusterServicer_to_server

log = logging.getLogger(__name__)

SERVICE: Final = "wherry.wire.v1.Cluster"
_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    405: grpc.StatusCode.UNIMPLEMENTED,
    409: grpc.StatusCode.ABORTED,
    410: grpc.StatusCode.OUT_OF_RANGE,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    415: grpc.StatusCode.INVALID_ARGUMENT,
    422: grpc.StatusCode.INVALID_ARGUMENT,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
_EVENT_TYPES = {
    EventType.ADDED: pb.Event.ADDED,
    EventType.MODIFIED: pb.Event.MODIFIED,
    EventType.DELETED: pb.Event.DELETED,
    EventType.BOOKMARK: pb.Event.BOOKMARK,
}
_BATCH_EVENTS = 100
_BATCH_BYTES = 1 << 20
_BATCH_WRITES = 32
"""Writes of one Batch stream under way at once."""
_BODY_BYTES = 4 << 20
_STATUS_BYTES = 32 * 1024
_STATUS_TEXT = 1024
_DRAIN_S = 5.0
_OPTIONS = (
    ("grpc.max_receive_message_length", _BODY_BYTES),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_metadata_size", 64 * 1024),
    ("grpc.absolute_max_metadata_size", 128 * 1024),
    # Clients ping every two seconds to notice a dead master; that is no abuse.
    ("grpc.http2.min_ping_interval_without_data_ms", 500),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 500),
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.ping_timeout_ms", 5_000),
)
T = TypeVar("T")
Call = grpc.aio.ServicerContext[Any, Any]


def batches(events: Sequence[WatchEvent]) -> list[pb.WatchBatch]:
    """Cut events into messages of at most 100 events and about 1 MB."""
    found: list[pb.WatchBatch] = []
    size = 0
    for event in events:
        if not found or size >= _BATCH_BYTES or len(found[-1].events) >= _BATCH_EVENTS:
            found.append(pb.WatchBatch())
            size = 0
        found[-1].events.add(
            type=_EVENT_TYPES[event.type], revision=event.revision, object=event.object
        )
        size += len(event.object)
    return found


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

    def drain(self) -> None:
        """End every watch; their clients go to another server."""
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
            options = ListOptions(
                labels=request.labels,
                fields=request.fields,
                limit=request.limit,
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
        try:
            user = await self._user(context)
        except StatusError as error:
            await _abort(context, error)
        writing = asyncio.Lock()
        slots = asyncio.Semaphore(_BATCH_WRITES)

        async def one(request: pb.BatchRequest) -> None:
            try:
                reply = await self._batched(user, request)
                async with writing:
                    await context.write(reply)
            finally:
                slots.release()

        async with asyncio.TaskGroup() as tasks:
            async for request in request_iterator:
                await slots.acquire()
                tasks.create_task(one(request))

    async def _batched(self, user: User, request: pb.BatchRequest) -> pb.BatchReply:
        verb = request.WhichOneof("request")
        if verb is None:
            status = BadRequestError("the batch request is empty").to_status()
            return pb.BatchReply(id=request.id, status=orjson.dumps(status))
        write = getattr(request, verb)
        try:
            resource = self._allowed(user, verb, write)
            reply = await self._writer(write)(user, resource)
        except StatusError as error:
            return pb.BatchReply(id=request.id, status=orjson.dumps(error.to_status()))
        except Exception:
            log.exception("%s in a batch failed", verb)
            status = InternalError(_BUG).to_status()
            return pb.BatchReply(id=request.id, status=orjson.dumps(status))
        return pb.BatchReply(id=request.id, object=reply.object)

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

    def _is_draining(self) -> bool:
        return self._draining  # asked anew after each wait

    def _writer(self, request: Any) -> Callable[[User, Resource], Awaitable[pb.ObjectReply]]:
        """Return what performs a write request."""

        async def perform(user: User, resource: Resource) -> pb.ObjectReply:
            options = request.options
            ctx = Context(
                user,
                dry_run=options.dry_run,
                field_manager=options.field_manager or _manager(user, request),
                field_validation=options.field_validation or "Warn",
                force=options.force,
                may_create=partial(self._allowed, user, "create", request),
            )
            written = await self._write(ctx, resource, request)
            return pb.ObjectReply(object=written.object, warnings=ctx.warnings)

        return perform

    async def _write(self, ctx: Context, resource: Resource, request: Any) -> Written:
        verbs, namespace, name = self._verbs, request.namespace, request.name
        match request:
            case pb.CreateRequest():
                obj = _object(request.object)
                return await verbs.create(ctx, resource, namespace, obj, name, request.subresource)
            case pb.UpdateRequest():
                obj = _object(request.object)
                return await verbs.update(ctx, resource, namespace, name, obj, request.subresource)
            case pb.PatchRequest():
                patch_type = _patch_type(request.patch_type)
                patch = _json(request.patch)
                return await verbs.patch(
                    ctx, resource, namespace, name, patch, patch_type, request.subresource
                )
            case _:
                grace = request.grace_seconds if request.HasField("grace_seconds") else None
                options = DeleteOptions(grace, request.propagation, request.uid)
                return await verbs.delete(ctx, resource, namespace, name, options)

    async def _call(
        self,
        context: Call,
        verb: str,
        request: Any,
        perform: Callable[[User, Resource], Awaitable[T]],
    ) -> T:
        began = self._clock.monotonic()
        code = 200
        try:
            user = await self._user(context)
            resource = self._allowed(user, verb, request)
            return await perform(user, resource)
        except StatusError as error:
            code = error.code
            await _abort(context, error)
        except Exception:
            code = 500
            log.exception("%s failed", verb)
            await _abort(context, InternalError(_BUG))
        finally:
            asked = request.resource
            known = (asked.group, asked.version, asked.plural) in self._resources
            sub = getattr(request, "subresource", "") if code != 404 else ""
            address = (asked.group, asked.version, asked.plural, sub) if known else ("",) * 4
            self._metrics.count("grpc", verb, address, code, self._clock.monotonic() - began)

    def _allowed(self, user: User, verb: str, request: Any) -> Resource:
        """Return the resource that a request is about, once the user may."""
        asked = request.resource
        resource = self._resources.get((asked.group, asked.version, asked.plural))
        subresource = getattr(request, "subresource", "")
        if resource is None or (subresource and resource.subresource(subresource) is None):
            raise NotFoundError("the server could not find the requested resource")
        namespace = request.namespace if resource.kind.namespaced else ""
        name = getattr(request, "name", "")
        action = Action(verb, resource, namespace, name, subresource)
        authorize(self._gate, user, action.attributes)
        return resource

    async def _user(self, context: Call) -> User:
        token = ""
        for key, value in context.invocation_metadata() or ():
            if key == "authorization":
                token = bearer(value if isinstance(value, str) else value.decode())
        if token:
            return await self._gate.authenticate(None, token)
        presented = context.auth_context().get("x509_pem_cert") or ()
        return await self._gate.authenticate(next(iter(presented)), "")


_BUG = "an internal error occurred; see the server's log"


async def _closable(events: AsyncIterator[T]) -> AsyncGenerator[T, None]:
    """Make a generator of any iterator, so that it is closed with the stream."""
    try:
        async for event in events:
            yield event
    finally:
        close = getattr(events, "aclose", None)
        if close is not None:
            await close()


def _json(raw: bytes) -> Any:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise BadRequestError(f"the object provided is unrecognized: {error}") from error


def _object(raw: bytes) -> dict[str, Any]:
    obj = _json(raw)
    if not isinstance(obj, dict):
        raise BadRequestError("the object provided is unrecognized: it is not a JSON object")
    return obj


def _manager(user: User, request: Any) -> str:
    """Return whom a write is ascribed to where its client names nobody: the component that it is.

    Who applies has to say so.
    """
    if isinstance(request, pb.PatchRequest) and request.patch_type == PatchType.APPLY:
        return ""
    if user.name.startswith("system:node:"):
        return "kubelet"
    return user.name.rpartition(":")[2][:128]


def _patch_type(text: str) -> PatchType:
    try:
        return PatchType(text)
    except ValueError as error:
        raise UnsupportedMediaError(f"unknown patch type {text!r}") from error


async def _abort(context: Call, error: StatusError) -> NoReturn:
    status = orjson.dumps(error.to_status())
    if len(status) > _STATUS_BYTES:  # metadata is bounded: the message must do without causes
        short = type(error)(error.message[:_STATUS_TEXT], name=error.name, kind=error.kind)
        status = orjson.dumps(short.to_status())
    code = _CODES.get(error.code, grpc.StatusCode.INTERNAL)
    await context.abort(code, error.message[:_STATUS_TEXT], ((STATUS_KEY, status),))


class GrpcServer:
    """Listens, reloads its certificate when the files change, and drains."""

    def __init__(
        self,
        service: ClusterService,
        *,
        host: str,
        port: int,
        tls: TlsFiles,
        reuse_port: bool = False,
    ) -> None:
        self._service = service
        self._host = host
        self._tls = tls
        self._reuse_port = reuse_port
        self._loaded: tuple[int, ...] = ()
        self._health = health.aio.HealthServicer()  # type: ignore[attr-defined]  # set at import
        self.port = port
        self.listening = asyncio.Event()

    async def set_serving(self, *, serving: bool) -> None:
        """Say by `grpc.health.v1` whether requests make sense here."""
        states = health_pb2.HealthCheckResponse
        state = states.SERVING if serving else states.NOT_SERVING
        for name in ("", SERVICE):
            await self._health.set(name, state)

    async def run(self) -> None:
        """Serve until cancelled."""
        options = [*_OPTIONS, ("grpc.so_reuseport", int(self._reuse_port))]
        server = grpc.aio.server(options=options)
        add_ClusterServicer_to_server(self._service, server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        names = (SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, server)
        try:
            self.port = server.add_secure_port(f"{self._host}:{self.port}", self._credentials())
        except RuntimeError as error:
            raise ConfigError(
                f"cannot listen on {self._host}:{self.port}: is the port taken?"
            ) from error
        await server.start()
        self.listening.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            await self._health.enter_graceful_shutdown()
            self._service.drain()
            await server.stop(_DRAIN_S)

    def _credentials(self) -> grpc.ServerCredentials:
        configuration = self._configuration()
        if configuration is None:
            raise ConfigError(f"cannot read {self._tls.cert}")
        return grpc.dynamic_ssl_server_credentials(
            configuration,
            self._configuration,  # type: ignore[arg-type]  # None means "unchanged"
            require_client_authentication=True,
        )

    def _configuration(self) -> grpc.ServerCertificateConfiguration | None:
        """Read the certificate files if they have changed; called at every handshake."""
        files = (self._tls.cert, self._tls.key, self._tls.ca)
        try:
            times = tuple(path.stat().st_mtime_ns for path in files)
            if times == self._loaded:
                return None
            cert, key, ca = (path.read_bytes() for path in files)
        except OSError as error:
            log.warning("cannot read the certificate: %s", error)
            return None
        self._loaded = times
        return grpc.ssl_server_certificate_configuration([(key, cert)], ca)
