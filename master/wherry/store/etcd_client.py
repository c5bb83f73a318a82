"""`Store` on a real etcd v3 cluster, for those who outgrow ours.

etcd has no session table: a write whose answer got lost may or may not be applied, and is
therefore never tried again here; the caller is told so by `UnavailableError`. Reads, renewals
and watches go on at the next endpoint.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from random import Random
from typing import Any, Final, TypeVar

import grpc

from wherry.api.errors import ConfigError, TooLargeError, UnavailableError
from wherry.client.backoff import Backoff
from wherry.pki.tls import TlsFiles
from wherry.store import etcd_request as wire
from wherry.store.entry import NOBODY, LeaseExistsError, transaction
from wherry.store.kv import (
    CompactedError,
    Compare,
    FutureRevisionError,
    KeyNotFoundError,
    LeaseNotFoundError,
    NoSpaceError,
    Op,
    Range,
    RangeResult,
    TxnResult,
    WatchBatch,
)
from wherry.wire.etcd import rpc_pb2, rpc_pb2_grpc

_ATTEMPT_S: Final = 3.0
_MAX_MESSAGE_BYTES: Final = 256 << 20
_ELSEWHERE: Final = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.INTERNAL,
)
_EOF: Final[Any] = getattr(grpc.aio, "EOF")  # noqa: B009  # missing from the published types
Reply = TypeVar("Reply")
Channel = grpc.aio.Channel


class EtcdStore:
    """See the module.

    Args:
        endpoints: `host:port` of etcd's members, the preferred one first.
        rng: Jitter of pauses.
        tls: Client certificate; None for plaintext.
        timeout_s: Deadline of every request; then `UnavailableError`.
    """

    def __init__(
        self,
        endpoints: Sequence[str],
        rng: Random,
        *,
        tls: TlsFiles | None = None,
        timeout_s: float = 10.0,
    ) -> None:
        if not endpoints:
            raise ConfigError("no etcd endpoint is given")
        self._endpoints = tuple(endpoints)
        self._rng = rng
        self._timeout_s = timeout_s
        self._credentials = _credentials(tls) if tls is not None else None
        self._channels: dict[str, Channel] = {}
        self._current = 0

    # ---- asking

    def _channel(self) -> Channel:
        endpoint = self._endpoints[self._current]
        channel = self._channels.get(endpoint)
        if channel is None:
            options = [("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES)]
            channel = self._channels[endpoint] = (
                grpc.aio.insecure_channel(endpoint, options)
                if self._credentials is None
                else grpc.aio.secure_channel(endpoint, self._credentials, options)
            )
        return channel

    def _next_endpoint(self) -> None:
        self._current = (self._current + 1) % len(self._endpoints)

    async def _read(self, call: Callable[[Channel], Awaitable[Reply]]) -> Reply:
        """Ask until there is an answer; only for what may be asked twice."""
        deadline = asyncio.get_running_loop().time() + self._timeout_s
        backoff = Backoff(self._rng, first_s=0.02, most_s=0.2)
        while True:
            try:
                async with asyncio.timeout_at(deadline):
                    return await call(self._channel())
            except TimeoutError as error:
                raise UnavailableError("etcd does not answer") from error
            except grpc.aio.AioRpcError as error:
                if error.code() not in _ELSEWHERE:
                    raise _error(error) from error
                if asyncio.get_running_loop().time() >= deadline:
                    raise UnavailableError(f"etcd does not answer: {error.details()}") from error
            self._next_endpoint()
            await asyncio.sleep(backoff.next_s())

    async def _write(self, call: Callable[[Channel], Awaitable[Reply]]) -> Reply:
        """Ask once."""
        try:
            async with asyncio.timeout(self._timeout_s):
                return await call(self._channel())
        except TimeoutError as error:
            raise UnavailableError("etcd does not answer") from error
        except grpc.aio.AioRpcError as error:
            if error.code() in _ELSEWHERE:
                self._next_endpoint()
            raise _error(error) from error

    # ---- Store

    async def range(self, request: Range, *, serializable: bool = False) -> RangeResult:
        """See `Store.range`."""
        message = wire.range_request(request, serializable=serializable)
        reply = await self._read(
            lambda channel: rpc_pb2_grpc.KVStub(channel).Range(message, timeout=_ATTEMPT_S)
        )
        return wire.range_result(reply, reply.header.revision)

    def known_revision(self) -> int:
        """See `Store.known_revision`: etcd is always asked."""
        return 0

    async def txn(
        self,
        compares: Sequence[Compare],
        success: Sequence[Op],
        failure: Sequence[Op] = (),
    ) -> TxnResult:
        """See `Store.txn`."""
        transaction(NOBODY, compares, success, failure)  # raises what ours would
        message = wire.txn_request(compares, success, failure)
        reply = await self._write(lambda channel: rpc_pb2_grpc.KVStub(channel).Txn(message))
        revision = reply.header.revision
        return TxnResult(revision, reply.succeeded, wire.op_results(reply.responses, revision))

    async def watch(
        self, key: bytes, end: bytes | None = None, *, revision: int, progress_s: float = 5.0
    ) -> AsyncIterator[WatchBatch]:
        """See `Store.watch`. Progress repeats the last revision seen, which may be old."""
        position = revision
        backoff = Backoff(self._rng, first_s=0.02, most_s=0.2)
        while True:
            request = rpc_pb2.WatchRequest(
                create_request=rpc_pb2.WatchCreateRequest(
                    key=key,
                    range_end=end or b"",
                    start_revision=position + 1,
                    prev_kv=True,
                    progress_notify=True,
                )
            )
            call = _stream(
                rpc_pb2_grpc.WatchStub(self._channel()).Watch,
                metadata=(("hasleader", "true"),),  # ends the stream when etcd has no leader
            )
            try:
                await call.write(request)
                async for response in _paced(call, progress_s):
                    backoff.reset()
                    if response is not None:
                        _check_canceled(response)
                        position = max(position, _reached(response))
                    yield WatchBatch(
                        position, [wire.event(one) for one in response.events] if response else []
                    )
            except grpc.aio.AioRpcError as error:
                if error.code() not in _ELSEWHERE:
                    raise _error(error) from error
            except UnavailableError:
                pass  # ended by the server: go on elsewhere
            finally:
                call.cancel()
            self._next_endpoint()
            await asyncio.sleep(backoff.next_s())

    async def lease_grant(self, ttl_s: int, lease: int = 0) -> int:
        """See `Store.lease_grant`."""
        message = rpc_pb2.LeaseGrantRequest(TTL=ttl_s, ID=lease)
        reply = await self._write(
            lambda channel: rpc_pb2_grpc.LeaseStub(channel).LeaseGrant(message)
        )
        return reply.ID

    async def lease_keepalive(self, lease: int) -> int:
        """See `Store.lease_keepalive`."""

        async def once(channel: Channel) -> int:
            call = _stream(rpc_pb2_grpc.LeaseStub(channel).LeaseKeepAlive, timeout=_ATTEMPT_S)
            await call.write(rpc_pb2.LeaseKeepAliveRequest(ID=lease))
            await call.done_writing()
            reply = await call.read()
            call.cancel()
            return int(reply.TTL) if reply is not _EOF else 0

        ttl_s = await self._read(once)
        if ttl_s <= 0:
            raise LeaseNotFoundError("etcdserver: requested lease not found")
        return ttl_s

    async def lease_revoke(self, lease: int) -> None:
        """See `Store.lease_revoke`."""
        message = rpc_pb2.LeaseRevokeRequest(ID=lease)
        await self._write(lambda channel: rpc_pb2_grpc.LeaseStub(channel).LeaseRevoke(message))

    async def compact(self, revision: int) -> None:
        """See `Store.compact`."""
        message = rpc_pb2.CompactionRequest(revision=revision, physical=True)
        await self._write(lambda channel: rpc_pb2_grpc.KVStub(channel).Compact(message))

    async def close(self) -> None:
        """Close the connections."""
        channels, self._channels = self._channels, {}
        for channel in channels.values():
            await channel.close(None)


def _stream(method: Any, **options: Any) -> Any:
    """Open a stream to be written by hand, a form that grpc's published types do not know."""
    return method(**options)


async def _paced(call: Any, progress_s: float) -> AsyncIterator[rpc_pb2.WatchResponse | None]:
    """Yield responses, and None when there was none for `progress_s`."""
    pending: asyncio.Future[Any] | None = None
    try:
        while True:
            if pending is None:
                pending = asyncio.ensure_future(call.read())
            done, _ = await asyncio.wait([pending], timeout=progress_s)
            if not done:
                yield None
                continue
            response, pending = pending.result(), None
            if response is _EOF:
                raise UnavailableError("etcd ended the watch")
            if not response.created:
                yield response
            elif response.canceled:
                _check_canceled(response)
    finally:
        if pending is not None:
            pending.cancel()


def _check_canceled(response: rpc_pb2.WatchResponse) -> None:
    if response.compact_revision:
        raise CompactedError(response.compact_revision)
    if response.canceled:
        raise UnavailableError(response.cancel_reason or "etcd cancelled the watch")


def _reached(response: rpc_pb2.WatchResponse) -> int:
    """A response with events goes up to the last of them; one without tells progress."""
    if response.events:
        return response.events[-1].kv.mod_revision
    return response.header.revision


def _credentials(tls: TlsFiles) -> grpc.ChannelCredentials:
    tls.check()
    return grpc.ssl_channel_credentials(
        tls.ca.read_bytes(), tls.key.read_bytes(), tls.cert.read_bytes()
    )


_TEXTS: Final[tuple[tuple[str, Callable[[str], Exception]], ...]] = (
    ("required revision has been compacted", lambda _: CompactedError(0)),
    ("required revision is a future revision", FutureRevisionError),
    ("requested lease not found", LeaseNotFoundError),
    ("lease already exists", LeaseExistsError),
    ("key not found", KeyNotFoundError),
    ("database space exceeded", NoSpaceError),
    ("request is too large", TooLargeError),
    ("received message larger than max", TooLargeError),
)


def _error(error: grpc.aio.AioRpcError) -> Exception:
    details = error.details() or ""
    for text, make in _TEXTS:
        if text in details:
            return make(details)
    if error.code() == grpc.StatusCode.INVALID_ARGUMENT:
        return ValueError(details)
    return UnavailableError(f"etcd: {details or error.code().name}")
