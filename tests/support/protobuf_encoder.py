"""Objects to Kubernetes' protobuf bodies, as a Go client writes them; the other way of what is tested.

Written against the table of numbers alone, so that the decoder meets bodies that it did not make.
"""

import base64
import re
from collections.abc import Iterator
from datetime import datetime
from importlib.resources import files
from typing import Any

import orjson

from wherry.apiserver.protobuf import MAGIC
from wherry.apiserver.schema import get_schema
from wherry.apiserver.schema.definitions import INT_OR_STRING, MICRO_TIME, QUANTITY, TIME

_META = "io.k8s.apimachinery.pkg."
_STARTS = ("io.k8s.api.", f"{_META}apis.", _META, "io.k8s.kube-aggregator.pkg.apis.")
_RAW = (f"{_META}runtime.RawExtension", f"{_META}apis.meta.v1.FieldsV1")
_DEFINITIONS = get_schema().definitions


def _lines() -> dict[str, str]:
    text = files("wherry.apiserver.protobuf").joinpath("fields.txt").read_text()
    rows = [line.partition(":")[::2] for line in text.splitlines() if not line.startswith("#")]
    return dict(rows)


_LINES = _lines()


def encode(obj: dict[str, Any]) -> bytes:
    """Return the whole body."""
    group, _, version = obj["apiVersion"].rpartition("/")
    name = _DEFINITIONS.name((group, version, obj["kind"]))
    assert name is not None
    inner = {k: v for k, v in obj.items() if k not in ("apiVersion", "kind")}
    type_meta = _text(1, obj["apiVersion"]) + _text(2, obj["kind"])
    return MAGIC + _block(1, type_meta) + _block(2, _message(name, inner))


def _varint(number: int) -> bytes:
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def _block(number: int, body: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(body)) + body


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _text(number: int, text: str) -> bytes:
    return _block(number, text.encode())


def _message(name: str, value: dict[str, Any]) -> bytes:
    short = next(name[len(start) :] for start in _STARTS if name.startswith(start))
    words = iter(re.findall(r"@\d+|[()]|[^\s()]+", _LINES[short]))
    left = dict(value)
    body = _fields(words, _DEFINITIONS.types[name]["properties"], left)
    assert not left, f"{short} has no numbers for {sorted(left)}"
    return body


def _fields(words: Iterator[str], properties: dict[str, Any], left: dict[str, Any]) -> bytes:
    out, number = b"", 1
    for word in words:
        if word == ")":
            break
        if word.startswith("@"):
            number = int(word[1:])
            continue
        if word == "(":
            inner = _fields(words, properties, left)
            out += _block(number, inner) if inner else b""
        elif (name := word.rstrip("?!")) in left:
            out += _field(number, properties[name], left.pop(name))
        number += 1
    return out


def _field(number: int, schema: dict[str, Any], value: Any) -> bytes:
    if schema.get("type") == "array":
        return b"".join(_field(number, schema["items"], each) for each in value)
    if (values := schema.get("additionalProperties")) is not None:
        return b"".join(
            _block(number, _text(1, key) + _field(2, values, each)) for key, each in value.items()
        )
    if isinstance(value, bool | int) and "$ref" not in schema:
        return _number(number, int(value))
    return _block(number, _scalar(schema, value))


def _scalar(schema: dict[str, Any], value: Any) -> bytes:
    reference = schema.get("$ref", "")
    if reference == QUANTITY:
        return _text(1, str(value))
    if reference == INT_OR_STRING:
        return _number(2, value) if isinstance(value, int) else _number(1, 1) + _text(3, value)
    if reference in (TIME, MICRO_TIME):
        moment = datetime.fromisoformat(value)
        return _number(1, int(moment.timestamp())) + _number(2, moment.microsecond * 1000)
    if reference in _RAW:
        return _block(1, orjson.dumps(value))
    if reference:
        return _message(reference, value)
    return base64.b64decode(value) if schema.get("format") == "byte" else value.encode()
