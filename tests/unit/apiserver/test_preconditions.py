"""Writes that were made for another version or incarnation: who is told what, in upstream's words."""

import asyncio
import random
from typing import Any

import orjson
import pytest
from registry_world import ADMIN, World, in_world

from wherry.agent.runtime_config import PodRef
from wherry.agent.status_writer import StatusWriter
from wherry.api import kinds
from wherry.api.errors import ConflictError, InvalidError, StatusError, is_of_another
from wherry.api.kinds import Kind
from wherry.apiserver.resources import BY_KIND
from wherry.apiserver.verbs import Context, DeleteOptions
from wherry.client.api import PatchType

CONFIG_MAP = {"data": {"a": "b"}}
LABELS = {"app": "web"}
DEPLOYMENT = {
    "spec": {
        "replicas": 1,
        "selector": {"matchLabels": LABELS},
        "template": {
            "metadata": {"labels": LABELS},
            "spec": {"containers": [{"name": "c", "image": "i"}]},
        },
    }
}
MAP, WEB = (kinds.CONFIG_MAP, CONFIG_MAP), (kinds.DEPLOYMENT, DEPLOYMENT)
POD_SPEC = {"containers": [{"name": "c", "image": "i"}]}
STORED = (
    'Operation cannot be fulfilled on {what} "x": StorageError: invalid object, Code: 4, Key: '
    "/registry/{plural}/default/x, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID "
    "in precondition: other, UID in object meta: {uid}"
)
SCALED = (
    'Operation cannot be fulfilled on deployments/scale.apps "x": Precondition failed: UID in '
    "precondition: other, UID in object meta: {uid}"
)
IMMUTABLE = '{kind} "x" is invalid: metadata.uid: Invalid value: "other": field is immutable'


async def made(w: World, kind: Kind, obj: dict[str, Any]) -> dict[str, Any]:
    return await w.create(kind, "default", name="x", **orjson.loads(orjson.dumps(obj)))


def told(text: str, kind: Kind, uid: str) -> str:
    return text.format(what=kind.qualified, plural=kind.plural, kind=shown(kind), uid=uid)


def shown(kind: Kind) -> str:
    return f"{kind.kind}.{kind.group}" if kind.group else kind.kind


@pytest.mark.parametrize(
    ("what", "subresource", "message"),
    [(MAP, "", STORED), (WEB, "", STORED), (WEB, "status", STORED), (WEB, "scale", STORED)],
)
def test_what_replaces_another_incarnation(
    what: tuple[Kind, dict[str, Any]], subresource: str, message: str
) -> None:
    """The uid is looked at before the version, and also where nothing is any more."""
    kind, obj = what
    row = BY_KIND[kind]

    async def run(w: World) -> None:
        now = await made(w, kind, obj)
        uid = now["metadata"]["uid"]
        if subresource == "scale":
            now = orjson.loads(await w.registry.get(Context(ADMIN), row, "default", "x", "scale"))
        now["metadata"] |= {"uid": "other", "resourceVersion": "1"}
        for actual in (uid, ""):
            with pytest.raises(ConflictError) as refused:
                await w.registry.update(Context(ADMIN), row, "default", "x", now, subresource)
            assert refused.value.message == told(message, kind, actual)
            assert (refused.value.name, refused.value.kind) == ("x", kind.plural)
            if actual:
                await w.api.delete(kind, "x", "default")

    in_world(run)


@pytest.mark.parametrize(
    "form", [PatchType.MERGE, PatchType.STRATEGIC, PatchType.JSON, PatchType.APPLY]
)
@pytest.mark.parametrize(
    ("what", "subresource", "error", "message"),
    [
        (MAP, "", InvalidError, IMMUTABLE),
        (WEB, "", InvalidError, IMMUTABLE),
        (WEB, "status", InvalidError, IMMUTABLE),
        (WEB, "scale", ConflictError, SCALED),
    ],
)
def test_a_patch_changes_no_uid(
    what: tuple[Kind, dict[str, Any]],
    subresource: str,
    error: type[StatusError],
    message: str,
    form: PatchType,
) -> None:
    kind, obj = what

    async def run(w: World) -> None:
        uid = (await made(w, kind, obj))["metadata"]["uid"]
        patch: Any = {"metadata": {"uid": "other"}}
        if form is PatchType.JSON:
            patch = [{"op": "replace", "path": "/metadata/uid", "value": "other"}]
        elif form is PatchType.APPLY:
            scale = {"apiVersion": "autoscaling/v1", "kind": "Scale"}
            own = {"apiVersion": kind.api_version, "kind": kind.kind}
            patch |= scale if subresource == "scale" else own
            patch["metadata"]["name"] = "x"
        ctx = Context(ADMIN, field_manager="me", force=True)
        row = BY_KIND[kind]
        with pytest.raises(error) as refused:
            await w.registry.patch(ctx, row, "default", "x", patch, form, subresource)
        assert refused.value.message == told(message, kind, uid)
        assert is_of_another(refused.value) is (error is InvalidError)

    in_world(run)


def test_a_status_of_a_pod_that_another_one_followed_is_taken_back() -> None:
    """An agent that is behind does not insist: its pod is gone."""

    async def run(w: World) -> None:
        pod = await w.create(kinds.POD, "default", name="x", spec=POD_SPEC)
        writer = StatusWriter(w.api, random.Random(1))
        taken_back = asyncio.Event()
        writer.set(PodRef("default", "x", "other"), {"phase": "Failed"}, conflicted=taken_back.set)
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(writer.run())
            async with asyncio.timeout(30):
                await taken_back.wait()
            running.cancel()
        assert (await w.get(kinds.POD, "x", "default"))["status"] == pod["status"]

    in_world(run)


def test_a_delete_of_another_incarnation() -> None:
    async def run(w: World) -> None:
        uid = (await made(w, *MAP))["metadata"]["uid"]
        row = BY_KIND[kinds.CONFIG_MAP]
        with pytest.raises(ConflictError) as refused:
            await w.registry.delete(Context(ADMIN), row, "default", "x", DeleteOptions(uid="other"))
        assert refused.value.message == (
            'Operation cannot be fulfilled on ConfigMap "x": the UID in the precondition (other) '
            f"does not match the UID in record ({uid}). The object might have been deleted and then recreated"
        )

    in_world(run)


def test_a_kind_that_needs_a_version_says_so_by_its_resource() -> None:
    async def run(w: World) -> None:
        lease = await w.create(kinds.LEASE, "default", name="x")
        del lease["metadata"]["resourceVersion"]
        with pytest.raises(InvalidError) as refused:
            await w.registry.update(Context(ADMIN), BY_KIND[kinds.LEASE], "default", "x", lease)
        assert refused.value.message == (
            'leases.coordination.k8s.io "x" is invalid: metadata.resourceVersion: Invalid value: 0: '
            "must be specified for an update"
        )

    in_world(run)
