"""Cross-origin requests: which pages of browsers may read our answers (`--cors-allowed-origins`).

Who asks is still found out as ever: a page gets no rights, but its user's credentials.
Source: apiserver `filters.WithCORS`.
"""

import re
from collections.abc import Sequence
from typing import Final

from wherry.api.errors import ConfigError
from wherry.apiserver.http.message import Handler, Reply, Request, Response, Stream

_HEADERS: Final = (
    ("Access-Control-Allow-Methods", "POST, GET, OPTIONS, PUT, DELETE, PATCH"),
    (
        "Access-Control-Allow-Headers",
        "Content-Type, Content-Length, Accept-Encoding, X-CSRF-Token, Authorization, "
        "X-Requested-With, If-Modified-Since",
    ),
    ("Access-Control-Expose-Headers", "Date"),
    ("Access-Control-Allow-Credentials", "true"),
    ("Vary", "Origin"),
)
_ANCHORED: Final = re.compile(r"(?:\^|.*//).*[$:].*")


def parse_origins(text: str) -> list[re.Pattern[str]]:
    """Read regular expressions, parted by commas.

    Raises:
        ConfigError: one is none, or would match more hosts than it shows.
    """
    patterns = []
    for each in filter(None, text.split(",")):
        try:
            patterns.append(re.compile(each))
        except re.error as error:
            raise ConfigError(f"--cors-allowed-origins: {each!r}: {error}") from error
        if _ANCHORED.fullmatch(each) is None:
            raise ConfigError(
                f"--cors-allowed-origins: {each!r} does not pin to the start and the end of a host: "
                "begin with ^ or //, end with $ or :, as '//example.com(:|$)'"
            )
    return patterns


class Cors:
    """A handler before another: tells browsers that pages of the allowed origins may go on."""

    def __init__(self, handler: Handler, origins: Sequence[re.Pattern[str]]) -> None:
        self._handler = handler
        self._origins = origins

    async def __call__(self, request: Request) -> Reply:
        """Answer a preflight; let any other request through, and sign its answer."""
        origin = request.headers.get("origin", "")
        if not origin or not any(pattern.search(origin) for pattern in self._origins):
            return await self._handler(request)
        allowed = [("Access-Control-Allow-Origin", origin), *_HEADERS]
        if request.method == "OPTIONS":
            return Response(204, b"", "", allowed)
        reply = await self._handler(request)
        if isinstance(reply, Response | Stream):
            reply.headers = [*reply.headers, *allowed]
        return reply
