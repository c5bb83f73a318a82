"""Bytes to requests. httptools (llhttp, strict) does the grammar; the bounds are here.

Refused, and the connection ends, because two parsers could read it differently (request
smuggling): both Content-Length and Transfer-Encoding, either of them twice, any transfer
coding but `chunked`, bare line feeds, folded headers, a missing or repeated Host, HTTP
versions but 1.0 and 1.1, bodies of requests to upgrade, and trailers longer than a header
may be. Most of these llhttp finds by itself; the tests hold all of them, so that a change of
parser cannot lose one.

Nothing is buffered beyond its bound: llhttp keeps a partial header, so bytes are given to
it in slices and counted while a header is incomplete.
"""

import re
from collections.abc import Callable
from http import HTTPStatus

import httptools

from wherry.apiserver.http.message import Limits, Peer, Request, Response, refusal

_SLICE = 16 * 1024
_CHUNK_BYTES = 16
_BAD_VERSION = "Invalid HTTP version"  # llhttp's own words
_ABSOLUTE = re.compile(rb"(?i:https?)://[^/?#@]+([/?].*)?", re.DOTALL)
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_HOST = re.compile(r"[-A-Za-z0-9._~!$&'()*+,;=:%\[\]]+")
_METHOD_REFUSED = "the server does not allow this method on the requested resource"
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


class _RefusedError(Exception):
    """Stops llhttp from inside a callback; `RequestParser.refused` says why."""


def _nobody(*_: object) -> None:
    """Stand in for callbacks once a connection is lost."""


class RequestParser:
    """One connection's requests.

    `feed` calls `on_request` for each complete request. Afterwards `refused` is the answer to
    a request that cannot be accepted (nothing can be parsed after it), and `upgraded` the
    bytes that follow an upgrade request.
    """

    def __init__(
        self,
        limits: Limits,
        peer: Peer,
        on_request: Callable[[Request], None],
        on_expect: Callable[[], None],
    ) -> None:
        self._limits = limits
        self._peer = peer
        self._on_request = on_request
        self._on_expect = on_expect
        self._parser = httptools.HttpRequestParser(self)
        self.refused: Response | None = None
        self.upgraded: bytes | None = None
        self.in_headers = False
        """A request has begun and its headers are not complete."""
        self.in_body = False
        self._reset()

    def _reset(self) -> None:
        self._target = b""
        self._headers: dict[str, str] = {}
        self._lines: list[tuple[str, str]] = []
        self._header_bytes = 0
        self._partial_bytes = 0
        self._trailer_bytes = 0
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._wire_bytes = 0
        self._chunks = 0

    @property
    def held(self) -> int:
        """Bytes of a request that is not complete."""
        return self._partial_bytes + (self._body_bytes if self.in_body else 0)

    def detach(self) -> None:
        """Call nobody any more and keep nothing; nothing can be fed any more.

        Circles of callbacks, ours and httptools', would keep a lost connection's TLS state and
        what had come of a request until a collection, and these are rare.
        """
        self._reset()
        del self._parser
        self._on_request = self._on_expect = _nobody

    def feed(self, data: bytes, more: Callable[[], bool]) -> bytes:
        """Parse; returns the rest when `more()` says that enough requests are waiting."""
        view = memoryview(data)
        at = 0
        while at < len(view) and self.refused is None:
            if not more():
                return bytes(view[at:])
            piece = view[at : at + _SLICE]
            try:
                self._parser.feed_data(piece)
            except httptools.HttpParserUpgrade as switch:
                self.upgraded = bytes(view[at + switch.args[0] :])
                return b""
            except httptools.HttpParserInvalidMethodError:
                self._refuse(405, "MethodNotAllowed", _METHOD_REFUSED)
            except (httptools.HttpParserError, _RefusedError) as error:
                code = 505 if str(error) == _BAD_VERSION else 400
                self._refuse(code, "BadRequest", f"malformed HTTP request: {error}")
            at += len(piece)
            self._count_partial(len(piece))
        return b""

    def _count_partial(self, size: int) -> None:
        self._partial_bytes = self._partial_bytes + size if self.in_headers else 0
        if self._partial_bytes > self._limits.header_bytes + _SLICE:
            self._refuse_headers()
        self._wire_bytes = self._wire_bytes + size if self.in_body else 0
        # Chunk extensions and unfinished trailers are in no callback; Go allows 16 bytes a chunk.
        framing = self._wire_bytes - self._body_bytes - _CHUNK_BYTES * self._chunks
        if framing > self._limits.header_bytes + _SLICE:
            self._refuse(400, "BadRequest", "chunked encoding contains too much non-data")

    def _refuse(self, code: int, reason: str, message: str) -> None:
        if self.refused is None:
            self.refused = refusal(code, reason, message)

    def _stop(self, code: int, reason: str, message: str) -> None:
        self._refuse(code, reason, message)
        raise _RefusedError

    def _refuse_headers(self) -> None:
        limit = self._limits.header_bytes
        self._refuse(431, "BadRequest", f"the request's headers are larger than {limit} bytes")

    # httptools' callbacks, in the order in which they come

    def on_message_begin(self) -> None:
        """A request begins."""
        self._reset()
        self.in_headers = True

    def on_url(self, url: bytes) -> None:
        """Part of the request target."""
        self._target += url
        if len(self._target) > self._limits.target_bytes:
            self._stop(414, "BadRequest", "the request's URL is too long")

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header, or a trailer after the body, which is dropped."""
        size = len(name) + len(value) + 4
        if not self.in_headers:
            self._trailer_bytes += size
            if self._trailer_bytes > self._limits.header_bytes:
                self._stop(431, "BadRequest", "the request's trailers are too large")
            return
        self._header_bytes += size
        if self._header_bytes + len(self._target) > self._limits.header_bytes:
            self._refuse_headers()
            raise _RefusedError
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        if key in self._headers:
            if key in ("host", "content-length", "transfer-encoding", "authorization"):
                self._stop(400, "BadRequest", f"header {key} is given twice")
            text_joined = f"{self._headers[key]}, {text}"
        else:
            text_joined = text
        self._headers[key] = text_joined
        self._lines.append((key, text))

    def on_headers_complete(self) -> None:
        """All headers are here: decide whether the body is wanted."""
        self.in_headers = False
        self._check_head()
        headers = self._headers
        length = headers.get("content-length", "")
        if length and int(length) > self._limits.body_bytes:
            self._refuse_body()
        self.in_body = bool(length and length != "0") or "transfer-encoding" in headers
        if self.in_body and self._parser.should_upgrade():
            # httptools would take the body for the tunnel's first bytes.
            self._stop(400, "BadRequest", "a request to upgrade has a body")
        if self.in_body and "expect" in headers and self._parser.get_http_version() != "1.0":
            self._on_expect()

    def _check_head(self) -> None:
        version = self._parser.get_http_version()
        if version not in ("1.1", "1.0"):
            self._stop(505, "BadRequest", f"HTTP version {version} is not served")
        if self._parser.get_method().decode("latin-1") not in METHODS:
            self._stop(405, "MethodNotAllowed", _METHOD_REFUSED)
        self._check_target()
        if version == "1.1" and "host" not in self._headers:
            self._stop(400, "BadRequest", "missing required Host header")
        if "transfer-encoding" in self._headers and (
            version == "1.0" or self._headers["transfer-encoding"].lower() != "chunked"
        ):
            self._stop(400, "BadRequest", "unsupported transfer encoding")
        if "transfer-encoding" in self._headers and "content-length" in self._headers:
            self._stop(400, "BadRequest", "both Content-Length and Transfer-Encoding")
        expect = self._headers.get("expect")
        if expect is not None and expect.lower() != "100-continue":
            phrase = HTTPStatus.EXPECTATION_FAILED.phrase
            self._stop(417, "BadRequest", f"{phrase}: {expect}")

    def _check_target(self) -> None:
        if not self._target.startswith(b"/"):
            absolute = _ABSOLUTE.fullmatch(self._target)
            if absolute is None:
                self._stop(400, "BadRequest", "the request target must be a path")
            else:  # RFC 9112, 3.2.2: who sends it takes us for a proxy, and is answered
                self._target = b"/" + (absolute[1] or b"").removeprefix(b"/")
        if b"%" in self._target and _BAD_ESCAPE.search(self._target.partition(b"?")[0]):
            self._stop(400, "BadRequest", "invalid escape in the request's URL")
        host = self._headers.get("host")
        if host and _HOST.fullmatch(host) is None:
            self._stop(400, "BadRequest", "malformed Host header")

    def on_chunk_header(self) -> None:
        """A chunk begins."""
        self._chunks += 1

    def on_body(self, data: bytes) -> None:
        """Part of the body."""
        self._body_bytes += len(data)
        if self._body_bytes > self._limits.body_bytes:
            self._refuse_body()
        self._body.append(data)

    def _refuse_body(self) -> None:
        limit = self._limits.body_bytes
        self._stop(
            413, "RequestEntityTooLarge", f"Request entity too large: limit is {limit} bytes"
        )

    def on_message_complete(self) -> None:
        """The request is complete."""
        self.in_body = False
        parser = self._parser
        body = self._body
        self._on_request(
            Request(
                parser.get_method().decode("latin-1"),
                self._target.decode("latin-1"),
                self._headers,
                self._lines,
                body[0] if len(body) == 1 else b"".join(body),
                self._peer,
                keep_alive=parser.should_keep_alive(),
                http_1_0=parser.get_http_version() == "1.0",
                upgrade=parser.should_upgrade(),
            )
        )
