"""In which form answers come: objects, tables, metadata alone, YAML, and lines for people."""

import orjson
import pytest
import yaml
from rest_world import POD, World, content, in_world
from verbs_stub import event

from wherry.apiserver.http.message import Response, Stream
from wherry.apiserver.rest.pretty import indented
from wherry.client.api import EventType

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


def test_forms_of_one_object() -> None:
    async def story(world: World) -> None:
        url = "/api/v1/namespaces/a/pods/p"
        assert content(await world.get(url)) == POD
        table = content(await world.get(url, accept=TABLE))
        assert table["kind"] == "Table"
        assert table["metadata"] == {"resourceVersion": "7"}
        assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
        whole = content(await world.get(url + "?includeObject=Object", accept=TABLE))
        assert whole["rows"][0]["object"] == POD
        partial = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
        assert content(await world.get(url, accept=partial)) == {
            "kind": "PartialObjectMetadata",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": POD["metadata"],
        }
        text = await world.get(url, accept="application/yaml")
        assert text.content_type == "application/yaml"
        assert yaml.safe_load(bytes(text.body)) == POD
        refused = await world.get(url, accept="image/png")
        assert refused.status == 406

    in_world(story)


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
def test_both_versions_of_other_forms(version: str) -> None:
    """Clients of 2018 ask for v1beta1 alone, and get the same under that name."""

    def accept(kind: str) -> str:
        return f"application/json;as={kind};g=meta.k8s.io;v={version}"

    async def story(world: World) -> None:
        pods, api_version = "/api/v1/namespaces/a/pods", f"meta.k8s.io/{version}"
        for url in (pods, f"{pods}/p"):
            table = content(await world.get(url, accept=accept("Table")))
            assert (table["kind"], table["apiVersion"]) == ("Table", api_version)
            assert table["rows"][0]["object"]["apiVersion"] == api_version
        partial = content(await world.get(f"{pods}/p", accept=accept("PartialObjectMetadata")))
        assert partial == {
            "kind": "PartialObjectMetadata",
            "apiVersion": api_version,
            "metadata": POD["metadata"],
        }
        listed = content(await world.get(pods, accept=accept("PartialObjectMetadataList")))
        assert (listed["kind"], listed["apiVersion"]) == ("PartialObjectMetadataList", api_version)
        assert listed["items"] == [partial]

    in_world(story)


@pytest.mark.parametrize(
    ("url", "kind", "what"),
    [
        ("", "PartialObjectMetadata", "a list (*core.PodList)"),
        ("/p", "PartialObjectMetadataList", "not a list (*core.Pod)"),
    ],
)
def test_a_list_is_no_object_and_an_object_no_list(url: str, kind: str, what: str) -> None:
    async def story(world: World) -> None:
        accept = f"application/json;as={kind};g=meta.k8s.io;v=v1,application/json"
        refused = await world.get(f"/api/v1/namespaces/a/pods{url}", accept=accept)
        status = content(refused)
        assert (refused.status, status["reason"]) == (406, "NotAcceptable")
        assert status["message"] == f"you requested {kind}, but the requested object is {what}"

    in_world(story)


@pytest.mark.parametrize(
    ("query", "agent", "pretty"),
    [
        ("", "kubectl/v1.33.1", False),
        ("", "curl/8.9.1", True),
        ("", "Wget", True),
        ("", "Mozilla/5.0 (X11)", True),
        ("pretty=true", "kubectl/v1.33.1", True),
        ("pretty=1", "", True),
        ("pretty=false", "curl/8.9.1", False),
        ("pretty=yes", "curl/8.9.1", False),
        ("pretty=", "curl/8.9.1", True),
    ],
)
def test_people_get_lines(query: str, agent: str, *, pretty: bool) -> None:
    """A list, an object and a refusal; what is no JSON is left alone."""

    async def story(world: World) -> None:
        pods = "/api/v1/namespaces/a/pods"
        for url in (pods, f"{pods}/p", f"{pods}/none", "/api/v1"):
            reply = await world.get(f"{url}?{query}", user_agent=agent)
            assert (b"\n  " in bytes(reply.body)) is pretty
            assert content(reply)["kind"]
        text = await world.get(f"{pods}/p?{query}", user_agent=agent, accept="application/yaml")
        assert yaml.safe_load(bytes(text.body)) == POD

    in_world(story)


@pytest.mark.parametrize("as_kind", ["Table", "PartialObjectMetadata"])
def test_watches_in_a_version_of_old(as_kind: str) -> None:
    async def story(world: World) -> None:
        accept = f"application/json;as={as_kind};g=meta.k8s.io;v=v1beta1"
        reply = await world.ask("GET", "/api/v1/configmaps?watch=1", accept=accept)
        assert isinstance(reply, Stream)
        for kind in (EventType.ADDED, EventType.BOOKMARK):
            world.verbs.events.put_nowait([event(kind, "m", 5)])
        world.verbs.events.put_nowait(None)
        lines = b"".join([chunk async for chunk in reply.chunks]).splitlines()
        objects = [orjson.loads(line)["object"] for line in lines]
        assert [(o["kind"], o["apiVersion"]) for o in objects] == [
            (as_kind, "meta.k8s.io/v1beta1")
        ] * 2

    in_world(story)


def test_what_nobody_can_read_stays_in_one_line() -> None:
    for size, lines in ((1000, 3), (1 << 20, 1)):
        reply = indented(Response(200, orjson.dumps({"data": "x" * size})))
        assert isinstance(reply, Response)
        assert len(bytes(reply.body).splitlines()) == lines
        assert content(reply) == {"data": "x" * size}
