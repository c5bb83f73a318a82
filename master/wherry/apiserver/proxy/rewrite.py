"""What a proxied request and its answer look like on the other side. Pure.

Sources: apimachinery `util/proxy` (`UpgradeAwareHandler`, `Transport`) and Go's
`httputil.ReverseProxy`, whose rules for headers are those of RFC 9110, 7.6.1.
"""

import posixpath
import re
from collections.abc import Iterable, Sequence
from urllib.parse import quote, unquote, unquote_to_bytes, urlsplit, urlunsplit

from wherry.api.dialing import NODE_HEADER
from wherry.api.errors import InternalError
from wherry.apiserver.gate import PROTOCOL_TOKEN

Lines = Sequence[tuple[str, str]]

_HOP_BY_HOP = frozenset(
    {
        "connection",
        "proxy-connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_OURS = frozenset({"authorization", "content-length", "expect", "host", NODE_HEADER})
"""Not for who is asked: credentials, and what is said anew."""
_FORWARDED = ("x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-forwarded-uri")
_IMPERSONATE = "impersonate-"
_PROTOCOLS = "sec-websocket-protocol"
_ANSWERED_ANEW = frozenset(
    {
        "content-length",
        "date",
        "access-control-allow-credentials",
        "access-control-allow-headers",
        "access-control-allow-methods",
        "access-control-allow-origin",
    }
)
"""Not for the client: the server frames and dates each answer, and CORS is its own to grant."""
_PATH_SAFE = "/$&+,:;=@-_.~"
"""What Go's `URL.EscapedPath` leaves as it is."""
_WITH_BODY = ("POST", "PUT", "PATCH")
_LENGTH = re.compile(r"[0-9]{1,18}")


def split_path(path: str, *, namespaced: bool) -> tuple[str, str]:
    """Split a path behind its segment `proxy`: both halves as they came, the second "" or `/...`."""
    count = 7 if namespaced else 5
    parts = path.lstrip("/").split("/", count)
    rest = f"/{parts[count]}" if len(parts) > count else ""
    return "/" + "/".join(parts[:count]), rest


def backend_path(rest: str) -> str:
    """Return the path to ask for: escapes resolved and made anew, dots and double slashes gone.

    A client that sends `/` as `%2F`, as Python's does, means the same. "" stays so.
    """
    if not rest:
        return ""
    decoded = unquote_to_bytes(rest)
    clean = posixpath.normpath(b"/" + decoded.lstrip(b"/"))
    if decoded.endswith(b"/") and not clean.endswith(b"/"):
        clean += b"/"
    return quote(clean, safe=_PATH_SAFE)


def request_headers(
    lines: Lines, *, method: str, body_bytes: int, client: str, uri: str, upgrade: str = ""
) -> list[tuple[str, str]]:
    """Return the headers for the other side.

    Args:
        lines: The client's, names in lower case.
        method: The request's.
        body_bytes: Length of its body.
        client: Address of who asks.
        uri: The path under which the client knows what it asks for.
        upgrade: The protocol to switch to, "" for none.
    """
    given = dict(reversed(lines))
    dropped = _HOP_BY_HOP | _OURS | {*_FORWARDED} | _named(lines)
    host = given.get("host", "")
    headers = [("Host", host)]
    headers += [
        (name, value if name != _PROTOCOLS else _without_token(value))
        for name, value in lines
        if name not in dropped and not name.startswith(_IMPERSONATE)
        if name != _PROTOCOLS or _without_token(value)
    ]
    if body_bytes or method in _WITH_BODY:
        headers.append(("Content-Length", str(body_bytes)))
    before = [value for name, value in lines if name == "x-forwarded-for"]
    headers += [
        ("X-Forwarded-For", ", ".join([*before, client])),
        ("X-Forwarded-Host", host),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Uri", uri),
    ]
    if upgrade:
        return [*headers, ("Connection", "Upgrade"), ("Upgrade", upgrade)]
    return [*headers, ("Connection", "close")]


def _without_token(protocols: str) -> str:
    """Return the subprotocols without the one that is a token."""
    words = [word.strip() for word in protocols.split(",")]
    return ", ".join(word for word in words if word and not word.startswith(PROTOCOL_TOKEN))


def _named(lines: Iterable[tuple[str, str]]) -> set[str]:
    """Return the headers that a Connection header says are for one hop."""
    return {
        word.strip().lower()
        for name, value in lines
        if name.lower() == "connection"
        for word in value.split(",")
    }


def response_headers(lines: Lines) -> list[tuple[str, str]]:
    """Return the headers for the client, of those that the other side sent."""
    dropped = _HOP_BY_HOP | _ANSWERED_ANEW | _named(lines)
    return [(name, value) for name, value in lines if name.lower() not in dropped]


def body_length(lines: Lines) -> int | None:
    """Return how long the body of an answer says to be, None where it ends by other means."""
    given: dict[str, set[str]] = {}
    for name, value in lines:
        given.setdefault(name.lower(), set()).update(value.split(","))
    told = {value.strip() for value in given.get("content-length", ())}
    if "transfer-encoding" in given or len(told) != 1:
        return None
    (text,) = told
    return int(text) if _LENGTH.fullmatch(text) else None


def rewrite_url(url: str, prefix: str, hosts: Sequence[str]) -> str:
    """Return a URL of an answer so that it leads through the proxy again.

    What is relative or of another host is left alone.

    Args:
        url: As it came.
        prefix: The path of the proxy, up to and with `proxy`, as the client sent it.
        hosts: Under which names (`host:port`) the other side knows itself: its own, and the
            Host header of the client.

    Raises:
        InternalError: it is no URL.
    """
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise InternalError(f"error trying to parse Location header: {error}") from error
    if (parts.netloc and parts.netloc not in hosts) or not parts.path.startswith("/"):
        return url
    path = parts.path
    if not f"{unquote(path)}/".startswith(f"{unquote(prefix)}/"):
        path = prefix + path
    return urlunsplit(("", "", path, parts.query, parts.fragment))


def rewrite_link(url: str, prefix: str, hosts: Sequence[str]) -> str:
    """Return a URL of a page as `rewrite_url` does; what is none stays as it is."""
    try:
        return rewrite_url(url, prefix, hosts)
    except InternalError:
        return url
