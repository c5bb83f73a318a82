"""Field sets: their algebra against sets of paths, and what configurations and writes are made of."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.apiserver.apply.fieldset import (
    FieldSet,
    difference,
    format_path,
    intersection,
    is_valid,
    paths,
    union,
)
from wherry.apiserver.apply.types import type_of
from wherry.apiserver.apply.walk import changes, configured

POD = ("", "v1", "Pod")
DEPLOYMENT = ("apps", "v1", "Deployment")
SERVICE = ("", "v1", "Service")
Paths = set[tuple[str, ...]]

steps = st.sampled_from(["f:a", "f:b", 'k:{"name":"x"}', 'v:"y"'])
some_paths = st.sets(st.lists(steps, min_size=1, max_size=4).map(tuple), max_size=8)


def field_set(of: Paths) -> FieldSet:
    """Build FieldsV1 the plain way: insert each path."""
    root: FieldSet = {}
    for path in sorted(of):
        node, fresh = root, True
        for step in path:
            fresh = step not in node
            node = node.setdefault(step, {})
        if not fresh and node:
            node["."] = {}
    return _with_selves(root, (), of)


def _with_selves(node: FieldSet, at: tuple[str, ...], of: Paths) -> FieldSet:
    out = {step: _with_selves(n, (*at, step), of) for step, n in node.items() if step != "."}
    return {".": {}, **out} if at in of and out else out


@given(some_paths)
def test_a_set_of_paths_survives_its_wire_form(one: Paths) -> None:
    assert set(paths(field_set(one))) == one
    assert is_valid(field_set(one))


@given(some_paths, some_paths)
def test_the_algebra_is_that_of_sets_of_paths(one: Paths, other: Paths) -> None:
    a, b = field_set(one), field_set(other)
    assert set(paths(union(a, b))) == one | other
    assert set(paths(difference(a, b))) == one - other
    assert set(paths(intersection(a, b))) == one & other
    assert (a, b) == (field_set(one), field_set(other))  # neither was changed
    assert bool(difference(a, b)) == bool(one - other)
    assert bool(intersection(a, b)) == bool(one & other)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (("f:spec", "f:replicas"), ".spec.replicas"),
        (("f:spec", "f:containers", 'k:{"name":"a"}', "f:image"), '.spec.containers[name="a"].image'),
        (
            ("f:ports", 'k:{"containerPort":80,"protocol":"TCP"}'),
            '.ports[containerPort=80,protocol="TCP"]',
        ),
        (("f:metadata", "f:finalizers", 'v:"x/y"'), '.metadata.finalizers[="x/y"]'),
        (("f:a", "i:3"), ".a[3]"),
    ],
)  # fmt: skip
def test_paths_read_as_in_kubernetes_conflicts(path: tuple[str, ...], text: str) -> None:
    assert format_path(path) == text


@pytest.mark.parametrize(
    ("fields", "good"),
    [
        ({"f:a": {}, "f:b": {".": {}, 'k:{"a":1}': {}}, 'v:"x"': {}, "i:0": {}}, True),
        ({"a": {}}, False),
        ({"f:a": 1}, False),
        ({"k:[1]": {}}, False),
        ({"k:{": {}}, False),
        ({"f:a": {".": {"f:b": {}}}}, False),
        ([], False),
    ],
)
def test_field_sets_of_clients_are_read_with_care(fields: Any, good: bool) -> None:
    assert is_valid(fields) is good


def container(**more: Any) -> dict[str, Any]:
    return {"name": "c", "image": "nginx:1", **more}


def pod(*containers: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": "d", "uid": "1", **more},
        "spec": {"containers": list(containers)},
    }


C: Any = 'k:{"name":"c"}'


@pytest.mark.parametrize(
    ("gvk", "config", "fields"),
    [
        (POD, pod(container()), {"f:spec": {"f:containers": {C: {".": {}, "f:name": {}, "f:image": {}}}}}),
        (POD, pod(labels={"a": "b"}), {"f:metadata": {"f:labels": {"f:a": {}}}}),
        (POD, pod(labels={}), {"f:metadata": {"f:labels": {}}}),
        (POD, pod(finalizers=["x/y"]), {"f:metadata": {"f:finalizers": {'v:"x/y"': {}}}}),
        # The protocol of a port has a default, so it is part of the key also where it is left out.
        (POD, pod({"name": "c", "ports": [{"containerPort": 80}]}),
         {"f:spec": {"f:containers": {C: {".": {}, "f:name": {}, "f:ports": {
             'k:{"containerPort":80,"protocol":"TCP"}': {".": {}, "f:containerPort": {}}}}}}}),
        # command is atomic; so is a reference, and a selector.
        (POD, pod({"name": "c", "command": ["a", "b"]}),
         {"f:spec": {"f:containers": {C: {".": {}, "f:name": {}, "f:command": {}}}}}),
        (DEPLOYMENT, {"metadata": {}, "spec": {"replicas": 1, "selector": {"matchLabels": {"a": "b"}}}},
         {"f:spec": {"f:replicas": {}, "f:selector": {}}}),
        (SERVICE, {"metadata": {}, "spec": {"selector": {"a": "b"}, "ports": [{"port": 80}]}},
         {"f:spec": {"f:selector": {}, "f:ports": {'k:{"port":80,"protocol":"TCP"}': {".": {}, "f:port": {}}}}}),
        (POD, {"metadata": {}, "spec": {"volumes": [{"name": "v", "emptyDir": {}}]}},
         {"f:spec": {"f:volumes": {'k:{"name":"v"}': {".": {}, "f:name": {}, "f:emptyDir": {}}}}}),
    ],
)  # fmt: skip
def test_a_configuration_owns_what_it_says(
    gvk: tuple[str, str, str], config: dict[str, Any], fields: FieldSet
) -> None:
    assert configured(config, type_of(gvk)) == fields


EMPTY: dict[str, Any] = {"metadata": {}}


@pytest.mark.parametrize(
    ("gvk", "old", "new", "changed", "removed"),
    [
        # What is created belongs to its creator, containers too; not those that Go holds by value.
        (POD, EMPTY, pod(container(), labels={"a": "b"}),
         {"f:metadata": {"f:labels": {".": {}, "f:a": {}}},
          "f:spec": {"f:containers": {C: {".": {}, "f:name": {}, "f:image": {}}}}}, {}),
        (POD, pod(container()), pod(container(image="nginx:2")),
         {"f:spec": {"f:containers": {C: {"f:image": {}}}}}, {}),
        (POD, pod(container(), labels={"a": "1", "b": "2"}), pod(container(), labels={"a": "3"}),
         {"f:metadata": {"f:labels": {"f:a": {}}}}, {"f:metadata": {"f:labels": {"f:b": {}}}}),
        (POD, pod(container(), labels={"a": "1"}), pod(container()),
         {}, {"f:metadata": {"f:labels": {".": {}, "f:a": {}}}}),
        (POD, pod(container(), {"name": "d"}), pod(container()),
         {}, {"f:spec": {"f:containers": {'k:{"name":"d"}': {".": {}, "f:name": {}}}}}),
        # Another order of a keyed list is no change; of an atomic one it is.
        (POD, pod(container(), {"name": "d"}), pod({"name": "d"}, container()), {}, {}),
        (POD, pod(container(args=["a", "b"])), pod(container(args=["b", "a"])),
         {"f:spec": {"f:containers": {C: {"f:args": {}}}}}, {}),
        (DEPLOYMENT, {"metadata": {}, "spec": {"replicas": 1}}, {"metadata": {}, "spec": {"replicas": 0}},
         {"f:spec": {"f:replicas": {}}}, {}),
        (POD, pod(generation=1), pod(generation=2), {}, {}),
        (POD, pod(finalizers=["a/b"]), pod(finalizers=["c/d"]),
         {"f:metadata": {"f:finalizers": {'v:"c/d"': {}}}}, {"f:metadata": {"f:finalizers": {'v:"a/b"': {}}}}),
    ],
)  # fmt: skip
def test_a_write_owns_what_it_changes(
    gvk: tuple[str, str, str], old: Any, new: Any, changed: FieldSet, removed: FieldSet
) -> None:
    found = changes(old, new, type_of(gvk))
    assert (found.changed, found.removed) == (changed, removed)
