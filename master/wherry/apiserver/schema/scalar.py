"""Scalars with a format, checked and brought into the form in which Kubernetes stores them.

Each function returns the normal form or raises `ValueError` whose text is what the Go
decoder of that type says, since users search for those sentences. None stands for Go's
zero time, which is written as null.
"""

import binascii
import re
from datetime import UTC, datetime
from fractions import Fraction
from functools import lru_cache
from typing import Any, Final

from wherry.api.errors import InvalidQuantityError
from wherry.api.quantity import parse_quantity

_QUANTITY_ERROR: Final = (
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
)
_BINARY: Final = ("Ei", "Pi", "Ti", "Gi", "Mi", "Ki")
_DECIMAL: Final = {
    -9: "n",
    -6: "u",
    -3: "m",
    0: "",
    3: "k",
    6: "M",
    9: "G",
    12: "T",
    15: "P",
    18: "E",
}
_MAX_QUANTITY: Final = 2**63 - 1
_NANO: Final = Fraction(1, 10**9)
_RFC3339: Final = (
    ("2006", r"\d{4}"),
    ("-", "-"),
    ("01", r"\d\d"),
    ("-", "-"),
    ("02", r"\d\d"),
    ("T", "T"),
    ("15", r"\d\d"),
    (":", ":"),
    ("04", r"\d\d"),
    (":", ":"),
    ("05", r"\d\d(?:[.,]\d+)?"),
    ("Z07:00", r"Z|[+-]\d\d:\d\d"),
)
_LAYOUT: Final = "2006-01-02T15:04:05Z07:00"


def json_type(value: Any) -> str:
    """Return what Go's JSON decoder calls the type of a value."""
    if isinstance(value, bool):
        return "bool"
    names = {str: "string", int: "number", float: "number", dict: "object", list: "array"}
    return names.get(type(value), "null")


@lru_cache(maxsize=4096)
def quantity(text: str) -> str:
    """Return the canonical form: `0.5` is `500m`, `1024Mi` is `1Gi`, `1000m` is `1`.

    Source: apimachinery `resource.Quantity.CanonicalizeBytes`.
    """
    try:
        value = parse_quantity(text)
    except InvalidQuantityError:
        raise ValueError(_QUANTITY_ERROR) from None
    sign = "-" if value < 0 else ""
    value = min(abs(value), Fraction(_MAX_QUANTITY))
    value = -(-value // _NANO) * _NANO  # finer than nano is rounded away from zero
    if not value:
        return "0"
    if text[-1:] == "i" and value >= 1024 and value.denominator == 1:
        return sign + _binary(value.numerator)
    return sign + _decimal(value, exponent=text[-1] not in "numkMGTPEi" and "e" in text.lower())


def _binary(value: int) -> str:
    for power, suffix in zip(range(6, 0, -1), _BINARY, strict=True):
        if value % 1024**power == 0:
            return f"{value // 1024**power}{suffix}"
    return str(value)


def _decimal(value: Fraction, *, exponent: bool) -> str:
    for power in range(18, -12, -3):
        scaled = value / Fraction(10) ** power
        if scaled.denominator == 1:
            suffix = (f"e{power}" if power else "") if exponent else _DECIMAL[power]
            return f"{scaled.numerator}{suffix}"
    raise ValueError(_QUANTITY_ERROR)


def time(text: str) -> str | None:
    """Return a metav1.Time: UTC, whole seconds."""
    if len(text) == 20 and text[19] == "Z" and text[10] == "T" and text[:4] > "0001":
        _parsed(text)
        return text
    moment = _parsed(text)
    return None if moment.year <= 1 else moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def micro_time(text: str) -> str | None:
    """Return a metav1.MicroTime: UTC, six digits (fewer are accepted, Go clients need six)."""
    moment = _parsed(text)
    return None if moment.year <= 1 else moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _parsed(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    strict = len(text) >= 20 and text[10] == "T" and text[4] == text[7] == "-"
    if moment is None or moment.tzinfo is None or not strict:
        raise ValueError(_time_error(text))
    return moment.astimezone(UTC) if moment.year > 1 else moment


def _time_error(text: str) -> str:
    """Say where reading stopped, in the words of Go's `time.Parse`."""
    quoted = f'parsing time "{text}"'
    rest = text
    for element, pattern in _RFC3339:
        found = re.match(pattern, rest)
        if found is None:
            return f'{quoted} as "{_LAYOUT}": cannot parse "{rest}" as "{element}"'
        rest = rest[found.end() :]
    if rest:
        return f'{quoted}: extra text: "{rest}"'
    month, day = int(text[5:7]), int(text[8:10])
    for name, inside in (
        ("month", 1 <= month <= 12),
        ("day", 1 <= day <= 31),
        ("hour", int(text[11:13]) < 24),
        ("minute", int(text[14:16]) < 60),
        ("second", int(text[17:19]) < 60),
    ):
        if not inside:
            return f"{quoted}: {name} out of range"
    return f"{quoted}: day out of range"


def base64(text: str) -> str:
    """Return the text itself, without the line breaks that Go's decoder skips."""
    try:
        binascii.a2b_base64(text, strict_mode=True)
    except (binascii.Error, ValueError):
        return _base64_slow(text)
    return text


def _base64_slow(text: str) -> str:
    joined = text.replace("\r", "").replace("\n", "")
    try:
        binascii.a2b_base64(joined, strict_mode=True)
    except (binascii.Error, ValueError):
        bad = re.search(r"[^A-Za-z0-9+/]", text.rstrip("="))
        position = bad.start() if bad else len(joined) // 4 * 4
        raise ValueError(f"illegal base64 data at input byte {position}") from None
    return joined
