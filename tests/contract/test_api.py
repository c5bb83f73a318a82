"""One suite for every `Api`: what clients rely on holds for the registry and for the fake.

`LocalApi` is the real registry without a wire. `FakeApi` (`wherry.client.fake`) promises
less; what it says it does not do is listed in `NOT_IN_FAKE`, and everything else must
hold for both, or unit tests of controllers prove nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import pytest
import registry_world
import virtual_loop

from wherry.api import kinds
from wherry.api.errors import (
    AlreadyExistsError,
    BadRequestError,
    ConflictError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
)
from wherry.client.api import Api, EventType, PatchType, WatchEvent
from wherry.client.fake import FakeApi

Test = Callable[[Api], Awaitable[None]]
POD = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}

NOT_IN_FAKE = {
    "test_defaults_and_validation": "the fake neither defaults nor validates",
    "test_types_are_checked": "the fake does not check types",
    "test_strategic_and_json_patches": "the fake takes merge patches only",
    "test_pages": "the fake never pages",
    "test_scale": "the fake has no scale",
    "test_nothing_is_created_in_a_terminating_namespace": "the fake has no namespace lifecycle",
    "test_bookmarks_come": "the fake sends no bookmarks",
    "test_generated_names_are_of_upstreams_form": "the fake numbers them",
}


@pytest.fixture(params=["registry", "fake"])
def run(request: pytest.FixtureRequest) -> Callable[[Test], None]:
    """Run a test coroutine on one implementation, in virtual time."""
    if request.param == "registry":

        def on_registry(test: Test) -> None:
            registry_world.in_world(lambda w: test(w.api))

        return on_registry
    name = request.node.originalname
    if name in NOT_IN_FAKE:
        pytest.skip(NOT_IN_FAKE[name])

    def on_fake(test: Test) -> None:
        async def main() -> None:
            api = FakeApi(virtual_loop.VirtualClock())
            await create(api, kinds.NAMESPACE, {"metadata": {"name": "default"}}, "")
            await test(api)

        virtual_loop.run(main())

    return on_fake


async def create(
    api: Api, kind: kinds.Kind, obj: dict[str, Any], namespace: str = "default"
) -> dict[str, Any]:
    decoded: dict[str, Any] = orjson.loads(await api.create(kind, orjson.dumps(obj), namespace))
    return decoded


async def config_map(api: Api, name: str, **labels: str) -> dict[str, Any]:
    obj = {"metadata": {"name": name, "labels": labels}, "data": {"k": "1"}}
    return await create(api, kinds.CONFIG_MAP, obj)


async def get(api: Api, kind: kinds.Kind, name: str, namespace: str = "default") -> dict[str, Any]:
    decoded: dict[str, Any] = orjson.loads(await api.get(kind, name, namespace))
    return decoded


async def exists(api: Api, kind: kinds.Kind, name: str) -> bool:
    try:
        await api.get(kind, name, "default")
    except NotFoundError:
        return False
    return True


async def names(api: Api, kind: kinds.Kind = kinds.CONFIG_MAP, **selectors: Any) -> list[str]:
    page = await api.list(kind, **selectors)
    return [orjson.loads(raw)["metadata"]["name"] for raw in page.items]


def revision(obj: dict[str, Any]) -> int:
    return int(obj["metadata"]["resourceVersion"])


def test_create_get_and_delete(run: Callable[[Test], None]) -> None:
    async def test(api: Api) -> None:
        made = await config_map(api, "a")
        meta = made["metadata"]
        assert meta["uid"]
        assert meta["creationTimestamp"] == "2026-09-21T14:13:20Z"
        assert meta["namespace"] == "default"
        assert (made["apiVersion"], made["kind"]) == ("v1", "ConfigMap")
        assert await get(api, kinds.CONFIG_MAP, "a") == made
        await api.delete(kinds.CONFIG_MAP, "a", "default")
        with pytest.raises(NotFoundError) as gone:
            await api.get(kinds.CONFIG_MAP, "a", "default")
        assert gone.value.message == 'configmaps "a" not found'

    run(test)


def test_a_name_exists_once(run: Callable[[Test], None]) -> None:
    async def test(api: Api) -> None:
        await config_map(api, "a")
        with pytest.raises(AlreadyExistsError) as refused:
            await config_map(api, "a")
        assert refused.value.message == 'configmaps "a" already exists'

    run(test)


def test_generated_names_differ(run: Callable[[Test], None]) -> None:
    async def test(api: Api) -> None:
        obj = {"metadata": {"generateName": "x-"}}
        made = {(await create(api, kinds.CONFIG_MAP, obj))["metadata"]["name"] for _ in range(5)}
        assert len(made) == 5
        assert all(name.startswith("x-") and len(name) == 7 for name in made)

    run(test)


def test_generated_names_are_of_upstreams_form(run: Callable[[Test], None]) -> None:
    async def test(api: Api) -> None:
        made = await create(api, kinds.CONFIG_MAP, {"metadata": {"generateName": "x-"}})
        assert set(made["metadata"]["name"][2:]) <= set("bcdfghjklmnpqrstvwxz2456789")

    run(test)


def test_revisions_grow_and_a_list_names_one(run: Callable[[Test], None]) -> None:
    async def test(api: Api) -> None:
        one = await config_map(api, "a")
        two = await config_map(api, "b")
        assert revision(two) > revision(one)
        page = await api.list(kinds.CONFIG_MAP)
        assert page.revision >= revision(two)

    run(test)


def test_an_update_of_an_old_version_conflicts(run: Callable[[Test], None]) -> None:
    async def test(api: Api) -> None:
        old = await config_map(api, "a")
        new = orjson.loads(
            await api.update(
                kinds.CONFIG_MAP, "a", orjson.dumps({**old, "data": {"k": "2"}}), "default"
            )
        )
        assert revision(new) > revision(old)
        with pytest.raises(ConflictError) as refused:
            await api.update(kinds.CONFIG_MAP, "a", orjson.dumps(old), "default")
        assert refused.value.message == (
            'Operation cannot be fulfilled on configmaps "a": the object has been modified; '
            "please apply your changes to the latest version and try again"
        )
        stale = {"metadata": {"resourceVersion": old["metadata"]["resourceVersion"]}}
        with pytest.raises(ConflictError):
            await api.patch(kinds.CONFIG_MAP, "a", orjson.dumps(stale), "default")

    run(test)


def test_a_merge_patch_changes_what_it_names(run: Callable[[Test], None]) -> None:
    async def test(api: Api) -> None:
        old = await config_map(api, "a", x="1", y="2")
        patch = {"metadata": {"labels": {"x": None, "z": "3"}}, "data": {"l": "2"}}
        raw = await api.patch(kinds.CONFIG_MAP, "a", orjson.dumps(patch), "default")
        new = orjson.loads(raw)
        assert new["metadata"]["labels"] == {"y": "2", "z": "3"}
        assert new["data"] == {"k": "1", "l": "2"}
        assert new["metadata"]["uid"] == old["metadata"]["uid"]

    run(test)


def test_a_write_that_changes_nothing_is_no_write(run: Callable[[Test], None]) -> None:
    async def test(api: Api) -> None:
        old = await config_map(api, "a")
        raw = await api.update(kinds.CONFIG_MAP, "a", orjson.dumps(old), "default")
        assert revision(orjson.loads(raw)) == revision(old)

    run(test)


def test_only_the_status_subresource_writes_the_status(run: Callable[[Test], None]) -> None:
    async def test(api: Api) -> None:
        await create(api, kinds.POD, POD)
        status = b'{"status":{"phase":"Running"},"spec":{"nodeName":"n9"}}'
        raw = await api.patch(kinds.POD, "p", status, "default", subresource="status")
        pod = orjson.loads(raw)
        assert pod["status"]["phase"] == "Running"
        assert "nodeName" not in pod["spec"]
        raw = await api.patch(kinds.POD, "p", b'{"status":{"phase":"Failed"}}', "default")
        assert orjson.loads(raw)["status"]["phase"] == "Running"

    run(test)


def test_selectors(run: Callable[[Test], None]) -> None:
    async def test(api: Api) -> None:
        await config_map(api, "a", app="web")
        await config_map(api, "b", app="db", tier="back")
        await config_map(api, "c")
        assert await names(api) == ["a", "b", "c"]
        assert await names(api, labels="app") == ["a", "b"]
        assert await names(api, labels="app in (web,db),tier!=back") == ["a"]
        assert await names(api, fields="metadata.name=b") == ["b"]
        assert await names(api, namespace="elsewhere") == []
        assert await names(api, cached=True) == ["a", "b", "c"]

    run(test)


def test_a_pod_is_bound_once(run: Callable[[Test], None]) -> None:
    async def test(api: Api) -> None:
        await create(api, kinds.POD, POD)
        target = b'{"target":{"kind":"Node","name":"n1"}}'
        await api.create(kinds.POD, target, "default", name="p", subresource="binding")
        assert (await get(api, kinds.POD, "p"))["spec"]["nodeName"] == "n1"
        with pytest.raises(ConflictError):
            await api.create(kinds.POD, target, "default", name="p", subresource="binding")
        assert await names(api, kinds.POD, fields="spec.nodeName=n1") == ["p"]
        assert await names(api, kinds.POD, fields="spec.nodeName=") == []

    run(test)


def test_a_pod_on_a_node_goes_when_its_agent_says_so(run: Callable[[Test], None]) -> None:
    async def test(api: Api) -> None:
        await create(api, kinds.POD, POD)
        target = b'{"target":{"kind":"Node","name":"n1"}}'
        await api.create(kinds.POD, target, "default", name="p", subresource="binding")
        await api.delete(kinds.POD, "p", "default")
        meta = (await get(api, kinds.POD, "p"))["metadata"]
        assert meta["deletionTimestamp"]
        await api.delete(kinds.POD, "p", "default", uid=meta["uid"], grace_s=0)
        assert not await exists(api, kinds.POD, "p")

    run(test)


def test_a_delete_of_another_incarnation_conflicts(run: Callable[[Test], None]) -> None:
    async def test(api: Api) -> None:
        await config_map(api, "a")
        with pytest.raises(ConflictError):
            await api.delete(kinds.CONFIG_MAP, "a", "default", uid="somebody-else")
        assert await exists(api, kinds.CONFIG_MAP, "a")

    run(test)


@pytest.mark.parametrize(
    ("propagation", "finalizer"), [("Foreground", "foregroundDeletion"), ("Orphan", "orphan")]
)
def test_finalizers_hold_an_object(
    run: Callable[[Test], None], propagation: str, finalizer: str
) -> None:
    async def test(api: Api) -> None:
        await config_map(api, "a")
        await api.delete(kinds.CONFIG_MAP, "a", "default", propagation=propagation)
        meta = (await get(api, kinds.CONFIG_MAP, "a"))["metadata"]
        assert meta["finalizers"] == [finalizer]
        assert meta["deletionTimestamp"]
        await api.patch(kinds.CONFIG_MAP, "a", b'{"metadata":{"finalizers":null}}', "default")
        assert not await exists(api, kinds.CONFIG_MAP, "a")

    run(test)


def test_eviction_deletes(run: Callable[[Test], None]) -> None:
    async def test(api: Api) -> None:
        await create(api, kinds.POD, POD)
        body = b'{"metadata":{"name":"p"}}'
        await api.create(kinds.POD, body, "default", name="p", subresource="eviction")
        assert not await exists(api, kinds.POD, "p")

    run(test)


# -- watching -------------------------------------------------------------------------------


async def collect(api: Api, since: int, count: int, **selectors: str) -> list[WatchEvent]:
    """Return the first `count` events after a revision, bookmarks left out."""
    found: list[WatchEvent] = []
    async with asyncio.timeout(3600):
        async for batch in api.watch(kinds.CONFIG_MAP, revision=since, **selectors):
            found += [e for e in batch if e.type is not EventType.BOOKMARK]
            if len(found) >= count:
                return found
    raise AssertionError(f"the watch ended after {found}")


def shown(events: list[WatchEvent]) -> list[tuple[str, str]]:
    return [(e.type.value, orjson.loads(e.object)["metadata"]["name"]) for e in events]


def test_a_watch_continues_where_a_list_ended(run: Callable[[Test], None]) -> None:
    async def test(api: Api) -> None:
        await config_map(api, "before")
        page = await api.list(kinds.CONFIG_MAP)
        made = await config_map(api, "a")
        await api.patch(kinds.CONFIG_MAP, "a", b'{"data":{"k":"2"}}', "default")
        await api.delete(kinds.CONFIG_MAP, "a", "default")
        events = await collect(api, page.revision, 3)
        assert shown(events) == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]
        assert orjson.loads(events[0].object) == made
        revisions = [e.revision for e in events]
        assert revisions == sorted(set(revisions))
        for event in events:
            assert revision(orjson.loads(event.object)) == event.revision
        again = await collect(api, events[0].revision, 2)
        assert shown(again) == shown(events[1:])

    run(test)


def test_a_watch_sees_what_happens_while_it_waits(run: Callable[[Test], None]) -> None:
    async def test(api: Api) -> None:
        since = (await api.list(kinds.CONFIG_MAP)).revision
        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(collect(api, since, 2))
            await asyncio.sleep(1)
            await config_map(api, "a")
            await asyncio.sleep(1)
            await config_map(api, "b")
        assert shown(waiting.result()) == [("ADDED", "a"), ("ADDED", "b")]

    run(test)


def test_selector_transitions_are_additions_and_deletions(run: Callable[[Test], None]) -> None:
    async def test(api: Api) -> None:
        since = (await api.list(kinds.CONFIG_MAP)).revision
        await config_map(api, "a", color="red")
        await config_map(api, "unseen")
        blue, red = (
            b'{"metadata":{"labels":{"color":"blue"}}}',
            b'{"metadata":{"labels":{"color":"red"}}}',
        )
        await api.patch(kinds.CONFIG_MAP, "a", blue, "default")
        await api.patch(kinds.CONFIG_MAP, "a", red, "default")
        await api.delete(kinds.CONFIG_MAP, "a", "default")
        events = await collect(api, since, 4, labels="color=red")
        assert [kind for kind, _ in shown(events)] == ["ADDED", "DELETED", "ADDED", "DELETED"]

    run(test)


def test_bookmarks_come(run: Callable[[Test], None]) -> None:
    async def test(api: Api) -> None:
        since = (await api.list(kinds.CONFIG_MAP)).revision
        async with asyncio.timeout(120):
            async for batch in api.watch(kinds.CONFIG_MAP, revision=since):
                assert [e.type for e in batch] == [EventType.BOOKMARK]
                return

    run(test)


# -- what the fake leaves out ---------------------------------------------------------------


def test_pages(run: Callable[[Test], None]) -> None:
    async def test(api: Api) -> None:
        for name in "abcde":
            await config_map(api, name)
        page = await api.list(kinds.CONFIG_MAP, limit=2)
        seen = [*page.items]
        while page.continue_token:
            page = await api.list(kinds.CONFIG_MAP, limit=2, continue_token=page.continue_token)
            seen += page.items
        assert [orjson.loads(raw)["metadata"]["name"] for raw in seen] == list("abcde")

    run(test)


def test_strategic_and_json_patches(run: Callable[[Test], None]) -> None:
    async def test(api: Api) -> None:
        await create(api, kinds.POD, POD)
        strategic = {"spec": {"containers": [{"name": "c", "image": "j"}]}}
        raw = await api.patch(
            kinds.POD,
            "p",
            orjson.dumps(strategic),
            "default",
            patch_type=PatchType.STRATEGIC,
        )
        assert orjson.loads(raw)["spec"]["containers"][0]["image"] == "j"
        replace = [{"op": "replace", "path": "/spec/containers/0/image", "value": "k"}]
        raw = await api.patch(
            kinds.POD, "p", orjson.dumps(replace), "default", patch_type=PatchType.JSON
        )
        assert orjson.loads(raw)["spec"]["containers"][0]["image"] == "k"

    run(test)


def test_defaults_and_validation(run: Callable[[Test], None]) -> None:
    async def test(api: Api) -> None:
        pod = await create(api, kinds.POD, POD)
        assert pod["spec"]["restartPolicy"] == "Always"
        assert pod["status"] == {"phase": "Pending", "qosClass": "BestEffort"}
        with pytest.raises(InvalidError) as refused:
            await create(
                api, kinds.POD, {"metadata": {"name": "x"}, "spec": {"containers": [{"name": "c"}]}}
            )
        assert refused.value.message == (
            'Pod "x" is invalid: spec.containers[0].image: Required value'
        )

    run(test)


def test_types_are_checked(run: Callable[[Test], None]) -> None:
    async def test(api: Api) -> None:
        bad = {"metadata": {"name": "x"}, "data": {"k": True}}
        with pytest.raises(BadRequestError, match="cannot unmarshal bool"):
            await create(api, kinds.CONFIG_MAP, bad)

    run(test)


def test_scale(run: Callable[[Test], None]) -> None:
    async def test(api: Api) -> None:
        labels = {"app": "x"}
        template = {"metadata": {"labels": labels}, "spec": POD["spec"]}
        spec = {"selector": {"matchLabels": labels}, "template": template}
        await create(api, kinds.DEPLOYMENT, {"metadata": {"name": "d"}, "spec": spec})
        await api.patch(
            kinds.DEPLOYMENT, "d", b'{"spec":{"replicas":7}}', "default", subresource="scale"
        )
        assert (await get(api, kinds.DEPLOYMENT, "d"))["spec"]["replicas"] == 7

    run(test)


def test_nothing_is_created_in_a_terminating_namespace(run: Callable[[Test], None]) -> None:
    async def test(api: Api) -> None:
        await create(api, kinds.NAMESPACE, {"metadata": {"name": "ns"}}, "")
        await api.delete(kinds.NAMESPACE, "ns")
        with pytest.raises(ForbiddenError):
            await create(api, kinds.CONFIG_MAP, {"metadata": {"name": "x"}}, "ns")

    run(test)
