"""Who asks for a kind that will not stay is told so, whatever is asked and answered."""

from typing import Any

import pytest
from rest_world import World, in_world

from wherry.apiserver.http.message import Response, Stream
from wherry.apiserver.resources import SERVED

ENDPOINTS = "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"
STATUSES = "v1 ComponentStatus is deprecated in v1.19+"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
ALL = "/api/v1/namespaces/a/endpoints"
ONE = f"{ALL}/e"
MERGE = "application/merge-patch+json"


async def warnings(world: World, method: str, target: str, **headers: str) -> tuple[int, list[str]]:
    body: Any = {"metadata": {"name": "e"}} if method in ("POST", "PUT", "PATCH") else b""
    if method == "PATCH":
        headers["content_type"] = MERGE
    reply = await world.ask(method, target, body, **headers)
    assert isinstance(reply, Response | Stream)
    if isinstance(reply, Stream):
        await reply.chunks.aclose()
    return reply.status, [value for name, value in reply.headers if name == "Warning"]


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        pytest.param("GET", ONE, 200, id="get"),
        pytest.param("HEAD", ONE, 200, id="head"),
        pytest.param("GET", ALL, 200, id="list"),
        pytest.param("GET", "/api/v1/endpoints", 200, id="list of all namespaces"),
        pytest.param("GET", f"{ALL}?watch=1", 200, id="watch"),
        pytest.param("GET", "/api/v1/watch/endpoints", 200, id="watch by path"),
        pytest.param("POST", ALL, 409, id="create"),
        pytest.param("PUT", ONE, 200, id="update"),
        pytest.param("PATCH", ONE, 200, id="patch"),
        pytest.param("DELETE", ONE, 200, id="delete"),
        pytest.param("DELETE", ALL, 200, id="deletecollection"),
        pytest.param("GET", f"{ALL}/missing", 404, id="missing"),
        pytest.param("GET", f"{ALL}?limit=x", 400, id="unreadable"),
    ],
)
def test_every_verb_warns_of_a_deprecated_kind(method: str, target: str, status: int) -> None:
    async def story(world: World) -> None:
        world.verbs.objects["endpoints", "a", "e"] = {"metadata": {"name": "e", "namespace": "a"}}
        assert await warnings(world, method, target) == (status, [f'299 - "{ENDPOINTS}"'])

    in_world(story)


def test_other_forms_and_other_warnings_come_with_it() -> None:
    async def story(world: World) -> None:
        _, found = await warnings(world, "GET", ALL, accept=TABLE)
        assert found == [f'299 - "{ENDPOINTS}"']
        world.verbs.warnings = ["another"]
        _, found = await warnings(world, "PUT", ONE)
        assert found == [f'299 - "{ENDPOINTS}"', '299 - "another"']

    in_world(story)


@pytest.mark.parametrize("target", ["/api/v1/componentstatuses", "/api/v1/componentstatuses/x"])
def test_component_statuses_are_deprecated_too(target: str) -> None:
    async def story(world: World) -> None:
        _, found = await warnings(world, "GET", target)
        assert found == [f'299 - "{STATUSES}"']

    in_world(story)


def test_who_may_not_ask_is_not_warned() -> None:
    async def story(world: World) -> None:
        world.gate.shut = True
        assert await warnings(world, "GET", ONE) == (403, [])

    in_world(story)


def test_no_other_kind_is_deprecated() -> None:
    assert {row.deprecated for row in SERVED} == {"", ENDPOINTS, STATUSES}
    assert sum(bool(row.deprecated) for row in SERVED) == 2
