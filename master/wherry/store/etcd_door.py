"""What all services of etcd's API share: who may enter, headers, and how errors are told.

Codes and texts of errors are etcd's, for its clients look at them.
"""

import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import grpc

from wherry.api.errors import TooLargeError, UnavailableError
from wherry.pki.tls import TlsFiles
from wherry.store.client import StoreClient
from wherry.store.entry import LeaseExistsError
from wherry.store.kv import (
    CompactedError,
    FutureRevisionError,
    KeyNotFoundError,
    LeaseNotFoundError,
    NoSpaceError,
)
from wherry.store.net import Identity
from wherry.store.replica import Replica
from wherry.store.server import may_use
from wherry.wire.etcd import rpc_pb2

Request = TypeVar("Request")
Response = TypeVar("Response")
Context = grpc.aio.ServicerContext[Any, Any]
_KNOWN_CERTIFICATES: Final = 256
_ERRORS: Final[Mapping[type[Exception], tuple[grpc.StatusCode, str]]] = {
    CompactedError: (
        grpc.StatusCode.OUT_OF_RANGE,
        "etcdserver: mvcc: required revision has been compacted",
    ),
    FutureRevisionError: (
        grpc.StatusCode.OUT_OF_RANGE,
        "etcdserver: mvcc: required revision is a future revision",
    ),
    KeyNotFoundError: (grpc.StatusCode.INVALID_ARGUMENT, "etcdserver: key not found"),
    LeaseNotFoundError: (grpc.StatusCode.NOT_FOUND, "etcdserver: requested lease not found"),
    LeaseExistsError: (grpc.StatusCode.FAILED_PRECONDITION, "etcdserver: lease already exists"),
    NoSpaceError: (
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "etcdserver: mvcc: database space exceeded",
    ),
    TooLargeError: (grpc.StatusCode.INVALID_ARGUMENT, "etcdserver: request is too large"),
    UnavailableError: (grpc.StatusCode.UNAVAILABLE, "etcdserver: request timed out"),
}


class RefusedError(Exception):
    """A request is answered with this code and text."""

    def __init__(self, code: grpc.StatusCode, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


_TOLD: Final[tuple[type[Exception], ...]] = (RefusedError, ValueError, *_ERRORS)


def status_of(error: Exception) -> tuple[grpc.StatusCode, str] | None:
    """Return how etcd tells an error of the store; None if it is a bug."""
    if isinstance(error, RefusedError):
        return error.code, error.text
    for kind, told in _ERRORS.items():
        if isinstance(error, kind):
            return told
    return (grpc.StatusCode.INVALID_ARGUMENT, str(error)) if isinstance(error, ValueError) else None


@dataclass(frozen=True, slots=True)
class EtcdOptions:
    """Where to listen, and what `member list` shows.

    Attributes:
        listen: `host:port`.
        tls: Certificates; None is allowed on loopback only.
        peers: Peer address of each member, by name.
    """

    listen: str
    tls: TlsFiles | None
    peers: Mapping[str, str]


class Door:
    """See the module."""

    def __init__(self, replica: Replica, store: StoreClient, options: EtcdOptions) -> None:
        self.replica = replica
        self.store = store
        self.options = options
        self._known: dict[bytes, bool] = {}

    def header(self, revision: int | None = None) -> rpc_pb2.ResponseHeader:
        """Return the header of an answer."""
        return rpc_pb2.ResponseHeader(
            cluster_id=self.replica.cluster_number,
            member_id=self.replica.member_id,
            revision=self.replica.state.revision if revision is None else revision,
            raft_term=self.replica.node.term,
        )

    async def authorize(self, context: Context) -> None:
        """Abort unless the client's certificate may use the store."""
        if self.options.tls is None:
            return
        pem = b"".join(context.auth_context().get("x509_pem_cert", ()))
        allowed = self._known.get(pem)
        if allowed is None:
            # Needs a library of 8 MB, which a store that no tool asks does without.
            from wherry.pki.certificates import identity

            user, groups = identity(pem)
            if len(self._known) > _KNOWN_CERTIFICATES:
                self._known.clear()
            allowed = self._known[pem] = may_use(Identity(user, groups))
        if not allowed:
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, "etcdserver: permission denied")


def served(
    method: Callable[[Any, Request], Awaitable[Response]],
) -> Callable[[Any, Request, Context], Awaitable[Response]]:
    """Make a gRPC method of one that raises the store's errors."""

    @functools.wraps(method)
    async def call(self: Any, request: Request, context: Context) -> Response:
        await self.door.authorize(context)
        try:
            return await method(self, request)
        except _TOLD as error:
            told = status_of(error)
            if told is None:
                raise
            return await context.abort(*told)

    return call


def streamed(
    method: Callable[[Any, Request], AsyncIterator[Response]],
) -> Callable[[Any, Request, Context], AsyncIterator[Response]]:
    """Make a gRPC method with a stream of answers of one that raises the store's errors."""

    @functools.wraps(method)
    async def call(self: Any, request: Request, context: Context) -> AsyncIterator[Response]:
        await self.door.authorize(context)
        try:
            async for response in method(self, request):
                yield response
        except _TOLD as error:
            told = status_of(error)
            if told is None:
                raise
            await context.abort(*told)

    return call
