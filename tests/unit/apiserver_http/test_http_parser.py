"""What is accepted, what is refused and with which code; however the bytes are cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.apiserver.http.message import Limits, Peer, Request
from wherry.apiserver.http.parser import RequestParser

LIMITS = Limits(header_bytes=2048, target_bytes=256, body_bytes=64)
POST = b"POST /x HTTP/1.1\r\nHost: a\r\n"


class Parsed:
    def __init__(self, *pieces: bytes, limits: Limits = LIMITS) -> None:
        self.requests: list[Request] = []
        self.expects = 0
        self.parser = RequestParser(limits, Peer(), self.requests.append, self._expect)
        for piece in pieces:
            self.parser.feed(piece, lambda: True)

    def _expect(self) -> None:
        self.expects += 1

    @property
    def code(self) -> int:
        return self.parser.refused.status if self.parser.refused else 0


GOOD = {
    "plain": (b"GET /a?b=c HTTP/1.1\r\nHost: a\r\n\r\n", b""),
    "with a body": (POST + b"Content-Length: 3\r\n\r\nabc", b"abc"),
    "empty body": (POST + b"Content-Length: 0\r\n\r\n", b""),
    "chunked": (POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n", b"abc"),
    "chunk extension": (POST + b"Transfer-Encoding: chunked\r\n\r\n1;x=y\r\na\r\n0\r\n\r\n", b"a"),
    "trailer": (POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\nHost: b\r\n\r\n", b""),
    "1.0 without host": (b"GET /a HTTP/1.0\r\n\r\n", b""),
    "empty lines before": (b"\r\n\r\nGET /a HTTP/1.1\r\nHost: a\r\n\r\n", b""),
}


@pytest.mark.parametrize("name", GOOD)
def test_accepted(name: str) -> None:
    data, body = GOOD[name]
    parsed = Parsed(data)
    assert parsed.code == 0
    assert [r.body for r in parsed.requests] == [body]


REFUSED = {
    "both lengths": (
        POST + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "both lengths, other order": (
        POST + b"Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n0\r\n\r\n",
        400,
    ),
    "length twice": (POST + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\na", 400),
    "length list": (POST + b"Content-Length: 1, 1\r\n\r\na", 400),
    "length with sign": (POST + b"Content-Length: +1\r\n\r\na", 400),
    "length too big for a number": (POST + b"Content-Length: 99999999999999999999\r\n\r\n", 400),
    "coding that ends in chunked": (POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400),
    "coding list": (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400),
    "coding not last": (POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", 400),
    "coding identity": (POST + b"Transfer-Encoding: identity\r\n\r\n", 400),
    "coding twice": (
        POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "coding in 1.0": (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "space before colon": (POST + b"Content-Length : 1\r\n\r\na", 400),
    "folded header": (POST + b"X: a\r\n b\r\n\r\n", 400),
    "bare line feed": (b"GET / HTTP/1.1\nHost: a\n\n", 400),
    "bare carriage return": (POST + b"X: a\rb\r\n\r\n", 400),
    "zero byte": (POST + b"X: \0\r\n\r\n", 400),
    "header without name": (POST + b": a\r\n\r\n", 400),
    "chunk size negative": (POST + b"Transfer-Encoding: chunked\r\n\r\n-1\r\na\r\n0\r\n\r\n", 400),
    "chunk size huge": (POST + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\na", 400),
    "chunk size line feed": (POST + b"Transfer-Encoding: chunked\r\n\r\n1\na\r\n0\r\n\r\n", 400),
    "chunk too long": (POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n", 400),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two hosts": (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
    "two identities": (POST + b"Authorization: Bearer a\r\nAuthorization: Bearer b\r\n\r\n", 400),
    "other scheme": (b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "absolute with a user": (b"GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "bad escape": (b"GET /a%2 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "bad host": (b"GET / HTTP/1.1\r\nHost: a b/\r\n\r\n", 400),
    "upgrade with a body": (
        POST + b"Connection: Upgrade\r\nUpgrade: x\r\nContent-Length: 2\r\n\r\n{}",
        400,
    ),
    "asterisk": (b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "no version": (b"GET /\r\n\r\n", 505),
    "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "version 1.2": (b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505),
    "version 3.0": (b"GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505),
    "version 2.0": (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
    "unknown method": (b"FROB / HTTP/1.1\r\nHost: a\r\n\r\n", 405),
    "method not ours": (b"LINK / HTTP/1.1\r\nHost: a\r\n\r\n", 405),
    "connect": (b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 405),
    "a TLS hello": (b"\x16\x03\x01\x02\x00\x01\x00", 405),
    "long target": (b"GET /" + b"a" * 300 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
    "long header": (POST + b"X: " + b"a" * 3000 + b"\r\n\r\n", 431),
    "many headers": (POST + b"X: a\r\n" * 500 + b"\r\n", 431),
    "long trailer": (
        POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"X: a\r\n" * 500 + b"\r\n",
        431,
    ),
    "endless header": (POST + b"X: " + b"a" * 40_000, 431),
    "long body": (POST + b"Content-Length: 65\r\n\r\n", 413),
    "long chunks": (
        POST
        + b"Transfer-Encoding: chunked\r\n\r\n"
        + b"28\r\n"
        + b"a" * 40
        + b"\r\n28\r\n"
        + b"a" * 40,
        413,
    ),
    "expectation": (POST + b"Expect: magic\r\nContent-Length: 1\r\n\r\na", 417),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    data, code = REFUSED[name]
    parsed = Parsed(data)
    assert (parsed.code, parsed.requests) == (code, [])


@given(data=st.data())
def test_cuts_between_bytes_change_nothing(data: st.DataObject) -> None:
    raw, body = GOOD[data.draw(st.sampled_from(sorted(GOOD.keys() - {"1.0 without host"})))]
    stream = raw * 3
    cuts = sorted(data.draw(st.sets(st.integers(1, len(stream) - 1), max_size=12)))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    parsed = Parsed(*pieces)
    assert parsed.code == 0
    assert [r.body for r in parsed.requests] == [body] * 3


@given(data=st.binary(max_size=400), prefix=st.sampled_from([b"", POST, b"GET / HTTP/1.1\r\n"]))
def test_any_bytes_end_in_requests_or_one_refusal(data: bytes, prefix: bytes) -> None:
    parsed = Parsed(prefix + data)
    assert parsed.parser.refused is None or parsed.parser.refused.close


def test_an_upgrade_keeps_what_followed() -> None:
    head = b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n"
    parsed = Parsed(head + b"\x80\x03raw")
    assert parsed.requests[0].upgrade
    assert parsed.parser.upgraded == b"\x80\x03raw"


def test_a_body_is_asked_for_only_if_it_is_wanted() -> None:
    assert Parsed(POST + b"Content-Length: 3\r\nExpect: 100-continue\r\n\r\n").expects == 1
    assert Parsed(POST + b"Content-Length: 99\r\nExpect: 100-continue\r\n\r\n").expects == 0


def test_a_client_of_http_1_0_does_not_know_100_continue() -> None:
    head = b"POST / HTTP/1.0\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
    assert Parsed(head).expects == 0


@pytest.mark.parametrize(
    ("sent", "target"),
    [
        (b"http://a.example/api?x=%zz", "/api?x=%zz"),
        (b"HTTPS://[::1]:6443/api", "/api"),
        (b"http://a?b", "/?b"),
        (b"http://a", "/"),
    ],
)
def test_an_absolute_target_is_its_path(sent: bytes, target: str) -> None:
    parsed = Parsed(b"GET " + sent + b" HTTP/1.1\r\nHost: [::1]:6443\r\n\r\n")
    assert [r.target for r in parsed.requests] == [target]


def test_repeated_headers_are_joined_and_kept_apart() -> None:
    parsed = Parsed(
        b"GET / HTTP/1.1\r\nHost: a\r\nX-Stream-Protocol-Version: v4\r\n"
        b"x-stream-protocol-version: v3\r\n\r\n"
    )
    request = parsed.requests[0]
    assert request.headers["x-stream-protocol-version"] == "v4, v3"
    assert [v for k, v in request.header_lines if k.startswith("x-")] == ["v4", "v3"]


def test_the_rest_waits_when_enough_requests_are_queued() -> None:
    requests: list[Request] = []
    parser = RequestParser(LIMITS, Peer(), requests.append, lambda: None)
    stream = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 2000
    rest = parser.feed(stream, lambda: len(requests) < 4)
    assert len(requests) < 1000
    assert len(rest) > 0
    parser.feed(rest, lambda: True)
    assert len(requests) == 2000


@pytest.mark.parametrize("what", [b"0\r\nX: ", b"1;", b'1;a="'])
def test_what_is_neither_header_nor_body_is_bounded_too(what: bytes) -> None:
    parser = RequestParser(LIMITS, Peer(), lambda _request: None, lambda: None)
    parser.feed(POST + b"Transfer-Encoding: chunked\r\n\r\n" + what, lambda: True)
    fed = 0
    while parser.refused is None and fed < 100_000:
        parser.feed(b"a" * 1000, lambda: True)
        fed += 1000
    assert parser.refused is not None
    assert parser.refused.status == 400
    assert fed < 50_000


def test_what_came_of_a_request_is_forgotten_with_its_connection() -> None:
    parser = RequestParser(LIMITS, Peer(), lambda _request: None, lambda: None)
    parser.feed(POST + b"Content-Length: 60\r\n\r\n" + b"x" * 50, lambda: True)
    assert parser.held == 50
    parser.detach()
    assert parser.held == 0


def test_many_small_chunks_are_no_framing_too_much() -> None:
    limits = Limits(header_bytes=2048, body_bytes=50_000)
    chunks = b"1\r\na\r\n" * 50_000 + b"0\r\n\r\n"
    parsed = Parsed(POST + b"Transfer-Encoding: chunked\r\n\r\n" + chunks, limits=limits)
    assert parsed.code == 0
    assert [len(r.body) for r in parsed.requests] == [50_000]
