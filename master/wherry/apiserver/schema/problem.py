"""What is wrong with an object, and where: reports of one walk over it, in the words of Go's decoders.

A path is a chain `(parent path, key)`, so that walking costs one tuple a container and text
is made only for what goes wrong.
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from wherry.apiserver.schema import scalar, unstructured

Path = tuple[Any, Any] | None


class Problem(NamedTuple):
    """What Go's decoder says about a value of the wrong type.

    `converted` is what the converter says that decodes strategic merge patches, where that differs.
    """

    message: str
    converted: str = ""


class MapKey(str):
    """A step of a path into a map; unlike a field's name it is not part of a Go field path."""

    __slots__ = ()


@dataclass(slots=True)
class Report:
    """What one walk over an object found."""

    problems: list[Problem] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


def _steps(path: Path) -> list[Any]:
    steps: list[Any] = []
    while path is not None:
        path, key = path
        steps.append(key)
    return steps[::-1]


def format_path(path: Path) -> str:
    """Return `spec.containers[0].image`."""
    text = "".join(f"[{s}]" if isinstance(s, int) else f".{s}" for s in _steps(path))
    return text.removeprefix(".")


def _go_path(path: Path) -> str:
    return ".".join(s for s in _steps(path) if isinstance(s, str) and not isinstance(s, MapKey))


def mismatch(report: Report, value: Any, path: Path, owner: str, go_type: str) -> None:
    """Report a value that Go cannot decode into a field of that type of the struct `owner`."""
    what = scalar.json_type(value)
    if go_type.startswith(("int", "float")) and what == "number":
        what = f"number {value}"
    where = _go_path(path)
    target = f"Go struct field {owner}.{where}" if where else "Go value"
    message = f"json: cannot unmarshal {what} into {target} of type {go_type}"
    converted = unstructured.refusal(value, go_type)
    report.problems.append(Problem(message, converted))


def go_type_of(schema: dict[str, Any]) -> str:
    """Return the Go type of a schema, as Go's messages name it."""
    if "$ref" in schema:
        parts = schema["$ref"].split(".")
        return f"{parts[-2]}.{parts[-1]}"
    kind, form = schema.get("type"), schema.get("format", "")
    if kind == "integer":
        return form or "int64"
    if kind == "array":
        return f"[]{go_type_of(schema['items'])}"
    if kind == "object" and "additionalProperties" in schema:
        return f"map[string]{go_type_of(schema['additionalProperties'])}"
    names = {
        "string": "[]uint8" if form == "byte" else "string",
        "boolean": "bool",
        "number": "float64",
    }
    return names.get(kind or "", "interface {}")
