"""Causes: one field that is wrong, in the words of apimachinery `util/validation/field`.

A list of a million empty entries is three bytes an entry, and what can be said about each is a
hundred times as long. So `collect` ends the checks when they have found `MOST` causes.
"""

from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import Any, Final

import orjson

from wherry.api.errors import Cause

IMMUTABLE = "field is immutable"
MOST: Final = 500
"""Causes that one answer holds: more than anybody reads."""
_found: ContextVar[list[Cause] | None] = ContextVar("found", default=None)


class _EnoughError(Exception):
    """Ends the checks."""


def collect(*checks: Callable[[], list[Cause]]) -> list[Cause]:
    """Return what all checks find, or the first `MOST` causes where there are more."""
    found: list[Cause] = []
    token = _found.set(found)
    try:
        return [cause for check in checks for cause in check()]
    except _EnoughError:
        return found
    finally:
        _found.reset(token)


def _cause(reason: str, message: str, field: str) -> Cause:
    cause = Cause(reason, message, field)
    found = _found.get()
    if found is not None:
        found.append(cause)
        if len(found) >= MOST:
            raise _EnoughError
    return cause


def required(field: str, detail: str = "") -> Cause:
    """Say that the field must be set."""
    return _cause("FieldValueRequired", _with("Required value", detail), field)


def invalid(field: str, value: Any, detail: str) -> Cause:
    """Say that the value is not possible here."""
    return _cause("FieldValueInvalid", _with(f"Invalid value: {_quote(value)}", detail), field)


def invalid_whole(field: str, detail: str) -> Cause:
    """Say that the field is not possible here, where its value is too much to be shown."""
    return _cause("FieldValueInvalid", _with("Invalid value", detail), field)


def duplicate(field: str, value: Any, detail: str = "") -> Cause:
    """Say that another entry has this value, which must be unique."""
    return _cause("FieldValueDuplicate", _with(f"Duplicate value: {_quote(value)}", detail), field)


def unsupported(field: str, value: Any, allowed: Iterable[str]) -> Cause:
    """Say which values there are: in the order given, for upstream lists some enums in its own."""
    values = ", ".join(f'"{v}"' for v in allowed)
    message = f"Unsupported value: {_quote(value)}: supported values: {values}"
    return _cause("FieldValueNotSupported", message, field)


def forbidden(field: str, detail: str) -> Cause:
    """Say that the field may not be set, or not changed."""
    return _cause("FieldValueForbidden", _with("Forbidden", detail), field)


def too_long(field: str, most: int) -> Cause:
    """Say that the text is longer than `most` bytes."""
    return _cause("FieldValueTooLong", f"Too long: may not be more than {most} bytes", field)


def too_many(field: str, count: int, most: int) -> Cause:
    """Say that the list is longer than `most`."""
    return _cause("FieldValueTooMany", f"Too many: {count}: must have at most {most} items", field)


def not_found(field: str, value: Any, detail: str = "") -> Cause:
    """Say that nothing of this name is there."""
    return _cause("FieldValueNotFound", _with(f"Not found: {_quote(value)}", detail), field)


def _with(word: str, detail: str) -> str:
    return f"{word}: {detail}" if detail else word


def _quote(value: Any) -> str:
    return orjson.dumps(value).decode()
