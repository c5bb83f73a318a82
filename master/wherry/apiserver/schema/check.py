"""Checks and normalises objects: definitions compiled into functions, once for each type.

`Check = (value, path, report) -> value`. A compiled check returns the value as it is to be
stored and notes in the report what it found on the way: wrong types (`problems`) and fields
that the type does not have (`unknown`). Normalising means what decoding into Go structs
does upstream: nulls and unknown fields disappear, numbers become quantities, times become
UTC. An entry of a struct's table is `(accepted type, check)`: values of exactly the accepted
Python type need no call, which is most of them.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from wherry.api.errors import BadRequestError, InternalError, StatusError
from wherry.api.kinds import Kind
from wherry.apiserver.schema import scalar
from wherry.apiserver.schema.definitions import (
    GVK,
    INT_OR_STRING,
    MICRO_TIME,
    QUANTITY,
    TIME,
    Definitions,
    gvk_of,
)
from wherry.apiserver.schema.problem import (
    MapKey,
    Path,
    Problem,
    Report,
    format_path,
    go_type_of,
    mismatch,
)

_MAX_UNKNOWN = 100


Check = Callable[[Any, Path, Report], Any]
Refuse = Callable[[Kind | GVK, Problem], StatusError]
Entry = tuple[type | None, Check]


class Compiler:
    """Compiles definitions; types are compiled when first met, and once."""

    def __init__(self, definitions: Definitions) -> None:
        self._definitions = definitions
        self._structs: dict[str, Check] = {}

    def named(self, name: str) -> Check:
        """Return the check of a named definition."""
        known = self._structs.get(name)
        if known is None:
            known = self._structs[name] = self._compile_named(name)
        return known

    def _compile_named(self, name: str) -> Check:
        definition = self._definitions.types.get(name, {})
        if name == QUANTITY:
            return _quantity
        if name == INT_OR_STRING:
            return _int_or_string
        if name in (TIME, MICRO_TIME):
            return _formatted(scalar.time if name == TIME else scalar.micro_time)
        if "properties" in definition:
            return _struct(self, name.rpartition(".")[2], definition["properties"])
        return _object if definition.get("type") == "object" else _anything

    def entry(self, schema: dict[str, Any], owner: str) -> Entry:
        """Compile the schema of a field of the struct `owner`."""
        if "$ref" in schema:
            return None, self.named(schema["$ref"])
        kind = schema.get("type")
        if kind == "array":
            return None, self._list(schema["items"], owner)
        if kind == "object" and "additionalProperties" in schema:
            return None, self._map(schema["additionalProperties"], owner)
        return _scalar(kind, schema.get("format", ""), owner)

    def _list(self, items: dict[str, Any], owner: str) -> Check:
        accepted, check = self.entry(items, owner)
        go_type = f"[]{go_type_of(items)}"
        zero = _zero(items, self._definitions)

        def check_list(value: Any, path: Path, report: Report) -> Any:
            if type(value) is not list:
                mismatch(report, value, path, owner, go_type)
                return value
            return [
                item
                if type(item) is accepted
                else (zero if item is None else check(item, (path, index), report))
                for index, item in enumerate(value)
            ]

        return check_list

    def _map(self, values: dict[str, Any], owner: str) -> Check:
        accepted, check = self.entry(values, owner)
        go_type = f"map[string]{go_type_of(values)}"
        zero = _zero(values, self._definitions)

        def check_map(value: Any, path: Path, report: Report) -> Any:
            if type(value) is not dict:
                mismatch(report, value, path, owner, go_type)
                return value
            return {
                key: item
                if type(item) is accepted
                else (zero if item is None else check(item, (path, MapKey(key)), report))
                for key, item in value.items()
            }

        return check_map


def _struct(compiler: Compiler, owner: str, properties: dict[str, Any]) -> Check:
    fields: dict[str, Entry] = {}

    def entry(name: str) -> Entry | None:
        """Compile a field at its first use: most kinds use a tenth of their types."""
        schema = properties.get(name)
        if schema is None:
            return None
        found = fields[name] = compiler.entry(schema, owner)
        return found

    known = fields.get

    def check_struct(value: Any, path: Path, report: Report) -> Any:
        if type(value) is not dict:
            mismatch(report, value, path, owner, owner)
            return value
        out = {}
        for key, item in value.items():
            found = known(key) or entry(key)
            if found is None:
                report.unknown.append(format_path((path, key)))
            elif type(item) is found[0]:
                out[key] = item
            elif item is not None:
                checked = found[1](item, (path, key), report)
                if checked is not None:
                    out[key] = checked
        return out

    return check_struct


def _scalar(kind: str | None, form: str, owner: str) -> Entry:
    entries: dict[str, Entry] = {
        "string": (str, _leaf(owner, "string")),
        "boolean": (bool, _leaf(owner, "bool")),
        "integer": (None, _integer(owner, form or "int64")),
        "number": (float, _number(owner)),
        "object": (None, _object),
    }
    if kind == "string" and form == "byte":
        return None, _formatted(scalar.base64)
    return entries.get(kind or "", (None, _anything))


def _leaf(owner: str, go_type: str) -> Check:
    def check(value: Any, path: Path, report: Report) -> Any:
        mismatch(report, value, path, owner, go_type)
        return value

    return check


def _integer(owner: str, go_type: str) -> Check:
    limit = 2**31 if go_type == "int32" else 2**63

    def check(value: Any, path: Path, report: Report) -> Any:
        if type(value) is not int or not -limit <= value < limit:
            mismatch(report, value, path, owner, go_type)
        return value

    return check


def _number(owner: str) -> Check:
    def check(value: Any, path: Path, report: Report) -> Any:
        if type(value) is not int:
            mismatch(report, value, path, owner, "float64")
        return value

    return check


def _formatted(normal: Callable[[str], str | None]) -> Check:
    def check(value: Any, _path: Path, report: Report) -> Any:
        if type(value) is not str:
            what = scalar.json_type(value)
            message = f"json: cannot unmarshal {what} into Go value of type string"
            report.problems.append(Problem(message))
            return value
        try:
            return normal(value)
        except ValueError as error:
            report.problems.append(Problem(str(error)))
            return value

    return check


def _quantity(value: Any, _path: Path, report: Report) -> Any:
    text = value if type(value) is str else str(value) if type(value) in (int, float) else ""
    try:
        return scalar.quantity(text.strip())
    except ValueError as error:
        report.problems.append(Problem(str(error)))
        return value


def _int_or_string(value: Any, _path: Path, report: Report) -> Any:
    if type(value) is str:
        return value
    if type(value) is not int or not -(2**31) <= value < 2**31:
        what = scalar.json_type(value)
        what = f"number {value}" if what == "number" else what
        message = f"json: cannot unmarshal {what} into Go value of type int32"
        report.problems.append(Problem(message))
    return value


def _object(value: Any, path: Path, report: Report) -> Any:
    if type(value) is not dict:
        mismatch(report, value, path, "", "map[string]interface {}")
    return value


def _anything(value: Any, path: Path, report: Report) -> Any:  # noqa: ARG001  (a Check)
    return value


def _zero(schema: dict[str, Any], definitions: Definitions) -> Any:
    """Return what a null element of a list or map decodes to: Go's zero value."""
    resolved = definitions.resolve(schema)
    name = schema.get("$ref", "")
    if name in (QUANTITY, INT_OR_STRING):
        return "0" if name == QUANTITY else 0
    zeros: dict[str, Any] = {"string": "", "integer": 0, "number": 0, "boolean": False, "array": []}
    return zeros.get(resolved.get("type", ""), {})


class Schema:
    """The checks of all kinds."""

    def __init__(self, definitions: Definitions) -> None:
        self.definitions = definitions
        self._compiler = Compiler(definitions)

    @classmethod
    def load(cls) -> "Schema":
        """Load the package's definitions; nothing is compiled before it is needed."""
        return cls(Definitions.load())

    def knows(self, kind: Kind | GVK) -> bool:
        """Tell whether there is a definition of this kind."""
        return self.definitions.name(kind) is not None

    def normalize(
        self,
        kind: Kind | GVK,
        obj: dict[str, Any],
        field_validation: str = "Warn",
        *,
        found: Sequence[str] = (),
        refuse: "Refuse | None" = None,
    ) -> tuple[dict[str, Any], list[str]]:
        """Return the object as it is to be stored, and warnings; `obj` is left as it is.

        Args:
            kind: The kind whose definition holds.
            obj: The decoded body, or the result of a patch.
            field_validation: Strict refuses unknown fields, Warn (and "") drops them with a
                warning, Ignore drops them.
            found: What was found wrong already and Strict refuses too.
            refuse: How to refuse; a body that cannot be decoded is a bad request.

        Raises:
            StatusError: A value has the wrong type, or a field is unknown under Strict.
        """
        out, report = self._walk(kind, obj)
        refuse = refuse or _cannot_be_handled
        if report.problems:
            raise refuse(kind, report.problems[0])
        messages: list[str] = []
        if report.unknown and field_validation != "Ignore":
            messages = [f'unknown field "{path}"' for path in report.unknown[:_MAX_UNKNOWN]]
        if field_validation == "Strict" and (found or messages):
            why = f"strict decoding error: {', '.join([*found, *messages])}"
            raise refuse(kind, Problem(why))
        return out, messages

    def _walk(self, kind: Kind | GVK, obj: Any) -> tuple[Any, Report]:
        name = self.definitions.name(kind)
        if name is None:
            raise InternalError(f"no schema for {gvk_of(kind)}")
        report = Report()
        return self._compiler.named(name)(obj, None, report), report


def _cannot_be_handled(kind: Kind | GVK, problem: Problem) -> BadRequestError:
    _, version, name = gvk_of(kind)
    return BadRequestError(
        f'{name} in version "{version}" cannot be handled as a {name}: {problem.message}'
    )


@cache
def get_schema() -> Schema:
    """Return the one schema of this process, loaded at first use."""
    return Schema.load()


def normalize(
    kind: Kind | GVK,
    obj: dict[str, Any],
    field_validation: str = "Warn",
    *,
    found: Sequence[str] = (),
    refuse: Refuse | None = None,
) -> tuple[dict[str, Any], list[str]]:
    """Check and normalise with the process's schema; see `Schema.normalize`."""
    return get_schema().normalize(kind, obj, field_validation, found=found, refuse=refuse)
