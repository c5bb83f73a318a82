"""Who owns what: adoption and release by controllerRef.

An object that matches a controller's selector and has no controlling owner is *adopted*
(the controller writes itself into its ownerReferences); one that it controls but that no
longer matches is *released*. Ownership is by uid: a controller that was deleted and made
again under the same name owns nothing of its predecessor's.
Source: kubernetes `pkg/controller/controller_ref_manager.go`.
"""

from collections.abc import Iterable
from typing import Any

from wherry.api.kinds import Kind
from wherry.api.objects import ObjectMeta
from wherry.api.selectors import LabelSelector
from wherry.controllers.framework import Action, Patch, controller_reference
from wherry.controllers.views import to_dict


def claim(
    owner_kind: Kind,
    owner: ObjectMeta,
    selector: LabelSelector,
    kind: Kind,
    candidates: Iterable[Any],
) -> tuple[list[Any], list[Action]]:
    """Sort out which candidates belong to `owner`.

    Args:
        owner_kind: Kind of the controller.
        owner: Its metadata. While it is being deleted it adopts and releases nothing.
        selector: What it selects; an empty one selects nothing here.
        kind: Kind of the candidates.
        candidates: Views of objects in the owner's namespace.

    Returns:
        The objects that are controlled already (without those to release), and the patches
        that adopt and release. Adopted objects count from the pass in which the cache
        shows them as owned.
    """
    mine: list[Any] = []
    actions: list[Action] = []
    for obj in candidates:
        meta: ObjectMeta = obj.metadata
        ref = meta.controller
        matches = bool(selector) and selector.matches(meta.labels)
        if ref is not None:
            if ref.uid != owner.uid:
                continue
            if matches or owner.deleting:
                mine.append(obj)
            else:
                actions.append(_release(kind, meta, owner))
        elif matches and not owner.deleting and not meta.deleting:
            actions.append(_adopt(kind, meta, owner_kind, owner))
    return mine, actions


def _adopt(kind: Kind, meta: ObjectMeta, owner_kind: Kind, owner: ObjectMeta) -> Patch:
    kept = [to_dict(ref) for ref in meta.owner_references if ref.uid != owner.uid]
    return _set_owners(kind, meta, [*kept, controller_reference(owner_kind, owner)])


def _release(kind: Kind, meta: ObjectMeta, owner: ObjectMeta) -> Patch:
    return _set_owners(
        kind, meta, [to_dict(ref) for ref in meta.owner_references if ref.uid != owner.uid]
    )


def _set_owners(kind: Kind, meta: ObjectMeta, owners: list[dict[str, Any]]) -> Patch:
    """Replace the whole list, and only at the revision that it was read at."""
    return Patch(
        kind,
        meta.namespace,
        meta.name,
        {"metadata": {"ownerReferences": owners or None}},
        uid=meta.uid,
        revision=meta.resource_version,
    )


def without_owners(kind: Kind, meta: ObjectMeta, uids: frozenset[str]) -> Patch:
    """Drop the ownerReferences to `uids`."""
    kept = [to_dict(ref) for ref in meta.owner_references if ref.uid not in uids]
    return _set_owners(kind, meta, kept)
