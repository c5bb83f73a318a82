"""Health and metrics of one process: `/healthz /livez /readyz /metrics` on loopback.

Plain HTTP, and therefore bound to 127.0.0.1 only. A check is a function that returns None
when all is well and a sentence when not.
"""

import asyncio
import logging
from collections.abc import Callable

from prometheus_client import REGISTRY, generate_latest

log = logging.getLogger(__name__)
Check = Callable[[], str | None]
_LOOPBACK = "127.0.0.1"
_HEAD_LIMIT = 8192
_READ_S = 5.0


class Health:
    """Named readiness checks; alive as long as the event loop answers."""

    def __init__(self) -> None:
        self._checks: dict[str, Check] = {}

    def add_check(self, name: str, check: Check) -> None:
        """Make readiness depend on `check`."""
        self._checks[name] = check

    def failures(self) -> dict[str, str]:
        """Return what is not ready, by name."""
        return {name: why for name, check in self._checks.items() if (why := check())}

    def report(self) -> str:
        """Return the text of `/readyz?verbose`."""
        failed = self.failures()
        lines = [
            f"[-]{name} failed: {failed[name]}" if name in failed else f"[+]{name} ok"
            for name in self._checks
        ]
        return "\n".join([*lines, "readyz check failed" if failed else "readyz check passed", ""])

    def answer(self, target: str) -> tuple[int, str, bytes]:
        """Return (status, content type, body) for a path."""
        path = target.partition("?")[0]
        if path == "/metrics":
            return 200, "text/plain; version=0.0.4; charset=utf-8", generate_latest(REGISTRY)
        if path in ("/healthz", "/livez"):
            return 200, "text/plain", b"ok"
        if path == "/readyz":
            code = 503 if self.failures() else 200
            verbose = "verbose" in target or code != 200
            return code, "text/plain", self.report().encode() if verbose else b"ok"
        return 404, "text/plain", b"404 page not found\n"

    async def serve(self, port: int) -> asyncio.Server:
        """Listen on loopback; the caller closes the server."""
        return await asyncio.start_server(self._connection, _LOOPBACK, port, limit=_HEAD_LIMIT)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_READ_S):
                head = await reader.readuntil(b"\r\n\r\n")
                parts = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
                code, kind, body = self.answer(parts[1] if len(parts) > 1 else "")
                reason = {200: "OK", 404: "Not Found", 503: "Service Unavailable"}[code]
                writer.write(
                    f"HTTP/1.1 {code} {reason}\r\nContent-Type: {kind}\r\n"
                    f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
                    + body
                )
                await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            log.debug("health connection dropped")
        finally:
            writer.close()
