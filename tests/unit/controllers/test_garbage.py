"""Garbage collection of one object: what its owners and dependents mean for it."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from workload_objects import NOW, meta, owner, view

from wherry.api.kinds import POD, REPLICA_SET
from wherry.api.objects import Meta, ObjectMeta
from wherry.api.times import format_time
from wherry.controllers.framework import Action, Delete, Patch
from wherry.controllers.garbage import FOREGROUND, ORPHAN, Dependent, OwnerState, reconcile

SOLID, WAITING, ABSENT = OwnerState.SOLID, OwnerState.WAITING, OwnerState.ABSENT


def metadata(name: str, owners: int = 0, **fields: Any) -> ObjectMeta:
    refs = [owner("ReplicaSet", f"o{n}") for n in range(owners)]
    return view(Meta, {"metadata": meta(name, ownerReferences=refs, **fields)}).metadata


def going(*finalizers: str) -> ObjectMeta:
    return metadata("x", deletionTimestamp=format_time(NOW), finalizers=list(finalizers))


def dependent(name: str, *, blocks: bool) -> Dependent:
    ref = {**owner("ReplicaSet", "x"), "blockOwnerDeletion": blocks}
    return Dependent(
        POD, view(Meta, {"metadata": meta(name, ownerReferences=[ref])}).metadata, blocks
    )


@dataclass(frozen=True)
class Case:
    id: str
    meta: ObjectMeta
    want: list[object]
    owners: list[OwnerState] = field(default_factory=list)
    dependents: list[Dependent] = field(default_factory=list)


CASES = [
    Case("no owner", metadata("x"), []),
    Case("a solid owner", metadata("x", 1), [], [SOLID]),
    Case("its only owner is absent", metadata("x", 1), [("delete", "x", "Background")], [ABSENT]),
    Case("one of two is absent", metadata("x", 2), [("owners", "x", ["o1"])], [ABSENT, SOLID]),
    Case("the other waits", metadata("x", 2), [("owners", "x", ["o0"])], [SOLID, WAITING]),
    Case("both are absent", metadata("x", 2), [("delete", "x", "Background")], [ABSENT, ABSENT]),
    Case("its owner waits", metadata("x", 1), [("delete", "x", "Background")], [WAITING]),
    Case(
        "its owner waits, and somebody blocks it",
        metadata("x", 1),
        [("delete", "x", "Foreground")],
        [WAITING],
        [dependent("d", blocks=True)],
    ),
    Case("going already", metadata("x", 1, deletionTimestamp=format_time(NOW)), [], []),
    Case("foreground, nobody left", going("a", FOREGROUND), [("finalizers", "x", ["a"])]),
    Case(
        "foreground, blocked",
        going(FOREGROUND),
        [],
        dependents=[dependent("d", blocks=True), dependent("e", blocks=False)],
    ),
    Case(
        "foreground, not blocked by those left",
        going(FOREGROUND),
        [("finalizers", "x", None)],
        dependents=[dependent("e", blocks=False)],
    ),
    Case(
        "orphan: first the dependents are let go, then it",
        going(ORPHAN),
        [("owners", "d", None), ("finalizers", "x", None)],
        dependents=[dependent("d", blocks=True)],
    ),
]


def brief(action: Action) -> object:
    match action:
        case Delete(name=name, propagation=propagation):
            return "delete", name, propagation
        case Patch(name=name, body={"metadata": {"ownerReferences": refs}}):
            return "owners", name, [r["name"] for r in refs] if refs else None
        case Patch(name=name, body={"metadata": {"finalizers": finalizers}}):
            return "finalizers", name, finalizers
        case _:
            return action


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.id)
def test_reconcile(case: Case) -> None:
    owners = case.owners or [SOLID] * len(case.meta.owner_references)
    result = reconcile(REPLICA_SET, case.meta, owners, case.dependents)
    assert [brief(a) for a in result.actions] == case.want
    assert all(getattr(a, "uid", "uid") for a in result.actions)
