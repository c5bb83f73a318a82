r"""Kubernetes' protobuf request bodies: `k8s\0` and a runtime.Unknown become the JSON dict.

kubectl 1.32 and later send them (`create deployment`, `auth can-i`, ...) and do not fall back.
Nothing is generated: the types of fields are those of the OpenAPI definitions, and
`fields.txt` adds the numbers. A message is compiled into a table when it is first met.

    runtime.Unknown  1 TypeMeta{1 apiVersion, 2 kind}  2 raw  3 contentEncoding  4 contentType

Go writes plain values even when they are zero, JSON's `omitempty` would not: such zeros are
dropped, otherwise a probe arrives with `periodSeconds: 0` and is refused.
"""

import re
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.resources import files
from typing import Any

import orjson

from wherry.api.errors import BadRequestError
from wherry.apiserver.nesting import MAX_DEPTH, too_deep
from wherry.apiserver.schema import get_schema
from wherry.apiserver.schema.definitions import (
    INT_OR_STRING,
    MICRO_TIME,
    QUANTITY,
    TIME,
    Definitions,
)
from wherry.apiserver.unreadable import UnreadableError

MAGIC = b"k8s\x00"
_META = "io.k8s.apimachinery.pkg."
_PREFIXES = ("io.k8s.api.", f"{_META}apis.", _META, "io.k8s.kube-aggregator.pkg.apis.")
_RAW = (f"{_META}runtime.RawExtension", f"{_META}apis.meta.v1.FieldsV1")
_TOKEN = re.compile(r"@\d+|[()]|[^\s()]+")
_VARINT_BYTES = 10
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ZERO_TIME_S = -62135596800
_MAX_TIME_S = 253402300799

Numbers = dict[int, "str | Numbers"]
"""A message's fields by number; a nested table is a message that JSON writes inline."""
Wire = int | bytes
Decode = Callable[[Wire], Any]


class MalformedError(ValueError):
    """The bytes are not the message that they should be."""


@dataclass(frozen=True, slots=True)
class _Field:
    """How one numbered field becomes JSON."""

    name: str
    decode: Decode
    shape: str
    """one, list, map, or inline (the decoded message's fields are taken over)."""
    drop_zero: bool


_Message = dict[int, _Field]


def decode(data: bytes) -> dict[str, Any]:
    """Return the object with apiVersion and kind.

    Raises:
        UnreadableError: Not such a body.
        BadRequestError: One of a kind that is not known here.
    """
    if not data:
        raise UnreadableError("empty data")
    if not data.startswith(MAGIC):
        raise UnreadableError(
            "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]"
        )
    if data == MAGIC:
        raise UnreadableError("empty body")
    try:
        return _decode(data[len(MAGIC) :])
    except (MalformedError, UnicodeDecodeError, orjson.JSONDecodeError) as error:
        unicode = isinstance(error, UnicodeDecodeError)
        why = "proto: string field contains invalid UTF-8" if unicode else str(error)
        raise UnreadableError(why) from error


def _decode(data: bytes) -> dict[str, Any]:
    unknown = dict(_fields(data))
    type_meta = dict(_fields(_bytes(unknown.get(1, b""))))
    api_version = _string(type_meta.get(1, b""))
    kind = _string(type_meta.get(2, b""))
    raw = _bytes(unknown.get(2, b""))
    if unknown.get(3):
        raise MalformedError(f"unsupported content encoding {_string(unknown[3])!r}")
    head = {"apiVersion": api_version, "kind": kind}
    if _string(unknown.get(4, b"")) == "application/json":
        value = _json(raw)
        return head | (value if isinstance(value, dict) else {})
    group, _, version = api_version.rpartition("/")
    tables = get_tables()
    name = tables.definitions.name((group, version, kind))
    if name is None:
        raise BadRequestError(
            f'no kind "{kind}" is registered for version "{api_version}" in scheme "wherry"'
        )
    return head | tables.message(name, raw)


def _fields(data: bytes) -> Iterator[tuple[int, Wire]]:
    """Yield (number, value) of a message: an int for varints, bytes for everything else."""
    position, end = 0, len(data)
    while position < end:
        key, position = _varint(data, position)
        wire_type = key & 7
        if wire_type == 0:
            value, position = _varint(data, position)
            yield key >> 3, value
            continue
        if wire_type == 2:
            size, position = _varint(data, position)
        elif wire_type in (1, 5):
            size = 8 if wire_type == 1 else 4
        else:
            raise MalformedError(f"proto: illegal wireType {wire_type}")
        if position + size > end:
            raise MalformedError("unexpected EOF")
        yield key >> 3, data[position : position + size]
        position += size


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 7 * _VARINT_BYTES, 7):
        if position >= len(data):
            raise MalformedError("unexpected EOF")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, position
    raise MalformedError("proto: integer overflow")


def _bytes(value: Wire) -> bytes:
    if isinstance(value, int):
        raise MalformedError("proto: wrong wireType = 0")
    return value


def _string(value: Wire) -> str:
    return _bytes(value).decode()


def _integer(value: Wire) -> int:
    if isinstance(value, bytes):
        raise MalformedError("proto: wrong wireType = 2")
    return value - (1 << 64) if value >> 63 else value


def _boolean(value: Wire) -> bool:
    return _integer(value) != 0


def _base64(value: Wire) -> str:
    return b64encode(_bytes(value)).decode()


def _quantity(value: Wire) -> str:
    return _string(dict(_fields(_bytes(value))).get(1, b"")) or "0"


def _int_or_string(value: Wire) -> int | str:
    parts = dict(_fields(_bytes(value)))
    return _string(parts.get(3, b"")) if parts.get(1) else _integer(parts.get(2, 0))


def _raw_json(value: Wire) -> Any:
    raw = _bytes(dict(_fields(_bytes(value))).get(1, b""))
    return _json(raw) if raw else {}


def _json(raw: bytes) -> Any:
    value = orjson.loads(raw)
    if too_deep(raw, value):
        raise MalformedError(f"json: exceeded max depth of {MAX_DEPTH}")
    return value


def _strings(value: Wire) -> list[str]:
    """Decode a message around a list: what JSON has as a list inside a map (`extra`)."""
    return [_string(item) for number, item in _fields(_bytes(value)) if number == 1]


def _time(value: Wire, form: str) -> str | None:
    parts = dict(_fields(_bytes(value)))
    seconds, nanos = _integer(parts.get(1, 0)), _integer(parts.get(2, 0))
    if seconds in (0, _ZERO_TIME_S) and not nanos:
        return None
    if not _ZERO_TIME_S <= seconds <= _MAX_TIME_S or not 0 <= nanos < 10**9:
        raise MalformedError("timestamp out of range")
    return (_EPOCH + timedelta(seconds=seconds, microseconds=nanos // 1000)).strftime(form)


def _parse_numbers(tokens: Iterator[str]) -> Numbers:
    numbers: Numbers = {}
    following = 1
    for word in tokens:
        if word == ")":
            break
        if word.startswith("@"):
            following = int(word[1:])
            continue
        numbers[following] = _parse_numbers(tokens) if word == "(" else word
        following += 1
    return numbers


class Tables:
    """The messages, compiled when they are first met."""

    def __init__(self, definitions: Definitions, text: str) -> None:
        self.definitions = definitions
        lines = (line.partition(":") for line in text.splitlines() if not line.startswith("#"))
        self._lines = {name: fields for name, _, fields in lines if name}
        self._messages: dict[str, _Message] = {}

    def message(self, name: str, data: bytes) -> dict[str, Any]:
        """Decode a message of the definition `name`."""
        table = self._messages.get(name)
        if table is None:
            table = self._messages[name] = self._compile(name)
        return _read(table, data)

    def _compile(self, name: str) -> _Message:
        prefix = next((p for p in _PREFIXES if name.startswith(p)), "")
        numbers = _parse_numbers(iter(_TOKEN.findall(self._lines.get(name[len(prefix) :], ""))))
        return self._table(numbers, self.definitions.types[name])

    def _table(self, numbers: Numbers, definition: dict[str, Any]) -> _Message:
        table: _Message = {}
        required = definition.get("required", ())
        for number, token in numbers.items():
            if isinstance(token, dict):
                inline = self._table(token, definition)
                table[number] = _Field("", _reader(inline), "inline", drop_zero=False)
                continue
            name = token.rstrip("?!")
            schema = definition["properties"][name]
            optional_string = schema.get("type") == "string" and name not in required
            drop_zero = token.endswith("?") or (optional_string and not token.endswith("!"))
            table[number] = self._field(name, schema, drop_zero=drop_zero)
        return table

    def _field(self, name: str, schema: dict[str, Any], *, drop_zero: bool) -> _Field:
        if schema.get("type") == "array":
            return _Field(name, self._value(schema["items"]), "list", drop_zero=False)
        values = schema.get("additionalProperties")
        if values is not None:
            decode = _strings if values.get("type") == "array" else self._value(values)
            return _Field(name, _map_entry(decode, _zero_wire(values)), "map", drop_zero=False)
        return _Field(name, self._value(schema), "one", drop_zero=drop_zero)

    def _value(self, schema: dict[str, Any]) -> Decode:
        reference = schema.get("$ref")
        if reference is not None:
            return _special(reference) or (lambda value: self.message(reference, _bytes(value)))
        kind = schema.get("type")
        if kind == "integer":
            return _integer
        if kind == "boolean":
            return _boolean
        return _base64 if schema.get("format") == "byte" else _string


def _special(name: str) -> Decode | None:
    if name in _RAW:
        return _raw_json
    return {
        QUANTITY: _quantity,
        INT_OR_STRING: _int_or_string,
        TIME: lambda value: _time(value, "%Y-%m-%dT%H:%M:%SZ"),
        MICRO_TIME: lambda value: _time(value, "%Y-%m-%dT%H:%M:%S.%fZ"),
    }.get(name)


def _zero_wire(schema: dict[str, Any]) -> Wire:
    return 0 if schema.get("type") in ("integer", "boolean") else b""


def _map_entry(decode: Decode, zero: Wire) -> Decode:
    def entry(value: Wire) -> tuple[str, Any]:
        parts = dict(_fields(_bytes(value)))
        return _string(parts.get(1, b"")), decode(parts.get(2, zero))

    return entry


def _reader(table: _Message) -> Decode:
    return lambda value: _read(table, _bytes(value))


def _read(table: _Message, data: bytes) -> dict[str, Any]:
    """Decode a message; numbers that the table does not have are skipped, as protobuf does."""
    out: dict[str, Any] = {}
    for number, wire in _fields(data):
        known = table.get(number)
        if known is None:
            continue
        value = known.decode(wire)
        if known.shape == "one":
            if value is not None and (value or not known.drop_zero):
                out[known.name] = value
        elif known.shape == "list":
            out.setdefault(known.name, []).append(value)
        elif known.shape == "map":
            out.setdefault(known.name, {})[value[0]] = value[1]
        else:
            out.update(value)
    if out.get("status") == {}:
        del out["status"]
    return out


@cache
def get_tables() -> Tables:
    """Return the process's tables, read at the first protobuf body."""
    text = files("wherry.apiserver.protobuf").joinpath("fields.txt").read_text()
    return Tables(get_schema().definitions, text)
