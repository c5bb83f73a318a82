"""OpenAPI 3.0: one document for each group version."""

from collections.abc import Sequence
from typing import Any

from wherry.apiserver.openapi.closure import closure
from wherry.apiserver.openapi.operations import JSON_TYPES, TEXT, UNAUTHORIZED, Operation
from wherry.apiserver.schema.definitions import INT_OR_STRING, QUANTITY

_PREFIX = "#/components/schemas/"
_UNIONS: dict[str, dict[str, Any]] = {
    QUANTITY: {"oneOf": [{"type": "string"}, {"type": "number"}]},
    INT_OR_STRING: {
        "format": "int-or-string",
        "oneOf": [{"type": "integer"}, {"type": "string"}],
    },
}


def document(
    ops: Sequence[Operation], types: dict[str, dict[str, Any]], version: str
) -> dict[str, Any]:
    """Return the document of these operations and the types that they need."""
    paths: dict[str, dict[str, Any]] = {}
    for op in ops:
        item = paths.setdefault(op.path, {})
        item[op.method] = _operation(op)
        if op.path_parameters:
            item["parameters"] = [_parameter(n, "path", "string") for n in op.path_parameters]
    schemas = {name: _schema(schema, name) for name, schema in closure(ops, types).items()}
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": version},
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _operation(op: Operation) -> dict[str, Any]:
    told = _content(JSON_TYPES, op.response) if op.response else {"*/*": {"schema": TEXT}}
    responses = {code: {"description": name, "content": told} for code, name in op.codes}
    unauthorized, name = UNAUTHORIZED
    out: dict[str, Any] = {
        "operationId": op.id,
        "parameters": [_parameter(name, "query", kind) for name, kind in op.query],
        "responses": responses | {unauthorized: {"description": name}},
        "x-kubernetes-action": op.action,
        "x-kubernetes-group-version-kind": op.described_gvk,
    }
    if op.body:
        body: dict[str, Any] = {"content": _content(op.consumes, op.body)}
        out["requestBody"] = body | ({"required": True} if op.needs_body else {})
    return out


def _content(media_types: Sequence[str], name: str) -> dict[str, Any]:
    return {media: {"schema": {"$ref": _PREFIX + name}} for media in media_types}


def _parameter(name: str, place: str, kind: str) -> dict[str, Any]:
    required = {"required": True} if place == "path" else {}
    return {"name": name, "in": place, "schema": {"type": kind, "uniqueItems": True}} | required


def _schema(schema: dict[str, Any], name: str = "") -> dict[str, Any]:
    """Rewrite references; one with a description must be wrapped, or readers lose the text."""
    if name in _UNIONS:
        return _UNIONS[name] | {k: v for k, v in schema.items() if k == "description"}
    if "$ref" in schema:
        reference = {"$ref": _PREFIX + schema["$ref"]}
        rest = {key: value for key, value in schema.items() if key != "$ref"}
        return {"allOf": [reference], **rest} if rest else reference
    out = dict(schema)
    if "properties" in schema:
        out["properties"] = {key: _schema(sub) for key, sub in schema["properties"].items()}
    for key in ("items", "additionalProperties"):
        if key in schema:
            out[key] = _schema(schema[key])
    return out
