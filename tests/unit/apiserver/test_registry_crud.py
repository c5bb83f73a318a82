"""The verbs as transcripts: what a client does, and what it is told."""

import asyncio
import re
from typing import Any

import orjson
import pytest
from registry_world import ADMIN, World, in_world

from wherry.api import kinds
from wherry.api.errors import (
    AlreadyExistsError,
    BadRequestError,
    ConflictError,
    ExpiredError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    StatusError,
)
from wherry.apiserver.resources import BY_KIND
from wherry.apiserver.verbs import Context, DeleteOptions, ListOptions
from wherry.client.api import PatchType

CONFIG_MAP = BY_KIND[kinds.CONFIG_MAP]
UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def container(**more: object) -> dict[str, object]:
    return {"name": "c", "image": "nginx:1.27", **more}


def test_create_fills_metadata_and_ignores_what_clients_may_not_choose() -> None:
    async def run(w: World) -> None:
        sent: dict[str, object] = {
            "name": "a",
            "uid": "mine",
            "creationTimestamp": None,
            "generation": 7,
            "managedFields": [],
        }
        made = await w.create(kinds.CONFIG_MAP, "default", metadata=sent, data={"k": "v"})
        meta = made["metadata"]
        assert UUID4.fullmatch(meta["uid"])
        assert meta["creationTimestamp"] == "2026-09-21T14:13:20Z"
        assert set(meta) == {"resourceVersion", "name", "namespace", "uid", "creationTimestamp"}
        assert made == await w.get(kinds.CONFIG_MAP, "a", "default")

    in_world(run)


def test_objects_begin_with_their_metadata_and_resource_version() -> None:
    async def run(w: World) -> None:
        raw = await w.api.create(kinds.CONFIG_MAP, b'{"metadata":{"name":"a"}}', "default")
        revision = orjson.loads(raw)["metadata"]["resourceVersion"]
        assert raw.startswith(b'{"metadata":{"resourceVersion":"%s",' % revision.encode())

    in_world(run)


@pytest.mark.parametrize(
    ("kind", "body", "error", "message"),
    [
        (
            kinds.CONFIG_MAP,
            {"metadata": {"name": "taken"}},
            AlreadyExistsError,
            'configmaps "taken" already exists',
        ),
        (
            kinds.DEPLOYMENT,
            {"metadata": {"name": "x", "resourceVersion": "3"}},
            BadRequestError,
            "resourceVersion should not be set on objects to be created",
        ),
        (
            kinds.CONFIG_MAP,
            {"metadata": {"name": "x", "namespace": "other"}},
            BadRequestError,
            "the namespace of the provided object does not match the namespace sent on the request",
        ),
        (
            kinds.CONFIG_MAP,
            {},
            InvalidError,
            'ConfigMap "" is invalid: metadata.name: Required value: name or generateName is required',
        ),
        (
            kinds.CONFIG_MAP,
            {"metadata": {"name": "Big"}},
            InvalidError,
            'ConfigMap "Big" is invalid: metadata.name: Invalid value: "Big": a lowercase RFC 1123 '
            "subdomain must consist of lower case alphanumeric characters, '-' or '.', and must "
            "start and end with an alphanumeric character (e.g. 'example.com', regex used for "
            "validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
        ),
    ],
)
def test_create_refuses(
    kind: kinds.Kind, body: dict[str, object], error: type[StatusError], message: str
) -> None:
    async def run(w: World) -> None:
        await w.create(kinds.CONFIG_MAP, "default", name="taken")
        with pytest.raises(error) as refused:
            await w.api.create(kind, orjson.dumps(body), "default")
        assert refused.value.message == message

    in_world(run)


def test_creation_needs_a_namespace_that_is_not_going_away() -> None:
    async def run(w: World) -> None:
        with pytest.raises(NotFoundError) as missing:
            await w.create(kinds.CONFIG_MAP, "nowhere", name="a")
        assert missing.value.message == 'namespaces "nowhere" not found'
        await w.create(kinds.NAMESPACE, name="going")
        await w.create(kinds.CONFIG_MAP, "going", name="before")
        await w.api.delete(kinds.NAMESPACE, "going")
        with pytest.raises(ForbiddenError) as refused:
            await w.create(kinds.CONFIG_MAP, "going", name="a")
        assert refused.value.message == (
            'configmaps "a" is forbidden: unable to create new content in namespace going because '
            "it is being terminated"
        )

    in_world(run)


def test_a_generated_name_that_is_taken_is_generated_again() -> None:
    async def run(w: World) -> None:
        names = set()
        for _ in range(50):
            made = await w.create(
                kinds.CONFIG_MAP, "default", metadata={"generateName": "x" * 60 + "-"}
            )
            names.add(made["metadata"]["name"])
        assert len(names) == 50
        assert all(re.fullmatch("x{58}[bcdfghjklmnpqrstvwxz2456789]{5}", n) for n in names)

    in_world(run)


def test_update_compares_the_resource_version() -> None:
    async def run(w: World) -> None:
        made = await w.create(kinds.CONFIG_MAP, "default", name="a", data={"k": "1"})
        stale = orjson.dumps(made)
        made["data"]["k"] = "2"
        await w.api.update(kinds.CONFIG_MAP, "a", orjson.dumps(made), "default")
        with pytest.raises(ConflictError) as refused:
            await w.api.update(kinds.CONFIG_MAP, "a", stale, "default")
        assert refused.value.message == (
            'Operation cannot be fulfilled on configmaps "a": the object has been modified; '
            "please apply your changes to the latest version and try again"
        )
        unconditional = b'{"metadata":{"name":"a"},"data":{"k":"3"}}'
        after = orjson.loads(await w.api.update(kinds.CONFIG_MAP, "a", unconditional, "default"))
        assert after["data"] == {"k": "3"}
        assert after["metadata"]["uid"] == made["metadata"]["uid"]

    in_world(run)


def test_an_update_that_changes_nothing_writes_nothing() -> None:
    async def run(w: World) -> None:
        made = await w.create(kinds.CONFIG_MAP, "default", name="a", data={"k": "1"})
        before = w.store.state.revision
        body = orjson.dumps({"data": {"k": "1"}, "metadata": made["metadata"]})
        raw = await w.api.update(kinds.CONFIG_MAP, "a", body, "default")
        assert orjson.loads(raw) == made
        assert w.store.state.revision == before

    in_world(run)


@pytest.mark.parametrize(
    ("patch", "patch_type", "data"),
    [
        ({"data": {"b": "2", "a": None}}, PatchType.MERGE, {"b": "2"}),
        ({"data": {"b": "2"}}, PatchType.STRATEGIC, {"a": "1", "b": "2"}),
        ([{"op": "replace", "path": "/data/a", "value": "9"}], PatchType.JSON, {"a": "9"}),
    ],
)
def test_patch(patch: object, patch_type: PatchType, data: dict[str, str]) -> None:
    async def run(w: World) -> None:
        await w.create(kinds.CONFIG_MAP, "default", name="x", data={"a": "1"})
        raw = await w.api.patch(
            kinds.CONFIG_MAP, "x", orjson.dumps(patch), "default", patch_type=patch_type
        )
        assert orjson.loads(raw)["data"] == data

    in_world(run)


def test_a_patch_with_a_stale_resource_version_conflicts_and_one_without_does_not() -> None:
    async def run(w: World) -> None:
        made = await w.create(kinds.CONFIG_MAP, "default", name="x", data={"a": "1"})
        await w.api.patch(kinds.CONFIG_MAP, "x", b'{"data":{"b":"1"}}', "default")
        stale = {"metadata": {"resourceVersion": made["metadata"]["resourceVersion"]}, "data": {}}
        with pytest.raises(ConflictError):
            await w.api.patch(kinds.CONFIG_MAP, "x", orjson.dumps(stale), "default")
        for name in ("x", "absent"):  # "not found" would be no help: apply is to create it
            with pytest.raises(InvalidError, match="fieldManager: Required value"):
                await w.api.patch(
                    kinds.CONFIG_MAP, name, b"{}", "default", patch_type=PatchType.APPLY
                )

    in_world(run)


def test_a_workload_hears_of_its_template_before_its_selector() -> None:
    async def run(w: World) -> None:
        labels = {"app": "d"}
        template = {"metadata": {"labels": labels}, "spec": {"containers": [container()]}}
        spec = {"selector": {"matchLabels": labels}, "template": template}
        made = await w.create(kinds.DEPLOYMENT, "default", name="d", spec=spec)
        made["spec"]["selector"] = {"matchLabels": {"app": "other"}}
        with pytest.raises(InvalidError) as caught:
            await w.api.update(kinds.DEPLOYMENT, "d", orjson.dumps(made), "default")
        assert [cause.field for cause in caught.value.causes] == [
            "spec.template.metadata.labels",
            "spec.selector",
        ]

    in_world(run)


def test_status_and_spec_are_written_through_different_doors() -> None:
    async def run(w: World) -> None:
        spec = {
            "selector": {"matchLabels": {"a": "b"}},
            "template": {
                "metadata": {"labels": {"a": "b"}},
                "spec": {"containers": [container()]},
            },
        }
        made = await w.create(
            kinds.DEPLOYMENT, "default", name="d", spec=spec, status={"replicas": 9}
        )
        assert not made.get("status")
        assert made["metadata"]["generation"] == 1
        body = orjson.dumps({"spec": {"replicas": 5}, "status": {"replicas": 2}})
        raw = await w.api.patch(kinds.DEPLOYMENT, "d", body, "default", subresource="status")
        after = orjson.loads(raw)
        assert after["status"] == {"replicas": 2}
        assert after["spec"] == made["spec"]
        assert after["metadata"]["generation"] == 1
        raw = await w.api.patch(kinds.DEPLOYMENT, "d", body, "default")
        after = orjson.loads(raw)
        assert after["status"] == {"replicas": 2}
        assert after["spec"]["replicas"] == 5
        assert after["metadata"]["generation"] == 2
        raw = await w.api.get(kinds.DEPLOYMENT, "d", "default", subresource="scale")
        assert orjson.loads(raw)["spec"] == {"replicas": 5}
        assert orjson.loads(raw)["status"] == {"replicas": 2, "selector": "a=b"}
        scaled = await w.api.patch(
            kinds.DEPLOYMENT, "d", b'{"spec":{"replicas":0}}', "default", subresource="scale"
        )
        assert orjson.loads(scaled)["spec"] == {}
        assert (await w.get(kinds.DEPLOYMENT, "d", "default"))["spec"]["replicas"] == 0

    in_world(run)


def test_a_dry_run_decides_everything_and_stores_nothing() -> None:
    async def run(w: World) -> None:
        await w.create(kinds.CONFIG_MAP, "default", name="a", data={"k": "1"})
        before = w.store.state.revision
        dry = Context(ADMIN, dry_run=True)
        new = {"metadata": {"name": "b"}}
        written = await w.registry.create(dry, CONFIG_MAP, "default", new)
        assert written.created
        assert orjson.loads(written.object)["metadata"]["uid"]
        with pytest.raises(AlreadyExistsError):
            await w.registry.create(dry, CONFIG_MAP, "default", {"metadata": {"name": "a"}})
        patched = await w.registry.patch(
            dry, CONFIG_MAP, "default", "a", {"data": {"k": "2"}}, PatchType.MERGE
        )
        assert orjson.loads(patched.object)["data"] == {"k": "2"}
        gone = await w.registry.delete(dry, CONFIG_MAP, "default", "a", DeleteOptions())
        assert gone.deleted
        assert w.store.state.revision == before

    in_world(run)


def test_pages_are_all_of_one_revision() -> None:
    async def run(w: World) -> None:
        for index in range(10):
            await w.create(kinds.CONFIG_MAP, "default", name=f"c{index}")
        first = await w.registry.list(Context(ADMIN), CONFIG_MAP, "", ListOptions(limit=4))
        assert first.remaining == 6
        await w.create(kinds.CONFIG_MAP, "default", name="c45")
        await w.api.delete(kinds.CONFIG_MAP, "c9", "default")
        seen, page = [*first.items], first
        while page.continue_token:
            options = ListOptions(limit=4, continue_token=page.continue_token)
            page = await w.registry.list(Context(ADMIN), CONFIG_MAP, "", options)
            assert page.revision == first.revision
            seen += page.items
        names = [orjson.loads(raw)["metadata"]["name"] for raw in seen]
        assert names == [f"c{index}" for index in range(10)]
        await asyncio.sleep(1)  # the caches move on, so only the store knows the old state
        await w.store.compact(w.store.state.revision)
        options = ListOptions(limit=4, continue_token=first.continue_token)
        with pytest.raises(ExpiredError):
            await w.registry.list(Context(ADMIN), CONFIG_MAP, "", options)

    in_world(run)


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ("metadata.name=b", ["b"]),
        ("metadata.name!=b", ["a", "c"]),
        ("spec.nodeName=", ["a", "c"]),
        ("spec.nodeName=n1,status.phase!=Failed", ["b"]),
        ("spec.hostNetwork=false", ["a", "b", "c"]),
    ],
)
def test_field_selectors(fields: str, found: list[str]) -> None:
    async def run(w: World) -> None:
        for name in "abc":
            await w.create(kinds.POD, "default", name=name, spec={"containers": [container()]})
        target = b'{"target":{"kind":"Node","name":"n1"}}'
        await w.api.create(kinds.POD, target, "default", name="b", subresource="binding")
        page = await w.api.list(kinds.POD, fields=fields)
        assert [orjson.loads(raw)["metadata"]["name"] for raw in page.items] == found

    in_world(run)


def test_an_unknown_field_selector_is_refused() -> None:
    async def run(w: World) -> None:
        with pytest.raises(BadRequestError) as refused:
            await w.api.list(kinds.POD, fields="spec.color=red")
        # kubectl says itself what was asked for.
        assert refused.value.message == "field label not supported: spec.color"

    in_world(run)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"metadata": {"name": "q"}},
            BadRequestError,
            "name in URL does not match name in Binding object",
        ),
        (
            {"metadata": {"uid": "1"}},
            ConflictError,
            r'on pods "p": StorageError: invalid object, Code: 4, Key: /registry/pods/default/p, '
            r"ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: 1, UID in",
        ),
        (
            {"metadata": {"resourceVersion": "1"}},
            ConflictError,
            r"AdditionalErrorMsg: Precondition failed: ResourceVersion in precondition: 1, Res",
        ),
        (
            {"target": {"kind": "Rack", "name": "n1"}},
            InvalidError,
            'target.kind: Unsupported value: "Rack": supported values: "Node", "<empty>"',
        ),
        ({"target": {"kind": "Node"}}, InvalidError, "target.name: Required value"),
        ({"target": "n1"}, BadRequestError, "cannot be handled as a Binding"),
        ({}, ConflictError, r'pods/binding "p": pod p has non-empty .spec.schedulingGates'),
    ],
)
def test_what_cannot_be_bound(
    change: dict[str, Any], error: type[StatusError], message: str
) -> None:
    async def run(w: World) -> None:
        spec = {"containers": [container()], "schedulingGates": [{"name": "a.io/wait"}]}
        await w.create(kinds.POD, "default", name="p", spec=spec)
        body = orjson.dumps({"target": {"kind": "Node", "name": "n1"}} | change)
        with pytest.raises(error, match=message):
            await w.api.create(kinds.POD, body, "default", name="p", subresource="binding")

    in_world(run)


def test_a_pod_is_bound_once() -> None:
    async def run(w: World) -> None:
        await w.create(kinds.POD, "default", name="p", spec={"containers": [container()]})
        body = orjson.dumps(
            {"metadata": {"annotations": {"a": "b"}}, "target": {"kind": "Node", "name": "n1"}}
        )
        await w.api.create(kinds.POD, body, "default", name="p", subresource="binding")
        pod = await w.get(kinds.POD, "p", "default")
        assert pod["spec"]["nodeName"] == "n1"
        assert pod["metadata"]["annotations"] == {"a": "b"}
        scheduled = pod["status"]["conditions"][-1]
        assert (scheduled["type"], scheduled["status"]) == ("PodScheduled", "True")
        with pytest.raises(ConflictError) as refused:
            await w.api.create(kinds.POD, body, "default", name="p", subresource="binding")
        assert refused.value.message == (
            'Operation cannot be fulfilled on pods/binding "p": pod p is already assigned to '
            'node "n1"'
        )
        assert refused.value.kind == "pods/binding"

    in_world(run)


def test_a_pod_that_waited_for_a_node_waits_no_longer_when_it_is_bound() -> None:
    async def run(w: World) -> None:
        made = await w.create(kinds.POD, "default", name="p", spec={"containers": [container()]})
        waiting = [{"type": kind, "status": "False"} for kind in ("Ready", "PodScheduled")]
        made["status"]["conditions"] = waiting
        await w.api.update(kinds.POD, "p", orjson.dumps(made), "default", subresource="status")
        body = b'{"target":{"kind":"Node","name":"n1"}}'
        await w.api.create(kinds.POD, body, "default", name="p", subresource="binding")
        conditions = (await w.get(kinds.POD, "p", "default"))["status"]["conditions"]
        assert [(c["type"], c["status"]) for c in conditions] == [
            ("Ready", "False"),
            ("PodScheduled", "True"),
        ]

    in_world(run)


def test_events_go_away_after_their_time() -> None:
    async def run(w: World) -> None:
        event = {"involvedObject": {"kind": "Pod", "namespace": "default", "name": "p"}}
        await w.create(kinds.EVENT, "default", name="e", **event)
        assert len((await w.api.list(kinds.EVENT)).items) == 1
        await asyncio.sleep(2 * 3600)
        assert not (await w.api.list(kinds.EVENT)).items

    in_world(run)


def test_empty_maps_and_lists_of_the_metadata_are_left_out() -> None:
    """As Go's `omitempty`: who asks for them by path finds nothing."""
    empty: dict[str, Any] = {
        "labels": {},
        "annotations": {},
        "finalizers": [],
        "ownerReferences": [],
    }

    async def run(w: World) -> None:
        body = orjson.dumps({"metadata": {"name": "a", **empty}})
        made = orjson.loads(await w.api.create(kinds.CONFIG_MAP, body, "default"))
        assert not empty.keys() & made["metadata"].keys()
        for finalizers in (["example.com/hold"], []):
            patch = orjson.dumps({"metadata": {"finalizers": finalizers, "labels": {}}})
            held = orjson.loads(await w.api.patch(kinds.CONFIG_MAP, "a", patch, "default"))
            assert held["metadata"].get("finalizers", []) == finalizers
            assert empty.keys() & held["metadata"].keys() == (
                {"finalizers"} if finalizers else set()
            )

    in_world(run)
