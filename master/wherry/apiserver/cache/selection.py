"""Which objects a list or watch wants: namespace, label selector and field selector, compiled."""

from collections.abc import Callable

from wherry.api.errors import BadRequestError, InvalidSelectorError
from wherry.api.selectors import parse_fields, parse_labels
from wherry.apiserver.storage import Codec, Entry, Index

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
        self._terms: list[tuple[Callable[[Index], str], str, bool]] = []
        for term in terms:
            if not codec.serves(term.path):
                raise BadRequestError(resource.unknown_field(term.path))
            self._terms.append((codec.field(term.path), term.value, term.negate))
        for path in TRIGGERS:
            pinned = [t.value for t in terms if t.path == path and not t.negate]
            if pinned:
                self.trigger = (path, pinned[0])
                break
        self._label_terms = [(r.key, r.values) for r in self._labels.requirements if r.op == "in"]
        self._other_labels = [r for r in self._labels.requirements if r.op != "in"]

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
        for read, value, negate in self._terms:
            if (read(index) == value) is negate:
                return False
        return not self._other_labels or all(r.matches(labels) for r in self._other_labels)
