"""What a delete request does to an object: a pure decision.

    finalizers, or a grace period still to run   ->  marked: deletionTimestamp is set
    nothing holds it                             ->  removed

A marked object is removed by the update that takes its last finalizer away (for a pod: by
the agent's delete with grace 0, once the containers are gone).
"""

from dataclasses import dataclass
from typing import Any

from wherry.api import kinds
from wherry.api.errors import BadRequestError
from wherry.api.kinds import Kind
from wherry.api.times import format_time, parse_time
from wherry.apiserver.verbs import DeleteOptions

ORPHAN = "orphan"
FOREGROUND = "foregroundDeletion"
_FINALIZER_OF = {"Orphan": ORPHAN, "Foreground": FOREGROUND}
_PROPAGATIONS = ("", "Background", "Foreground", "Orphan")
DEFAULT_GRACE_S = 30

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Mark:
    """Store `object` instead; it is the old one itself where nothing is to be done."""

    object: Object


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove the key."""


def decide(kind: Kind, old: Object, options: DeleteOptions, *, now: float) -> Mark | Remove:
    """Decide what a delete request does to `old`.

    Raises:
        BadRequestError: the propagation policy is none.
    """
    if options.propagation not in _PROPAGATIONS:
        raise BadRequestError(
            f'invalid propagation policy "{options.propagation}": must be one of '
            "Background, Foreground, Orphan"
        )
    meta = dict(old["metadata"])
    finalizers = _finalizers(meta.get("finalizers", []), options.propagation)
    if finalizers:
        meta["finalizers"] = finalizers
    else:
        meta.pop("finalizers", None)
    grace_s = grace_of(kind, old, options)
    if meta.get("deletionTimestamp") and options.grace_s is None and grace_s:
        return Mark({**old, "metadata": meta})  # nobody asks to hurry
    new = {**old, "metadata": meta}
    if kind == kinds.NAMESPACE:
        new["status"] = {**old.get("status", {}), "phase": "Terminating"}
    if not held(kind, new) and grace_s == 0:
        return Remove()
    _set_deadline(meta, grace_s, now)
    return Mark(new)


def _set_deadline(meta: Object, grace_s: int, now: float) -> None:
    """Mark for deletion; a later request may shorten the grace period, never lengthen it."""
    marked = meta.get("deletionTimestamp")
    if marked is None:
        meta["deletionTimestamp"] = format_time(now + grace_s)
        meta["deletionGracePeriodSeconds"] = grace_s
        if "generation" in meta:
            meta["generation"] += 1
        return
    before = meta.get("deletionGracePeriodSeconds", 0)
    if grace_s < before:
        began = parse_time(marked) - before
        meta["deletionTimestamp"] = format_time(began + grace_s)
        meta["deletionGracePeriodSeconds"] = grace_s


def _finalizers(finalizers: list[str], propagation: str) -> list[str]:
    """Return the finalizers with the one that this propagation asks for, and no other."""
    if not propagation:
        return finalizers
    kept = [f for f in finalizers if f not in (ORPHAN, FOREGROUND)]
    wanted = _FINALIZER_OF.get(propagation)
    return [*kept, wanted] if wanted else kept


def grace_of(kind: Kind, old: Object, options: DeleteOptions) -> int:
    """Return the seconds that the object's processes get; only pods on a node have any."""
    if kind != kinds.POD:
        return 0
    spec, status = old.get("spec", {}), old.get("status", {})
    if not spec.get("nodeName") or status.get("phase") in ("Succeeded", "Failed"):
        return 0
    grace_s = options.grace_s
    if grace_s is None:
        grace_s = spec.get("terminationGracePeriodSeconds", DEFAULT_GRACE_S)
    return 1 if grace_s < 0 else int(grace_s)


def held(kind: Kind, obj: Object) -> bool:
    """Tell whether finalizers still have to agree."""
    if obj["metadata"].get("finalizers"):
        return True
    return kind == kinds.NAMESPACE and bool(obj.get("spec", {}).get("finalizers"))


def released(kind: Kind, new: Object) -> bool:
    """Tell whether an update has taken away the last thing that kept a marked object."""
    meta = new["metadata"]
    if not meta.get("deletionTimestamp") or held(kind, new):
        return False
    return not meta.get("deletionGracePeriodSeconds")
