"""One gRPC watch stream: any number of watches, created and cancelled while it runs."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

from wherry.api.errors import UnavailableError
from wherry.store import etcd_wire as wire
from wherry.store.entry import MAX_COMMAND_BYTES
from wherry.store.kv import CompactedError, Event, Range, WatchBatch
from wherry.store.watch import Watcher, WatchHub
from wherry.wire.etcd import kv_pb2, rpc_pb2

_PROGRESS_S: Final = 60.0
MAX_FRAGMENT_BYTES: Final = MAX_COMMAND_BYTES  # as in etcd: what a request may have
_QUEUE: Final = 64  # responses that wait for the client; then its watches wait
_PROGRESS_WATCH_ID: Final = -1  # of progress that was asked for by hand
Header = Callable[[int | None], rpc_pb2.ResponseHeader]


class WatchSession:
    """See the module. Use `serve` once."""

    def __init__(self, hub: WatchHub, header: Header) -> None:
        self._hub = hub
        self._header = header
        self._queue: asyncio.Queue[rpc_pb2.WatchResponse | None] = asyncio.Queue(_QUEUE)
        self._watches: dict[int, tuple[Watcher, asyncio.Task[None]]] = {}
        self._next_id = 0

    async def serve(
        self, requests: AsyncIterator[rpc_pb2.WatchRequest]
    ) -> AsyncIterator[rpc_pb2.WatchResponse]:
        """Yield responses until the client has no more to ask, or goes."""
        async with asyncio.TaskGroup() as tasks:
            reader = tasks.create_task(self._read(requests, tasks))
            try:
                while (response := await self._queue.get()) is not None:
                    yield response
            finally:
                reader.cancel()
                for _, task in self._watches.values():
                    task.cancel()

    async def _read(
        self, requests: AsyncIterator[rpc_pb2.WatchRequest], tasks: asyncio.TaskGroup
    ) -> None:
        async for request in requests:
            match request.WhichOneof("request_union"):
                case "create_request":
                    await self._create(request.create_request, tasks)
                case "cancel_request":
                    await self._cancel(request.cancel_request.watch_id)
                case "progress_request":
                    await self._progress()
                case None:
                    pass
        if not self._watches:
            await self._queue.put(None)

    async def _create(self, request: rpc_pb2.WatchCreateRequest, tasks: asyncio.TaskGroup) -> None:
        key = request.key or b"\0"  # as in etcd
        end = request.range_end or None
        number = request.watch_id or self._free_id()
        header = self._header(None)
        reason = ""
        if end is not None and end != b"\0" and key >= end:
            reason = "mvcc: watcher range is empty"
        elif number in self._watches:
            reason = "mvcc: duplicate watch ID provided on the WatchStream"
        if reason:
            await self._queue.put(
                rpc_pb2.WatchResponse(
                    header=header, watch_id=-1, created=True, canceled=True, cancel_reason=reason
                )
            )
            return
        after = request.start_revision - 1 if request.start_revision > 0 else header.revision
        first = self._left_at(request.start_revision, key, end)
        watcher = self._hub.watch(key, end, after + 1 if first is not None else after)
        await self._queue.put(rpc_pb2.WatchResponse(header=header, watch_id=number, created=True))
        task = tasks.create_task(self._watch(number, watcher, request, first or []))
        self._watches[number] = (watcher, task)

    def _free_id(self) -> int:
        while self._next_id in self._watches:
            self._next_id += 1
        self._next_id += 1
        return self._next_id - 1

    def _left_at(self, revision: int, key: bytes, end: bytes | None) -> list[Event] | None:
        """Return what compaction left of the changes of the very revision that it went to.

        They can still be watched in etcd: those puts whose keys it kept.
        """
        if not 0 < revision == self._hub.state.compact_revision:
            return None
        kvs = self._hub.state.range(Range(key, end, revision=revision)).kvs
        return [Event(kv, None) for kv in kvs if kv.mod_revision == revision]

    async def _watch(
        self,
        number: int,
        watcher: Watcher,
        request: rpc_pb2.WatchCreateRequest,
        first: Sequence[Event],
    ) -> None:
        try:
            if first:
                await self._send(number, WatchBatch(self._hub.state.revision, first), request)
            while True:
                await self._send(number, await watcher.next(_PROGRESS_S), request)
        except CompactedError as error:
            await self._queue.put(
                rpc_pb2.WatchResponse(
                    header=self._header(0),
                    watch_id=number,
                    canceled=True,
                    compact_revision=error.compact_revision,
                )
            )
        except UnavailableError:
            await self._queue.put(None)
        finally:
            watcher.close()
            self._watches.pop(number, None)

    async def _send(
        self, number: int, batch: WatchBatch, request: rpc_pb2.WatchCreateRequest
    ) -> None:
        no_put = rpc_pb2.WatchCreateRequest.NOPUT in request.filters
        no_delete = rpc_pb2.WatchCreateRequest.NODELETE in request.filters
        events = [
            wire.event_message(event, prev_kv=request.prev_kv)
            for event in batch.events
            if not (no_delete if event.deleted else no_put)
        ]
        if not events and not (request.progress_notify and not batch.events):
            return
        pieces = fragments(events) if request.fragment else [events]
        for count, piece in enumerate(pieces, 1):
            await self._queue.put(
                rpc_pb2.WatchResponse(
                    header=self._header(batch.revision),
                    watch_id=number,
                    fragment=count < len(pieces),
                    events=piece,
                )
            )

    async def _cancel(self, number: int) -> None:
        found = self._watches.pop(number, None)
        if found is not None:
            found[1].cancel()
            await self._queue.put(
                rpc_pb2.WatchResponse(header=self._header(None), watch_id=number, canceled=True)
            )

    async def _progress(self) -> None:
        """Tell a revision up to which every watch of this stream has sent everything."""
        positions = [watcher.position for watcher, _ in self._watches.values()]
        revision = min([self._hub.state.revision, *positions])
        await self._queue.put(
            rpc_pb2.WatchResponse(header=self._header(revision), watch_id=_PROGRESS_WATCH_ID)
        )


def fragments(
    events: Sequence[kv_pb2.Event], size_bytes: int = MAX_FRAGMENT_BYTES
) -> list[list[kv_pb2.Event]]:
    """Cut events into pieces, each of about `size_bytes` at most unless one event is larger."""
    pieces: list[list[kv_pb2.Event]] = [[]]
    size = 0
    for event in events:
        more = event.ByteSize()
        if pieces[-1] and size + more > size_bytes:
            pieces.append([])
            size = 0
        pieces[-1].append(event)
        size += more
    return pieces
