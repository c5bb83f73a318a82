"""Descriptions of types and fields for `kubectl explain`.

They are Kubernetes' own sentences and not part of this project: they are read, if it is
installed, from the package that the extra `wherry[explain]` brings. Only its data file is
read; importing the package would load a validator that nobody needs here.
"""

import importlib.util
from pathlib import Path
from typing import Any

import orjson

from wherry.apiserver.schema.definitions import Definitions


def describe(definitions: Definitions) -> dict[str, dict[str, Any]]:
    """Return the definitions with descriptions; the plain ones where there are none to have."""
    source = _read(definitions.version)
    return {
        name: _described(definition, source.get(name, {}))
        for name, definition in definitions.types.items()
    }


def _read(version: str) -> dict[str, Any]:
    spec = importlib.util.find_spec("kubernetes_validate")
    for location in (spec.submodule_search_locations or ()) if spec else ():
        folder = Path(location, "kubernetes-json-schema", f"{version}-local")
        path = folder / "_definitions.json"
        if path.is_file():
            found: dict[str, Any] = orjson.loads(path.read_bytes())["$defs"]
            return found
    return {}


def _described(schema: dict[str, Any], source: dict[str, Any]) -> dict[str, Any]:
    text = source.get("description")
    out = dict(schema)
    if isinstance(text, str):
        out["description"] = text
    properties = source.get("properties")
    if "properties" in schema and isinstance(properties, dict):
        out["properties"] = {
            name: _described(sub, properties.get(name, {}))
            for name, sub in schema["properties"].items()
        }
    return out
