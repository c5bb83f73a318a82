"""What Go's converter from unstructured objects says of a value of the wrong type.

A strategic merge patch is decoded by it, all else by the JSON decoder: same mistake, other words. Source:
apimachinery `runtime.DefaultUnstructuredConverter`.
"""

from typing import Any

_SCALARS = frozenset({"string", "bool", "int32", "int64", "float64"})
_CONVERTIBLE = frozenset({("int64", "string"), ("float64", "int32"), ("float64", "int64")})
"""Steps that Go's language would take and the converter does not."""


def refusal(value: Any, go_type: str) -> str:
    """Say why a decoded JSON value cannot become a value of a Go type."""
    kind = _kind(value)
    if go_type.startswith("[]"):
        return f"cannot restore slice from {kind}"
    if go_type.startswith("map["):
        return f"cannot restore map from {kind}"
    if go_type not in _SCALARS:
        return f"cannot restore struct from: {kind}"
    if (kind, go_type) in _CONVERTIBLE or kind == go_type.replace("32", "64"):
        return f"cannot convert {kind} to {go_type}"
    return f"unrecognized type: {go_type}"


def _kind(value: Any) -> str:
    names = {dict: "map", list: "slice", str: "string", bool: "bool", float: "float64"}
    return names.get(type(value), "int64")
