"""The OpenAPI 2.0 document as protobuf: gnostic's `openapi.v2.Document`, written by hand.

Only what our documents contain is encoded. Numbers of fields are those of gnostic's
OpenAPIv2.proto; a map is a list of `Named...{1 name, 2 value}`.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import orjson

_METHODS = {
    "get": 2,
    "put": 3,
    "post": 4,
    "delete": 5,
    "options": 6,
    "head": 7,
    "patch": 8,
}


def encode(document: Mapping[str, Any]) -> bytes:
    """Encode a document made by `v2.document`."""
    info = document["info"]
    return b"".join(
        (
            _text(1, document["swagger"]),
            _field(2, _text(1, info["title"]) + _text(2, info["version"])),
            _field(8, _named(2, document["paths"], _path_item)),
            _field(9, _named(1, document["definitions"], _schema)),
        )
    )


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _field(number: int, body: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(body)) + body


def _text(number: int, text: str | None) -> bytes:
    return _field(number, text.encode()) if text else b""


def _true(number: int) -> bytes:
    return _varint(number << 3) + b"\x01"


def _texts(number: int, texts: Iterable[str]) -> bytes:
    return b"".join(_text(number, text) for text in texts)


def _named(number: int, items: Mapping[str, Any], encoder: Callable[[Any], bytes]) -> bytes:
    return b"".join(
        _field(number, _text(1, name) + _field(2, encoder(value))) for name, value in items.items()
    )


def _any(value: Any) -> bytes:
    """Encode Any{2 yaml}; JSON is YAML."""
    return _text(2, orjson.dumps(value).decode() + "\n")


def _extensions(number: int, item: Mapping[str, Any]) -> bytes:
    return _named(number, {k: v for k, v in item.items() if k.startswith("x-")}, _any)


def _path_item(item: Mapping[str, Any]) -> bytes:
    return b"".join(_field(_METHODS[method], _operation(op)) for method, op in item.items())


def _operation(op: Mapping[str, Any]) -> bytes:
    return b"".join(
        (
            _text(5, op["operationId"]),
            _texts(6, op["produces"]),
            _texts(7, op["consumes"]),
            b"".join(_field(8, _field(1, _parameter(p))) for p in op["parameters"]),
            _field(9, _named(1, op["responses"], _response)),
            _extensions(13, op),
        )
    )


def _parameter(parameter: Mapping[str, Any]) -> bytes:
    name, place = parameter["name"], parameter["in"]
    if place == "body":
        required = _true(4) if parameter.get("required") else b""
        schema = _field(5, _schema(parameter["schema"]))
        return _field(1, _text(2, name) + _text(3, place) + required + schema)
    if place == "path":
        body = _true(1) + _text(2, place) + _text(4, name) + _text(5, parameter["type"])
        return _field(2, _field(4, body))
    body = _text(2, place) + _text(4, name) + _text(6, parameter["type"])
    return _field(2, _field(3, body))


def _response(response: Mapping[str, Any]) -> bytes:
    body = _text(1, response["description"])
    if "schema" in response:
        body += _field(2, _field(1, _schema(response["schema"])))
    return _field(1, body)


def _schema(schema: Mapping[str, Any]) -> bytes:
    parts = [
        _text(1, schema.get("$ref")),
        _text(2, schema.get("format")),
        _text(4, schema.get("description")),
        _texts(19, schema.get("required", ())),
    ]
    if "additionalProperties" in schema:
        parts.append(_field(21, _field(1, _schema(schema["additionalProperties"]))))
    if "type" in schema:
        parts.append(_field(22, _text(1, schema["type"])))
    if "items" in schema:
        parts.append(_field(23, _field(1, _schema(schema["items"]))))
    if schema.get("properties"):
        parts.append(_field(25, _named(1, schema["properties"], _schema)))
    parts.append(_extensions(31, schema))
    return b"".join(parts)
