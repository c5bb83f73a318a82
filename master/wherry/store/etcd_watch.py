"""One gRPC watch stream: any number of watches, created and cancelled while it runs."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Final

from wherry.api.errors import UnavailableError
from wherry.store import etcd_wire as wire
from wherry.store.kv import CompactedError, WatchBatch
from wherry.store.watch import Watcher, WatchHub
from wherry.wire.etcd import rpc_pb2

_PROGRESS_S: Final = 60.0
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
        number = request.watch_id or self._next_id
        header = self._header(None)
        if number in self._watches or not request.key:
            reason = (
                "etcdserver: key is not provided"
                if not request.key
                else "etcdserver: mvcc: duplicate watch ID provided on the WatchStream"
            )
            await self._queue.put(
                rpc_pb2.WatchResponse(
                    header=header, watch_id=-1, created=True, canceled=True, cancel_reason=reason
                )
            )
            return
        self._next_id = max(self._next_id, number + 1)
        after = request.start_revision - 1 if request.start_revision > 0 else header.revision
        watcher = self._hub.watch(request.key, request.range_end or None, after)
        await self._queue.put(rpc_pb2.WatchResponse(header=header, watch_id=number, created=True))
        task = tasks.create_task(self._watch(number, watcher, request))
        self._watches[number] = (watcher, task)

    async def _watch(
        self, number: int, watcher: Watcher, request: rpc_pb2.WatchCreateRequest
    ) -> None:
        try:
            while True:
                batch = await watcher.next(_PROGRESS_S)
                response = self._response(number, batch, request)
                if response.events or (request.progress_notify and not batch.events):
                    await self._queue.put(response)
        except CompactedError as error:
            await self._queue.put(
                rpc_pb2.WatchResponse(
                    header=self._header(None),
                    watch_id=number,
                    canceled=True,
                    compact_revision=error.compact_revision,
                    cancel_reason="etcdserver: mvcc: required revision has been compacted",
                )
            )
        except UnavailableError:
            await self._queue.put(None)
        finally:
            watcher.close()
            self._watches.pop(number, None)

    def _response(
        self, number: int, batch: WatchBatch, request: rpc_pb2.WatchCreateRequest
    ) -> rpc_pb2.WatchResponse:
        no_put = rpc_pb2.WatchCreateRequest.NOPUT in request.filters
        no_delete = rpc_pb2.WatchCreateRequest.NODELETE in request.filters
        return rpc_pb2.WatchResponse(
            header=self._header(batch.revision),
            watch_id=number,
            events=[
                wire.event_message(event, prev_kv=request.prev_kv)
                for event in batch.events
                if not (no_delete if event.deleted else no_put)
            ],
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
