"""What of a configuration its types cannot hold, told by the paths of server-side apply. Pure.

A configuration is held to the schema before it is merged, however fields are validated: upstream cannot make a typed
object of it otherwise. Messages are those of structured-merge-diff, which shows values as Go prints its own wrapper
of them.
"""

from collections.abc import Iterator
from typing import Any

from wherry.apiserver.apply.fieldset import format_path
from wherry.apiserver.apply.types import LEAF, SCALARS, Shape, Type, key_of, type_of
from wherry.apiserver.apply.walk import step_of
from wherry.apiserver.go import go_syntax, go_type, go_value
from wherry.apiserver.schema import GVK, get_schema

_MAX_PROBLEMS = 100


def problems(config: Any, gvk: GVK) -> list[str]:
    """Return what is wrong with a configuration of a kind, as `path: why`."""
    found = _Walk().struct(config, {"$ref": get_schema().definitions.name(gvk)}, type_of(gvk), "")
    return [text for _, text in zip(range(_MAX_PROBLEMS), found, strict=False)]


class _Walk:
    """One walk along a value, its schema and its type of apply; below what is atomic there is none."""

    def __init__(self) -> None:
        self._definitions = get_schema().definitions

    def struct(self, value: Any, schema: dict[str, Any], typ: Type, path: str) -> Iterator[str]:
        """Walk a value of any schema."""
        if value is None:
            return
        if schema.get("$ref") in SCALARS:
            if isinstance(value, dict | list):
                yield f"{path}: expected any scalar, got &{{{go_value(value)}}}"
            return
        resolved = self._definitions.resolve(schema)
        kind = resolved.get("type")
        if "properties" in resolved or kind == "object":
            yield from self._map(value, resolved, typ, path)
        elif kind == "array":
            yield from self._list(value, resolved["items"], typ, path)
        elif kind is not None and (why := _mismatch(value, kind)):
            yield f"{path}: {why}"

    def _map(self, value: Any, schema: dict[str, Any], typ: Type, path: str) -> Iterator[str]:
        if not isinstance(value, dict):
            yield f"{path}: expected map, got &{{{go_value(value)}}}"
            return
        fields, values = schema.get("properties"), schema.get("additionalProperties")
        for name, item in value.items():
            below = values if fields is None else fields.get(name)
            if below is None and fields is not None:
                yield f"{path}.{name}: field not declared in schema"
            elif below is not None:
                yield from self.struct(item, below, typ.child(name) or LEAF, f"{path}.{name}")

    def _list(self, value: Any, items: dict[str, Any], typ: Type, path: str) -> Iterator[str]:
        if not isinstance(value, list):
            yield f"{path}: expected list, got &{{{go_value(value)}}}"
            return
        associative = typ.shape in (Shape.KEYED, Shape.SET)
        seen = set()
        for index, item in enumerate(value):
            step: str | None = f"i:{index}"
            if associative:
                step = step_of(item, typ)
                if step is None:
                    yield f"{path}: element {index}: {_keyless(item, typ)}"
                    continue
                if step in seen:
                    yield f"{path}: duplicate entries for key {format_path((step,))}"
                seen.add(step)
            below = typ.element or LEAF
            yield from self.struct(item, items, below, f"{path}{format_path((step or '',))}")


def _keyless(item: Any, typ: Type) -> str:
    """Say why an element of an associative list has no key."""
    if typ.shape is Shape.SET:
        return "associative list without keys has an element that's a map type"
    if item is None:
        return "associative list with keys may not have a null element"
    if not isinstance(item, dict):
        return "associative list with keys may not have non-map elements"
    missing = next((key for key in typ.keys if key_of(item, (key,)) is None), "")
    return (
        f'associative list with keys has an element that omits key field "{missing}" '
        "(and doesn't have default value)"
    )


def _mismatch(value: Any, kind: str) -> str:
    """Say why a value is no scalar of this kind, "" where it is one."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    match kind:
        case "string" if not isinstance(value, str):
            return f"expected string, got &value.valueUnstructured{{Value:{go_syntax(value)}}}"
        case "boolean" if not isinstance(value, bool):
            return f"expected boolean, got &{{{go_value(value)}}}"
        case "integer" | "number" if not number:
            return f"expected numeric (int or float), got {go_type(value)}"
    return ""
