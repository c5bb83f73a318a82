"""Answers to bytes: which framing an answer gets, and whether the connection outlives it.

A known body is sent with its length, a stream in chunks (to HTTP/1.0 clients as it is, ended
by the end of the connection).
"""

from collections.abc import Iterator, Sequence

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
    """Render the head of a stream."""
    headers = [*stream.headers, *extra, ("Date", date)]
    headers += [("Transfer-Encoding", "chunked")] if chunked else []
    headers += [("Connection", "close")] if close else []
    return render_head(stream.status, stream.content_type, headers)


def chunk(piece: bytes) -> bytes:
    """Frame a piece of a stream; an empty one would end it."""
    return b"%x\r\n%b\r\n" % (len(piece), piece)


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
