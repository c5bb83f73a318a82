"""Every kind through every verb: a row in the table is all that it needs."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any, cast

import orjson
import pytest
from every_kind import identify, row_of, samples
from protobuf_encoder import encode
from registry_world import ADMIN, World, in_world

from wherry.api import kinds
from wherry.api.errors import NotFoundError
from wherry.apiserver.cache.selection import Selection
from wherry.apiserver.decode import decode_body
from wherry.apiserver.resources import RESOURCES, SERVED, VIEWS, Resource
from wherry.apiserver.schema import normalize
from wherry.apiserver.storage import Codec
from wherry.apiserver.storage import encode as encode_stored
from wherry.apiserver.tables import columns, row
from wherry.apiserver.verbs import Context, DeleteOptions, ListOptions, WatchOptions
from wherry.apiserver.versions.versions import Versions
from wherry.client.api import EventType, PatchType, WatchEvent

SAMPLES = samples()
EACH = pytest.mark.parametrize("sample", SAMPLES, ids=[identify(each) for each in SAMPLES])
TYPED = [each for each in SAMPLES if not each["apiVersion"].startswith("wherry.io")]
"""Nobody has messages for our own kinds."""
NOT_WRITTEN = {kinds.BINDING, kinds.COMPONENT_STATUS}


def verbs(w: World) -> Versions:
    return Versions(w.registry, clock=w.clock)


def where(resource: Resource) -> str:
    return "default" if resource.kind.namespaced else ""


def contains(obj: Any, part: Any) -> bool:
    """Tell whether `obj` says all that `part` says; defaults may add to it."""
    if isinstance(part, dict):
        return isinstance(obj, dict) and all(
            key in obj and contains(obj[key], value) for key, value in part.items()
        )
    if isinstance(part, list):
        return len(obj) == len(part) and all(map(contains, obj, part))
    return bool(obj == part)


def test_there_is_a_sample_of_every_kind() -> None:
    assert {row_of(each).kind for each in SAMPLES} == {r.kind for r in SERVED} - NOT_WRITTEN


def test_what_is_stored_is_what_controllers_know() -> None:
    assert {r.kind for r in RESOURCES} == set(kinds.KINDS)
    assert len({r.storage_prefix for r in RESOURCES}) == len(RESOURCES)
    assert not any(r.storage_prefix for r in VIEWS)


@EACH
def test_the_life_of_an_object(sample: dict[str, Any]) -> None:
    resource = row_of(sample)
    namespace, name, ctx = where(resource), sample["metadata"]["name"], Context(ADMIN)

    async def run(w: World) -> None:
        served = verbs(w)
        selector = f"metadata.name={name}"
        made = orjson.loads((await served.create(ctx, resource, namespace, copy_of(sample))).object)
        assert contains(made, sample | {"metadata": {"name": name}})
        assert made == orjson.loads(await served.get(ctx, resource, namespace, name))
        listed = await served.list(ctx, resource, namespace, ListOptions(fields=selector))
        assert [orjson.loads(raw) for raw in listed.items] == [made]

        labels = {"metadata": {"labels": {"seen": "yes"}}}
        patched = await served.patch(ctx, resource, namespace, name, labels, PatchType.MERGE)
        seen = orjson.loads(patched.object)
        assert seen["metadata"]["labels"]["seen"] == "yes"
        assert contains(seen, {k: v for k, v in made.items() if k != "metadata"})
        again = copy_of(seen)
        again["metadata"]["annotations"] = {"noted": "yes"} | again["metadata"].get(
            "annotations", {}
        )
        updated = await served.update(ctx, resource, namespace, name, again)
        noted = orjson.loads(updated.object)
        assert noted["metadata"]["annotations"]["noted"] == "yes"
        # Labels of an EndpointSlice name the Service; a Deployment's sets have its annotations.
        counted = resource.kind in (kinds.ENDPOINT_SLICE, kinds.DEPLOYMENT)
        assert noted["metadata"].get("generation") == (
            2 if counted else made["metadata"].get("generation")
        )
        shown = noted
        if resource.subresource("status") is not None:
            sent = copy_of(noted) | {"status": {**noted.get("status", {})}}
            told = await served.update(ctx, resource, namespace, name, sent, "status")
            shown = orjson.loads(told.object)
            assert {k: v for k, v in shown.items() if k not in ("metadata", "status")} == {
                k: v for k, v in noted.items() if k not in ("metadata", "status")
            }
        cells = row(resource, noted, w.clock.now())
        assert len(cells) == len(columns(resource))
        shown_name = [c.name for c in columns(resource)].index("Name")
        assert cells[shown_name] == name

        stream = served.watch(ctx, resource, namespace, WatchOptions(fields=selector))
        [event] = await first_batch(stream)
        assert (event.type, orjson.loads(event.object)) == (EventType.ADDED, shown)
        await served.delete(ctx, resource, namespace, name, DeleteOptions(grace_s=0))
        if resource.kind in (kinds.NAMESPACE, kinds.PERSISTENT_VOLUME_CLAIM):
            return  # they wait for a controller to finish their deletion
        try:
            left = orjson.loads(await served.get(ctx, resource, namespace, name))
        except NotFoundError:
            return
        assert left["metadata"]["finalizers"], "only a finalizer keeps an object"

    in_world(run)


def copy_of(obj: dict[str, Any]) -> dict[str, Any]:
    copied: dict[str, Any] = orjson.loads(orjson.dumps(obj))
    return copied


async def first_batch(stream: AsyncIterator[Sequence[WatchEvent]]) -> Sequence[WatchEvent]:
    async with aclosing(cast("Any", stream)) as batches, asyncio.timeout(10):
        async for batch in batches:
            return list(batch)
    raise AssertionError("the watch ended")


@pytest.mark.parametrize("sample", TYPED, ids=[identify(each) for each in TYPED])
def test_json_to_protobuf_and_back(sample: dict[str, Any]) -> None:
    body = encode(copy_of(sample))
    content_type = "application/vnd.kubernetes.protobuf"
    decoded, _ = decode_body(body, content_type, strict=True)
    kind = row_of(sample).kind
    assert normalize(kind, decoded, "Strict") == normalize(kind, copy_of(sample), "Strict")


@pytest.mark.parametrize(
    ("kind", "status", "selected", "others"),
    [
        ("Job", {"succeeded": 2}, "status.successful=2", "status.successful=0"),
        ("Job", {}, "status.successful=0", "status.successful!=0"),
        ("ResourceSlice", {}, "spec.driver=gpu.example.test", "spec.nodeName=elsewhere"),
        (
            "CertificateSigningRequest",
            {},
            "spec.signerName=example.test/signer",
            "spec.signerName=",
        ),
    ],
)
def test_documented_field_selectors(
    kind: str, status: dict[str, Any], selected: str, others: str
) -> None:
    sample = next(each for each in SAMPLES if each["kind"] == kind)
    resource = row_of(sample)
    codec = Codec(resource)
    stored = copy_of(sample) | {"status": status}
    stored["metadata"]["namespace"] = where(resource)
    entry = codec.entry(resource.key(where(resource), "sample"), encode_stored(stored), 7)
    assert Selection(codec, where(resource), "", selected).matches(entry)
    assert not Selection(codec, where(resource), "", others).matches(entry)
