"""JSON bodies: orjson for the value, the standard library where duplicate fields matter.

JSON with a repeated field is legal for a decoder and almost always a user's mistake, so
Kubernetes reports it. orjson cannot tell. If the text has as many `":` as the value has fields,
none is repeated; otherwise (a string may contain that, too) a second, slower pass looks.
"""

import json
import re
from typing import Any

import orjson

from wherry.apiserver.decode.syntax import syntax_error
from wherry.apiserver.nesting import MAX_DEPTH, too_deep
from wherry.apiserver.unreadable import UnreadableError

_SUMMARY_BYTES = 30
_TOO_DEEP = f"json: exceeded max depth of {MAX_DEPTH}"


_LOOSE_COLON = re.compile(rb'"[ \t\r\n]+:')


class _Repeating(dict[str, Any]):
    """An object some of whose fields stood twice."""

    repeated: list[str]


def decode(data: bytes, *, duplicates: bool) -> tuple[Any, list[str]]:
    """Return the value and, if wanted, a `duplicate field "..."` for each repeated field.

    Raises:
        UnreadableError: The text is not JSON, or nested too deep.
    """
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        deep = error.msg.startswith("depth limit")
        raise UnreadableError(_TOO_DEEP if deep else syntax_error(data, error)) from error
    if too_deep(data, value):
        raise UnreadableError(_TOO_DEEP)
    if not duplicates or _told_apart(data, value):
        return value, []
    return value, _duplicates(data)


def _told_apart(data: bytes, value: Any) -> bool:
    """Tell whether no field can stand twice: each ends in `":`, and there are no more of these."""
    return data.count(b'":') == _fields(value) and _LOOSE_COLON.search(data) is None


def _fields(value: Any) -> int:
    """Return how many fields all objects in a value have together."""
    found, below = 0, [value]
    while below:
        one = below.pop()
        if isinstance(one, dict):
            found += len(one)
            below += [item for item in one.values() if isinstance(item, dict | list)]
        elif isinstance(one, list):
            below += [item for item in one if isinstance(item, dict | list)]
    return found


def summary(data: bytes) -> str:
    """Return the beginning of a body for a message, binary ones in hex."""
    if not data:
        return "<empty>"
    more = " ..." if len(data) > _SUMMARY_BYTES else ""
    head = data[:_SUMMARY_BYTES]
    return (head.decode(errors="replace") if data[:1] == b"{" else head.hex()) + more


def _duplicates(data: bytes) -> list[str]:
    repeating: list[_Repeating] = []

    def collect(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        plain = dict(pairs)
        if len(plain) == len(pairs):
            return plain
        seen: set[str] = set()
        marked = _Repeating(plain)
        marked.repeated = [key for key, _ in pairs if key in seen or seen.add(key)]  # type: ignore[func-returns-value]
        repeating.append(marked)
        return marked

    value = json.loads(data, object_pairs_hook=collect)
    return list(dict.fromkeys(_described(value, ""))) if repeating else []


def _described(value: Any, path: str) -> list[str]:
    found: list[str] = []
    if isinstance(value, _Repeating):
        found += [f'duplicate field "{f"{path}.{key}".lstrip(".")}"' for key in value.repeated]
    if isinstance(value, dict):
        for key, item in value.items():
            found += _described(item, f"{path}.{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            found += _described(item, f"{path}[{index}]")
    return found
