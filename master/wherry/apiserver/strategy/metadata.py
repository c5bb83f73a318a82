"""Rules for `metadata`, the same for every kind: apimachinery `api/validation/objectmeta`."""

from typing import Any

from wherry.api.errors import Cause
from wherry.apiserver.strategy import fields, names
from wherry.apiserver.strategy.names import NameRule

_IMMUTABLE = "field is immutable"
_STANDARD_FINALIZERS = ("kubernetes", "orphan", "foregroundDeletion")


def validate_metadata(
    meta: dict[str, Any], name_rule: NameRule, *, namespaced: bool
) -> list[Cause]:
    """Return everything wrong with the metadata of an object, which has its name by now."""
    wrong: list[Cause] = []
    generate = meta.get("generateName", "")
    if generate and not meta.get("name"):
        wrong += names.check("metadata.generateName", generate.rstrip("-") or generate, name_rule)
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
    wrong: list[Cause] = []
    controllers: list[str] = []
    for index, owner in enumerate(owners):
        path = f"metadata.ownerReferences[{index}]"
        needed = ("apiVersion", "kind", "name", "uid")
        wrong += [_missing_owner_field(path, field) for field in needed if not owner.get(field)]
        if owner.get("controller"):
            controllers.append(f"{owner.get('kind', '')}/{owner.get('name', '')}")
    if len(controllers) > 1:
        wrong.append(
            fields.invalid(
                "metadata.ownerReferences",
                owners,
                "Only one reference can have Controller set to true. Found "
                f'"true" in references for {" and ".join(controllers[:2])}',
            )
        )
    return wrong


def _missing_owner_field(path: str, field: str) -> Cause:
    what = "version" if field == "apiVersion" else field
    return fields.invalid(f"{path}.{field}", "", f"{what} must not be empty")


def _finalizers(finalizers: list[str]) -> list[Cause]:
    wrong: list[Cause] = []
    for index, finalizer in enumerate(finalizers):
        path = f"metadata.finalizers[{index}]"
        wrong += names.check(path, finalizer, names.qualified_name)
        if "/" not in finalizer and finalizer not in _STANDARD_FINALIZERS:
            wrong.append(
                fields.invalid(
                    path,
                    finalizer,
                    "name is neither a standard finalizer name nor is it fully qualified",
                )
            )
    if {"orphan", "foregroundDeletion"} <= set(finalizers):
        wrong.append(
            fields.invalid(
                "metadata.finalizers",
                finalizers,
                "finalizer orphan and foregroundDeletion cannot be both set",
            )
        )
    return wrong


def validate_metadata_update(new: dict[str, Any], old: dict[str, Any]) -> list[Cause]:
    """Return what may not be changed and was; missing immutable fields were carried over before."""
    wrong = [
        fields.invalid(f"metadata.{field}", new.get(field), _IMMUTABLE)
        for field in ("name", "namespace", "uid", "creationTimestamp")
        if new.get(field) != old.get(field)
    ]
    if old.get("deletionTimestamp"):
        added = [f for f in new.get("finalizers", ()) if f not in old.get("finalizers", ())]
        if added:
            shown = ", ".join(f'"{f}"' for f in added)
            wrong.append(
                fields.forbidden(
                    "metadata.finalizers",
                    "no new finalizers can be added if the object is being deleted, found new "
                    f"finalizers []string{{{shown}}}",
                )
            )
    return wrong
