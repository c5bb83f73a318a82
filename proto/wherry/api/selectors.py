"""Label and field selectors, in the grammar of apimachinery `labels.Parse` and `fields.ParseSelector`.

Both are parsed once and matched many times. An empty selector matches everything.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from wherry.api import label_grammar
from wherry.api.errors import InvalidSelectorError

_FIELD_TERM = re.compile(
    r"(?P<path>(?:[^=!,\\]|!(?!=))+)(?P<op>!=|==|=)(?P<value>(?:[^\\,=]|\\[\\,=])*)"
)
_ESCAPED = re.compile(r"\\(.)")


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition: `op` is in, notin, exists, !exists, gt or lt."""

    key: str
    op: str
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Tell whether `labels` meet the condition; `notin` also holds where the key is absent."""
        value = labels.get(self.key)
        match self.op:
            case "in":
                return value is not None and value in self.values
            case "notin":
                return value is None or value not in self.values
            case "exists":
                return value is not None
            case "!exists":
                return value is None
            case _:
                return self._compares(value)

    def _compares(self, value: str | None) -> bool:
        try:
            number, bound = int(value or ""), int(next(iter(self.values)))
        except ValueError:
            return False
        return number > bound if self.op == "gt" else number < bound


@dataclass(frozen=True, slots=True)
class LabelSelector:
    """All requirements must hold."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Tell whether every requirement holds for `labels`."""
        return all(r.matches(labels) for r in self.requirements)

    def merged(self) -> tuple[Requirement, ...]:
        """Return requirements that say the same, no two of them of one key and operator.

        Thousands fit a URL, and who matches them against thousands of objects does nothing else
        for seconds: they are told apart by key, of which an object has few.
        """
        grouped: dict[tuple[str, str], list[frozenset[str]]] = {}
        for one in self.requirements:
            grouped.setdefault((one.key, one.op), []).append(one.values)
        return tuple(Requirement(key, op, _merge(op, of)) for (key, op), of in grouped.items())

    def __bool__(self) -> bool:
        return bool(self.requirements)


def _merge(op: str, values: Sequence[frozenset[str]]) -> frozenset[str]:
    match op:
        case "in":
            return frozenset.intersection(*values)
        case "gt":
            return max(values, key=_bound)
        case "lt":
            return min(values, key=_bound)
        case _:
            return frozenset.union(*values)


def _bound(values: frozenset[str]) -> int:
    return int(next(iter(values)))


def parse_labels(text: str) -> LabelSelector:
    """Parse `a=b,c!=d,e in (f,g),h,!i`.

    Raises:
        InvalidSelectorError: it does not keep to the grammar (`wherry.api.label_grammar`).
    """
    return LabelSelector(tuple(Requirement(*each) for each in label_grammar.parse(text)))


_OPERATORS = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!exists"}


def selector_from(
    match_labels: Mapping[str, str],
    match_expressions: Iterable[tuple[str, str, Iterable[str]]] = (),
) -> LabelSelector:
    """Build a selector from a `metav1.LabelSelector`'s two halves.

    Args:
        match_labels: `.matchLabels`.
        match_expressions: (key, operator, values) of each `.matchExpressions`; operators
            In, NotIn, Exists, DoesNotExist, and for node selectors Gt and Lt.
    """
    equal = [Requirement(k, "in", frozenset((v,))) for k, v in sorted(match_labels.items())]
    rest = [
        Requirement(key, _OPERATORS.get(op, op.lower()), frozenset(values))
        for key, op, values in match_expressions
    ]
    return LabelSelector((*equal, *rest))


@dataclass(frozen=True, slots=True)
class FieldTerm:
    """`path = value`, or `path != value` where `negate`."""

    path: str
    value: str
    negate: bool = False


@dataclass(frozen=True, slots=True)
class FieldSelector:
    """All terms must hold."""

    terms: tuple[FieldTerm, ...] = ()

    def matches(self, field: Callable[[str], str]) -> bool:
        """Tell whether every term holds; `field` gives the value at a path, "" where unset."""
        return all((field(t.path) == t.value) is not t.negate for t in self.terms)

    def __bool__(self) -> bool:
        return bool(self.terms)


def parse_fields(text: str) -> FieldSelector:
    r"""Parse `metadata.name=x,status.phase!=Failed`; in values `\\`, `\,` and `\=` are escapes.

    Raises:
        InvalidSelectorError: a term has no operator, or its value cannot be read.
    """
    terms = []
    for part in filter(None, (p.strip() for p in _field_parts(text))):
        found = _FIELD_TERM.fullmatch(part)
        if found is None:
            raise InvalidSelectorError(f"invalid selector: '{text}'; can't understand '{part}'")
        value = _ESCAPED.sub(r"\1", found["value"])
        terms.append(FieldTerm(found["path"].strip(), value, negate=found["op"] == "!="))
    return FieldSelector(tuple(terms))


def _field_parts(text: str) -> Iterable[str]:
    """Split at commas that are not escaped."""
    return re.findall(r"(?:[^\\,]|\\.|\\$)+", text)
