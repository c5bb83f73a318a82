"""A compiled selection says what its selectors say, at a cost that does not grow with them."""

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from wherry.api import kinds
from wherry.api.selectors import parse_fields, parse_labels
from wherry.apiserver.cache.selection import Selection
from wherry.apiserver.resources import BY_KIND
from wherry.apiserver.storage import Codec, Entry, encode

POD = BY_KIND[kinds.POD]
CODEC = Codec(POD)
word = st.sampled_from(["a", "b", "c", "1", "7"])
label_term = st.one_of(
    st.builds(str.__add__, st.sampled_from(["", "!"]), word),
    st.tuples(word, st.sampled_from(["=", "!="]), word).map("".join),
    st.tuples(word, st.sampled_from([">", "<"]), st.sampled_from("059")).map("".join),
    st.builds("{} {} ({},{})".format, word, st.sampled_from(["in", "notin"]), word, word),
)
field_term = st.builds(
    "{}{}{}".format,
    st.sampled_from(["metadata.name", "spec.nodeName", "status.phase"]),
    st.sampled_from(["=", "!="]),
    word,
)


class CountingLabels(dict[str, str]):
    """Labels that count how often one of them is looked for."""

    asked = 0

    def get(self, key: str, default: Any = None) -> Any:
        self.asked += 1
        return super().get(key, default)


def pod(labels: dict[str, str], name: str, node: str, phase: str) -> Entry:
    obj = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": labels},
        "spec": {"nodeName": node},
        "status": {"phase": phase},
    }
    return CODEC.entry(POD.key("default", name), encode(obj), 7)


@given(
    namespace=st.sampled_from(["", "default", "other"]),
    labels=st.dictionaries(word, word, max_size=3),
    values=st.tuples(word, word, word),
    label_terms=st.lists(label_term, max_size=5),
    field_terms=st.lists(field_term, max_size=4),
)
def test_a_selection_is_its_selectors(
    namespace: str,
    labels: dict[str, str],
    values: tuple[str, str, str],
    label_terms: list[str],
    field_terms: list[str],
) -> None:
    by_labels, by_fields = ",".join(label_terms), ",".join(field_terms)
    fields = dict(zip(("metadata.name", "spec.nodeName", "status.phase"), values, strict=True))
    expected = parse_labels(by_labels).matches(labels) and parse_fields(by_fields).matches(
        fields.__getitem__
    )
    selection = Selection(CODEC, namespace, by_labels, by_fields)
    expected = expected and namespace != "other"
    assert selection.matches(pod(labels, *values)) is expected


@given(
    value=st.sampled_from("ab"),
    asked=st.lists(st.tuples(st.sampled_from(["=", "!="]), st.sampled_from("ab")), max_size=3),
)
def test_all_that_is_asked_of_one_field_counts(value: str, asked: list[tuple[str, str]]) -> None:
    selector = ",".join(f"status.phase{op}{wanted}" for op, wanted in asked)
    expected = all((value == wanted) is (op == "=") for op, wanted in asked)
    selection = Selection(CODEC, "default", "", selector)
    assert selection.matches(pod({}, "p", "n", value)) is expected


def test_thousands_of_requirements_cost_what_the_labels_of_an_object_do() -> None:
    refused = [f"k{n}!=v" for n in range(1000)] + [f"!gone{n}" for n in range(1000)]
    repeated = [f"n>{n}" for n in range(1000)] + [f"n in (1001,m{n})" for n in range(1000)]
    entry = pod({}, "p", "n1", "Running")
    labels = CountingLabels({"n": "1001", "k7": "w"})
    metadata = msgspec.structs.replace(entry.index.metadata, labels=labels)
    index = msgspec.structs.replace(entry.index, metadata=metadata)
    entry = msgspec.structs.replace(entry, index=index)
    assert Selection(CODEC, "", ",".join(refused + repeated), "").matches(entry)
    assert labels.asked < 10
