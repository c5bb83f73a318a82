"""What gRPC's messages mean: events to batches, bytes to objects, errors to codes. Pure."""

from collections.abc import Iterator, Sequence
from typing import Any

import grpc
import orjson

from wherry.api.errors import StatusError, TooLargeError, UnsupportedMediaError
from wherry.apiserver.decode import decode_body, decode_object
from wherry.apiserver.http.message import DEFAULT_LIMITS
from wherry.apiserver.resources import Resource
from wherry.apiserver.verbs import Context, User
from wherry.client.api import EventType, PatchType, WatchEvent
from wherry.wire.v1 import cluster_pb2 as pb

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
BATCH_BYTES = 64 * 1024
_STATUS_BYTES = 32 * 1024
_STATUS_TEXT = 1024
JSON = "application/json"


def batches(events: Sequence[WatchEvent]) -> Iterator[pb.WatchBatch]:
    """Cut events into messages of at most 100 events and about 64 KB.

    One at a time: a watcher that does not read costs a copy of one of them, not of all that
    waits for it.
    """
    batch, size = pb.WatchBatch(), 0
    for event in events:
        if size >= BATCH_BYTES or len(batch.events) >= _BATCH_EVENTS:
            yield batch
            batch, size = pb.WatchBatch(), 0
        batch.events.add(
            type=_EVENT_TYPES[event.type], revision=event.revision, object=event.object
        )
        size += len(event.object)
    if batch.events:
        yield batch


def check_asked(*texts: str) -> None:
    """Hold selectors and tokens to what fits the URL of a REST request.

    Raises:
        TooLargeError: they are longer; to read a million requirements holds up everybody.
    """
    if sum(map(len, texts)) > DEFAULT_LIMITS.target_bytes:
        raise TooLargeError(
            f"Request entity too large: limit is {DEFAULT_LIMITS.target_bytes} for selectors"
        )


def object_of(ctx: Context, resource: Resource, request: Any) -> dict[str, Any]:
    """Return the object of a create or update; JSON, held to the bounds of REST's bodies.

    Repeated fields are looked for only where the client names a validation: it costs as much
    as reading the object, and our own processes do not repeat themselves.

    Raises:
        BadRequestError: it is none, or of another kind.
    """
    subresource = resource.subresource(request.subresource) if request.subresource else None
    body = subresource.body if subresource is not None else None
    validation = request.options.field_validation or "Ignore"
    obj, warnings = decode_object(
        request.object, JSON, body or resource.kind, field_validation=validation
    )
    ctx.warnings.extend(warnings if validation == "Warn" else ())
    return obj


def patch_of(ctx: Context, request: pb.PatchRequest) -> Any:
    """Return the decoded patch, as `object_of`.

    Raises:
        BadRequestError: it cannot be read.
    """
    validation = request.options.field_validation or "Ignore"
    patch, warnings = decode_body(
        request.patch, JSON, strict=validation == "Strict", duplicates=validation != "Ignore"
    )
    ctx.warnings.extend(warnings if validation == "Warn" else ())
    return patch


def manager(user: User, request: Any) -> str:
    """Return whom a write is ascribed to where its client names nobody: the component that it is.

    Who applies has to say so.
    """
    if isinstance(request, pb.PatchRequest) and request.patch_type == PatchType.APPLY:
        return ""
    if user.name.startswith("system:node:"):
        return "kubelet"
    return user.name.rpartition(":")[2][:128]


def patch_type(text: str) -> PatchType:
    """Return which patch a request is.

    Raises:
        UnsupportedMediaError: none that we know.
    """
    try:
        return PatchType(text)
    except ValueError as error:
        raise UnsupportedMediaError(f"unknown patch type {text!r}") from error


def refusal(error: StatusError) -> tuple[grpc.StatusCode, str, bytes]:
    """Return the code, the details and the Status that tell a client of `error`.

    Metadata is bounded: a Status too large for it does without its causes.
    """
    status = orjson.dumps(error.to_status())
    if len(status) > _STATUS_BYTES:
        short = type(error)(error.message[:_STATUS_TEXT], name=error.name, kind=error.kind)
        status = orjson.dumps(short.to_status())
    code = _CODES.get(error.code, grpc.StatusCode.INTERNAL)
    return code, error.message[:_STATUS_TEXT], status
