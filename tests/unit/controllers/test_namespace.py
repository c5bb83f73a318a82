"""Namespace deletion, one decision at a time."""

from typing import Any

from workload_objects import NOW, meta, view

from wherry.api.kinds import CONFIG_MAP, POD
from wherry.api.objects import Meta
from wherry.api.times import format_time
from wherry.controllers.framework import Delete, Finalize, Patch
from wherry.controllers.namespace import reconcile
from wherry.controllers.views import Namespace

DATE = format_time(NOW)


def namespace(*conditions: dict[str, str]) -> Namespace:
    return view(
        Namespace,
        {
            "metadata": {**meta("shop"), "namespace": "", "deletionTimestamp": DATE},
            "spec": {"finalizers": ["kubernetes"]},
            "status": {"phase": "Terminating", "conditions": list(conditions)},
        },
    )


def obj(name: str, **fields: Any) -> Meta:
    return view(Meta, {"metadata": meta(name, **fields)})


def test_everything_is_deleted_that_is_not_going_and_what_remains_is_said() -> None:
    content = {
        CONFIG_MAP: [obj("a")],
        POD: [obj("p", deletionTimestamp=DATE, finalizers=["x/held"]), obj("q")],
    }
    result = reconcile(namespace(), content, now=NOW)
    assert [(a.kind.kind, a.name) for a in result.actions if isinstance(a, Delete)] == [
        ("ConfigMap", "a"),
        ("Pod", "q"),
    ]
    [status] = [a for a in result.actions if isinstance(a, Patch)]
    told = {c["type"]: (c["status"], c["message"]) for c in status.body["status"]["conditions"]}
    assert told == {
        "NamespaceContentRemaining": (
            "True",
            "Some resources are remaining: configmaps. has 1 resource instances, "
            "pods. has 2 resource instances",
        ),
        "NamespaceFinalizersRemaining": (
            "True",
            "Some content in the namespace has finalizers remaining: "
            "x/held in 1 resource instances",
        ),
    }
    assert not [a for a in result.actions if isinstance(a, Finalize)]
    assert result.again_s


def test_an_empty_namespace_is_finalized() -> None:
    result = reconcile(namespace(), {POD: []}, now=NOW)
    assert result.actions == [Finalize("shop", "uid-shop")]
    assert result.again_s is None


def test_conditions_turn_when_nothing_remains() -> None:
    remaining = {
        "type": "NamespaceContentRemaining",
        "status": "True",
        "reason": "SomeResourcesRemain",
    }
    [status, finalize] = reconcile(namespace(remaining), {}, now=NOW).actions
    assert isinstance(status, Patch)
    [condition] = status.body["status"]["conditions"]
    assert (condition["status"], condition["reason"]) == ("False", "ContentRemoved")
    assert isinstance(finalize, Finalize)
