"""What the fields of a kind are to server-side apply, from the definitions of its schema.

    leaf       a scalar, or a list, map or struct that is atomic: owned as a whole
    struct     each field is owned by itself
    map        each key is
    keyed      a list of structs that are found by the values of their keys
    set        a list of scalars that are found by themselves

Source: kube-openapi `schemaconv`: `x-kubernetes-list-type`, `-list-map-keys`, `-map-type`; where a list
says nothing, its merge key of strategic merge patch counts, and without one it is atomic.
"""

from dataclasses import dataclass, field
from enum import Enum, auto
from functools import cache
from typing import Any

from wherry.apiserver.schema import GVK, Definitions, get_schema
from wherry.apiserver.schema.definitions import INT_OR_STRING, MICRO_TIME, QUANTITY, TIME

SCALARS = frozenset({INT_OR_STRING, MICRO_TIME, QUANTITY, TIME})
"""Types that are any scalar to apply."""
_BY_VALUE = frozenset(
    {
        "metadata",
        "spec",
        "status",
        "template",
        "jobTemplate",
        "strategy",
        "updateStrategy",
        "resources",
    }
)
"""Structs that Go's types hold by value: they are there from the beginning, nobody adds them."""
_KEY_DEFAULTS = {"protocol": "TCP"}
"""Keys that may be left out: containers' and Services' ports are TCP."""


class Shape(Enum):
    """See the module."""

    LEAF = auto()
    STRUCT = auto()
    MAP = auto()
    KEYED = auto()
    SET = auto()
    DEDUCED = auto()
    """Without a schema: objects are maps of the same, everything else a leaf."""


@dataclass(slots=True, eq=False)
class Type:
    """One type; `field` compiles what a struct has at the first use."""

    shape: Shape
    element: "Type | None" = None
    """Of a map, a keyed list or a set."""
    keys: tuple[str, ...] = ()
    by_value: frozenset[str] = frozenset()
    fields: dict[str, "Type | None"] = field(default_factory=dict)
    _properties: dict[str, Any] = field(default_factory=dict)
    _compiler: "_Compiler | None" = None

    def child(self, name: str) -> "Type | None":
        """Return the type of a field or key, None if there is no such field."""
        if self.shape is not Shape.STRUCT:
            return self.element
        found = self.fields.get(name)
        if found is None and name in self._properties and self._compiler is not None:
            found = self.fields[name] = self._compiler.type_of(self._properties[name])
        return found


LEAF = Type(Shape.LEAF)
DEDUCED = Type(Shape.DEDUCED)
DEDUCED.element = DEDUCED


def key_of(item: Any, keys: tuple[str, ...]) -> dict[str, Any] | None:
    """Return the keys of an element of a keyed list, defaults filled in; None if one is missing."""
    if not isinstance(item, dict):
        return None
    found = {}
    for key in keys:
        value = item.get(key, _KEY_DEFAULTS.get(key))
        if value is None or isinstance(value, dict | list):
            return None
        found[key] = value
    return found


class _Compiler:
    def __init__(self, definitions: Definitions) -> None:
        self._definitions = definitions
        self._named: dict[str, Type] = {}

    def named(self, name: str) -> Type:
        found = self._named.get(name)
        if found is None:
            definition = self._definitions.types.get(name, {})
            found = LEAF if name in SCALARS else self._struct(definition)
            self._named[name] = found
        return found

    def _struct(self, definition: dict[str, Any]) -> Type:
        if definition.get("x-kubernetes-map-type") == "atomic":
            return LEAF
        properties = definition.get("properties")
        if not properties:
            return self.type_of(definition)
        required = definition.get("required", ())
        by_value = frozenset(
            name
            for name, schema in properties.items()
            if (name in _BY_VALUE and "$ref" in schema)
            or (schema.get("type") == "array" and name in required)
        )
        return Type(Shape.STRUCT, by_value=by_value, _properties=properties, _compiler=self)

    def type_of(self, schema: dict[str, Any]) -> Type:
        if schema.get("x-kubernetes-map-type") == "atomic":
            return LEAF
        if "$ref" in schema:
            return self.named(schema["$ref"])
        kind = schema.get("type")
        if kind == "array":
            return self._list(schema)
        if kind == "object":
            values = schema.get("additionalProperties")
            return Type(Shape.MAP, self.type_of(values)) if values else DEDUCED
        return LEAF if kind else DEDUCED

    def _list(self, schema: dict[str, Any]) -> Type:
        listed, merges = schema.get("x-kubernetes-list-type"), _merges(schema)
        keys = tuple(schema.get("x-kubernetes-list-map-keys", ()))
        if listed is None and merges:
            key = schema.get("x-kubernetes-patch-merge-key")
            listed, keys = ("map", (key,)) if key else ("set", ())
        if listed == "map" and keys:
            return Type(Shape.KEYED, self.type_of(schema["items"]), tuple(sorted(keys)))
        return Type(Shape.SET, LEAF) if listed == "set" else LEAF


def _merges(schema: dict[str, Any]) -> bool:
    return "merge" in schema.get("x-kubernetes-patch-strategy", "").split(",")


@cache
def _compiler() -> _Compiler:
    return _Compiler(get_schema().definitions)


@cache
def type_of(gvk: GVK) -> Type:
    """Return the type of a kind; one that has no definition is deduced from its objects."""
    name = get_schema().definitions.name(gvk)
    return DEDUCED if name is None else _compiler().named(name)
