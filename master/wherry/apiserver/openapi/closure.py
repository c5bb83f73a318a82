"""The types that a set of operations needs, directly or through other types."""

from collections.abc import Iterator, Sequence
from typing import Any

from wherry.apiserver.openapi.operations import PATCH_BODY, Operation

_PATCH: dict[str, Any] = {
    "type": "object",
    "description": "A patch: its form depends on the media type.",
}


def closure(
    ops: Sequence[Operation], types: dict[str, dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Return the definitions by name, sorted, so that equal input gives equal bytes."""
    todo = [name for op in ops for name in (op.body, op.response) if name]
    picked: dict[str, dict[str, Any]] = {}
    while todo:
        name = todo.pop()
        if name not in picked:
            picked[name] = _PATCH if name == PATCH_BODY else types[name]
            todo += references(picked[name])
    return dict(sorted(picked.items()))


def references(schema: dict[str, Any]) -> Iterator[str]:
    """Yield the names that a definition refers to."""
    if "$ref" in schema:
        yield schema["$ref"]
    for sub in schema.get("properties", {}).values():
        yield from references(sub)
    for key in ("items", "additionalProperties"):
        if key in schema:
            yield from references(schema[key])
