"""What is asked for where nothing is served, and what is said about it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rest_world import World, answer, content, in_world

from wherry.apiserver.gate import Attributes
from wherry.apiserver.rest.action import action_of
from wherry.apiserver.rest.info import request_info
from wherry.apiserver.rest.path import parse, split
from wherry.apiserver.rest.query import Query

ABOUT = [
    ("GET", "/", Attributes("get", path="/")),
    ("HEAD", "/version", Attributes("get", path="/version")),
    ("PUT", "/apis/", Attributes("put", path="/apis")),
    ("DELETE", "/api/v1", Attributes("delete", path="/api/v1")),
    ("POST", "/apis/apps/v1", Attributes("post", path="/apis/apps/v1")),
    ("OPTIONS", "/healthz/ping", Attributes("options", path="/healthz/ping")),
    ("GET", "/api/v1/none", Attributes("list", version="v1", resource="none")),
    ("GET", "/api/v1/none/a", Attributes("get", version="v1", resource="none", name="a")),
    ("OPTIONS", "/apis/g/v/none", Attributes("", "g", "v", "none")),
    ("PUT", "/apis/g/v/none", Attributes("update", "g", "v", "none")),
    ("GET", "/apis/g/v/watch", Attributes("list", "g", "v", "watch")),
    ("GET", "/apis/g/v/watch/none", Attributes("watch", "g", "v", "none")),
    ("DELETE", "/apis/g/v/none", Attributes("deletecollection", "g", "v", "none")),
    (
        "POST",
        "/apis/g/v/namespaces/a/none/b/c/d",
        Attributes("create", "g", "v", "none", "c", "a", "b"),
    ),
    (
        "GET",
        "/api/v1/namespaces/a",
        Attributes("get", version="v1", resource="namespaces", namespace="a", name="a"),
    ),
    ("POST", "/api/v1/namespaces", Attributes("create", version="v1", resource="namespaces")),
]


@pytest.mark.parametrize(("method", "path", "about"), ABOUT)
def test_what_a_request_is_about(method: str, path: str, about: Attributes) -> None:
    assert request_info(method, split(path), Query("")) == about


SERVED = [
    ("GET", "/api/v1/pods", "watch=1"),
    ("GET", "/api/v1/watch/pods", ""),
    ("GET", "/api/v1/namespaces", ""),
    ("GET", "/api/v1/namespaces/a", ""),
    ("PUT", "/api/v1/namespaces/a/finalize", ""),
    ("PATCH", "/api/v1/namespaces/a/status", ""),
    ("GET", "/api/v1/namespaces/a/pods", ""),
    ("DELETE", "/api/v1/namespaces/a/pods", ""),
    ("POST", "/api/v1/namespaces/a/pods/p/eviction", ""),
    ("PUT", "/apis/apps/v1/namespaces/a/deployments/d/scale", ""),
    ("DELETE", "/api/v1/nodes/n", ""),
]


@pytest.mark.parametrize(("method", "path", "query"), SERVED)
def test_it_is_the_same_where_something_is_served(method: str, path: str, query: str) -> None:
    route = parse(split(path))
    assert route is not None
    action = action_of(method, route, Query(query))
    assert request_info(method, split(path), Query(query)) == action.attributes


@given(
    st.sampled_from(["GET", "PUT", "LINK"]),
    st.lists(st.sampled_from(["api", "apis", "watch", "namespaces", "", "a"])),
)
def test_any_path_is_about_itself_or_a_resource(method: str, parts: list[str]) -> None:
    path = "/" + "/".join(parts).strip("/")
    about = request_info(method, split(path), Query(""))
    if about.path:
        assert about == Attributes(method.lower(), path=path)
    else:
        assert path.startswith(("/api/", "/apis/"))
        assert about.verb in ("get", "list", "watch", "update", "")


NOT_ALLOWED = (405, "the server does not allow this method on the requested resource")
NOT_FOUND = (404, "the server could not find the requested resource")
REFUSED = [
    ("POST", "/api", *NOT_ALLOWED, "post path"),
    ("PUT", "/apis", *NOT_ALLOWED, "put path"),
    ("PATCH", "/apis/apps", *NOT_ALLOWED, "patch path"),
    ("DELETE", "/api/v1", *NOT_ALLOWED, "delete path"),
    ("DELETE", "/version", *NOT_ALLOWED, "delete path"),
    ("OPTIONS", "/version", *NOT_ALLOWED, "options path"),
    ("POST", "/api/v1/nodes/n", *NOT_ALLOWED, "create resource"),
    ("PUT", "/api/v1/nodes", *NOT_ALLOWED, "update resource"),
    ("OPTIONS", "/api/v1/nodes", *NOT_ALLOWED, " resource"),
    ("POST", "/api/v1/pods", *NOT_ALLOWED, "create resource"),
    ("GET", "/api/v1/namespaces/a/pods/p/binding", *NOT_ALLOWED, "get resource"),
    ("POST", "/apis/metrics.k8s.io/v1beta1/nodes", *NOT_ALLOWED, "create resource"),
    ("GET", "/apis/authorization.k8s.io/v1/subjectaccessreviews", *NOT_ALLOWED, "list resource"),
    ("GET", "/api/v1/none", *NOT_FOUND, "list resource"),
    ("POST", "/api/v1/none/a", *NOT_FOUND, "create resource"),
    ("PATCH", "/apis/none/v1", *NOT_FOUND, "patch path"),
    ("DELETE", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", *NOT_FOUND, "deletecollection resource"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "code", "message", "may_not"), REFUSED)
def test_what_is_said_of_it(method: str, path: str, code: int, message: str, may_not: str) -> None:
    async def story(world: World) -> None:
        status = content(await world.ask(method, path))
        assert (status["code"], status["message"], status["details"]) == (code, message, {})
        world.gate.shut = True
        refused = content(await world.ask(method, path))
        assert refused["code"] == 403
        assert f'User "bob" cannot {may_not} "' in refused["message"]

    in_world(story)


def test_who_is_nobody_may_only_read_what_everybody_may() -> None:
    async def story(world: World) -> None:
        world.gate.shut = True
        for method, code in (("GET", 200), ("HEAD", 200), ("POST", 403), ("OPTIONS", 403)):
            for path in ("/version", "/healthz", "/readyz/ping"):
                assert answer(await world.ask(method, path, token="")).status == code

    in_world(story)


def test_any_check_can_be_asked_alone_and_left_out() -> None:
    async def story(world: World) -> None:
        world.broken = {"etcd": "no quorum", "informer-sync": ""}
        for name in ("healthz", "livez", "readyz"):
            assert (await world.get(f"/{name}/etcd")).status == 500
            assert (await world.get(f"/{name}/informer-sync")).body == b"ok"
            unknown = await world.get(f"/{name}/poststarthook/none")
            assert (unknown.status, unknown.body) == (404, b"404 page not found\n")
            assert (await world.get(f"/{name}?exclude=etcd")).body == b"ok"
            excluded = bytes((await world.get(f"/{name}?exclude=etcd&verbose")).body)
            assert (b"[+]etcd excluded: ok\n" in excluded) is (name == "readyz")
            assert b"warn" not in excluded

    in_world(story)


def test_the_paths_are_listed_and_are_there() -> None:
    async def story(world: World) -> None:
        paths = content(await world.get("/"))["paths"]
        assert content(await world.get("/index.html"))["paths"] == paths == sorted(set(paths))
        assert {"/api/v1", "/apis/apps", "/apis/apps/v1", "/livez/store"} <= set(paths)
        assert "/openid/v1/jwks" not in paths  # nobody signs tokens here
        for path in paths:
            assert (await world.get(path)).status == 200

    in_world(story)


def test_nothing_is_cached_that_may_change() -> None:
    async def story(world: World) -> None:
        pods = "/api/v1/namespaces/a/pods"
        for path in ("/", "/version", "/metrics", "/livez", "/readyz/x", "/api", pods, f"{pods}/q"):
            headers = dict((await world.get(path)).headers)
            assert headers["Cache-Control"] == "no-cache, private"

    in_world(story)


def test_health_is_told_whatever_the_method() -> None:
    async def story(world: World) -> None:
        assert answer(await world.ask("POST", "/healthz")).body == b"ok"

    in_world(story)
