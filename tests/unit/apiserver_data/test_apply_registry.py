"""Server-side apply through the registry: created, repeated, refused, and whom writes are ascribed to."""

import asyncio
from typing import Any

import orjson
import pytest
from registry_world import ADMIN, World, in_world

from wherry.api import kinds
from wherry.api.errors import ForbiddenError, StatusError
from wherry.api.kinds import Kind
from wherry.apiserver.resources import BY_KIND
from wherry.apiserver.verbs import Context
from wherry.client.api import PatchType

Object = dict[str, Any]


async def apply(
    w: World, kind: Kind, config: Object, manager: str = "me", **context: Any
) -> Object:
    """Apply in the namespace `default` and return the object, `created` in its annotations' stead."""
    ctx = Context(ADMIN, field_manager=manager, **context)
    config = {"apiVersion": kind.api_version, "kind": kind.kind, **config}
    name = config["metadata"]["name"]
    written = await w.registry.patch(ctx, BY_KIND[kind], "default", name, config, PatchType.APPLY)
    found: Object = orjson.loads(written.object)
    return found


async def replace(w: World, kind: Kind, obj: Object, manager: str) -> Object:
    ctx = Context(ADMIN, field_manager=manager)
    name = obj["metadata"]["name"]
    written = await w.registry.update(ctx, BY_KIND[kind], "default", name, obj)
    found: Object = orjson.loads(written.object)
    return found


def managers(obj: Object) -> list[tuple[str, str, str]]:
    return [
        (e["manager"], e["operation"], e.get("subresource", ""))
        for e in obj["metadata"].get("managedFields", [])
    ]


def settings(**data: str) -> Object:
    return {"metadata": {"name": "c"}, "data": data}


def test_the_same_configuration_again_writes_nothing() -> None:
    async def run(w: World) -> None:
        made = await apply(w, kinds.CONFIG_MAP, settings(a="1"))
        await asyncio.sleep(5)
        assert await apply(w, kinds.CONFIG_MAP, settings(a="1")) == made
        assert await w.get(kinds.CONFIG_MAP, "c", "default") == made

    in_world(run)


def test_a_dry_run_shows_and_keeps_nothing() -> None:
    async def run(w: World) -> None:
        made = await apply(w, kinds.CONFIG_MAP, settings(a="1"))
        shown = await apply(w, kinds.CONFIG_MAP, settings(a="2"), dry_run=True)
        assert shown["data"] == {"a": "2"}
        assert await w.get(kinds.CONFIG_MAP, "c", "default") == made

    in_world(run)


def test_who_may_not_create_may_still_apply_to_what_is_there() -> None:
    def refuse() -> None:
        raise ForbiddenError("no")

    async def run(w: World) -> None:
        with pytest.raises(ForbiddenError):
            await apply(w, kinds.CONFIG_MAP, settings(a="1"), may_create=refuse)
        await apply(w, kinds.CONFIG_MAP, settings(a="1"))
        changed = await apply(w, kinds.CONFIG_MAP, settings(a="2"), may_create=refuse)
        assert changed["data"] == {"a": "2"}

    in_world(run)


def test_everybody_may_apply_at_the_same_time() -> None:
    async def run(w: World) -> None:
        async with asyncio.TaskGroup() as tasks:
            for number in range(8):
                config = settings(**{f"k{number}": "x"})
                tasks.create_task(apply(w, kinds.CONFIG_MAP, config, f"m{number}"))
        found = await w.get(kinds.CONFIG_MAP, "c", "default")
        assert sorted(found["data"]) == [f"k{n}" for n in range(8)]
        assert len(managers(found)) == 8

    in_world(run)


def test_the_generation_counts_what_apply_changes_and_defaults_are_no_change() -> None:
    spec: Object = {
        "selector": {"matchLabels": {"a": "b"}},
        "template": {
            "metadata": {"labels": {"a": "b"}},
            "spec": {"containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 80}]}]},
        },
    }

    async def run(w: World) -> None:
        config: Object = {"metadata": {"name": "d"}, "spec": spec}
        made = await apply(w, kinds.DEPLOYMENT, config)
        assert made["metadata"]["generation"] == 1
        assert await apply(w, kinds.DEPLOYMENT, config) == made
        more = await apply(w, kinds.DEPLOYMENT, {**config, "spec": {**spec, "replicas": 2}})
        assert more["metadata"]["generation"] == 2
        back = await apply(w, kinds.DEPLOYMENT, config)
        assert (back["metadata"]["generation"], back["spec"]["replicas"]) == (3, 1)

    in_world(run)


def test_a_status_in_a_configuration_is_nobodys() -> None:
    async def run(w: World) -> None:
        config: Object = {
            "metadata": {"name": "p"},
            "spec": {"containers": [{"name": "c", "image": "i"}]},
            "status": {"phase": "Running"},
        }
        made = await apply(w, kinds.POD, config)
        assert made["status"]["phase"] == "Pending"
        assert "f:status" not in made["metadata"]["managedFields"][0]["fieldsV1"]

    in_world(run)


def test_what_admission_adds_is_nobodys() -> None:
    async def run(w: World) -> None:
        ctx = Context(ADMIN, field_manager="me")
        body: Object = {
            "metadata": {"generateName": "p-"},
            "spec": {"containers": [{"name": "c", "image": "i"}]},
        }
        written = await w.registry.create(ctx, BY_KIND[kinds.POD], "default", body)
        (entry,) = orjson.loads(written.object)["metadata"]["managedFields"]
        fields = entry["fieldsV1"]
        assert set(fields) == {"f:metadata", "f:spec"}
        assert fields["f:metadata"] == {"f:generateName": {}}
        assert "f:tolerations" not in fields["f:spec"]
        assert "f:serviceAccountName" not in fields["f:spec"]
        assert not {"f:priority", "f:preemptionPolicy"} & fields["f:spec"].keys()
        assert {"f:restartPolicy", "f:enableServiceLinks"} <= fields["f:spec"].keys()
        assert "." not in fields["f:spec"]["f:containers"]

    in_world(run)


def test_a_put_takes_what_it_changes_and_keeps_managers_that_it_does_not_send() -> None:
    async def run(w: World) -> None:
        await apply(w, kinds.CONFIG_MAP, settings(a="1", b="1"))
        put = await replace(w, kinds.CONFIG_MAP, settings(a="2", b="1"), "editor")
        assert managers(put) == [("me", "Apply", ""), ("editor", "Update", "")]
        assert put["metadata"]["managedFields"][0]["fieldsV1"] == {"f:data": {"f:b": {}}}
        renamed = [{**put["metadata"]["managedFields"][0], "manager": "other"}]
        sent = {**put, "metadata": {**put["metadata"], "managedFields": renamed}}
        assert managers(await replace(w, kinds.CONFIG_MAP, sent, "editor")) == [
            ("other", "Apply", "")
        ]
        sent["metadata"] = {"name": "c", "managedFields": [{}]}
        assert managers(await replace(w, kinds.CONFIG_MAP, sent, "editor")) == []

    in_world(run)


@pytest.mark.parametrize("part", ["metadata", "spec"])
@pytest.mark.parametrize("value", [[], [[]], "x", 1, None])
def test_configurations_whose_parts_are_no_objects_are_refused(part: str, value: Any) -> None:
    async def run(w: World) -> None:
        for subresource, kind in (("", kinds.DEPLOYMENT.kind), ("scale", "Scale")):
            version = "autoscaling/v1" if subresource else "apps/v1"
            config = {"apiVersion": version, "kind": kind, part: value}
            ctx = Context(ADMIN, field_manager="me")
            with pytest.raises(StatusError):
                await w.registry.patch(
                    ctx,
                    BY_KIND[kinds.DEPLOYMENT],
                    "default",
                    "d",
                    config,
                    PatchType.APPLY,
                    subresource,
                )

    in_world(run)


@pytest.mark.parametrize(
    ("config", "code", "why"),
    [
        (None, 400, "invalid object type: /, Kind="),
        ({"apiVersion": "v2", "kind": "ConfigMap"}, 400, "invalid object type: /v2, Kind=ConfigMap"),
        ({"apiVersion": "v1", "kind": "Secret"}, 400, "invalid object type: /v1, Kind=Secret"),
        ([1], 400, "error decoding YAML: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal array into "
                   "Go value of type map[string]interface {}"),
        ({**settings(), "metadata": {"managedFields": []}}, 400, "metadata.managedFields must be nil"),
        ({"metadata": {"name": "c", "namespace": "n"}, "x": 1, "data": {"a": 1}}, 500,
         "failed to create typed patch object (n/c; /v1, Kind=ConfigMap): errors:\n"
         "  .x: field not declared in schema\n"
         "  .data.a: expected string, got &value.valueUnstructured{Value:1}"),
        ({"metadata": [], "data": {"a": []}}, 500, "failed to create typed patch object (/; /v1, Kind=ConfigMap): errors:\n"
         "  .metadata: expected map, got &{[]}\n"
         "  .data.a: expected string, got &value.valueUnstructured{Value:[]interface {}{}}"),
    ],
)  # fmt: skip
def test_what_is_no_configuration_of_the_kind(config: Any, code: int, why: str) -> None:
    if isinstance(config, dict):
        config = {"apiVersion": "v1", "kind": "ConfigMap", **config}

    async def run(w: World) -> None:
        ctx, row = Context(ADMIN, field_manager="me"), BY_KIND[kinds.CONFIG_MAP]
        with pytest.raises(StatusError) as caught:
            await w.registry.patch(ctx, row, "default", "c", config, PatchType.APPLY)
        assert (caught.value.code, str(caught.value)) == (code, why)

    in_world(run)
