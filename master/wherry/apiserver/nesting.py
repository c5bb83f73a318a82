"""How deep JSON may be nested.

The encoder gives up at 254 levels, the decoder at 1024, Python at its recursion limit. No type
of ours comes near 128, so deeper values are refused at every door: bodies and patch results.
"""

from typing import Any

MAX_DEPTH = 128


def depth(value: Any) -> int:
    """Return how deep objects and lists are nested, at most `MAX_DEPTH + 1`."""
    level, deepest = [value], 0
    while deepest <= MAX_DEPTH:
        level = [item for item in level if isinstance(item, dict | list)]
        if not level:
            break
        deepest += 1
        level = [
            child for item in level for child in (item.values() if isinstance(item, dict) else item)
        ]
    return deepest


def too_deep(data: bytes, value: Any) -> bool:
    """Tell whether `value`, decoded from `data`, is nested too deep; short texts cost nothing."""
    return data.count(b"{") + data.count(b"[") > MAX_DEPTH and depth(value) > MAX_DEPTH
