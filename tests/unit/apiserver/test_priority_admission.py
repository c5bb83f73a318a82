"""A pod's priority is that of its class; one class may be that of all pods that name none."""

import asyncio
from typing import Any

import orjson
import pytest
from registry_world import World, in_world

from wherry.api import kinds
from wherry.api.errors import ForbiddenError, InvalidError
from wherry.apiserver.pod_priority import default_class

Object = dict[str, Any]
HIGHEST = "system-node-critical"


async def pod(w: World, name: str, **spec: Any) -> Object:
    spec["containers"] = [{"name": "c", "image": "nginx"}]
    return await w.create(kinds.POD, "default", name=name, spec=spec)


async def make_class(w: World, name: str, **fields: Any) -> None:
    await w.create(kinds.PRIORITY_CLASS, name=name, **fields)
    await asyncio.sleep(0.1)  # of virtual time: until the cache has it


def placed(pod: Object) -> tuple[Any, Any, Any]:
    spec = pod["spec"]
    return spec.get("priorityClassName"), spec["priority"], spec["preemptionPolicy"]


def test_a_pod_has_what_its_class_says() -> None:
    async def run(w: World) -> None:
        await make_class(w, "late", value=-5, preemptionPolicy="Never")
        assert placed(await pod(w, "p", priorityClassName="late")) == ("late", -5, "Never")
        same = await pod(w, "q", priorityClassName="late", priority=-5, preemptionPolicy="Never")
        assert placed(same) == ("late", -5, "Never")
        assert placed(await pod(w, "r")) == (None, 0, "PreemptLowerPriority")

    in_world(run)


def test_who_names_no_class_has_the_default_one() -> None:
    async def run(w: World) -> None:
        await make_class(w, "normal", value=7, globalDefault=True)
        made = await pod(w, "p")
        assert placed(made) == ("normal", 7, "PreemptLowerPriority")
        with pytest.raises(ForbiddenError, match="normal is already marked as default"):
            await make_class(w, "other", value=9, globalDefault=True)
        owned = str(made["metadata"].get("managedFields", ""))
        assert "f:priority" not in owned

    in_world(run)


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({"priorityClassName": "nobody"}, "no PriorityClass with name nobody was found"),
        ({"priority": 3}, r"integer value of priority \(3\) must not be .* computed 0 from"),
        (
            {"priorityClassName": "low", "priority": 3},
            r"integer value of priority \(3\) must not be .* computed 1 from",
        ),
        (
            {"preemptionPolicy": "Never"},
            r"string value of PreemptionPolicy \(Never\) must not be .* computed PreemptLowerPriority",
        ),
    ],
)
def test_nobody_chooses_a_number(spec: Object, why: str) -> None:
    async def run(w: World) -> None:
        await make_class(w, "low", value=1)
        with pytest.raises(ForbiddenError, match=why):
            await pod(w, "p", **spec)

    in_world(run)


def test_a_pod_keeps_its_priority_when_its_class_goes() -> None:
    async def run(w: World) -> None:
        await make_class(w, "low", value=1)
        made = await pod(w, "p", priorityClassName="low")
        await w.api.delete(kinds.PRIORITY_CLASS, "low")
        for field in ("priority", "preemptionPolicy"):
            del made["spec"][field]
        made["metadata"]["labels"] = {"a": "b"}
        again = orjson.loads(await w.api.update(kinds.POD, "p", orjson.dumps(made), "default"))
        assert again["metadata"]["labels"] == {"a": "b"}
        assert placed(again) == ("low", 1, "PreemptLowerPriority")
        again["spec"]["priority"] = 2
        with pytest.raises(InvalidError, match="pod updates may not change fields"):
            await w.api.update(kinds.POD, "p", orjson.dumps(again), "default")

    in_world(run)


def test_of_several_defaults_the_lowest_counts() -> None:
    """Two masters may each let one in, for neither has seen the other's yet."""
    classes = [
        b'{"globalDefault":true,"metadata":{"name":"b"},"value":5}',
        b'{"globalDefault":true,"metadata":{"name":"a"},"value":9}',
        b'{"description":"\\"globalDefault\\":true","metadata":{"name":"c"},"value":1}',
    ]
    chosen = default_class(classes)
    assert chosen is not None
    assert chosen["metadata"]["name"] == "b"
    assert default_class(classes[2:]) is None
