"""URLs of a page, rewritten as it passes."""

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.api.errors import BadGatewayError
from wherry.apiserver.proxy.html import Page, is_page


def other(url: str) -> str:
    return f"/P{url}" if url.startswith("/") else url


def passed(page: bytes, size: int = 0) -> bytes:
    one = Page(other)
    step = size or max(1, len(page))
    out = [b"".join(one.feed(page[at : at + step])) for at in range(0, len(page), step)]
    return b"".join(out) + one.end()


PAGES = [
    ('<a href="/x">', '<a href="/P/x">'),
    ("<A HREF='/x' >", "<A HREF='/P/x' >"),
    ("<a class=b href=/x>", "<a class=b href=/P/x>"),
    ("<a href=/x/>", "<a href=/P/x/>"),
    ('<img alt=">" src="/i.png"/>', '<img alt=">" src="/P/i.png"/>'),
    ('<a title="see href=/x" href="y">', '<a title="see href=/x" href="y">'),
    ('<link rel="stylesheet" href="/s.css?a=1&amp;b=2">', '<link rel="stylesheet" href="/P/s.css?a=1&amp;b=2">'),
    ('<script src="/s.js">if (a<b) t="<a href=/x>"</script><a href="/y">', '<script src="/P/s.js">if (a<b) t="<a href=/x>"</script><a href="/P/y">'),
    ('<style>a{content:"<a href=/x>"}</STYLE ><a href="/y">', '<style>a{content:"<a href=/x>"}</STYLE ><a href="/P/y">'),
    ('<!-- <a href="/x"> --><a href="/y">', '<!-- <a href="/x"> --><a href="/P/y">'),
    ('<!--><a href="/y">', '<!--><a href="/P/y">'),
    ('<!DOCTYPE html><form method=post action="/f">', '<!DOCTYPE html><form method=post action="/P/f">'),
    ('<p href="/x">', '<p href="/x">'),
    ('<abbr href="/x"><a-b href="/x">', '<abbr href="/x"><a-b href="/x">'),
    ('<a data-href="/x">', '<a data-href="/x">'),
    ("a < b && c > d <", "a < b && c > d <"),
    ('<a href="/never closed', '<a href="/never closed'),
    ("<", "<"),
    ("<!-", "<!-"),
    ("", ""),
    ('<video poster="/p" src="/v">', '<video poster="/P/p" src="/P/v">'),
    ('<a href="ä/x" title="ö"><a href="/ü">', '<a href="ä/x" title="ö"><a href="/P/ü">'),
]  # fmt: skip


@pytest.mark.parametrize(("page", "expected"), PAGES)
@pytest.mark.parametrize("size", [0, 1, 3])
def test_pages(page: str, expected: str, size: int) -> None:
    assert passed(page.encode(), size).decode() == expected


def test_a_tag_that_is_too_long_passes_as_it_is() -> None:
    data = b'<img src="data:image/png;base64,' + b"A" * 100_000 + b'"><a href="/x">'
    assert passed(data) == data.replace(b'"/x"', b'"/P/x"')
    assert passed(data, 1000) == data.replace(b'"/x"', b'"/P/x"')


PIECES = st.sampled_from(
    ["<a href=/x>", '<a href="/x">', "<script>", "</script>", "<!--", "-->", "<", ">", '"', "'", "/x", " href=", "<a ", "<img src='/y'>", "text", "<title>", "</title "]
)  # fmt: skip


@given(st.lists(PIECES, max_size=20).map("".join), st.integers(1, 7))
def test_how_a_page_comes_changes_nothing(page: str, size: int) -> None:
    data = page.encode()
    assert passed(data, size) == passed(data)


@given(st.lists(PIECES, max_size=20).map("".join))
def test_only_urls_change(page: str) -> None:
    one = Page(lambda url: url)
    assert b"".join(one.feed(page.encode())) + one.end() == page.encode()
    assert passed(page.encode()).replace(b"/P/", b"/") == page.encode()


HOSTILE = [b"<a ", b'<a "', b"<!--", b"<a '\"", b"</script", b"<script>", b"<a %b>" % (b"a" * 8000), b"<a a%b>" % (b" " * 8000), b"<a " + b"a=" * 4000 + b">"]  # fmt: skip


@pytest.mark.parametrize("hostile", HOSTILE)
def test_no_page_is_dear(hostile: bytes) -> None:
    """What is kept is bounded; quadratic work on this much would take minutes."""
    one = Page(other)
    data = hostile * (2_000_000 // len(hostile))
    out = 0
    for at in range(0, len(data), 65536):
        out += sum(map(len, one.feed(data[at : at + 65536])))
        assert min(at + 65536, len(data)) - out <= 8 * 1024
    assert out + len(one.end()) == len(data)


def test_a_gzipped_page_is_inflated_in_pieces() -> None:
    bomb = b'<a href="/x">' + b" " * 20_000_000
    one = Page(other, gzipped=True)
    pieces = list(one.feed(gzip.compress(bomb)))
    assert max(map(len, pieces)) <= 300 * 1024
    assert (b"".join(pieces) + one.end()).startswith(b'<a href="/P/x"> ')
    with pytest.raises(BadGatewayError):
        list(Page(other, gzipped=True).feed(b"plain"))


KINDS = [
    (200, {"Content-Type": "text/html; charset=utf-8"}, True),
    (404, {"content-type": "TEXT/HTML"}, True),
    (200, {"Content-Type": "text/html", "Content-Encoding": "gzip"}, True),
    (200, {"Content-Type": "text/html", "Content-Encoding": "br"}, False),
    (206, {"Content-Type": "text/html"}, False),
    (302, {"Content-Type": "text/html", "Location": "/x"}, False),
    (200, {"Content-Type": "application/json"}, False),
    (200, {}, False),
]


@pytest.mark.parametrize(("status", "headers", "expected"), KINDS)
def test_what_is_a_page(status: int, headers: dict[str, str], expected: bool) -> None:
    assert is_page(status, list(headers.items())) is expected
