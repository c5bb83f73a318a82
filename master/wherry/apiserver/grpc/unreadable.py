"""Messages that are not protobuf are refused as their sender's fault.

Left alone, grpc answers UNKNOWN with the text of a Python exception, and logs a traceback of
it for every message: a log that strangers fill.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NoReturn

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from wherry.api.errors import BadRequestError
from wherry.apiserver.grpc.service import abort

Handler = Any
"""`grpc.RpcMethodHandler`, whose fields its stubs do not know."""


class _Unreadable:
    """Stands where a message would."""


class UnreadableInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]  # stubs only
    """Gives every method of one service a reader that does not raise."""

    def __init__(self, service: str) -> None:
        self._prefix = f"/{service}/"
        self._methods: dict[str, Handler] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        details: grpc.HandlerCallDetails,
    ) -> Handler:
        """Return the handler of a method; only of those that exist one is kept."""
        method = str(details.method)
        known = self._methods.get(method)
        if known is not None:
            return known
        handler = await continuation(details)
        if handler is not None and method.startswith(self._prefix):
            handler = self._methods[method] = self._tolerant(handler)
        return handler

    def _tolerant(self, handler: Handler) -> Handler:
        read = handler.request_deserializer

        def tolerant_read(data: bytes) -> Any:
            try:
                return read(data)
            except DecodeError:
                return _Unreadable()

        handler = handler._replace(request_deserializer=tolerant_read)
        if handler.stream_stream is not None:
            return handler._replace(stream_stream=self._stream(handler.stream_stream))
        kind = "unary_stream" if handler.unary_stream is not None else "unary_unary"
        return handler._replace(**{kind: self._unary(getattr(handler, kind))})

    def _unary(self, perform: Callable[[Any, Any], Awaitable[Any]]) -> Any:
        async def checked(request: Any, context: Any) -> Any:
            if isinstance(request, _Unreadable):
                await _refuse(context)
            return await perform(request, context)

        return checked

    def _stream(self, perform: Callable[[Any, Any], Awaitable[None]]) -> Any:
        """What was read before is performed and answered first."""

        async def checked(requests: AsyncIterator[Any], context: Any) -> None:
            stopped = False

            async def readable() -> AsyncIterator[Any]:
                nonlocal stopped
                async for request in requests:
                    if isinstance(request, _Unreadable):
                        stopped = True
                        return
                    yield request

            await perform(readable(), context)
            if stopped:
                await _refuse(context)

        return checked


async def _refuse(context: Any) -> NoReturn:
    await abort(context, BadRequestError("the message cannot be read as protobuf"))
