"""What a request is for: its path, its action, how long it lasts. Tables."""

import re
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.api.errors import BadRequestError, MethodNotAllowedError
from wherry.apiserver.http.message import Peer, Request
from wherry.apiserver.resources import BY_ADDRESS
from wherry.apiserver.rest.action import action_of, check_selectors
from wherry.apiserver.rest.longrunning import is_long_running
from wherry.apiserver.rest.path import parse, split
from wherry.apiserver.rest.query import Query

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


NAMES = st.sampled_from(["a", "a%2Fb", "..", "%2E", ""]) | st.text("a./%2Ff", max_size=6)
NAMED = st.sampled_from(
    ["nodes/{}", "watch/nodes/{}", "namespaces/{}/pods", "namespaces/a/pods/{}"]
)


@given(st.text(max_size=60) | st.builds(str.format, NAMED, NAMES))
def test_any_path_is_a_route_or_none_or_refused(text: str) -> None:
    for path in (text, f"/api/v1/{text}"):
        with suppress(BadRequestError):
            route = parse(split(path))
            named = (route.namespace, route.name) if route else ()
            assert not [name for name in named if "/" in name or name in (".", "..")]


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


def test_selectors_are_checked_before_a_watch_begins() -> None:
    pods = BY_ADDRESS["", "v1", "pods"]
    check_selectors(pods, "a=b", "spec.nodeName=n,metadata.name!=x")
    for labels, fields in (("a===b", ""), ("", "spec.nosuch=1"), ("", "metadata.name")):
        with pytest.raises(BadRequestError):
            check_selectors(pods, labels, fields)


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
