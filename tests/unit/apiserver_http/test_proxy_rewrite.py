"""Paths, headers and URLs on either side of the proxy."""

from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.api.errors import InternalError
from wherry.apiserver.proxy.rewrite import (
    backend_path,
    body_length,
    request_headers,
    response_headers,
    rewrite_url,
    split_path,
)

PREFIX = "/api/v1/namespaces/a/pods/p/proxy"

SPLITS = [
    (PREFIX, (PREFIX, "")),
    (f"{PREFIX}/", (PREFIX, "/")),
    (f"{PREFIX}/x/proxy/y/", (PREFIX, "/x/proxy/y/")),
    (f"{PREFIX}//x", (PREFIX, "//x")),
    (f"//{PREFIX}/x%2Fy", (PREFIX, "/x%2Fy")),
]


@pytest.mark.parametrize(("path", "halves"), SPLITS)
def test_what_lies_behind_the_proxy(path: str, halves: tuple[str, str]) -> None:
    assert split_path(path, namespaced=True) == halves


def test_a_node_has_no_namespace() -> None:
    path = "/api/v1/nodes/n%3A1/proxy/stats/summary"
    assert split_path(path, namespaced=False) == ("/api/v1/nodes/n%3A1/proxy", "/stats/summary")


PATHS = [
    ("", ""),
    ("/", "/"),
    ("/x", "/x"),
    ("/x/", "/x/"),
    ("//x//y", "/x/y"),
    ("/a/../b/./c/", "/b/c/"),
    ("/../../etc", "/etc"),
    ("/..", "/"),
    ("/%2e%2e/x", "/x"),
    ("/a%2Fb", "/a/b"),
    ("/a%20b%3Fc", "/a%20b%3Fc"),
    ("/a+b,c;d=e@f:g$h&i", "/a+b,c;d=e@f:g$h&i"),
    ("/%C3%A4%FF", "/%C3%A4%FF"),
    ("/a!'()*", "/a%21%27%28%29%2A"),
    ("/%0d%0aX:%201", "/%0D%0AX:%201"),
]


@pytest.mark.parametrize(("rest", "path"), PATHS)
def test_paths_for_the_backend(rest: str, path: str) -> None:
    assert backend_path(rest) == path


@given(st.text("a/.%2eF0dA \r\n", max_size=30))
def test_no_path_leads_up_or_breaks_a_line(text: str) -> None:
    path = backend_path(f"/{text}")
    assert path.startswith("/")
    assert path.isascii()
    assert path.isprintable()
    assert " " not in path
    assert not {b"..", b"."} & set(unquote_to_bytes(path).split(b"/"))
    assert b"//" not in unquote_to_bytes(path)
    assert backend_path(path) == path or "%25" in path


def headers(*lines: tuple[str, str], method: str = "GET", body: int = 0) -> dict[str, str]:
    made = request_headers(
        lines, method=method, body_bytes=body, client="10.0.0.9", uri=f"{PREFIX}/x"
    )
    names = [name for name, _ in made]
    assert len(names) == len(set(names))
    return {name.lower(): value for name, value in made}


def test_headers_for_the_backend() -> None:
    assert headers(
        ("host", "api:6443"),
        ("authorization", "Bearer secret"),
        ("cookie", "a=1"),
        ("impersonate-user", "eve"),
        ("impersonate-extra-x", "y"),
        ("x-forwarded-for", "192.0.2.1"),
        ("x-forwarded-host", "lie"),
        ("x-forwarded-proto", "lie"),
        ("x-node-name", "lie"),
        ("connection", "keep-alive, X-Mine"),
        ("x-mine", "1"),
        ("keep-alive", "5"),
        ("te", "trailers"),
        ("transfer-encoding", "chunked"),
        ("expect", "100-continue"),
        ("content-length", "7"),
        ("content-type", "text/plain"),
        method="DELETE",
        body=4,
    ) == {
        "host": "api:6443",
        "cookie": "a=1",
        "content-type": "text/plain",
        "content-length": "4",
        "x-forwarded-for": "192.0.2.1, 10.0.0.9",
        "x-forwarded-host": "api:6443",
        "x-forwarded-proto": "https",
        "x-forwarded-uri": f"{PREFIX}/x",
        "connection": "close",
    }


@pytest.mark.parametrize(("method", "length"), [("GET", None), ("POST", "0"), ("PATCH", "0")])
def test_an_empty_body(method: str, length: str | None) -> None:
    assert headers(("host", "a"), method=method).get("content-length") == length


def test_an_upgrade_asks_for_the_same_protocol() -> None:
    lines = [("host", "a"), ("connection", "upgrade"), ("upgrade", "websocket"), ("origin", "o")]
    made = request_headers(
        lines, method="GET", body_bytes=0, client="c", uri="/", upgrade="websocket"
    )
    assert made[1] == ("origin", "o")
    assert made[-2:] == [("Connection", "Upgrade"), ("Upgrade", "websocket")]


@pytest.mark.parametrize(
    ("offered", "passed"),
    [
        ("chat, base64url.bearer.authorization.k8s.io.c2VjcmV0,v2", ["chat, v2"]),
        ("base64url.bearer.authorization.k8s.io.c2VjcmV0", []),
        ("chat", ["chat"]),
    ],
)
def test_a_token_among_subprotocols_is_not_passed(offered: str, passed: list[str]) -> None:
    lines = [("host", "a"), ("sec-websocket-protocol", offered)]
    made = request_headers(lines, method="GET", body_bytes=0, client="c", uri="/", upgrade="x")
    assert [value for name, value in made if name == "sec-websocket-protocol"] == passed


TOKEN = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=14)
FORBIDDEN = ("authorization", "proxy-authorization", "impersonate-user", "impersonate-group")


@given(st.lists(st.tuples(st.one_of(TOKEN, st.sampled_from(FORBIDDEN)), TOKEN), max_size=12))
def test_credentials_never_pass(lines: list[tuple[str, str]]) -> None:
    made = request_headers(lines, method="GET", body_bytes=0, client="c", uri="/")
    assert not {name.lower() for name, _ in made} & set(FORBIDDEN)


def test_headers_for_the_client() -> None:
    lines = [
        ("Content-Type", "text/html"),
        ("Content-Length", "5"),
        ("Transfer-Encoding", "chunked"),
        ("Connection", "close, x-mine"),
        ("X-Mine", "1"),
        ("Set-Cookie", "a=1"),
        ("Set-Cookie", "b=2"),
        ("Date", "then"),
        ("Access-Control-Allow-Origin", "*"),
        ("WWW-Authenticate", "Basic"),
    ]
    assert response_headers(lines) == [
        ("Content-Type", "text/html"),
        ("Set-Cookie", "a=1"),
        ("Set-Cookie", "b=2"),
        ("WWW-Authenticate", "Basic"),
    ]


@pytest.mark.parametrize(
    ("lines", "length"),
    [
        ([], None),
        ([("Content-Length", "5")], 5),
        ([("content-length", "0")], 0),
        ([("CONTENT-LENGTH", "5, 5"), ("Content-Length", "5")], 5),
        ([("Content-Length", "5"), ("Content-Length", "6")], None),
        ([("Content-Length", "5"), ("Transfer-Encoding", "chunked")], None),
        *(([("Content-Length", text)], None) for text in ("", "-1", "+1", "x", "1e3", "9" * 19)),
    ],
)
def test_the_length_of_an_answer(lines: list[tuple[str, str]], length: int | None) -> None:
    assert body_length(lines) == length


HOSTS = ("10.0.0.1:80", "localhost:8001")
URLS = [
    ("/", f"{PREFIX}/"),
    ("/a/b?c=d#e", f"{PREFIX}/a/b?c=d#e"),
    ("http://10.0.0.1:80/a", f"{PREFIX}/a"),
    ("https://localhost:8001/a/", f"{PREFIX}/a/"),
    ("//localhost:8001/a", f"{PREFIX}/a"),
    ("http://example.com/a", "http://example.com/a"),
    ("//example.com/a", "//example.com/a"),
    ("a/b", "a/b"),
    ("../a", "../a"),
    ("?a=b", "?a=b"),
    ("#top", "#top"),
    ("", ""),
    ("mailto:a@example.com", "mailto:a@example.com"),
    (f"{PREFIX}/a", f"{PREFIX}/a"),
    (f"http://localhost:8001{PREFIX}/a", f"{PREFIX}/a"),
    (f"{PREFIX}like", f"{PREFIX}{PREFIX}like"),
    ("/a%20b", f"{PREFIX}/a%20b"),
]


@pytest.mark.parametrize(("url", "expected"), URLS)
def test_urls_lead_through_the_proxy(url: str, expected: str) -> None:
    assert rewrite_url(url, PREFIX, HOSTS) == expected
    assert rewrite_url(expected, PREFIX, HOSTS) == expected


def test_an_escaped_prefix_is_the_same() -> None:
    assert rewrite_url("/p/a:1/x", "/p/a%3A1", ()) == "/p/a:1/x"


def test_what_is_no_url() -> None:
    with pytest.raises(InternalError, match="error trying to parse Location header: "):
        rewrite_url("http://[::1/x", PREFIX, HOSTS)
