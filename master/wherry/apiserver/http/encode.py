"""Answers to bytes: which framing an answer gets, and whether the connection outlives it.

A known body is sent with its length, and so is a stream that says its own. Any other stream is
sent in chunks (to HTTP/1.0 clients as it is, ended by the end of the connection).
"""

from collections.abc import Iterator, Sequence

from wherry.api.errors import InternalError
from wherry.apiserver.http.message import Request, Response, Stream, render_head
from wherry.apiserver.http.pieces import Pieces

Headers = Sequence[tuple[str, str]]

LAST_CHUNK = b"0\r\n\r\n"
GZIPPED: Headers = (("Content-Encoding", "gzip"), ("Vary", "Accept-Encoding"))
"""What an answer says of a body that was compressed for its client."""
_SLICE_BYTES = 128 * 1024


def response_head(
    response: Response,
    body_bytes: int,
    *,
    date: str,
    close: bool,
    extra: Headers = (),
    http_1_0: bool = False,
) -> bytes:
    """Render the head of `response`, whose body as it is sent has so many bytes."""
    headers = [*response.headers, *extra, ("Date", date)]
    if response.status not in (204, 304):
        headers.append(("Content-Length", str(body_bytes)))
    if close:
        headers.append(("Connection", "close"))
    elif http_1_0:
        headers.append(("Connection", "keep-alive"))
    return render_head(response.status, response.content_type, headers)


def stream_head(
    stream: Stream, *, date: str, chunked: bool, close: bool, extra: Headers = ()
) -> bytes:
    """Render the head of a stream; one that says its length has no chunks."""
    headers = [*stream.headers, *extra, ("Date", date)]
    headers += [("Content-Length", str(stream.length))] if stream.length is not None else []
    headers += [("Transfer-Encoding", "chunked")] if chunked else []
    headers += [("Connection", "close")] if close else []
    return render_head(stream.status, stream.content_type, headers)


def chunk(piece: bytes) -> bytes:
    """Frame a piece of a stream; an empty one would end it."""
    return b"%x\r\n%b\r\n" % (len(piece), piece)


class Framing:
    """How the pieces of one stream are sent."""

    __slots__ = ("_left", "chunked")

    def __init__(self, stream: Stream, *, http_1_0: bool) -> None:
        self._left = stream.length
        self.chunked = not http_1_0 and stream.length is None

    def frame(self, piece: bytes) -> bytes:
        """Return a piece, which is not empty, as it is sent.

        Raises:
            InternalError: there is more of the body than was said.
        """
        if self._left is not None:
            self._left -= len(piece)
            if self._left < 0:
                raise InternalError("the body is longer than was said")
        return chunk(piece) if self.chunked else piece

    def check_complete(self) -> None:
        """Refuse to end the answer as if it were whole.

        Raises:
            InternalError: it is not.
        """
        if self._left:
            raise InternalError(f"the body lacks {self._left} bytes")


def slices(head: bytes, body: bytes | Pieces) -> Iterator[bytes | memoryview]:
    """Yield an answer, a large body in slices: TLS would copy all of it twice, and keep a buffer."""
    if isinstance(body, Pieces):
        yield from body.slices(_SLICE_BYTES, head)
        return
    yield head + body[:_SLICE_BYTES]
    rest = memoryview(body)
    for at in range(_SLICE_BYTES, len(body), _SLICE_BYTES):
        yield rest[at : at + _SLICE_BYTES]


def wants_gzip(request: Request, response: Response) -> bool:
    """Tell whether the client takes gzip, and the body is not encoded already."""
    if "gzip" not in request.headers.get("accept-encoding", ""):
        return False
    return not any(name == "Content-Encoding" for name, _ in response.headers)
