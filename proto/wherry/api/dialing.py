"""Why no connection could be made, in the words of Go's `net`, which clients know."""

import os
import ssl


def dial_failure(error: Exception) -> str:
    """Return what stands after `dial tcp HOST:PORT: `."""
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
