"""What a request means: paths, queries, media types, actions. Tables."""

import re
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.api.errors import (
    BadRequestError,
    InvalidError,
    MethodNotAllowedError,
    NotAcceptableError,
    UnsupportedMediaError,
)
from wherry.apiserver.gate import bearer, websocket_bearer
from wherry.apiserver.http.message import Peer, Request
from wherry.apiserver.registry.read import parse_revision
from wherry.apiserver.resources import BY_ADDRESS
from wherry.apiserver.rest.accept import OBJECT, YAML, Form, negotiate, patch_type
from wherry.apiserver.rest.action import action_of, check_selectors
from wherry.apiserver.rest.longrunning import is_long_running
from wherry.apiserver.rest.path import parse, split
from wherry.apiserver.rest.query import (
    Query,
    context,
    delete_options,
    include_object,
    list_options,
    watch_options,
)
from wherry.apiserver.rest.render import warning_header, warning_headers
from wherry.apiserver.verbs import DeleteOptions, User
from wherry.client.api import PatchType

PATHS = [
    ("/api/v1/pods", ("pods", "", "", "")),
    ("/api/v1/pods/", ("pods", "", "", "")),
    ("/api/v1/namespaces", ("namespaces", "", "", "")),
    ("/api/v1/namespaces/a", ("namespaces", "", "a", "")),
    ("/api/v1/namespaces/a/status", ("namespaces", "", "a", "status")),
    ("/api/v1/namespaces/a/finalize", ("namespaces", "", "a", "finalize")),
    ("/api/v1/namespaces/a/pods", ("pods", "a", "", "")),
    ("/api/v1/namespaces/a/pods/p", ("pods", "a", "p", "")),
    ("/api/v1/namespaces/a/pods/p/log", ("pods", "a", "p", "log")),
    ("/api/v1/namespaces/status/pods", ("pods", "status", "", "")),
    ("/apis/apps/v1/namespaces/a/deployments/d/scale", ("deployments", "a", "d", "scale")),
    ("/apis/apps/v1/deployments", ("deployments", "", "", "")),
    ("/api/v1/nodes/n%41", ("nodes", "", "nA", "")),
    ("/api/v1/nodes/n/proxy/stats/summary", ("nodes", "", "n", "proxy")),
    ("/api/v1/namespaces/a/pods/https:p:web/proxy//x/", ("pods", "a", "https:p:web", "proxy")),
    ("/api/v1/namespaces/a/services/s%3A80/proxy/a%2Fb", ("services", "a", "s:80", "proxy")),
    ("/api/v1/namespaces/a/pods/proxy/log", ("pods", "a", "proxy", "log")),
    ("/api/v1/namespaces/proxy/pods/p", ("pods", "proxy", "p", "")),
    ("/api/v1/namespaces/a/configmaps/m/proxy/x", None),
    ("/api/v1/namespaces/a/pods/p/x/proxy/y", None),
    ("/api/v1/watch/namespaces/a/pods/p/proxy/x", None),
    ("/api/v1", None),
    ("/api", None),
    ("/apis/apps/v1", None),
    ("/apis/apps/v2/deployments", None),
    ("/api/v1/nosuch", None),
    ("/api/v1/pods/p", None),
    ("/api/v1/namespaces/a/nodes", None),
    ("/api/v1/namespaces/a/nodes/n", None),
    ("/api/v1/namespaces//pods", None),
    ("/api/v1/namespaces/a/pods//log", None),
    ("/api/v1/namespaces/a/pods/p/nosuch", None),
    ("/api/v1/namespaces/a/pods/p/log/more", None),
    ("/apis/apps/v1/namespaces/a/pods", None),
    ("/openapi/v2", None),
]


@pytest.mark.parametrize(("path", "expected"), PATHS)
def test_paths(path: str, expected: tuple[str, ...] | None) -> None:
    route = parse(split(path))
    found = route and (route.resource.kind.plural, route.namespace, route.name, route.subresource)
    assert found == expected


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/api/v1/nodes/a%2Fb", "Name parameter invalid: \"a/b\": may not contain '/'"),
        ("/api/v1/nodes/..", "may not be '..'"),
        ("/api/v1/namespaces/a/pods/50%25", "may not contain '%'"),
        ("/api/v1/namespaces/a%2Fb/pods", "Namespace parameter invalid"),
        ("/apis/wherry.io/v1/networkconfigs/subnets%2F10.244.1.0-24", "may not contain '/'"),
    ],
)
def test_names_that_would_be_other_paths(path: str, words: str) -> None:
    """The last one is another kind's key in the store."""
    with pytest.raises(BadRequestError, match=re.escape(words)):
        parse(split(path))


def test_the_deprecated_watch_prefix() -> None:
    route = parse(split("/api/v1/watch/namespaces/a/pods/p"))
    assert route is not None
    assert (route.watch, route.namespace, route.name) == (True, "a", "p")
    assert action_of("GET", route, Query("")).verb == "watch"


@given(st.text(max_size=60))
def test_any_path_is_a_route_or_none_or_refused(text: str) -> None:
    with suppress(BadRequestError):
        parse(split("/api/v1/" + text))
    with suppress(BadRequestError):
        parse(split(text))


ACTIONS = [
    ("GET", "/api/v1/pods", "", "list"),
    ("HEAD", "/api/v1/pods", "", "list"),
    ("GET", "/api/v1/pods", "watch=true", "watch"),
    ("GET", "/api/v1/pods", "watch=True", "watch"),
    ("GET", "/api/v1/pods", "watch=1", "watch"),
    ("GET", "/api/v1/pods", "watch=false", "list"),
    ("GET", "/api/v1/pods", "watch=0", "list"),
    ("GET", "/api/v1/nodes/n", "", "get"),
    ("POST", "/api/v1/nodes", "", "create"),
    ("PUT", "/api/v1/nodes/n", "", "update"),
    ("PATCH", "/api/v1/nodes/n/status", "", "patch"),
    ("DELETE", "/api/v1/nodes/n", "", "delete"),
    ("DELETE", "/api/v1/nodes", "", "deletecollection"),
    ("POST", "/api/v1/namespaces/a/pods/p/binding", "", "create"),
    ("POST", "/api/v1/namespaces/a/pods/p/exec", "", "create"),
    ("GET", "/api/v1/namespaces/a/pods/p/exec", "", "get"),
    ("HEAD", "/api/v1/nodes/n/proxy/x", "watch=1", "get"),
    ("POST", "/api/v1/nodes/n/proxy/x", "", "create"),
    ("PUT", "/api/v1/nodes/n/proxy", "", "update"),
    ("PATCH", "/api/v1/nodes/n/proxy", "", "patch"),
    ("DELETE", "/api/v1/nodes/n/proxy", "", "delete"),
    ("OPTIONS", "/api/v1/nodes/n/proxy", "", ""),
    ("POST", "/api/v1/pods", "", None),
    ("POST", "/api/v1/nodes/n", "", None),
    ("PUT", "/api/v1/nodes", "", None),
    ("PATCH", "/api/v1/nodes", "", None),
    ("OPTIONS", "/api/v1/nodes", "", None),
    ("DELETE", "/api/v1/nodes/n/status", "", None),
    ("GET", "/api/v1/namespaces/a/pods/p/binding", "", None),
    ("PUT", "/api/v1/namespaces/a/pods/p/log", "", None),
]


@pytest.mark.parametrize(("method", "path", "query", "verb"), ACTIONS)
def test_actions(method: str, path: str, query: str, verb: str | None) -> None:
    route = parse(split(path))
    assert route is not None
    if verb is None:
        with pytest.raises(MethodNotAllowedError):
            action_of(method, route, Query(query))
    else:
        assert action_of(method, route, Query(query)).verb == verb


TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
TABLE_BETA = "application/json;as=Table;g=meta.k8s.io;v=v1beta1"
BETA = "meta.k8s.io/v1beta1"
FORMS = [
    ("", OBJECT),
    ("*/*", OBJECT),
    ("application/json", OBJECT),
    (f"{TABLE},{TABLE_BETA},application/json", Form("Table")),
    (f"{TABLE_BETA},application/json", Form("Table", BETA)),
    (f"{TABLE_BETA}", Form("Table", BETA)),
    (f"{TABLE_BETA};q=0.5,{TABLE};q=0.8,application/json;q=0.1", Form("Table")),
    (f"application/json;q=0.9,{TABLE}", Form("Table")),
    (f"application/json,{TABLE}", OBJECT),
    ("application/json;as=Table;v=v2;g=meta.k8s.io,application/json", OBJECT),
    ("application/json;as=Chart;v=v1;g=meta.k8s.io,application/json", OBJECT),
    ("application/json;v=v1;g=meta.k8s.io,application/yaml", YAML),
    (
        "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io",
        Form("PartialObjectMetadataList"),
    ),
    (
        "application/json;as=PartialObjectMetadata;v=v1beta1;g=meta.k8s.io",
        Form("PartialObjectMetadata", BETA),
    ),
    ("application/vnd.kubernetes.protobuf,application/json", OBJECT),
    (f"application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io,{TABLE}", Form("Table")),
    ("application/yaml", YAML),
    ("application/yaml;as=Table;v=v1;g=meta.k8s.io", Form("Table", yaml=True)),
    ("text/html, application/json;q=0.5, application/yaml;q=0.9", YAML),
    ("application/json;q=0, application/yaml;q=0.1", YAML),
    ("application/json;stream=watch", OBJECT),
    ("application/json;q=nonsense", None),
    ("application/json;as=Table;v=v2;g=meta.k8s.io", None),
    ("text/html", None),
    ("application/vnd.kubernetes.protobuf", None),
]


@pytest.mark.parametrize(("accept", "form"), FORMS)
def test_accept(accept: str, form: Form | None) -> None:
    if form is None:
        with pytest.raises(NotAcceptableError):
            negotiate(accept)
    else:
        assert negotiate(accept) == form


def test_patch_types() -> None:
    assert patch_type("application/merge-patch+json; charset=utf-8") is PatchType.MERGE
    for unknown in ("", "application/json", "text/plain"):
        with pytest.raises(UnsupportedMediaError, match="accepted media types include"):
            patch_type(unknown)


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


def test_selectors_are_checked_before_a_watch_begins() -> None:
    pods = BY_ADDRESS["", "v1", "pods"]
    check_selectors(pods, "a=b", "spec.nodeName=n,metadata.name!=x")
    for labels, fields in (("a===b", ""), ("", "spec.nosuch=1"), ("", "metadata.name")):
        with pytest.raises(BadRequestError):
            check_selectors(pods, labels, fields)


def test_warnings_survive_go() -> None:
    assert warning_header('unknown field "spec.x"\n\\') == r'299 - "unknown field \"spec.x\" \\"'
    assert warning_header("ä") == '299 - "?"'


@pytest.mark.parametrize(
    ("texts", "count", "longest"),
    [
        (["a", "b", "a"], 2, 1),
        (["x" * 3000], 1, 3000),  # fits, so whole
        ([f"{n}" + "x" * 2000 for n in range(9)], 9, 256),
        ([f"{n:03}" + "x" * 2000 for n in range(100)], 16, 256),
        ([f"{n}" for n in range(100)], 80, 2),  # Python's http.client reads 100 headers in all
    ],
)
def test_warnings_are_no_more_than_clients_take(texts: list[str], count: int, longest: int) -> None:
    values = [value for _, value in warning_headers(texts)]
    assert len(values) == len(set(values)) == count
    assert max(map(len, values)) == longest + len('299 - ""')


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/api/v1/pods", False),
        ("/api/v1/pods?watch=true", True),
        ("/api/v1/pods?limit=1&watch=1", True),
        ("/api/v1/pods?watch=0", False),
        ("/api/v1/pods?labelSelector=watch", False),
        ("/api/v1/pods?" + "&".join(["watch=1"] * 2000), False),  # refused for it
        ("/api/v1/watch/pods", True),
        ("/apis/apps/v1/watch/namespaces/a/deployments", True),
        ("/api/v1/namespaces/watch/pods", False),
        ("/api/v1/namespaces/a/configmaps/log", False),
        ("/api/v1/namespaces/a/pods/p/log?follow=1", True),
        ("/api/v1/namespaces/a/pods/p/exec?command=x", True),
        ("/api/v1/namespaces/a/pods/p/attach/", True),
        ("/api/v1/namespaces/a/pods/p/portforward", True),
        ("/api/v1/namespaces/a/services/s:80/proxy", True),
        ("/api/v1/namespaces/a/services/s:80/proxy/x/y?z", True),
        ("/api/v1/nodes/n/proxy/metrics", True),
        ("/api/v1/namespaces/a/configmaps/m/proxy/x", False),
        ("/api/v1/namespaces/a/pods/p/status", False),
        ("/api/v1/namespaces/a/pods?x=/log", False),
    ],
)
def test_requests_that_last_as_long_as_their_client_likes(target: str, expected: bool) -> None:
    assert is_long_running(Request("GET", target, {}, [], b"", Peer())) is expected


@pytest.mark.parametrize(
    ("header", "token"),
    [
        ("Bearer abc ", "abc"),
        (" bearer abc", "abc"),
        ("Bearer abc def", "abc"),
        ("Bearer  abc", ""),
        ("Bearer ", ""),
        ("Bearer", ""),
        ("Bearerabc", ""),
        ("abc", ""),
        ("Basic abc", ""),
        ("", ""),
    ],
)
def test_bearer_tokens(header: str, token: str) -> None:
    assert bearer(header) == token


TOKEN = "base64url.bearer.authorization.k8s.io."


@pytest.mark.parametrize(
    ("protocols", "token"),
    [
        (f"{TOKEN}YS5iLmM, v4.channel.k8s.io", "a.b.c"),
        (f"v4.channel.k8s.io,{TOKEN}YS5iLmM", "a.b.c"),
        (f"{TOKEN}_w, x", ""),
        (f"{TOKEN}A, x", ""),
        (f"{TOKEN}\N{LATIN SMALL LETTER E WITH ACUTE}, x", ""),
        (f"{TOKEN}YS5iLmM", ""),
        (f"{TOKEN}YQ, {TOKEN}YQ, x", ""),
        ("v4.channel.k8s.io", ""),
        ("", ""),
    ],
)
def test_bearer_tokens_of_browsers(protocols: str, token: str) -> None:
    assert websocket_bearer(protocols) == token
