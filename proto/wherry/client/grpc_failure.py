"""What a failed gRPC call means: a refusal of the server, or a server that is not there. Pure."""

from typing import Any, Final

import grpc
import grpc.aio
import orjson

from wherry.api.errors import (
    InternalError,
    ServiceUnavailableError,
    UnauthorizedError,
    WherryError,
    error_from_status,
)

STATUS_KEY: Final = "wherry-status-bin"
"""Trailing metadata with the Kubernetes Status of a refusal."""
_NEVER_SENT = "failed to connect to all addresses"
"""How gRPC begins the details of an UNAVAILABLE that never left this process."""
_LOST = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
)


class LostError(Exception):
    """A server did not answer; `sent` is False when it surely never saw the request."""

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent


def translate(failure: grpc.aio.AioRpcError, address: str) -> WherryError | LostError:
    """Return the Status that the server sent, or what gRPC itself found wrong."""
    code, details = failure.code(), failure.details() or ""
    trailers: Any = failure.trailing_metadata()  # typed wrongly: it is a sequence of pairs
    for name, value in trailers or ():
        if name == STATUS_KEY:
            status = error_from_status(orjson.loads(value))
            if isinstance(status, ServiceUnavailableError):
                return LostError(f"{address}: {status}", sent=True)
            return status
    if code in _LOST:
        return LostError(f"{address}: {details}", sent=not details.startswith(_NEVER_SENT))
    if code is grpc.StatusCode.UNAUTHENTICATED:
        return UnauthorizedError(details)
    return InternalError(f"{address}: {code.name}: {details}")
