"""OpenAPI 2.0 (swagger): one document for everything."""

from collections.abc import Sequence
from typing import Any

from wherry.apiserver.openapi.closure import closure
from wherry.apiserver.openapi.operations import JSON_TYPES, TEXT, UNAUTHORIZED, Operation

PREFIX = "#/definitions/"


def document(
    ops: Sequence[Operation], types: dict[str, dict[str, Any]], version: str
) -> dict[str, Any]:
    """Return the document of these operations and the types that they need."""
    paths: dict[str, dict[str, Any]] = {}
    for op in ops:
        paths.setdefault(op.path, {})[op.method] = _operation(op)
    return {
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": version},
        "paths": paths,
        "definitions": {name: _schema(schema) for name, schema in closure(ops, types).items()},
    }


def _operation(op: Operation) -> dict[str, Any]:
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "type": "string"}
        for name in op.path_parameters
    ]
    parameters += [{"name": name, "in": "query", "type": kind} for name, kind in op.query]
    if op.body:
        body: dict[str, Any] = {"name": "body", "in": "body"}
        body |= {"required": True} if op.needs_body else {}
        parameters.append(body | {"schema": {"$ref": PREFIX + op.body}})
    told = {"$ref": PREFIX + op.response} if op.response else TEXT
    responses = {code: {"description": name, "schema": told} for code, name in op.codes}
    unauthorized, name = UNAUTHORIZED
    return {
        "operationId": op.id,
        "consumes": list(op.consumes) if op.body else ["*/*"],
        "produces": list(JSON_TYPES) if op.response else ["*/*"],
        "parameters": parameters,
        "responses": responses | {unauthorized: {"description": name}},
        "x-kubernetes-action": op.action,
        "x-kubernetes-group-version-kind": op.described_gvk,
    }


def _schema(schema: dict[str, Any]) -> dict[str, Any]:
    out = dict(schema)
    if "$ref" in schema:
        out["$ref"] = PREFIX + schema["$ref"]
    if "properties" in schema:
        out["properties"] = {key: _schema(sub) for key, sub in schema["properties"].items()}
    for key in ("items", "additionalProperties"):
        if key in schema:
            out[key] = _schema(schema[key])
    return out
