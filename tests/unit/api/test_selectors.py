"""Label and field selectors: the grammar of apimachinery."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.api.errors import InvalidSelectorError
from wherry.api.selectors import parse_fields, parse_labels, selector_from

LABELS = {"app": "web", "tier": "front", "n": "5", "empty": ""}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("", True),
        ("app=web", True),
        ("app==web", True),
        ("app = web , tier=front", True),
        ("app=db", False),
        ("app!=db", True),
        ("app!=web", False),
        ("missing!=x", True),
        ("app", True),
        ("!app", False),
        ("!missing", True),
        ("app in (web,db)", True),
        ("app in (db)", False),
        ("app notin (db, cache)", True),
        ("missing notin (x)", True),
        ("missing in (x)", False),
        ("n>4", True),
        ("n<5", False),
        ("app>1", False),
        ("empty=", True),
        ("app in (web),tier notin (back),!z", True),
    ],
)
def test_labels(text: str, holds: bool) -> None:
    assert parse_labels(text).matches(LABELS) is holds


@pytest.mark.parametrize("text", ["a=b=c", "=x", "a in b", "a in (b", "!", "a,,b", "a b", "-a=b"])
def test_labels_refuses(text: str) -> None:
    with pytest.raises(InvalidSelectorError):
        parse_labels(text)


word = st.text("abc", min_size=1, max_size=2)


@given(labels=st.dictionaries(word, word, max_size=4), wanted=st.dictionaries(word, word))
def test_match_labels_is_inclusion(labels: dict[str, str], wanted: dict[str, str]) -> None:
    assert selector_from(wanted).matches(labels) is (wanted.items() <= labels.items())


@given(labels=st.dictionaries(word, word, max_size=4), key=word, values=st.lists(word, max_size=3))
def test_in_and_not_in_are_opposites(labels: dict[str, str], key: str, values: list[str]) -> None:
    inside = selector_from({}, [(key, "In", values)]).matches(labels)
    outside = selector_from({}, [(key, "NotIn", values)]).matches(labels)
    assert inside is not outside


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("", True),
        ("metadata.name=a", True),
        ("metadata.name!=a", False),
        ("metadata.name==a,status.phase!=Failed", True),
        ("spec.nodeName=", True),
        ("spec.nodeName!=", False),
    ],
)
def test_fields(text: str, holds: bool) -> None:
    values = {"metadata.name": "a", "status.phase": "Running"}
    assert parse_fields(text).matches(lambda path: values.get(path, "")) is holds


def test_fields_refuses_a_term_without_operator() -> None:
    with pytest.raises(InvalidSelectorError, match=r"metadata\.name"):
        parse_fields("metadata.name")
