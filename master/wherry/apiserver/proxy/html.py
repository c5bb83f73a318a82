"""URLs in a page lead through the proxy again: a page at `/` may say `href="/style.css"`. Pure.

Only values of attributes that hold URLs change, in tags as they come; all else passes byte for byte,
what stands in comments, scripts and styles too. A tag longer than `_MOST_TAG` passes as it is, so
that no page, however it is made, costs more than to look at each byte a few times.

Source of the attributes: apimachinery `util/proxy`'s `atomsToAttrs`. Upstream parses and writes anew
every tag; here the text is only searched.
"""

import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from wherry.api.errors import BadGatewayError

_URLS: Mapping[bytes, Sequence[bytes]] = {
    b"a": (b"href",),
    b"applet": (b"codebase",),
    b"area": (b"href",),
    b"audio": (b"src",),
    b"base": (b"href",),
    b"blockquote": (b"cite",),
    b"body": (b"background",),
    b"button": (b"formaction",),
    b"command": (b"icon",),
    b"del": (b"cite",),
    b"embed": (b"src",),
    b"form": (b"action",),
    b"frame": (b"longdesc", b"src"),
    b"head": (b"profile",),
    b"html": (b"manifest",),
    b"iframe": (b"longdesc", b"src"),
    b"img": (b"longdesc", b"src", b"usemap"),
    b"input": (b"src", b"usemap", b"formaction"),
    b"ins": (b"cite",),
    b"link": (b"href",),
    b"object": (b"classid", b"codebase", b"data", b"usemap"),
    b"q": (b"cite",),
    b"script": (b"src",),
    b"source": (b"src",),
    b"video": (b"poster", b"src"),
}
_ATTRIBUTE = re.compile(
    rb"""(?<![^\s"'>/=])([^\s"'>/=]++)(\s*+=\s*+)("[^"]*+"|'[^']*+'|[^\s"'>]++)"""
)
_TAG = re.compile(rb"""<([A-Za-z][A-Za-z0-9]*+)(?=[\s/>])(?>[^>"']|"[^"]*+"|'[^']*+')*+>""")
_OTHER = re.compile(rb"<(?![A-Za-z])|<[A-Za-z][A-Za-z0-9]*+(?=[^A-Za-z0-9\s/>])")
"""What begins no tag that is looked at, however it goes on."""
_BEGUN = re.compile(rb"<(?=[A-Za-z!]|\Z)")
_COMMENT = b"<!--"
_END_OF_COMMENT = re.compile(rb"-->")
_END_OF = {
    name: re.compile(rb"(?i)</%b[\s/>]" % name)
    for name in (b"script", b"style", b"textarea", b"title")
}
"""What ends the elements whose text holds no tags."""
_LONGEST_END = len("</textarea>")
_MOST_TAG = 8 * 1024
_INFLATED = 256 * 1024
_ENCODINGS = ("", "identity", "gzip")


def is_page(status: int, headers: Sequence[tuple[str, str]]) -> bool:
    """Tell whether an answer is a whole page whose text can be read."""
    given = {name.lower(): value.lower() for name, value in headers}
    media = given.get("content-type", "").partition(";")[0].strip()
    return (
        media == "text/html"
        and status != 206
        and "location" not in given
        and given.get("content-encoding", "") in _ENCODINGS
    )


class Page:
    """One page, in pieces: what `feed` and `end` yield is the page with other URLs, inflated."""

    def __init__(self, rewrite: Callable[[str], str], *, gzipped: bool = False) -> None:
        """Build one; `rewrite` gets each URL as it stands there, and returns another or the same."""
        self._rewrite = rewrite
        self._inflate = zlib.decompressobj(31) if gzipped else None
        self._held = b""
        self._until: re.Pattern[bytes] | None = None

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take a piece; what may be the beginning of a tag is kept until more comes.

        Raises:
            BadGatewayError: it is not gzip.
        """
        if self._inflate is None:
            yield self._passed(data)
            return
        try:
            while data:
                yield self._passed(self._inflate.decompress(data, _INFLATED))
                data = self._inflate.unconsumed_tail
        except zlib.error as error:
            raise BadGatewayError(f"the answer cannot be read: {error}") from error

    def end(self) -> bytes:
        """Return what was kept."""
        return self._passed(b"", final=True)

    def _passed(self, data: bytes, *, final: bool = False) -> bytes:
        text, at = self._held + data, 0
        out: list[bytes] = []

        def pass_on(to: int) -> None:
            nonlocal at
            out.append(text[at:to])
            at = to

        while at < len(text):
            if self._until is not None:
                end = self._until.search(text, at)
                if end is None:
                    pass_on(len(text) if final else max(at, len(text) - _LONGEST_END + 1))
                    break
                pass_on(end.start())
                self._until = None
            begun = _BEGUN.search(text, at)
            pass_on(begun.start() if begun else len(text))
            if begun is None or (len(text) - at < len(_COMMENT) and not final):
                break
            tag = _TAG.match(text, at, at + _MOST_TAG)
            if text.startswith(_COMMENT, at):
                self._until = _END_OF_COMMENT
            elif tag is not None:
                out.append(self._tag(tag))
                at = tag.end()
                self._until = _END_OF.get(tag[1].lower())
            elif _OTHER.match(text, at):
                pass_on(at + 1)
            elif final or len(text) - at >= _MOST_TAG:
                pass_on(min(at + _MOST_TAG, len(text)))
            else:
                break
        self._held = text[at:]
        return b"".join(out)

    def _tag(self, tag: re.Match[bytes]) -> bytes:
        names = _URLS.get(tag[1].lower())
        return tag[0] if names is None else _ATTRIBUTE.sub(partial(self._value, names), tag[0])

    def _value(self, names: Sequence[bytes], found: re.Match[bytes]) -> bytes:
        if found[1].lower() not in names:
            return found[0]
        value = found[3]
        quote = value[:1] if value[:1] in (b'"', b"'") else b""
        url = value[1:-1] if quote else value
        other = self._rewrite(url.decode("latin-1")).encode("latin-1")
        return found[1] + found[2] + quote + other + quote
