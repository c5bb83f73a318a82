"""How API server and agent ask each other for connections: whose agent, and why there is none."""

import os
import ssl
from typing import Final

NODE_HEADER: Final = "x-node-name"
"""Names the node to an agent process that is several; the API server's own, never a client's."""


def dial_failure(error: Exception) -> str:
    """Return what stands after `dial tcp HOST:PORT: `, in the words of Go's `net`."""
    match error:
        case TimeoutError() if not error.errno:
            return "i/o timeout"
        case ssl.SSLError():
            reason = getattr(error, "reason", "") or str(error)  # only OpenSSL's own have one
            return f"tls: {reason.lower().replace('_', ' ')}"
        case OSError() if error.errno and error.errno > 0:
            # asyncio's own text names a call of Python's
            return f"connect: {os.strerror(error.errno).lower()}"
        case _:
            return str(error) or type(error).__name__
