"""Durations as Go writes them: `1m30s`, `300ms`, `-1.5h`. Pure.

Source: the documentation of Go's `time.ParseDuration`, whose messages these are.
"""

import re
from typing import Final

_UNIT_S: Final = {
    "ns": 1e-9,
    "us": 1e-6,
    "\N{MICRO SIGN}s": 1e-6,
    "\N{GREEK SMALL LETTER MU}s": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
}
_PART: Final = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)([^0-9.]*)")
_MOST_S: Final = 2**63 / 1e9


def parse_duration(text: str) -> float:
    """Return how many seconds `text` says.

    Raises:
        ValueError: it is no duration; the message says why.
    """
    quoted = f'"{text}"'
    rest = text.removeprefix("-") if text.startswith("-") else text.removeprefix("+")
    if rest == "0":
        return 0.0
    seconds, at = 0.0, 0
    while at < len(rest) or not rest:
        part = _PART.match(rest, at)
        if part is None:
            raise ValueError(f"time: invalid duration {quoted}")
        if not part[2]:
            raise ValueError(f"time: missing unit in duration {quoted}")
        if part[2] not in _UNIT_S:
            raise ValueError(f'time: unknown unit "{part[2]}" in duration {quoted}')
        seconds += float(part[1]) * _UNIT_S[part[2]]
        at = part.end()
    if seconds >= _MOST_S:
        raise ValueError(f"time: invalid duration {quoted}")
    return -seconds if text.startswith("-") else seconds
