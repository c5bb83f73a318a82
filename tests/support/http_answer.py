"""Answers of HTTP servers, read from the bytes of a whole connection."""

import orjson

Answer = tuple[int, dict[str, str], bytes]
"""Status, headers (names in lower case, values of one name joined), body without its framing."""


def parse(answer: bytes, *, bodiless: bool = False) -> Answer:
    """Take an answer apart; a chunked one must be complete."""
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(": ")
        old = headers.get(name.lower())
        headers[name.lower()] = f"{old}, {value}" if old else value
    if headers.get("transfer-encoding") == "chunked" and not bodiless:
        body = _unchunked(body)
    return int(first.split(" ")[1]), headers, body


def refusal(answer: Answer) -> tuple[int, str]:
    """Return code and message of a Status, whose code is that of the answer."""
    status, _, body = answer
    told = orjson.loads(body)
    assert (told["kind"], told["code"]) == ("Status", status)
    return status, told["message"]


def _unchunked(data: bytes) -> bytes:
    out = b""
    while True:
        size, _, data = data.partition(b"\r\n")
        length = int(size, 16)
        if not length:
            assert data == b"\r\n"
            return out
        out += data[:length]
        data = data[length + 2 :]
