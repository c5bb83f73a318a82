"""ephemeralcontainers and resize: what of a pod they change, and what they refuse."""

from typing import Any

import orjson
import pytest
from registry_world import World, in_world

from wherry.api import kinds
from wherry.api.errors import InvalidError
from wherry.apiserver.resources import BY_KIND
from wherry.apiserver.verbs import Context, User
from wherry.client.api import PatchType

Object = dict[str, Any]
FEW = {"cpu": "1", "memory": "1Mi"}
SMALL = {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"cpu": "1", "memory": "128Mi"}}


async def pod(w: World, **container: Any) -> Object:
    spec = {
        "containers": [{"name": "c", "image": "nginx", "resources": SMALL, **container}],
        "initContainers": [{"name": "i", "image": "busybox", "resources": {"limits": FEW}}],
    }
    return await w.create(kinds.POD, "default", name="p", spec=spec)


async def patched(w: World, subresource: str, patch: Object) -> Object:
    done = await w.registry.patch(
        Context(User("u")),
        BY_KIND[kinds.POD],
        "default",
        "p",
        patch,
        PatchType.STRATEGIC,
        subresource,
    )
    found: Object = orjson.loads(done.object)
    return found


def debugger(name: str, **fields: Any) -> Object:
    return {"spec": {"ephemeralContainers": [{"name": name, "image": "busybox", **fields}]}}


def resources(**fields: Any) -> Object:
    return {"spec": {"containers": [{"name": "c", "resources": fields}]}}


def test_ephemeral_containers_are_added_and_get_defaults() -> None:
    async def run(w: World) -> None:
        before = await pod(w)
        patch = debugger("d", targetContainerName="c")
        after = await patched(
            w, "ephemeralcontainers", patch | {"metadata": {"labels": {"a": "b"}}}
        )
        (container,) = after["spec"]["ephemeralContainers"]
        assert container["terminationMessagePath"] == "/dev/termination-log"
        assert container["imagePullPolicy"] == "Always"
        assert after["metadata"].get("labels") is None
        assert after["metadata"]["generation"] == before["metadata"]["generation"] + 1
        both = await patched(w, "ephemeralcontainers", debugger("e"))
        assert {c["name"] for c in both["spec"]["ephemeralContainers"]} == {"d", "e"}
        shown = await w.api.get(kinds.POD, "p", "default", subresource="ephemeralcontainers")
        assert orjson.loads(shown) == both

    in_world(run)


@pytest.mark.parametrize(
    ("patch", "message"),
    [
        (debugger("d", image="other"), 'existing ephemeral containers "d" may not be changed\n'),
        (
            {"spec": {"ephemeralContainers": [{"$patch": "delete", "name": "d"}]}},
            'existing ephemeral containers "d" may not be removed\n',
        ),
        (debugger("c"), 'spec.ephemeralContainers[0].name: Duplicate value: "c"'),
        (debugger("e", ports=[{"containerPort": 1}]), "ports: Forbidden: cannot be set for an"),
        (debugger("e", targetContainerName="x"), 'targetContainerName: Not found: "x"'),
    ],
)
def test_ephemeral_containers_that_are_refused(patch: Object, message: str) -> None:
    async def run(w: World) -> None:
        await pod(w)
        await patched(w, "ephemeralcontainers", debugger("d"))
        with pytest.raises(InvalidError) as refused:
            await patched(w, "ephemeralcontainers", patch)
        assert message in refused.value.message

    in_world(run)


def test_a_resize_changes_cpu_and_memory_and_nothing_else() -> None:
    async def run(w: World) -> None:
        before = await pod(w)
        patch = resources(requests={"cpu": "200m"}, limits={"memory": "256Mi"})
        patch["spec"]["containers"][0]["image"] = "other"
        after = await patched(w, "resize", patch)
        (container,) = after["spec"]["containers"]
        assert container["resources"] == {
            "requests": {"cpu": "200m", "memory": "64Mi"},
            "limits": {"cpu": "1", "memory": "256Mi"},
        }
        assert container["image"] == "nginx"
        assert after["metadata"]["generation"] == before["metadata"]["generation"] + 1
        assert after["status"] == before["status"]

    in_world(run)


@pytest.mark.parametrize(
    ("patch", "message"),
    [
        (
            resources(requests={"memory": None}, limits={"memory": None}),
            "spec.containers[0].resources.requests: Forbidden: resource requests cannot be removed",
        ),
        (
            resources(limits={"memory": "100Mi"}),
            "spec.containers[0].resources.limits[memory]: Forbidden: memory limits cannot be "
            "decreased unless resizePolicy is RestartContainer",
        ),
        (
            resources(requests={"cpu": "1", "memory": "128Mi"}),
            'spec: Invalid value: "Guaranteed": Pod QOS Class may not change',
        ),
        (
            resources(requests={"cpu": "2"}),
            "must be less than or equal to cpu limit of 1",
        ),
        (
            resources(limits={"ephemeral-storage": "1Gi"}),
            "spec: Forbidden: only cpu and memory resources are mutable",
        ),
        (
            {"spec": {"containers": [{"name": "x", "image": "y"}]}},
            "spec.containers: Forbidden: containers may not be added or removed on resize",
        ),
        (
            {"spec": {"initContainers": [{"name": "i", "resources": {"limits": {"cpu": "2"}}}]}},
            "spec.initContainers[0].resources: Forbidden: resources for non-sidecar init "
            "containers are immutable",
        ),
    ],
)
def test_resizes_that_are_refused(patch: Object, message: str) -> None:
    async def run(w: World) -> None:
        await pod(w)
        with pytest.raises(InvalidError) as refused:
            await patched(w, "resize", patch)
        assert message in refused.value.message

    in_world(run)


def test_memory_shrinks_where_the_container_restarts_for_it() -> None:
    async def run(w: World) -> None:
        policy = [{"resourceName": "memory", "restartPolicy": "RestartContainer"}]
        await pod(w, resizePolicy=policy)
        after = await patched(w, "resize", resources(limits={"memory": "100Mi"}))
        assert after["spec"]["containers"][0]["resources"]["limits"]["memory"] == "100Mi"

    in_world(run)


def test_ephemeral_containers_come_by_their_subresource_only() -> None:
    async def run(w: World) -> None:
        await pod(w)
        with pytest.raises(InvalidError, match="pod updates may not change fields"):
            await patched(w, "", debugger("d"))

    in_world(run)
