"""Deletion: grace, finalizers, propagation, namespaces, preconditions."""

from typing import Any

import orjson
import pytest
from registry_world import ADMIN, World, in_world

from wherry.api import kinds
from wherry.api.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError
from wherry.apiserver.resources import BY_KIND
from wherry.apiserver.verbs import Context, DeleteOptions, ListOptions

POD_SPEC = {"containers": [{"name": "c", "image": "nginx"}], "terminationGracePeriodSeconds": 20}


async def scheduled_pod(w: World, name: str = "p") -> dict[str, Any]:
    await w.create(kinds.POD, "default", name=name, spec=dict(POD_SPEC))
    body = b'{"target":{"name":"n1"}}'
    await w.api.create(kinds.POD, body, "default", name=name, subresource="binding")
    return await w.get(kinds.POD, name, "default")


async def exists(w: World, kind: kinds.Kind, name: str, namespace: str = "default") -> bool:
    try:
        await w.api.get(kind, name, namespace)
    except NotFoundError:
        return False
    return True


def test_a_pod_on_a_node_waits_for_its_agent() -> None:
    async def run(w: World) -> None:
        await scheduled_pod(w)
        marked = orjson.loads(await w.api.delete(kinds.POD, "p", "default"))["metadata"]
        assert marked["deletionGracePeriodSeconds"] == 20
        assert marked["deletionTimestamp"] == "2026-09-21T14:13:40Z"
        again = orjson.loads(await w.api.delete(kinds.POD, "p", "default"))["metadata"]
        assert again == marked
        shorter = orjson.loads(await w.api.delete(kinds.POD, "p", "default", grace_s=5))["metadata"]
        assert shorter["deletionTimestamp"] == "2026-09-21T14:13:25Z"
        longer = orjson.loads(await w.api.delete(kinds.POD, "p", "default", grace_s=50))["metadata"]
        assert longer["deletionTimestamp"] == "2026-09-21T14:13:25Z"
        unhurried = orjson.loads(await w.api.delete(kinds.POD, "p", "default"))["metadata"]
        assert unhurried["deletionTimestamp"] == "2026-09-21T14:13:25Z"
        await w.api.delete(kinds.POD, "p", "default", grace_s=0)
        assert not await exists(w, kinds.POD, "p")

    in_world(run)


@pytest.mark.parametrize("phase", ["", "Succeeded", "Failed"])
def test_a_pod_without_processes_goes_at_once(phase: str) -> None:
    async def run(w: World) -> None:
        if phase:
            await scheduled_pod(w)
            status = orjson.dumps({"status": {"phase": phase}})
            await w.api.patch(kinds.POD, "p", status, "default", subresource="status")
        else:
            await w.create(kinds.POD, "default", name="p", spec=dict(POD_SPEC))
        await w.api.delete(kinds.POD, "p", "default")
        assert not await exists(w, kinds.POD, "p")

    in_world(run)


@pytest.mark.parametrize(
    ("propagation", "finalizers"),
    [("Foreground", ["foregroundDeletion"]), ("Orphan", ["orphan"])],
)
def test_propagation_leaves_a_finalizer_for_the_garbage_collector(
    propagation: str, finalizers: list[str]
) -> None:
    async def run(w: World) -> None:
        await w.create(kinds.CONFIG_MAP, "default", name="a")
        raw = await w.api.delete(kinds.CONFIG_MAP, "a", "default", propagation=propagation)
        meta = orjson.loads(raw)["metadata"]
        assert meta["finalizers"] == finalizers
        assert meta["deletionTimestamp"]
        await w.api.patch(kinds.CONFIG_MAP, "a", b'{"metadata":{"finalizers":null}}', "default")
        assert not await exists(w, kinds.CONFIG_MAP, "a")

    in_world(run)


def test_finalizers_hold_an_object_and_none_may_be_added() -> None:
    async def run(w: World) -> None:
        meta = {"name": "a", "finalizers": ["example.com/f"]}
        await w.create(kinds.CONFIG_MAP, "default", metadata=meta)
        await w.api.delete(kinds.CONFIG_MAP, "a", "default")
        assert await exists(w, kinds.CONFIG_MAP, "a")
        more = b'{"metadata":{"finalizers":["example.com/f","example.com/g"]}}'
        with pytest.raises(InvalidError) as refused:
            await w.api.patch(kinds.CONFIG_MAP, "a", more, "default")
        assert refused.value.message == (
            'ConfigMap "a" is invalid: metadata.finalizers: Forbidden: no new finalizers can be '
            "added if the object is being deleted, found new finalizers "
            '[]string{"example.com/g"}'
        )
        await w.api.patch(kinds.CONFIG_MAP, "a", b'{"metadata":{"finalizers":[]}}', "default")
        assert not await exists(w, kinds.CONFIG_MAP, "a")

    in_world(run)


def test_a_namespace_goes_when_its_content_has_gone() -> None:
    async def run(w: World) -> None:
        made = await w.create(kinds.NAMESPACE, name="ns")
        assert made["spec"]["finalizers"] == ["kubernetes"]
        assert made["status"] == {"phase": "Active"}
        marked = orjson.loads(await w.api.delete(kinds.NAMESPACE, "ns"))
        assert marked["status"]["phase"] == "Terminating"
        assert marked["metadata"]["deletionTimestamp"]
        body = orjson.dumps({"metadata": {"name": "ns"}, "spec": {"finalizers": []}})
        await w.api.update(kinds.NAMESPACE, "ns", body, subresource="finalize")
        assert not await exists(w, kinds.NAMESPACE, "ns", "")

    in_world(run)


def test_some_namespaces_are_for_ever() -> None:
    async def run(w: World) -> None:
        with pytest.raises(ForbiddenError) as refused:
            await w.api.delete(kinds.NAMESPACE, "default")
        assert refused.value.message == (
            'namespaces "default" is forbidden: this namespace may not be deleted'
        )

    in_world(run)


def test_a_delete_for_another_incarnation_is_refused() -> None:
    async def run(w: World) -> None:
        made = await w.create(kinds.CONFIG_MAP, "default", name="a")
        with pytest.raises(ConflictError) as refused:
            await w.api.delete(kinds.CONFIG_MAP, "a", "default", uid="other")
        assert refused.value.message == (
            'Operation cannot be fulfilled on ConfigMap "a": the UID in the precondition (other) '
            f"does not match the UID in record ({made['metadata']['uid']}). "
            "The object might have been deleted and then recreated"
        )
        await w.api.delete(kinds.CONFIG_MAP, "a", "default", uid=made["metadata"]["uid"])

    in_world(run)


def test_a_refusal_within_a_collection_is_the_answer() -> None:
    async def test(w: World) -> None:
        for name in ("a", "b"):
            await w.create(kinds.CONFIG_MAP, "default", name=name)
        everything, stale = ListOptions(), DeleteOptions(uid="other")
        with pytest.raises(ConflictError, match="the UID in the precondition"):
            await w.registry.delete_collection(
                Context(ADMIN), BY_KIND[kinds.CONFIG_MAP], "default", everything, stale
            )

    in_world(test)


def test_eviction_deletes_with_the_options_it_carries() -> None:
    async def run(w: World) -> None:
        await scheduled_pod(w)
        body = b'{"deleteOptions":{"gracePeriodSeconds":3}}'
        await w.api.create(kinds.POD, body, "default", name="p", subresource="eviction")
        meta = (await w.get(kinds.POD, "p", "default"))["metadata"]
        assert meta["deletionGracePeriodSeconds"] == 3

    in_world(run)


def test_a_long_grace_given_once_is_not_cut_by_a_delete_that_asks_for_none() -> None:
    async def run(w: World) -> None:
        await scheduled_pod(w)
        first = orjson.loads(await w.api.delete(kinds.POD, "p", "default", grace_s=90))
        again = orjson.loads(await w.api.delete(kinds.POD, "p", "default"))
        assert again == first

    in_world(run)
