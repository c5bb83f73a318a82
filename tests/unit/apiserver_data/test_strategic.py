"""Strategic merge patch: the directives as a table, and properties against a naive reference."""

import re
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.api import kinds
from wherry.api.errors import BadRequestError, InvalidError, UnsupportedMediaError
from wherry.apiserver.patch import json_equal
from wherry.apiserver.strategic import strategic_merge_patch

KEYS = ["a", "b", "c", "d", "e"]


def pod(*containers: Any, **spec: Any) -> dict[str, Any]:
    return {"spec": {"containers": list(containers), **spec}}


def c(name: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, **fields}


def names(obj: dict[str, Any]) -> str:
    return "".join(item["name"] for item in obj["spec"]["containers"])


@pytest.mark.parametrize(
    ("doc", "patch", "result"),
    [
        # elements are found by their merge key, and merged
        (pod(c("a", image="1"), c("b", image="1")), pod(c("b", image="2")),
         pod(c("a", image="1"), c("b", image="2"))),
        # new elements stand where the patch puts them
        (pod(c("a")), pod(c("b", image="2")), pod(c("b", image="2"), c("a"))),
        # null deletes, also below a merged element
        (pod(c("a", image="1", tty=True)), pod(c("a", tty=None)), pod(c("a", image="1"))),
        ({"metadata": {"labels": {"x": "1", "y": "2"}}}, {"metadata": {"labels": {"x": None}}},
         {"metadata": {"labels": {"y": "2"}}}),
        # nulls and directives mean nothing where nothing is
        ({}, {"metadata": {"labels": {"x": None, "y": "1"}}}, {"metadata": {"labels": {"y": "1"}}}),
        ({}, pod(c("a", **{"$patch": "delete"}), c("b", command=None)), pod(c("b"))),
        # $patch: delete an element, whether it is there or not
        (pod(c("a"), c("b")), pod({"name": "a", "$patch": "delete"}), pod(c("b"))),
        (pod(c("b")), pod({"name": "a", "$patch": "delete"}), pod(c("b"))),
        # $patch: replace a list, replace or delete a map
        (pod(c("a"), c("b")), pod({"$patch": "replace"}, c("z")), pod(c("z"))),
        ({"metadata": {"labels": {"x": "1"}}}, {"metadata": {"labels": {"$patch": "replace", "y": "2"}}},
         {"metadata": {"labels": {"y": "2"}}}),
        ({"metadata": {"labels": {"x": "1"}}}, {"metadata": {"labels": {"$patch": "delete"}}},
         {"metadata": {"labels": {}}}),
        ({"metadata": {"labels": {"x": "1"}}}, {"metadata": {"labels": {"$patch": "merge", "y": "2"}}},
         {"metadata": {"labels": {"x": "1", "y": "2"}}}),
        # primitive lists merge as sets
        ({"metadata": {"finalizers": ["x", "y"]}}, {"metadata": {"finalizers": ["z", "y"]}},
         {"metadata": {"finalizers": ["z", "x", "y"]}}),
        ({"metadata": {"finalizers": ["x", "y"]}},
         {"metadata": {"$deleteFromPrimitiveList/finalizers": ["x"]}},
         {"metadata": {"finalizers": ["y"]}}),
        ({"metadata": {"finalizers": ["x", "y"]}},
         {"metadata": {"$deleteFromPrimitiveList/finalizers": ["x"],
                       "$setElementOrder/finalizers": ["z", "y"], "finalizers": ["z"]}},
         {"metadata": {"finalizers": ["z", "y"]}}),
        # a list without merge strategy is replaced
        (pod(c("a", args=["1", "2"])), pod(c("a", args=["3"])), pod(c("a", args=["3"]))),
        # ports merge by containerPort alone here
        (pod(c("a", ports=[{"containerPort": 53, "protocol": "UDP"}])),
         pod(c("a", ports=[{"containerPort": 53, "name": "dns"}])),
         pod(c("a", ports=[{"containerPort": 53, "protocol": "UDP", "name": "dns"}]))),
        # $retainKeys clears what is not named: the sources of a volume
        (pod(volumes=[{"name": "v", "emptyDir": {}}]),
         pod(volumes=[{"name": "v", "hostPath": {"path": "/x"}, "$retainKeys": ["name", "hostPath"]}]),
         pod(volumes=[{"name": "v", "hostPath": {"path": "/x"}}])),
        # a field that the schema does not know merges as JSON does
        ({"x": {"a": 1}}, {"x": {"b": 2}}, {"x": {"a": 1, "b": 2}}),
        # types differ: the patch wins
        ({"x": [1]}, {"x": {"b": 2}}, {"x": {"b": 2}}),
    ],
)  # fmt: skip
def test_directives(doc: Any, patch: Any, result: Any) -> None:
    before = orjson.dumps([doc, patch])
    assert strategic_merge_patch(doc, patch, kinds.POD) == result
    assert orjson.dumps([doc, patch]) == before


@pytest.mark.parametrize(
    ("server", "patch", "order", "result"),
    [
        ("abc", "", "cba", "cba"),
        ("abc", "d", "cda", "bcda"),
        ("abc", "", "ba", "bac"),
        ("ab", "c", "abc", "abc"),
        ("abcd", "", "dc", "abdc"),
        ("abc", "", "", "abc"),
        ("", "ab", "ab", "ab"),
        ("adb", "c", "abc", "adbc"),
    ],
)
def test_set_element_order(server: str, patch: str, order: str, result: str) -> None:
    """Named elements in the order given; the server's others keep their place among them."""
    spec: dict[str, Any] = {"$setElementOrder/containers": [c(n) for n in order]}
    if patch:
        spec["containers"] = [c(n) for n in patch]
    merged = strategic_merge_patch(pod(*map(c, server)), {"spec": spec}, kinds.POD)
    assert names(merged) == result


@pytest.mark.parametrize(
    ("patch", "error", "words"),
    [
        (pod({"image": "x"}), BadRequestError, "map: map[image:x] does not contain declared merge key: name"),
        (pod({"$patch": "delete"}), BadRequestError, "does not contain declared merge key: name"),
        (pod(c("a", **{"$patch": "spread"})), BadRequestError, "unknown patch type: spread in map: map[$patch:spread name:a]"),
        ({"spec": {"$patch": "spread"}}, BadRequestError, "unknown patch type: spread in map: map[$patch:spread]"),
        (pod(["a"]), InvalidError, "lists of lists are not supported"),
        (pod("a"), BadRequestError, "merge key"),
        (pod({"name": {}}), BadRequestError, "invalid patch format of primitive list"),
        ({"spec": {"$setElementOrder/containers": 1}}, BadRequestError, "setElementOrder"),
        ({"spec": {"$setElementOrder/containers": [c("b")], "containers": [c("a")]}},
         BadRequestError, "doesn't match"),
        ({"metadata": {"$deleteFromPrimitiveList/finalizers": "x"}}, BadRequestError,
         "invalid patch format of primitive list"),
        ({"spec": {"$retainKeys": "x"}}, BadRequestError, "invalid patch format of retainKeys"),
        ({"spec": {"$retainKeys": ["x"], "y": 1}}, BadRequestError, "doesn't match retainKeys"),
        ([], BadRequestError, "invalid JSON document"),
    ],
)  # fmt: skip
def test_malformed_patches(patch: Any, error: type[Exception], words: str) -> None:
    doc = pod(c("a")) | {"metadata": {"finalizers": ["f"]}}
    with pytest.raises(error, match=re.escape(words)):
        strategic_merge_patch(doc, patch, kinds.POD)


def test_kinds_without_schema_have_no_merge_keys() -> None:
    with pytest.raises(UnsupportedMediaError):
        strategic_merge_patch({}, {}, ("example.com", "v1", "Widget"))


def test_scale_can_be_patched() -> None:
    doc = {"spec": {"replicas": 1}}
    kind = ("autoscaling", "v1", "Scale")
    assert strategic_merge_patch(doc, {"spec": {"replicas": 3}}, kind) == {"spec": {"replicas": 3}}


CONTAINERS = st.lists(
    st.fixed_dictionaries(
        {"name": st.sampled_from(KEYS)},
        optional={
            "image": st.sampled_from("123"),
            "tty": st.booleans(),
            "args": st.lists(st.sampled_from("xy"), max_size=2),
            "env": st.lists(
                st.fixed_dictionaries({"name": st.sampled_from(KEYS)}, optional={"value": st.sampled_from("12")}),
                max_size=3,
                unique_by=lambda e: e["name"],
            ),
        },
    ),
    max_size=4,
    unique_by=lambda item: item["name"],
)  # fmt: skip
PODS = st.builds(
    lambda containers, labels, finalizers: {
        "metadata": {"labels": labels, "finalizers": finalizers},
        "spec": {"containers": containers},
    },
    CONTAINERS,
    st.dictionaries(st.sampled_from(KEYS), st.sampled_from("12")),
    st.lists(st.sampled_from(KEYS), unique=True),
)
_MERGED = {"containers": "name", "env": "name", "finalizers": ""}


def diff(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """The patch that kubectl would compute: directives for everything that differs."""
    patch: dict[str, Any] = dict.fromkeys(old.keys() - new.keys())
    for key, value in new.items():
        before = old.get(key)
        if before is None:
            patch[key] = value
        elif key == "finalizers":
            patch |= _diff_primitives(key, before, value)
        elif key in _MERGED:
            patch |= _diff_maps(key, before, value)
        elif isinstance(value, dict):
            patch[key] = diff(before, value)
        elif not json_equal(before, value):
            patch[key] = value
    return patch


def _diff_primitives(key: str, old: list[str], new: list[str]) -> dict[str, Any]:
    return {
        f"$deleteFromPrimitiveList/{key}": [x for x in old if x not in new],
        f"$setElementOrder/{key}": new,
        key: [x for x in new if x not in old],
    }


def _diff_maps(key: str, old: list[Any], new: list[Any]) -> dict[str, Any]:
    before = {item["name"]: item for item in old}
    gone = [c(name, **{"$patch": "delete"}) for name in before.keys() - {i["name"] for i in new}]
    changed = [
        {**diff(before.get(item["name"], {}), item), "name": item["name"]}
        for item in new
        if item != before.get(item["name"])
    ]
    return {f"$setElementOrder/{key}": [c(i["name"]) for i in new], key: changed + gone}


@given(PODS, PODS)
def test_a_diff_applied_gives_the_other(old: dict[str, Any], new: dict[str, Any]) -> None:
    patched = strategic_merge_patch(old, diff(old, new), kinds.POD)
    assert patched == new
    assert strategic_merge_patch(patched, diff(patched, new), kinds.POD) == new


@given(PODS, PODS)
def test_applying_twice_is_applying_once(doc: dict[str, Any], patch: dict[str, Any]) -> None:
    once = strategic_merge_patch(doc, patch, kinds.POD)
    assert strategic_merge_patch(once, patch, kinds.POD) == once


def naive(old: list[Any], new: list[Any]) -> dict[str, Any]:
    """Merge by name as a dict would, without any order."""
    merged = {item["name"]: dict(item) for item in old}
    for item in new:
        target = merged.setdefault(item["name"], {})
        for key, value in item.items():
            if key == "env" and "env" in target:
                env = naive(target["env"], value)
                target["env"] = list(env.values())
            else:
                target[key] = value
    return merged


def as_sets(containers: list[Any]) -> dict[str, Any]:
    return {
        item["name"]: {
            **item,
            "env": sorted(map(repr, map(sorted, (e.items() for e in item.get("env", []))))),
        }
        for item in containers
    }


@given(CONTAINERS, CONTAINERS)
def test_merged_lists_hold_what_a_naive_merge_holds(old: list[Any], new: list[Any]) -> None:
    merged = strategic_merge_patch(pod(*old), pod(*new), kinds.POD)["spec"]["containers"]
    assert as_sets(merged) == as_sets(list(naive(old, new).values()))
    order = [item["name"] for item in merged]
    named = [item["name"] for item in new]
    assert [n for n in order if n in named] == named
    others = [item["name"] for item in old if item["name"] not in named]
    assert [n for n in order if n not in named] == others
