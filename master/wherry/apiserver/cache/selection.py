"""Which objects a list or watch wants: namespace, label selector and field selector, compiled."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from wherry.api.errors import BadRequestError, InvalidSelectorError
from wherry.api.selectors import FieldTerm, Requirement, parse_fields, parse_labels
from wherry.apiserver.storage import Codec, Entry

TRIGGERS = ("spec.nodeName", "metadata.name")
"""Fields that most watchers differ in: an agent watches its node's pods, a client one object.
A watcher that pins one of them is asked only about changes that touch its value."""


class Selection:
    """A compiled selection; two of the same `key` select the same objects."""

    def __init__(self, codec: Codec, namespace: str, labels: str, fields: str) -> None:
        """Compile.

        Args:
            codec: Of the resource.
            namespace: "" for all.
            labels: Label selector as text.
            fields: Field selector as text.

        Raises:
            BadRequestError: a selector cannot be read, or names a field that is not served.
        """
        resource = codec.resource
        try:
            self._labels = parse_labels(labels)
            terms = parse_fields(fields).terms
        except InvalidSelectorError as error:
            raise BadRequestError(str(error)) from error
        self.namespace = namespace if resource.kind.namespaced else ""
        self.key = (self.namespace, labels, fields)
        self.everything = not labels and not terms
        self.trigger: tuple[str, str] | None = None
        for term in terms:
            if not codec.serves(term.path):
                raise BadRequestError(resource.unknown_field(term.path))
        self._terms = [(codec.field(path), asked) for path, asked in _by_path(terms).items()]
        for path in TRIGGERS:
            pinned = [t.value for t in terms if t.path == path and not t.negate]
            if pinned:
                self.trigger = (path, pinned[0])
                break
        merged = self._labels.merged()
        self._label_terms = [(r.key, r.values) for r in merged if r.op == "in"]
        self._needed = [r for r in merged if r.op in ("exists", "gt", "lt")]
        self._banned: dict[str, list[Requirement]] = {}
        for one in merged:
            if one.op in ("notin", "!exists"):
                self._banned.setdefault(one.key, []).append(one)

    def matches(self, entry: Entry) -> bool:
        """Tell whether the object is selected."""
        index = entry.index
        meta = index.metadata
        if self.namespace and meta.namespace != self.namespace:
            return False
        if self.everything:
            return True
        labels = meta.labels
        for key, values in self._label_terms:
            if labels.get(key) not in values:
                return False
        for read, asked in self._terms:
            if not asked.holds(read(index)):
                return False
        return all(r.matches(labels) for r in self._needed) and not (
            self._banned and self._has_banned(labels)
        )

    def _has_banned(self, labels: Mapping[str, str]) -> bool:
        """Look at the labels that there are: what is banned may be thousands."""
        return any(not r.matches(labels) for key in labels for r in self._banned.get(key, ()))


@dataclass(slots=True)
class _Asked:
    """All that is asked of one field."""

    wanted: set[str] | None = None
    """One of these; more than one cannot be met."""
    refused: set[str] = field(default_factory=set)

    def holds(self, value: str) -> bool:
        return value not in self.refused and (self.wanted is None or self.wanted == {value})


def _by_path(terms: Iterable[FieldTerm]) -> dict[str, _Asked]:
    found: dict[str, _Asked] = {}
    for term in terms:
        asked = found.setdefault(term.path, _Asked())
        if term.negate:
            asked.refused.add(term.value)
        else:
            asked.wanted = {term.value, *(asked.wanted or ())}
    return found
