"""YAML bodies, built from the parser's events and bounded while they are built.

A library loader would compose first and resolve aliases as shared objects, which costs
nothing to build and gigabytes to write out ("billion laughs"). Here every alias is paid for
with the size of what it stands for. Only what JSON can say is understood: no tags, no
timestamps, keys are strings. Booleans are those of YAML 1.1, as in Go's sigs.k8s.io/yaml.
"""

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from wherry.apiserver.nesting import MAX_DEPTH
from wherry.apiserver.unreadable import UnreadableError

MAX_NODES = 300_000
"""Values in a document, aliases counted with all that they stand for, and long texts as many."""
_NODE_CHARACTERS = 32
"""Text that counts as another value: an alias of a megabyte is five bytes in a list."""

_TRUE = frozenset({"true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON", "y", "Y"})
_FALSE = frozenset({"false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF", "n", "N"})
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9_]*)")
_OTHER_BASE = re.compile(r"[-+]?0(?:x[0-9a-fA-F]+|o?[0-7]+|b[01]+)")
_FLOAT = re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]{1,3})?")
_LONGEST_INT = 40
_COLLECTION_TAGS = frozenset({None, "!", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"})
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(slots=True)
class _Open:
    """A collection whose end has not come yet."""

    value: dict[str, Any] | list[Any]
    anchor: str | None
    size_before: int
    key: str | None = None
    merging: bool = False
    """The key is a plain `<<`: what follows are defaults for this mapping."""
    merged: list[dict[str, Any]] = field(default_factory=list)


def decode(data: bytes) -> tuple[Any, list[str]]:
    """Return the value of the one document and a message for each repeated key.

    Raises:
        UnreadableError: The text is not YAML, not JSON-like, or larger than the bounds.
    """
    builder = _Builder()
    try:
        for event in yaml.parse(data, Loader=_LOADER):
            builder.take(event)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UnreadableError(f"yaml: {_why(error)}") from error
    return builder.document, builder.duplicates


class _Builder:
    def __init__(self) -> None:
        self.document: Any = None
        self.duplicates: list[str] = []
        self._open: list[_Open] = []
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._size = 0
        self._documents = 0

    def take(self, event: yaml.Event) -> None:
        """Add what one event says."""
        if isinstance(event, yaml.ScalarEvent):
            value = _scalar(event)
            size = 1 + len(event.value) // _NODE_CHARACTERS
            if event.anchor:
                self._anchors[event.anchor] = (value, size)
            self._add(value, size, event, text=event.value)
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._anchors:
                raise _unreadable(event, f"unknown anchor '{event.anchor}' referenced")
            value, size = self._anchors[event.anchor]
            self._add(value, size, event, text=value if isinstance(value, str) else None)
        elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            self._begin(event)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._end(event)
        elif isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                raise _unreadable(event, "expected a single document in the stream")

    def _begin(self, event: yaml.MappingStartEvent | yaml.SequenceStartEvent) -> None:
        if event.tag not in _COLLECTION_TAGS:
            raise _unreadable(event, f"cannot decode {event.tag}")
        if len(self._open) >= MAX_DEPTH:
            raise _unreadable(event, f"exceeded max depth of {MAX_DEPTH}")
        if self._open and isinstance(self._open[-1].value, dict) and self._open[-1].key is None:
            raise _unreadable(event, "invalid map key")
        value: dict[str, Any] | list[Any] = {} if isinstance(event, yaml.MappingStartEvent) else []
        self._open.append(_Open(value, event.anchor, self._size))

    def _end(self, event: yaml.Event) -> None:
        done = self._open.pop()
        size = self._size - done.size_before + 1
        if isinstance(done.value, dict):
            for base in done.merged:
                done.value = {**base, **done.value}
        if done.anchor:
            self._anchors[done.anchor] = (done.value, size)
        self._size -= size - 1  # counted again, as one value, where it is added
        self._add(done.value, size, event, text=None)

    def _add(self, value: Any, size: int, event: yaml.Event, *, text: str | None) -> None:
        self._size += size
        if self._size > MAX_NODES:
            raise _unreadable(event, "document contains excessive aliasing")
        if not self._open:
            self.document = value
            return
        top = self._open[-1]
        if isinstance(top.value, list):
            top.value.append(value)
        elif top.key is None:
            if text is None:
                raise _unreadable(event, "invalid map key")
            top.key = text
            plain = isinstance(event, yaml.ScalarEvent) and event.implicit[0]
            top.merging = plain and text == "<<"
        else:
            self._set(top, top.key, value, event)
            top.key = None

    def _set(self, top: _Open, key: str, value: Any, event: yaml.Event) -> None:
        if not isinstance(top.value, dict):
            return
        if top.merging:
            bases = value if isinstance(value, list) else [value]
            if not all(isinstance(base, dict) for base in bases):
                raise _unreadable(event, "map merge requires map or sequence of maps as the value")
            top.merged += bases
            return
        if key in top.value:
            self.duplicates.append(f'line {_line(event)}: key "{key}" already set in map')
        top.value[key] = value


def _why(error: Exception) -> str:
    """Return on one line what a parser says on several."""
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return " ".join(str(error).split())
    problem = getattr(error, "problem", None) or "cannot be read"
    return f"line {mark.line + 1}: {problem}"


def _unreadable(event: yaml.Event, why: str) -> UnreadableError:
    return UnreadableError(f"yaml: line {_line(event)}: {why}")


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 0


def _scalar(event: yaml.ScalarEvent) -> Any:
    text: str = event.value
    if event.tag is None and event.implicit[0]:
        return _plain(text)
    if event.tag in (None, "!", "tag:yaml.org,2002:str"):
        return text
    return _tagged(event, text)


def _tagged(event: yaml.ScalarEvent, text: str) -> Any:
    """Accept the tags of JSON's own types, if the text is of that type."""
    value = _plain(text)
    wanted = {"int": int, "float": (int, float), "bool": bool, "null": type(None)}
    name = str(event.tag).removeprefix("tag:yaml.org,2002:")
    if name == "binary":
        return text
    if name not in wanted or not isinstance(value, wanted[name]):  # type: ignore[arg-type]
        raise _unreadable(event, f"cannot decode {event.tag} `{text}`")
    return value


def _plain(text: str) -> Any:
    if text in _NULL:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    if _INT.fullmatch(text):
        return _integer(text)
    if _OTHER_BASE.fullmatch(text):
        return _other_base(text)
    if _FLOAT.fullmatch(text):
        return _number(text)
    return text


def _integer(text: str) -> Any:
    if len(text) < _LONGEST_INT:
        value = int(text.replace("_", ""))
        if -(2**63) <= value < 2**64:
            return value
    return _number(text)


def _number(text: str) -> Any:
    value = float(text.replace("_", ""))
    return text if value in (float("inf"), float("-inf")) else value


def _other_base(text: str) -> Any:
    digits = text.lstrip("+-")
    if digits[1] not in "xob":
        digits = f"0o{digits[1:]}"
    value = int(digits, 0)
    if value >= 2**63:
        return text
    return -value if text.startswith("-") else value
