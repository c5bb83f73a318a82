"""JSON values as Go prints them: upstream's messages show what they refuse in these forms."""

from typing import Any

import orjson


def go_value(value: Any) -> str:
    """Write a value as Go's %v does."""
    if isinstance(value, dict):
        return f"map[{' '.join(f'{key}:{go_value(value[key])}' for key in sorted(value))}]"
    if isinstance(value, list):
        return f"[{' '.join(map(go_value, value))}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return "<nil>" if value is None else str(value)


def go_syntax(value: Any) -> str:
    """Write a value as Go's %#v does."""
    if isinstance(value, dict):
        members = ", ".join(f"{go_syntax(key)}:{go_syntax(value[key])}" for key in sorted(value))
        return f"map[string]interface {{}}{{{members}}}"
    if isinstance(value, list):
        return f"[]interface {{}}{{{', '.join(map(go_syntax, value))}}}"
    if value is None:
        return "interface {}(nil)"
    return orjson.dumps(value).decode()


def go_type(value: Any) -> str:
    """Return the Go type that a value is decoded to."""
    names = {
        dict: "map[string]interface {}",
        list: "[]interface {}",
        str: "string",
        bool: "bool",
        float: "float64",
        type(None): "<nil>",
    }
    return names.get(type(value), "int64")
