"""What a PUT may do to which kind, and what counts as a generation: upstream's answers, kind by kind."""

from typing import Any

import orjson
import pytest
from every_kind import identify, row_of, samples
from registry_world import ADMIN, World, in_world

from wherry.api.errors import InvalidError, NotFoundError
from wherry.apiserver.verbs import Context, Written
from wherry.apiserver.versions.versions import Versions
from wherry.client.api import PatchType

Object = dict[str, Any]
SAMPLES = samples()
EACH = pytest.mark.parametrize("sample", SAMPLES, ids=[identify(each) for each in SAMPLES])
CREATED_BY_PUT = {
    "ClusterRole",
    "ClusterRoleBinding",
    "Endpoints",
    "Event",
    "Lease",
    "LimitRange",
    "Role",
    "RoleBinding",
    "RuntimeClass",
    "Service",
}
NEED_A_VERSION = {
    "APIService",
    "CSIDriver",
    "CSINode",
    "CSIStorageCapacity",
    "Lease",
    "MutatingAdmissionPolicy",
    "MutatingAdmissionPolicyBinding",
    "MutatingWebhookConfiguration",
    "PodDisruptionBudget",
    "RuntimeClass",
    "SubnetLease",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
    "ValidatingWebhookConfiguration",
    "VolumeAttachment",
}
ALL = {"labels", "annotations", "finalizers", "ownerReferences"}
CHANGED_BY_STATUS = {
    "APIService": set[str](),
    "Deployment": ALL - {"labels"},
    "FlowSchema": set[str](),
    "Pod": ALL - {"ownerReferences"},
    "PriorityLevelConfiguration": set[str](),
    "ResourceClaim": set[str](),
    "ServiceCIDR": set[str](),
    "ValidatingAdmissionPolicy": set[str](),
    "VolumeAttachment": set[str](),
}
"""Of all other kinds a status update changes all of these."""


async def put(w: World, sample: Object) -> Written:
    row, name = row_of(sample), sample["metadata"]["name"]
    namespace = "default" if row.kind.namespaced else ""
    body = orjson.loads(orjson.dumps(sample))
    return await Versions(w.registry, clock=w.clock).update(
        Context(ADMIN), row, namespace, name, body
    )


async def create(w: World, sample: Object) -> Object:
    row = row_of(sample)
    namespace = "default" if row.kind.namespaced else ""
    body = orjson.loads(orjson.dumps(sample))
    made = await Versions(w.registry, clock=w.clock).create(Context(ADMIN), row, namespace, body)
    found: Object = orjson.loads(made.object)
    return found


@EACH
def test_which_kinds_a_put_creates(sample: Object) -> None:
    async def run(w: World) -> None:
        if sample["kind"] not in CREATED_BY_PUT:
            with pytest.raises(NotFoundError):
                await put(w, sample)
            return
        made = await put(w, sample)
        assert made.created
        assert orjson.loads(made.object)["metadata"]["uid"]
        with pytest.raises(NotFoundError):  # who names a version means an object that exists
            await put(w, sample | {"metadata": {"name": "gone", "resourceVersion": "1"}})

    in_world(run)


@EACH
def test_which_kinds_are_replaced_whatever_their_version(sample: Object) -> None:
    async def run(w: World) -> None:
        made = await create(w, sample)
        del made["metadata"]["resourceVersion"]
        if sample["kind"] not in NEED_A_VERSION:
            assert not (await put(w, made)).created
            return
        with pytest.raises(InvalidError) as refused:
            await put(w, made)
        assert refused.value.causes[0].field == "metadata.resourceVersion"

    in_world(run)


WITH_STATUS = [each for each in SAMPLES if row_of(each).subresource("status") is not None]


@pytest.mark.parametrize("sample", WITH_STATUS, ids=[identify(each) for each in WITH_STATUS])
def test_what_a_status_update_changes_besides(sample: Object) -> None:
    async def run(w: World) -> None:
        made = await create(w, sample)
        row, name = row_of(sample), made["metadata"]["name"]
        namespace = made["metadata"].get("namespace", "")
        owner = {"apiVersion": "v1", "kind": "Pod", "name": "o", "uid": "u"}
        wanted: Object = {
            "labels": {**made["metadata"].get("labels", {}), "a": "b"},
            "annotations": {"a": "b"},
            "finalizers": ["example.test/hold"],
            "ownerReferences": [owner],
        }
        verbs = Versions(w.registry, clock=w.clock)
        patch = {"metadata": wanted, "spec": {}}
        done = await verbs.patch(
            Context(ADMIN), row, namespace, name, patch, PatchType.MERGE, "status"
        )
        found = orjson.loads(done.object)
        changed = {field for field in ALL if found["metadata"].get(field) == wanted[field]}
        assert changed == CHANGED_BY_STATUS.get(sample["kind"], ALL)
        assert found.get("spec") == made.get("spec")
        assert found["metadata"].get("generation") == made["metadata"].get("generation")

    in_world(run)


def sample_of(kind: str) -> Object:
    return next(each for each in SAMPLES if each["kind"] == kind)


@pytest.mark.parametrize(
    ("kind", "path", "value", "generation"),
    [
        ("ValidatingWebhookConfiguration", ("webhooks", 0, "timeoutSeconds"), 7, 2),
        ("MutatingWebhookConfiguration", ("webhooks", 0, "timeoutSeconds"), 7, 2),
        ("MutatingWebhookConfiguration", ("metadata", "labels"), {"a": "b"}, 1),
        ("PodTemplate", ("template", "spec", "hostname"), "h", 2),
        ("PodTemplate", ("metadata", "labels"), {"a": "b"}, 1),
        ("EndpointSlice", ("endpoints", 0, "addresses"), ["10.9.9.9"], 2),
        ("EndpointSlice", ("metadata", "labels"), {"a": "b"}, 2),
        ("EndpointSlice", ("metadata", "annotations"), {"a": "b"}, 1),
        ("PriorityClass", ("description",), "less", 1),
        ("Deployment", ("spec", "replicas"), 9, 2),
        ("Deployment", ("metadata", "annotations"), {"a": "b"}, 2),
        ("Deployment", ("metadata", "labels"), {"a": "b"}, 1),
        ("ReplicaSet", ("metadata", "annotations"), {"a": "b"}, 1),
        ("HorizontalPodAutoscaler", ("spec", "maxReplicas"), 9, None),
        ("ConfigMap", ("data", "a"), "2", None),
        ("RuntimeClass", ("metadata", "labels"), {"a": "b"}, None),
    ],
)
def test_what_counts_as_a_generation(
    kind: str, path: tuple[str | int, ...], value: Any, generation: int | None
) -> None:
    async def run(w: World) -> None:
        made = await create(w, sample_of(kind))
        assert made["metadata"].get("generation") == (generation and 1)
        *way, last = path
        at: Any = made
        for step in way:
            at = at[step]
        at[last] = value
        changed = orjson.loads((await put(w, made)).object)
        assert changed["metadata"].get("generation") == generation
        same = orjson.loads((await put(w, changed)).object)
        assert same["metadata"] == changed["metadata"]

    in_world(run)
