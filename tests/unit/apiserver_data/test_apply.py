"""Server-side apply as a pure function: conflicts, shared fields, what is given up, and its invariants."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.api.errors import ConflictError
from wherry.apiserver.apply import Tracker, manager_of, problems
from wherry.apiserver.apply.entries import ANCIENT, MAX_UPDATERS, decode
from wherry.apiserver.apply.fieldset import FieldSet, difference, paths
from wherry.apiserver.apply.types import type_of
from wherry.apiserver.apply.walk import configured

DEPLOYMENT = ("apps", "v1", "Deployment")
NEW: dict[str, Any] = {"metadata": {}}
Object = dict[str, Any]


def tracker(manager: str, second: int = 0, subresource: str = "") -> Tracker:
    return Tracker(DEPLOYMENT, manager, f"2026-11-20T10:00:{second:02}Z", subresource)


def deployment(*containers: Object, **spec: Any) -> Object:
    obj: Object = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}}
    if containers:
        spec["template"] = {"spec": {"containers": list(containers)}}
    return {**obj, "spec": spec} if spec else obj


def apply(
    live: Object, manager: str, config: Object, *, force: bool = False, second: int = 0
) -> Object:
    """Apply, and return the object as it would be stored."""
    applied = tracker(manager, second).apply(live, config, force=force)
    metadata = {**applied.object["metadata"], "managedFields": applied.managed}
    return {**applied.object, "metadata": metadata}


def update(live: Object, manager: str, new: Object, second: int = 0, sent: Any = None) -> Object:
    entries = tracker(manager, second).updated(live, new, sent)
    return {**new, "metadata": {**new["metadata"], "managedFields": entries}}


def create(manager: str, obj: Object) -> Object:
    entries = tracker(manager).created(obj)
    return {**obj, "metadata": {**obj["metadata"], "managedFields": entries}}


def owned(obj: Object, manager: str) -> FieldSet:
    """Return what a manager owns, whatever its operation."""
    found = [e["fieldsV1"] for e in obj["metadata"]["managedFields"] if e["manager"] == manager]
    assert len(found) <= 1
    return found[0] if found else {}


def test_apply_creates_and_owns_what_it_says() -> None:
    made = apply(NEW, "me", deployment(replicas=2))
    assert made["spec"] == {"replicas": 2}
    assert made["metadata"]["managedFields"] == [
        {
            "manager": "me",
            "operation": "Apply",
            "apiVersion": "apps/v1",
            "time": "2026-11-20T10:00:00Z",
            "fieldsType": "FieldsV1",
            "fieldsV1": {"f:spec": {"f:replicas": {}}},
        }
    ]


def test_one_conflict_and_several_are_told_in_kubernetes_words() -> None:
    live = create("kubectl-client-side-apply", deployment({"name": "c", "image": "a"}, replicas=1))
    with pytest.raises(ConflictError) as one:
        apply(live, "me", deployment(replicas=3))
    assert one.value.message == (
        'Apply failed with 1 conflict: conflict with "kubectl-client-side-apply" using apps/v1: '
        ".spec.replicas"
    )
    assert [c.to_dict() for c in one.value.causes] == [
        {
            "reason": "FieldManagerConflict",
            "message": 'conflict with "kubectl-client-side-apply" using apps/v1',
            "field": ".spec.replicas",
        }
    ]
    live = apply(live, "other", deployment(minReadySeconds=5))
    config = deployment({"name": "c", "image": "b"}, replicas=3, minReadySeconds=6)
    with pytest.raises(ConflictError) as several:
        apply(live, "me", config)
    assert several.value.message == (
        'Apply failed with 3 conflicts: conflicts with "kubectl-client-side-apply" using apps/v1:\n'
        "- .spec.replicas\n"
        '- .spec.template.spec.containers[name="c"].image\n'
        'conflicts with "other":\n'
        "- .spec.minReadySeconds"
    )


def test_a_subresource_is_named_in_the_conflict() -> None:
    live = create("kubectl", deployment(replicas=1))
    live = {**live, "metadata": {**live["metadata"]}}
    scaled = {**live, "spec": {"replicas": 2}}
    entries = tracker("autoscaler", subresource="scale").updated(live, scaled, None)
    scaled = {**scaled, "metadata": {**live["metadata"], "managedFields": entries}}
    with pytest.raises(ConflictError, match='"autoscaler" with subresource "scale" using apps/v1'):
        apply(scaled, "me", deployment(replicas=5))


def test_force_takes_over() -> None:
    live = create("editor", deployment(replicas=1, minReadySeconds=1))
    taken = apply(live, "me", deployment(replicas=3), force=True)
    assert taken["spec"] == {"replicas": 3, "minReadySeconds": 1}
    assert owned(taken, "editor") == {"f:spec": {"f:minReadySeconds": {}}}
    assert owned(taken, "me") == {"f:spec": {"f:replicas": {}}}


def test_the_same_value_is_shared_and_survives_until_nobody_says_it() -> None:
    live = apply(NEW, "a", deployment(replicas=3))
    live = apply(live, "b", deployment(replicas=3))
    assert owned(live, "a") == owned(live, "b") == {"f:spec": {"f:replicas": {}}}
    live = apply(live, "a", deployment())
    assert live["spec"] == {"replicas": 3}
    live = apply(live, "b", deployment())
    assert "replicas" not in live.get("spec", {})


def test_an_element_that_is_given_up_goes_and_others_stay_in_place() -> None:
    live = apply(NEW, "a", deployment({"name": "x"}, {"name": "y"}))
    live = apply(live, "b", deployment({"name": "z"}))
    live = apply(live, "a", deployment({"name": "y"}))
    names = [c["name"] for c in live["spec"]["template"]["spec"]["containers"]]
    assert names == ["y", "z"]


def test_what_others_added_to_an_element_goes_with_it_but_defaults_of_kept_ones_stay() -> None:
    """Who owns a field in an element does not own the element."""
    live = apply(NEW, "a", deployment({"name": "x", "image": "i"}, {"name": "y"}))
    edited = deployment({"name": "x", "image": "i", "tty": True}, {"name": "y", "tty": True})
    live = update(live, "editor", {**edited, "metadata": live["metadata"]})
    live = apply(live, "a", deployment({"name": "y"}))
    assert live["spec"]["template"]["spec"]["containers"] == [{"name": "y", "tty": True}]


def test_an_update_takes_what_it_changes_and_forgets_what_it_removes() -> None:
    live = apply(NEW, "a", deployment(replicas=3, minReadySeconds=1, paused=True), second=1)
    changed = {**deployment(replicas=4, minReadySeconds=1), "metadata": live["metadata"]}
    live = update(live, "editor", changed, second=2)
    assert owned(live, "a") == {"f:spec": {"f:minReadySeconds": {}}}
    assert owned(live, "editor") == {"f:spec": {"f:replicas": {}}}
    assert [e["time"][-3:-1] for e in live["metadata"]["managedFields"]] == ["01", "02"]


def test_times_change_with_what_was_changed_and_not_else() -> None:
    live = apply(NEW, "a", deployment(replicas=3), second=1)
    again = apply(live, "a", deployment(replicas=3), second=2)
    assert again == live
    same = update(live, "editor", live, second=3)
    assert same == live
    more = apply(live, "a", deployment(replicas=4), second=4)
    assert more["metadata"]["managedFields"][0]["time"] == "2026-11-20T10:00:04Z"


def test_an_object_that_nobody_manages_was_there_before_the_first_apply() -> None:
    live = deployment(replicas=1)
    assert tracker("editor").updated(live, deployment(replicas=2), None) == []
    with pytest.raises(
        ConflictError, match=r'"before-first-apply" using apps/v1: \.spec\.replicas'
    ):
        apply(live, "me", deployment(replicas=2))


def test_clients_may_write_managers_or_have_them_forgotten() -> None:
    live = create("editor", deployment(replicas=1))
    mine = [{**live["metadata"]["managedFields"][0], "manager": "renamed"}]
    renamed = update(live, "migration", live, sent=mine)
    assert [e["manager"] for e in renamed["metadata"]["managedFields"]] == ["renamed"]
    assert update(live, "x", live, sent=[{}])["metadata"]["managedFields"] == []
    for unreadable in (
        [],
        [{"manager": "x"}],
        [{**mine[0], "fieldsV1": {"bad": {}}}],
        "text",
        None,
    ):
        assert update(live, "x", live, sent=unreadable) == live


def test_too_many_updaters_become_ancient_changes() -> None:
    live = create("m00", deployment(replicas=1))
    entries: list[Object] = []
    for number in range(1, MAX_UPDATERS + 5):
        labels = {f"l{each}": "x" for each in range(number)}
        metadata = {**live["metadata"], "labels": labels}
        live = update(live, f"m{number:02}", {**live, "metadata": metadata}, second=number)
        entries = live["metadata"]["managedFields"]
        assert len(entries) <= MAX_UPDATERS
    names = [e["manager"] for e in entries]
    assert names == [ANCIENT, *(f"m{n:02}" for n in range(6, 15))]
    every = set().union(*(set(paths(e["fieldsV1"])) for e in entries))
    assert {p[-1] for p in every} == {"f:replicas", "f:labels", *(f"f:l{n}" for n in range(14))}  # fmt: skip


PORTS = '.spec.template.spec.containers[name="x"].ports'
KEYLESS = (
    'associative list with keys has an element that omits key field "containerPort" '
    "(and doesn't have default value)"
)


def with_ports(ports: Any) -> Object:
    return deployment({"name": "x", "ports": ports})


@pytest.mark.parametrize(
    ("config", "why"),
    [
        (deployment({"name": "x", "image": "i", "tty": True, "args": ["a"]}, replicas=1), []),
        (deployment(replicas=None, strategy=None), []),
        (deployment({"name": "x"}, {"name": "x"}), ['.spec.template.spec.containers: duplicate entries for key [name="x"]']),
        (with_ports([{"containerPort": 80}, {"containerPort": 80, "protocol": "TCP"}]),
         [f'{PORTS}: duplicate entries for key [containerPort=80,protocol="TCP"]']),
        (with_ports([{"containerPort": 80}, {"containerPort": 80, "protocol": "UDP"}]), []),
        (with_ports([{"name": "y"}, None, 3]),
         [f"{PORTS}: element 0: {KEYLESS}", f"{PORTS}: element 1: associative list with keys may not have a null element",
          f"{PORTS}: element 2: associative list with keys may not have non-map elements"]),
        (with_ports({"a": [1, True, None]}), [f"{PORTS}: expected list, got &{{map[a:[1 true <nil>]]}}"]),
        (deployment(replicas="3", paused="no"),
         [".spec.replicas: expected numeric (int or float), got string", ".spec.paused: expected boolean, got &{no}"]),
        (deployment({"name": "x", "image": 1, "args": [True]}),
         ['.spec.template.spec.containers[name="x"].image: expected string, got &value.valueUnstructured{Value:1}',
          '.spec.template.spec.containers[name="x"].args[0]: expected string, got &value.valueUnstructured{Value:true}']),
        (deployment({"name": "x", "foo": 1}), ['.spec.template.spec.containers[name="x"].foo: field not declared in schema']),
        (deployment(strategy={"rollingUpdate": {"maxSurge": 1, "maxUnavailable": []}}),
         [".spec.strategy.rollingUpdate.maxUnavailable: expected any scalar, got &{[]}"]),
        ({"metadata": [1], "spec": "x"}, [".metadata: expected map, got &{[1]}", ".spec: expected map, got &{x}"]),
        ({"metadata": {"labels": {"a.b": 1.5}, "finalizers": [{}]}},
         [".metadata.labels.a.b: expected string, got &value.valueUnstructured{Value:1.5}",
          ".metadata.finalizers: element 0: associative list without keys has an element that's a map type"]),
    ],
)  # fmt: skip
def test_what_the_types_of_a_configuration_cannot_hold(config: Object, why: list[str]) -> None:
    assert problems(config, DEPLOYMENT) == why


def test_kubectl_goes_on_from_its_own_client_side_apply() -> None:
    """What its annotation says and nobody has changed since is the same user's."""
    annotation = '{"metadata":{"annotations":{},"name":"d"},"spec":{"replicas":1,"paused":true}}'
    key = "kubectl.kubernetes.io/last-applied-configuration"
    obj = deployment(replicas=1, paused=True)
    obj = {**obj, "metadata": {"name": "d", "annotations": {key: annotation}}}
    live = create("kubectl-client-side-apply", obj)
    taken = apply(live, "kubectl", deployment(replicas=2))
    assert taken["spec"]["replicas"] == 2
    assert '"replicas":2' in taken["metadata"]["annotations"][key]
    with pytest.raises(ConflictError):
        apply(live, "somebody", deployment(replicas=2))
    edited = update(live, "editor", {**live, "spec": {"replicas": 7, "paused": True}})
    with pytest.raises(ConflictError, match=r'"editor" using apps/v1: \.spec\.replicas'):
        apply(edited, "kubectl", deployment(replicas=2))


@pytest.mark.parametrize(
    ("agent", "name"),
    [
        ("kubectl/v1.33.1 (linux/amd64) kubernetes/8adc0f0", "kubectl"),
        ("OpenAPI-Generator/33.1.0/python", "OpenAPI-Generator"),
        ("", "unknown"),
        ("x" * 200, "x" * 128),
    ],
)
def test_a_manager_is_named_after_its_program(agent: str, name: str) -> None:
    assert manager_of(agent) == name


# -- invariants ---------------------------------------------------------------------------------

names = st.sampled_from(["a", "b", "c"])
containers = st.lists(
    st.fixed_dictionaries(
        {"name": names},
        optional={"image": names, "tty": st.booleans(), "args": st.lists(names, max_size=2)},
    ),
    unique_by=lambda c: c["name"],
    max_size=3,
)


@st.composite
def configs(draw: st.DrawFn) -> Object:
    spec = draw(
        st.fixed_dictionaries({}, optional={"replicas": st.integers(0, 2), "paused": st.booleans()})
    )
    obj = deployment(*draw(containers), **spec)
    if labels := draw(st.dictionaries(names, names, max_size=2)):
        obj["metadata"]["labels"] = labels
    if finalizers := draw(st.lists(names.map("x/{}".format), unique=True, max_size=2)):
        obj["metadata"]["finalizers"] = finalizers
    return obj


writes = st.tuples(st.sampled_from(["alice", "bob", "carol"]), configs(), st.booleans())


def history(steps: list[tuple[str, Object, bool]]) -> Object:
    live = NEW
    for manager, config, forced in steps:
        try:
            live = apply(live, manager, config, force=forced)
        except ConflictError:
            continue
    return live


def leaves(obj: Object) -> dict[tuple[str, ...], Any]:
    """Return what stands at each path that a configuration can own."""
    found: dict[tuple[str, ...], Any] = {}
    for path in paths(configured(obj, type_of(DEPLOYMENT))):
        found[path] = _at(obj, path)
    return found


def _at(value: Any, path: tuple[str, ...]) -> Any:
    for step in path:
        if step.startswith("f:"):
            value = value[step[2:]]
        elif step.startswith("k:"):
            value = (
                next(item for item in value if f'k:{{"name":"{item["name"]}"}}' == step)["name"]
                if step == path[-1]
                else next(i for i in value if f'k:{{"name":"{i["name"]}"}}' == step)
            )
        else:
            value = step
    return value


@given(st.lists(writes, max_size=6), st.sampled_from(["alice", "bob"]), configs())
def test_an_applier_owns_what_it_applies_and_the_object_says_it(
    before: list[tuple[str, Object, bool]], manager: str, config: Object
) -> None:
    live = history(before)
    after = apply(live, manager, config, force=True)
    said = configured(config, type_of(DEPLOYMENT))
    assert owned(after, manager) == said
    shown = leaves(after)
    for path, value in leaves(config).items():
        assert shown[path] == value
    everything = set(paths(configured(after, type_of(DEPLOYMENT))))
    for entry in after["metadata"]["managedFields"]:
        assert not {
            p for p in paths(entry["fieldsV1"]) if p not in everything and p[-1] != "f:args"
        } - {p for p in paths(entry["fieldsV1"]) if _is_container(p)}


def _is_container(path: tuple[str, ...]) -> bool:
    return path[-1] in ("f:labels", "f:finalizers", "f:containers", "f:template", "f:spec")


@given(st.lists(writes, max_size=6), st.sampled_from(["alice", "bob"]), configs())
def test_without_force_nothing_of_others_is_changed(
    before: list[tuple[str, Object, bool]], manager: str, config: Object
) -> None:
    live = history(before)
    try:
        after = apply(live, manager, config)
    except ConflictError:
        return
    was, now = leaves(live), leaves(after)
    for entry in live["metadata"].get("managedFields", []):
        if entry["manager"] != manager:
            assert owned(after, entry["manager"]) == entry["fieldsV1"]
            for path in paths(entry["fieldsV1"]):
                assert now[path] == was[path]


@given(st.lists(writes, max_size=6), st.sampled_from(["alice", "bob"]), configs())
def test_applying_twice_is_applying_once(
    before: list[tuple[str, Object, bool]], manager: str, config: Object
) -> None:
    once = apply(history(before), manager, config, force=True, second=1)
    assert apply(once, manager, config, second=2) == once


@given(st.lists(writes, max_size=6), configs(), configs())
def test_what_is_not_said_any_more_goes_unless_somebody_else_says_it(
    before: list[tuple[str, Object, bool]], first: Object, second: Object
) -> None:
    live = apply(history(before), "alice", first, force=True)
    after = apply(live, "alice", second, force=True)
    given_up = difference(owned(live, "alice"), owned(after, "alice"))
    others: set[tuple[str, ...]] = set()
    for entry in after["metadata"]["managedFields"]:
        if entry["manager"] != "alice":
            others |= set(paths(entry["fieldsV1"]))
    shown = leaves(after)
    for path in paths(given_up):
        kept_by_others = path in others
        if not any(other[: len(path)] == path for other in others):
            assert path not in shown
        elif kept_by_others:
            assert path in shown


@given(st.lists(writes, min_size=1, max_size=6), configs(), st.sampled_from(["eve", "alice"]))
def test_an_update_leaves_each_changed_field_with_one_owner(
    before: list[tuple[str, Object, bool]], new: Object, manager: str
) -> None:
    live = history(before)
    if not live["metadata"].get("managedFields"):
        return
    after = update(live, manager, {**new, "metadata": {**new["metadata"]}})
    was, now = leaves(live), leaves(after)
    entries = decode(after["metadata"]["managedFields"]) or {}
    for path, value in now.items():
        owners = [o for o in entries.values() if path in set(paths(o.fields))]
        if was.get(path) != value:
            assert [(o.manager.name, o.manager.operation) for o in owners] == [(manager, "Update")]
    for each in entries.values():
        for path in paths(each.fields):
            assert path in now or _is_container(path) or path[-1] == "f:args"


@given(st.lists(writes, min_size=1, max_size=6), configs())
def test_force_moves_what_differs_and_shares_what_is_the_same(
    before: list[tuple[str, Object, bool]], config: Object
) -> None:
    live = history(before)
    after = apply(live, "eve", config, force=True)
    was, now = leaves(live), leaves(after)
    for entry in live["metadata"].get("managedFields", []):
        kept = set(paths(owned(after, entry["manager"]) or {}))
        for path in paths(entry["fieldsV1"]):
            if path in was and now.get(path) == was[path]:
                assert path in kept, "it was taken away though nothing changed"
            elif path in was and path in set(paths(owned(after, "eve"))):
                assert path not in kept, "two own a field that one of them changed"
