"""Causes: one field that is wrong, in the words of apimachinery `util/validation/field`."""

from collections.abc import Iterable
from typing import Any

import orjson

from wherry.api.errors import Cause

IMMUTABLE = "field is immutable"


def required(field: str, detail: str = "") -> Cause:
    """Say that the field must be set."""
    return Cause("FieldValueRequired", _with("Required value", detail), field)


def invalid(field: str, value: Any, detail: str) -> Cause:
    """Say that the value is not possible here."""
    return Cause("FieldValueInvalid", f"Invalid value: {_quote(value)}: {detail}", field)


def duplicate(field: str, value: Any) -> Cause:
    """Say that another entry has this value, which must be unique."""
    return Cause("FieldValueDuplicate", f"Duplicate value: {_quote(value)}", field)


def unsupported(field: str, value: Any, allowed: Iterable[str]) -> Cause:
    """Say which values there are."""
    values = ", ".join(f'"{v}"' for v in sorted(allowed))
    message = f"Unsupported value: {_quote(value)}: supported values: {values}"
    return Cause("FieldValueNotSupported", message, field)


def forbidden(field: str, detail: str) -> Cause:
    """Say that the field may not be set, or not changed."""
    return Cause("FieldValueForbidden", _with("Forbidden", detail), field)


def too_long(field: str, most: int) -> Cause:
    """Say that the text is longer than `most` bytes."""
    return Cause("FieldValueTooLong", f"Too long: may not be more than {most} bytes", field)


def too_many(field: str, count: int, most: int) -> Cause:
    """Say that the list is longer than `most`."""
    return Cause("FieldValueTooMany", f"Too many: {count}: must have at most {most} items", field)


def not_found(field: str, value: Any) -> Cause:
    """Say that nothing of this name is there."""
    return Cause("FieldValueNotFound", f"Not found: {_quote(value)}", field)


def _with(word: str, detail: str) -> str:
    return f"{word}: {detail}" if detail else word


def _quote(value: Any) -> str:
    return orjson.dumps(value).decode()
