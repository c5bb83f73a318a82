"""Rules for `metadata`, the same for every kind: apimachinery `api/validation/objectmeta`."""

from typing import Any

from wherry.api.errors import Cause
from wherry.apiserver.strategy import fields, names
from wherry.apiserver.strategy.names import NameRule

_FIXED = (
    "name",
    "namespace",
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
)
_STANDARD_FINALIZERS = ("kubernetes", "orphan", "foregroundDeletion")


def validate_metadata(
    meta: dict[str, Any], name_rule: NameRule, *, namespaced: bool
) -> list[Cause]:
    """Return everything wrong with the metadata of an object, which has its name by now."""
    wrong: list[Cause] = []
    generate = meta.get("generateName")
    if generate:
        reasons = name_rule(names.masked(generate))
        wrong += [fields.invalid("metadata.generateName", generate, why) for why in reasons]
    if not meta.get("name"):
        wrong.append(fields.required("metadata.name", "name or generateName is required"))
    else:
        wrong += names.check("metadata.name", meta["name"], name_rule)
    if namespaced and meta.get("namespace"):
        wrong += names.check("metadata.namespace", meta["namespace"], names.dns1123_label)
    if labels := meta.get("labels"):
        wrong += names.check_labels("metadata.labels", labels)
    if annotations := meta.get("annotations"):
        wrong += names.check_annotations("metadata.annotations", annotations)
    if owners := meta.get("ownerReferences"):
        wrong += _owners(owners)
    if finalizers := meta.get("finalizers"):
        wrong += _finalizers(finalizers)
    return wrong


def _owners(owners: list[dict[str, Any]]) -> list[Cause]:
    """Check owners. Upstream's paths have no index here."""
    path = "metadata.ownerReferences"
    wrong: list[Cause] = []
    first, several = "", False
    for owner in owners:
        version, kind = owner.get("apiVersion", ""), owner.get("kind", "")
        if not version.rpartition("/")[2]:
            detail = "version must not be empty"
            wrong.append(fields.invalid(f"{path}.apiVersion", version, detail))
        wrong += [
            fields.invalid(f"{path}.{field}", "", "must not be empty")
            for field in ("kind", "name", "uid")
            if not owner.get(field)
        ]
        if (version, kind) == ("v1", "Event"):
            detail = "/v1, Kind=Event is disallowed from being an owner"
            wrong.append(fields.invalid(path, owner, detail))
        if owner.get("controller"):
            name = f"{kind}/{owner.get('name', '')}"
            if first and not several:
                detail = (
                    "Only one reference can have Controller set to true. Found "
                    f'"true" in references for {first} and {name}'
                )
                wrong.append(fields.invalid(path, owners, detail))
                several = True  # Said once: the text holds all owners.
            first = first or name
    return wrong


def _finalizers(finalizers: list[str]) -> list[Cause]:
    path = "metadata.finalizers"
    wrong: list[Cause] = []
    for finalizer in finalizers:
        wrong += names.check(path, finalizer, names.qualified_name)
    if {"orphan", "foregroundDeletion"} <= set(finalizers):
        detail = "finalizer orphan and foregroundDeletion cannot be both set"
        wrong.append(fields.invalid(path, finalizers, detail))
    for index, finalizer in enumerate(finalizers):
        wrong += _standard(f"{path}[{index}]", finalizer)
    return wrong


def _standard(path: str, finalizer: str) -> list[Cause]:
    if "/" in finalizer or finalizer in _STANDARD_FINALIZERS:
        return []
    detail = "name is neither a standard finalizer name nor is it fully qualified"
    return [fields.invalid(path, finalizer, detail)]


def check_finalizer(path: str, finalizer: str) -> list[Cause]:
    """Check the name of one who is asked before an object goes."""
    return names.check(path, finalizer, names.qualified_name) + _standard(path, finalizer)


def validate_metadata_update(new: dict[str, Any], old: dict[str, Any]) -> list[Cause]:
    """Return what may not be changed and was; missing immutable fields were carried over before."""
    wrong: list[Cause] = []
    if old.get("deletionTimestamp"):
        had = set(old.get("finalizers", ()))
        added = sorted({f for f in new.get("finalizers", ()) if f not in had})
        if added:
            shown = ", ".join(f'"{f}"' for f in added)
            detail = (
                "no new finalizers can be added if the object is being deleted, found new "
                f"finalizers []string{{{shown}}}"
            )
            wrong.append(fields.forbidden("metadata.finalizers", detail))
    return wrong + [
        fields.invalid(f"metadata.{field}", new.get(field), fields.IMMUTABLE)
        for field in _FIXED
        if new.get(field) != old.get(field)
    ]
