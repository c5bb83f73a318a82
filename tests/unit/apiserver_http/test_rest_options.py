"""What a query and the body of a DELETE ask for, and how it is refused. Tables."""

from collections.abc import Callable

import pytest

from wherry.api.errors import BadRequestError, InvalidError
from wherry.apiserver.registry.read import parse_revision
from wherry.apiserver.rest.accept import OBJECT, Form
from wherry.apiserver.rest.query import (
    Query,
    context,
    delete_options,
    include_object,
    list_options,
    watch_options,
)
from wherry.apiserver.verbs import DeleteOptions, User
from wherry.client.api import PatchType


def test_list_options() -> None:
    options = list_options(
        Query("labelSelector=a%3Db&fieldSelector=x&limit=5&continue=c&resourceVersion=7")
    )
    assert (options.labels, options.fields, options.limit) == ("a=b", "x", 5)
    assert (options.continue_token, options.revision) == ("c", "7")
    with pytest.raises(BadRequestError, match="strconv"):
        list_options(Query("limit=many"))
    with pytest.raises(BadRequestError, match="out of range"):
        list_options(Query(f"limit={2**64}"))


def refused(ask: Callable[[], object]) -> list[str]:
    """Return what is wrong with options: `field: message` each."""
    with pytest.raises(InvalidError) as caught:
        ask()
    each = [f"{cause.field}: {cause.message}" for cause in caught.value.causes]
    text = each[0] if len(each) == 1 else f"[{', '.join(each)}]"
    assert str(caught.value).endswith(f'Options.meta.k8s.io "" is invalid: {text}')
    return each


NO_REVISION = "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided"
WITH_CONTINUE = (
    "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden when continue is provided"
)
NO_MATCH = 'resourceVersionMatch: Unsupported value: "Nearly": supported values: "Exact", "NotOlderThan", ""'
NOT_ZERO = 'resourceVersionMatch: Forbidden: resourceVersionMatch "exact" is forbidden for resourceVersion "0"'
NO_LIST = "sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list"


@pytest.mark.parametrize(
    ("query", "wrong"),
    [
        ("resourceVersionMatch=Exact", [NO_REVISION]),
        ("resourceVersionMatch=Exact&resourceVersion=0", [NOT_ZERO]),
        ("resourceVersionMatch=Nearly&resourceVersion=7", [NO_MATCH]),
        ("resourceVersionMatch=NotOlderThan&resourceVersion=7&continue=x", [WITH_CONTINUE]),
        ("resourceVersionMatch=Nearly&continue=x", [NO_REVISION, WITH_CONTINUE, NO_MATCH]),
        ("sendInitialEvents=false", [NO_LIST]),
        ("resourceVersionMatch=Exact&sendInitialEvents=1", [NO_REVISION, NO_LIST]),
    ],
)
def test_options_of_a_list_that_contradict_each_other(query: str, wrong: list[str]) -> None:
    assert refused(lambda: list_options(Query(query))) == wrong


def test_rows_carry_what_there_is() -> None:
    assert include_object(Query("includeObject=Object"), Form("Table")) == "Object"
    assert include_object(Query(""), Form("Table")) == ""
    include_object(Query("includeObject=Foo"), OBJECT)
    with pytest.raises(BadRequestError) as caught:
        include_object(Query("includeObject=Foo"), Form("Table"))
    assert str(caught.value) == (
        'Unable to convert to Table as requested: includeObject: Invalid value: "Foo": '
        "must be 'Metadata', 'Object', 'None', or empty"
    )


@pytest.mark.parametrize("number", ["many", "1_0", " 1", "1.0", "0x1"])
def test_numbers_are_those_of_go(number: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        list_options(Query(f"limit={number}"))
    assert str(caught.value) == f'strconv.ParseInt: parsing "{number}": invalid syntax'
    assert list_options(Query("limit=%2B5")).limit == 5


@pytest.mark.parametrize("digits", [str(2**63), "9" * 5000])
def test_a_revision_that_no_store_reaches_is_refused(digits: str) -> None:
    with pytest.raises(BadRequestError, match=r'parsing "[0-9]{19,21}": value out of range'):
        parse_revision(digits)
    assert parse_revision(str(2**63 - 1)) == 2**63 - 1


def test_a_watch_from_no_revision_is_refused_before_it_begins() -> None:
    with pytest.raises(BadRequestError, match='parsing "abc": invalid syntax'):
        watch_options(Query("resourceVersion=abc"))


def test_a_watch_without_a_timeout_has_none() -> None:
    assert watch_options(Query("")).timeout_s is None
    assert watch_options(Query("timeoutSeconds=0")).timeout_s is None
    assert watch_options(Query("timeoutSeconds=9")).timeout_s == 9.0


NEEDS_MATCH = "resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
NEEDS_INITIAL = "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
ONLY = 'resourceVersionMatch: Unsupported value: "Exact": supported values: "NotOlderThan"'


@pytest.mark.parametrize(
    ("query", "wrong"),
    [
        ("sendInitialEvents=true", [NEEDS_MATCH]),
        ("sendInitialEvents=true&resourceVersionMatch=Exact", [NEEDS_MATCH, ONLY]),
        ("resourceVersionMatch=NotOlderThan", [NEEDS_INITIAL]),
        ("resourceVersionMatch=Exact", [NEEDS_INITIAL, ONLY]),
        ("sendInitialEvents=1&resourceVersionMatch=NotOlderThan&continue=x", [WITH_CONTINUE]),
    ],
)
def test_send_initial_events_is_never_ignored(query: str, wrong: list[str]) -> None:
    assert refused(lambda: watch_options(Query(query))) == wrong


def test_send_initial_events() -> None:
    options = watch_options(Query("sendInitialEvents=true&resourceVersionMatch=NotOlderThan"))
    assert options.send_initial_events


KIND = "CreateOptions"


def test_write_options() -> None:
    user = User("u")
    ctx = context(
        Query("dryRun=All&fieldManager=m&fieldValidation=Strict&force=true"), user, "x/1", KIND
    )
    assert (ctx.dry_run, ctx.field_manager, ctx.field_validation) == (True, "m", "Strict")
    assert context(Query(""), user, "kubectl/v1.33", KIND).field_manager == "kubectl"


NO_DRY_RUN = 'dryRun: Unsupported value: ["All","all"]: supported values: "All"'
NO_VALIDATION = (
    'fieldValidation: Unsupported value: "strict": supported values: "", "Ignore", "Strict", "Warn"'
)
WRONG = "dryRun=All&dryRun=all&fieldValidation=strict"
LONG = "fieldManager: Too long: may not be more than 128 bytes"
UNPRINTABLE = 'fieldManager: Invalid value: "ä\\tb": invalid character U+0009 (at position 2)'


@pytest.mark.parametrize(
    ("query", "patch", "wrong"),
    [
        (WRONG, None, [NO_DRY_RUN, NO_VALIDATION]),
        ("fieldManager=" + "x" * 129, None, [LONG]),
        ("fieldManager=%C3%A4%09b", None, [UNPRINTABLE]),
        ("force=true", PatchType.MERGE, ["force: Forbidden: may not be specified for non-apply patch"]),
        (f"{WRONG}&force=1", PatchType.APPLY,
         ["fieldManager: Required value: is required for apply patch", NO_DRY_RUN, NO_VALIDATION]),
    ],
)  # fmt: skip
def test_all_that_is_wrong_with_the_options_of_a_write_is_told(
    query: str, patch: PatchType | None, wrong: list[str]
) -> None:
    kind = KIND if patch is None else "PatchOptions"
    assert refused(lambda: context(Query(query), User("u"), "x/1", kind, patch=patch)) == wrong


DELETES = [
    ("", {}, DeleteOptions(), False),
    ("gracePeriodSeconds=0", {}, DeleteOptions(grace_s=0), False),
    ("gracePeriodSeconds=9", {"gracePeriodSeconds": 3}, DeleteOptions(grace_s=3), False),
    ("", {"propagationPolicy": "Orphan"}, DeleteOptions(propagation="Orphan"), False),
    ("propagationPolicy=Foreground", {}, DeleteOptions(propagation="Foreground"), False),
    ("", {"orphanDependents": True}, DeleteOptions(propagation="Orphan"), False),
    ("orphanDependents=false", {}, DeleteOptions(propagation="Background"), False),
    ("", {"preconditions": {"uid": "u", "resourceVersion": "4"}}, DeleteOptions(uid="u", revision="4"), False),
    ("", {"dryRun": ["All"]}, DeleteOptions(), True),
    ("dryRun=All", {}, DeleteOptions(), True),
]  # fmt: skip


@pytest.mark.parametrize(("query", "body", "options", "dry_run"), DELETES)
def test_delete_options(
    query: str, body: dict[str, object], options: DeleteOptions, dry_run: bool
) -> None:
    assert delete_options(Query(query), body) == (options, dry_run)


@pytest.mark.parametrize(
    "body",
    [
        {"gracePeriodSeconds": "3"},
        {"gracePeriodSeconds": True},
        {"propagationPolicy": 3},
        {"propagationPolicy": "Sideways"},
        {"preconditions": []} | {"preconditions": "x"},
        {"dryRun": ["Some"]},
        {"dryRun": "true"},
    ],
)
def test_delete_options_that_cannot_be_meant(body: dict[str, object]) -> None:
    with pytest.raises((BadRequestError, InvalidError)):
        delete_options(Query(""), body)


def test_all_that_is_wrong_with_a_deletion_is_told() -> None:
    both = {"propagationPolicy": "Orphan", "orphanDependents": True, "dryRun": ["Some"]}
    assert refused(lambda: delete_options(Query(""), both)) == [
        'propagationPolicy: Invalid value: "Orphan": orphanDependents and deletionPropagation cannot be both set',
        'dryRun: Unsupported value: ["Some"]: supported values: "All"',
    ]
    assert refused(lambda: delete_options(Query("propagationPolicy=Up"), {})) == [
        'propagationPolicy: Unsupported value: "Up": supported values: '
        '"Foreground", "Background", "Orphan", "nil"'
    ]
