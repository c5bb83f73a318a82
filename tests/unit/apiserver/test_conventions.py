"""What the API conventions say of every write: names, metadata that only the server sets, owners."""

from typing import Any

import orjson
import pytest
from registry_world import ADMIN, World, in_world

from wherry.api import kinds
from wherry.api.errors import (
    AlreadyExistsError,
    BadRequestError,
    InvalidError,
    MethodNotAllowedError,
)
from wherry.apiserver.asked import check_served
from wherry.apiserver.gate import Action
from wherry.apiserver.resources import BY_KIND
from wherry.apiserver.verbs import Context, ListOptions
from wherry.client.api import PatchType

MAPS = BY_KIND[kinds.CONFIG_MAP]
NAMELESS = "the name of the object (x based on URL) was undeterminable: name must be provided"
OTHER_NAME = "the name of the object (y) does not match the name on the URL (x)"


async def put(w: World, obj: dict[str, Any], ctx: Context | None = None) -> dict[str, Any]:
    written = await w.registry.update(ctx or Context(ADMIN), MAPS, "default", "x", obj)
    decoded: dict[str, Any] = orjson.loads(written.object)
    return decoded


async def patch(w: World, merged: dict[str, Any], ctx: Context | None = None) -> None:
    form = PatchType.MERGE
    await w.registry.patch(ctx or Context(ADMIN), MAPS, "default", "x", merged, form)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({}, NAMELESS),
        ({"name": ""}, NAMELESS),
        ({"name": "y"}, OTHER_NAME),
        (
            {"name": "x", "namespace": "other"},
            "the namespace of the provided object does not match the namespace sent on the request",
        ),
    ],
)
@pytest.mark.parametrize("patched", [True, False])
def test_an_update_says_what_it_is_of(
    metadata: dict[str, Any], message: str, *, patched: bool
) -> None:
    async def run(w: World) -> None:
        await w.create(kinds.CONFIG_MAP, "default", name="x")
        with pytest.raises(BadRequestError) as refused:
            await (patch if patched else put)(w, {"metadata": {"name": None, **metadata}})
        assert refused.value.message == message

    in_world(run)


def test_a_scale_says_what_it_is_of() -> None:
    async def run(w: World) -> None:
        row, labels = BY_KIND[kinds.REPLICA_SET], {"a": "b"}
        template = {
            "metadata": {"labels": labels},
            "spec": {"containers": [{"name": "c", "image": "i"}]},
        }
        spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
        await w.create(kinds.REPLICA_SET, "default", name="x", spec=spec)
        for metadata, message in ({}, NAMELESS), ({"name": "y"}, OTHER_NAME):
            scale = {"metadata": metadata, "spec": {"replicas": 2}}
            with pytest.raises(BadRequestError) as refused:
                await w.registry.update(Context(ADMIN), row, "default", "x", scale, "scale")
            assert refused.value.message == message

    in_world(run)


def test_only_the_server_says_when() -> None:
    """Another time of creation is ignored, a mark of deletion refused."""

    async def run(w: World) -> None:
        made = await w.create(kinds.CONFIG_MAP, "default", name="x")
        then = "2020-01-01T00:00:00Z"
        same = await put(w, {"metadata": {"name": "x", "creationTimestamp": then}})
        assert same["metadata"] == made["metadata"]
        marked = {"name": "x", "deletionTimestamp": then, "deletionGracePeriodSeconds": 3}
        with pytest.raises(InvalidError) as refused:
            await put(w, {"metadata": marked})
        assert [cause.field for cause in refused.value.causes] == [
            "metadata.deletionTimestamp",
            "metadata.deletionGracePeriodSeconds",
        ]

    in_world(run)


def test_a_mark_of_deletion_stays() -> None:
    async def run(w: World) -> None:
        metadata = {"name": "x", "finalizers": ["a.b/c"]}
        await w.create(kinds.CONFIG_MAP, "default", metadata=metadata)
        await w.api.delete(kinds.CONFIG_MAP, "x", "default")
        marked = await w.get(kinds.CONFIG_MAP, "x", "default")
        assert marked["metadata"]["deletionTimestamp"]
        same = await put(w, {"metadata": metadata, "data": {"a": "b"}})
        for field in ("deletionTimestamp", "deletionGracePeriodSeconds"):
            assert same["metadata"][field] == marked["metadata"][field]

    in_world(run)


OWNER = {"apiVersion": "v1", "kind": "Pod", "name": "o", "uid": "u"}
REPEATED = (
    ".metadata.ownerReferences contains duplicate entries{}; API server dedups owner references in "
    "1.20+, and may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) "
    "observed: u"
)


@pytest.mark.parametrize("validation", ["Strict", "Warn", "Ignore"])
def test_an_owner_stands_once(validation: str) -> None:
    """Who is told is not refused for it, however often the write is tried."""
    another = {**OWNER, "name": "other"}

    async def run(w: World) -> None:
        ctx = Context(ADMIN, field_validation=validation)
        obj = {"metadata": {"name": "x", "ownerReferences": [OWNER, another, OWNER]}}
        written = await w.registry.create(ctx, MAPS, "default", orjson.loads(orjson.dumps(obj)))
        assert orjson.loads(written.object)["metadata"]["ownerReferences"] == [OWNER, another]
        assert ctx.warnings == [REPEATED.format("")]
        # The cache has not heard of it yet: the first attempt is made on what is not there any more.
        for number in "12":
            obj["data"] = {"number": number}
            ctx = Context(ADMIN, field_validation=validation)
            again = await put(w, obj, ctx)
            assert again["metadata"]["ownerReferences"] == [OWNER, another]
            assert ctx.warnings == [REPEATED.format("")]
        ctx = Context(ADMIN, field_validation=validation)
        await patch(w, {"metadata": {"ownerReferences": [OWNER, OWNER]}}, ctx)
        assert ctx.warnings == [REPEATED.format(" after mutating admission happens")]

    in_world(run, slow=True)


def test_a_name_that_was_to_be_generated_is_taken() -> None:
    async def run(w: World) -> None:
        metadata = {"name": "x", "generateName": "x-"}
        await w.create(kinds.CONFIG_MAP, "default", name="x")
        with pytest.raises(AlreadyExistsError) as refused:
            await w.create(kinds.CONFIG_MAP, "default", metadata=metadata)
        assert refused.value.message == (
            'configmaps "x" already exists, the server was not able to generate a unique name for the object'
        )
        assert refused.value.to_status()["details"] == {
            "name": "x",
            "kind": "configmaps",
            "retryAfterSeconds": 1,
        }

    in_world(run)


def test_a_new_object_has_no_version_yet() -> None:
    async def run(w: World) -> None:
        await w.create(kinds.CONFIG_MAP, "default", metadata={"name": "a", "resourceVersion": "0"})
        with pytest.raises(BadRequestError, match="resourceVersion should not be set on objects"):
            await w.create(
                kinds.CONFIG_MAP, "default", metadata={"name": "b", "resourceVersion": "7"}
            )

    in_world(run)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ListOptions(revision="x"),
            'invalid resource version: resourceVersion: Invalid value: "x": strconv.ParseUint: '
            'parsing "x": invalid syntax',
        ),
        (
            ListOptions(continue_token="eyJydiI6MCwic3RhcnQiOiIvIn0"),
            "invalid continue token: continue key is not valid: incorrect encoded start "
            "resourceVersion (version meta.k8s.io/v1)",
        ),
        (
            ListOptions(continue_token="eyJydiI6MiwiciI6Ii8iLCJzdGFydCI6Ii8ifQ"),
            "invalid continue token: continue key is not valid: /",
        ),
        (
            ListOptions(continue_token="eyJydiI6MiwiciI6Ii8iLCJzdGFydCI6Ii8ifQ", revision="2"),
            "specifying resource version is not allowed when using continue",
        ),
    ],
)
def test_lists_of_what_was_never_there(options: ListOptions, message: str) -> None:
    async def run(w: World) -> None:
        with pytest.raises(BadRequestError) as refused:
            await w.registry.list(Context(ADMIN), MAPS, "default", options)
        assert refused.value.message == message

    in_world(run)


def test_nobody_deletes_in_all_namespaces_at_once() -> None:
    check_served(Action("deletecollection", MAPS, "default"))
    check_served(Action("deletecollection", BY_KIND[kinds.PERSISTENT_VOLUME]))
    with pytest.raises(MethodNotAllowedError):
        check_served(Action("deletecollection", MAPS))
