"""What the REST door counts of its requests, as upstream's dashboards read it."""

from contextlib import aclosing

from rest_world import World, in_world
from verbs_stub import event

from wherry.apiserver.http.message import Stream
from wherry.client.api import EventType

PODS = "/api/v1/namespaces/a/pods"


def value(world: World, name: str, **labels: str) -> float | None:
    labels = {"group": "", "version": "v1", "resource": "pods", "subresource": ""} | labels
    labels |= {"component": "apiserver", "door": "rest"}
    return world.registry.get_sample_value(f"apiserver_{name}", labels)


def test_requests_are_counted() -> None:
    async def story(world: World) -> None:
        def counted(**labels: str) -> float | None:
            return value(world, "request_total", **labels)

        for name in ("p", "q"):
            await world.get(f"{PODS}/{name}")
        assert counted(verb="GET", scope="resource", code="200") == 1
        assert counted(verb="GET", scope="resource", code="404") == 1
        await world.get(PODS)
        assert counted(verb="LIST", scope="namespace", code="200") == 1
        apply = "application/apply-patch+yaml"
        await world.ask("PATCH", f"{PODS}/p?fieldManager=x", b"{}", content_type=apply)
        assert counted(verb="APPLY", scope="resource", code="200") == 1
        await world.ask("BREW", f"{PODS}/p")
        nothing = {"version": "", "resource": "", "scope": ""}
        assert counted(verb="BREW", code="405", **nothing) == 1

    in_world(story)


def test_a_watch_is_counted_while_it_lasts() -> None:
    async def story(world: World) -> None:
        def open_now() -> float | None:
            return value(world, "longrunning_requests", verb="WATCH", scope="namespace")

        world.verbs.events.put_nowait([event(EventType.ADDED, "m", 1)])
        watch = await world.ask("GET", f"{PODS}?watch=1")
        assert isinstance(watch, Stream)
        async with aclosing(watch.chunks) as lines:
            await anext(lines)
            assert open_now() == 1
        assert open_now() == 0

    in_world(story)
