"""Label and field selectors: the grammar of apimachinery."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.api.errors import InvalidSelectorError
from wherry.api.selectors import LabelSelector, parse_fields, parse_labels, selector_from

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
        ("empty in ()", True),
        ("app in ()", False),
        ("app in (web,,db),empty in (,x)", True),
        ("app notin ()", True),
        ("n>4", True),
        ("n<5", False),
        ("app>1", False),
        ("empty=", True),
        ("app in (web),tier notin (back),!z", True),
    ],
)
def test_labels(text: str, holds: bool) -> None:
    assert parse_labels(text).matches(LABELS) is holds


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a=b=c", "found '=', expected: ',' or 'end of string'"),
        ("a==b==c", "found '==', expected: ',' or 'end of string'"),
        ("!a=b", "found '=', expected: ',' or 'end of string'"),
        ("=x", "found '=', expected: !, identifier, or 'end of string'"),
        ("a,,b", "found ',', expected: identifier after ','"),
        ("a,", "found '', expected: identifier after ','"),
        ("!", "unable to parse requirement: found '', expected: identifier"),
        ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
        ("a!b", "unable to parse requirement: found '!', expected: in, notin, =, ==, !=, gt, lt"),
        ("a=(", "unable to parse requirement: found '(', expected: identifier"),
        ("a in", "unable to parse requirement: found '' expected: '('"),
        ("a in b", "unable to parse requirement: found 'b' expected: '('"),
        ("a in (", "unable to parse requirement: found '', expected: ',', ')' or identifier"),
        ("a in (b", "unable to parse requirement: found '', expected: ',' or ')'"),
        ("a in (b=)", "unable to parse requirement: found '=', expected: ',' or ')'"),
        ("a>b", "values[0]: Invalid value: \"b\": for 'Gt', 'Lt' operators, the value must be an integer"),
        ("a>9223372036854775808", "the value must be an integer"),
        ("a<-" + "9" * 5000, "the value must be an integer"),
        ("a>-5", 'values[0][a]: Invalid value: "-5": a valid label must be'),
        ("-a=b", 'unable to parse requirement: <nil>: Invalid value: "-a": name part must consist of'),
        ("a=b-", 'unable to parse requirement: values[0][a]: Invalid value: "b-": a valid label must be'),
        ("a in (c,b_)", 'values[0][a]: Invalid value: "b_": a valid label must be'),
        ("a=" + "b" * 64, "must be no more than 63 characters"),
        ("a" * 64, "name part must be no more than 63 characters"),
    ],
)  # fmt: skip
def test_labels_refuses(text: str, said: str) -> None:
    with pytest.raises(InvalidSelectorError) as refused:
        parse_labels(text)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("a in (,b)", {"", "b"}),
        ("a in (b,)", {"", "b"}),
        ("a in (b,,c)", {"", "b", "c"}),
        ("a in (,)", {""}),
        ("a in (in,notin)", {"in", "notin"}),
        ("in in (a)", {"a"}),
        ("a=in", {"in"}),
        ("a>5", {"5"}),
    ],
)
def test_what_stands_for_values(text: str, values: set[str]) -> None:
    (requirement,) = parse_labels(text).requirements
    assert requirement.values == values


@given(st.text("ab in,()=!<>-", max_size=14))
def test_whatever_is_asked_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(InvalidSelectorError):
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


def test_a_selector_of_a_whole_url_is_read_in_its_length() -> None:
    selector = parse_labels(",".join(f"k{n} in (a,b)" for n in range(1000)))
    assert len(selector.requirements) == 1000
    with pytest.raises(InvalidSelectorError):
        parse_labels("," * 16_000)


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


Term = tuple[str, str, list[str]]
few = st.sampled_from("ab")
"""Few, so that several terms are about one label, and some of them hold."""
value = st.sampled_from(["x", "y", "3", "5"])
terms: st.SearchStrategy[Term] = st.one_of(
    st.tuples(st.sampled_from(["=", "==", "!="]), few, value.map(lambda value: [value])),
    st.tuples(st.sampled_from(["in", "notin"]), few, st.lists(value, min_size=1, max_size=3)),
    st.tuples(st.sampled_from(["exists", "missing"]), few, st.just([])),
    st.tuples(st.sampled_from(["<", ">"]), few, st.integers(0, 9).map(lambda n: [str(n)])),
)


def written(term: Term) -> str:
    operator, key, values = term
    match operator:
        case "in" | "notin":
            return f"{key} {operator} ({','.join(values)})"
        case "exists":
            return key
        case "missing":
            return f"!{key}"
        case _:
            return f"{key}{operator}{values[0]}"


def holds(term: Term, labels: dict[str, str]) -> bool:
    """The documented meaning, one operator at a time."""
    operator, key, values = term
    found = labels.get(key)
    match operator:
        case "=" | "==" | "in":
            return found in values
        case "!=" | "notin":
            return found not in values
        case "exists":
            return found is not None
        case "missing":
            return found is None
        case "<":
            return found is not None and found.isdigit() and int(found) < int(values[0])
        case _:
            return found is not None and found.isdigit() and int(found) > int(values[0])


@given(
    st.dictionaries(few, value, max_size=2),
    st.lists(terms, max_size=4),
)
def test_label_selectors_mean_all_of_their_terms(
    labels: dict[str, str], chosen: list[Term]
) -> None:
    selector = parse_labels(",".join(map(written, chosen)))
    expected = all(holds(term, labels) for term in chosen)
    assert selector.matches(labels) is expected
    merged = selector.merged()
    assert LabelSelector(merged).matches(labels) is expected
    assert len({(one.key, one.op) for one in merged}) == len(merged)


sets = st.tuples(st.sampled_from(["in", "notin"]), st.sets(st.sampled_from("xyz"), min_size=1))


@given(st.sampled_from("xyz"), st.lists(sets, max_size=3))
def test_all_sets_of_one_label_count(value: str, asked: list[tuple[str, set[str]]]) -> None:
    selector = parse_labels(",".join(f"n {op} ({','.join(values)})" for op, values in asked))
    expected = all((value in values) is (op == "in") for op, values in asked)
    labels = {"n": value}
    assert selector.matches(labels) is expected
    assert LabelSelector(selector.merged()).matches(labels) is expected


@given(st.integers(0, 4), st.lists(st.tuples(st.sampled_from("<>"), st.integers(0, 4)), max_size=3))
def test_all_bounds_of_one_label_count(number: int, bounds: list[tuple[str, int]]) -> None:
    selector = parse_labels(",".join(f"n{operator}{bound}" for operator, bound in bounds))
    expected = all(number > b if operator == ">" else number < b for operator, b in bounds)
    labels = {"n": str(number)}
    assert selector.matches(labels) is expected
    assert LabelSelector(selector.merged()).matches(labels) is expected


paths = st.sampled_from(["metadata.name", "spec.nodeName", "status.phase"])
field_terms = st.tuples(paths, st.sampled_from(["=", "==", "!="]), st.text("ab,=\\", max_size=3))


@given(st.dictionaries(paths, st.text("ab,=\\", max_size=3)), st.lists(field_terms, max_size=3))
def test_field_selectors_mean_all_of_their_terms_whatever_stands_in_values(
    values: dict[str, str], chosen: list[tuple[str, str, str]]
) -> None:
    def escaped(value: str) -> str:
        return value.replace("\\", "\\\\").replace(",", "\\,").replace("=", "\\=")

    text = ",".join(f"{path}{operator}{escaped(value)}" for path, operator, value in chosen)
    expected = all(
        (values.get(path, "") == value) is (operator != "!=") for path, operator, value in chosen
    )
    assert parse_fields(text).matches(lambda path: values.get(path, "")) is expected
