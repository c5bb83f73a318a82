"""Field managers of the registry's writes: whom a write is ascribed to, and what is applied. No I/O.

A write is tracked as it stands after defaults and before admission, as upstream: what admission adds to a pod belongs
to nobody. Writes without a manager (in-process clients, which have no User-Agent) leave the managers as they are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from wherry.api.errors import (
    BadRequestError,
    Cause,
    ConflictError,
    InvalidError,
    UnclassifiedError,
)
from wherry.api.kinds import Kind
from wherry.api.times import format_time
from wherry.apiserver.apply import Tracker, problems
from wherry.apiserver.registry import prepare
from wherry.apiserver.registry.prepare import Target
from wherry.apiserver.resources import SCALE_VIEW, Resource
from wherry.apiserver.schema import Refuse
from wherry.apiserver.schema.scalar import json_type
from wherry.apiserver.verbs import Context

Object = dict[str, Any]
_IDENTITY = ("name", "namespace", "uid", "resourceVersion")


@dataclass(frozen=True, slots=True)
class Edited:
    """What a write makes of an object.

    `managers` are decided already where it was applied; `sent` is what a client said they are.
    `refuse` is how to refuse what is no object of the kind: a patch is told so in other words than a body.
    """

    object: Object
    managers: Sequence[Object] | None = None
    sent: Any = None
    refuse: Refuse | None = None


def _tracker(ctx: Context, resource: Resource, subresource: str, now: float) -> Tracker:
    kind = resource.kind
    gvk = (kind.group, kind.version, kind.kind)
    return Tracker(gvk, ctx.field_manager, format_time(now), subresource)


def on_create(
    ctx: Context, resource: Resource, obj: Object, managers: Sequence[Object] | None, *, now: float
) -> None:
    """Write the managers of a new object into it; `managers` are there if it was applied."""
    if managers is None and ctx.field_manager:
        shown = obj
        if "status" in obj and resource.subresource("status") is not None:
            shown = {name: value for name, value in obj.items() if name != "status"}
        managers = _tracker(ctx, resource, "", now).created(shown)
    if managers:
        obj["metadata"]["managedFields"] = managers


def on_change(
    ctx: Context,
    resource: Resource,
    subresource: str,
    new: Object,
    old: Object,
    edited: Edited,
    *,
    now: float,
) -> Object:
    """Return `new` with its managers."""
    managers = edited.managers
    if managers is None:
        managers = old["metadata"].get("managedFields")
        if ctx.field_manager:
            tracker = _tracker(ctx, resource, subresource, now)
            managers = tracker.updated(old, new, edited.sent)
    metadata = {name: value for name, value in new["metadata"].items() if name != "managedFields"}
    if managers:
        metadata["managedFields"] = managers
    return {**new, "metadata": metadata}


def apply(
    ctx: Context, target: Target, subresource: str, old: Object, config: Object, *, now: float
) -> Edited:
    """Return `old` with a configuration applied.

    Raises:
        ConflictError: others own what it changes, and it is not forced.
        BadRequestError: its lists cannot be merged.
    """
    tracker = _tracker(ctx, target.resource, subresource, now)
    applied = tracker.apply(old, config, force=ctx.force)
    return Edited(applied.object, applied.managed)


def check_absent(target: Target, config: Object) -> None:
    """Refuse to create what was meant for an object that existed.

    Raises:
        ConflictError: the configuration has a uid.
    """
    uid = config["metadata"].get("uid")
    if uid:
        kind = target.resource.kind
        raise ConflictError(
            f'Operation cannot be fulfilled on {kind.qualified} "{target.name}": uid mismatch: '
            f"the provided object specified uid {uid}, and no existing object was found",
            name=target.name,
            kind=kind.plural,
            group=kind.group,
        )


def configuration(ctx: Context, target: Target, patch: Any, subresource: str) -> Object:
    """Return what an apply sets, in the form of the kind's schema.

    Raises:
        InvalidError: nobody says who applies.
        BadRequestError: it is no configuration of this kind.
    """
    if not ctx.field_manager:
        raise _no_manager()
    patch = {} if patch is None else patch
    if not isinstance(patch, dict):
        raise BadRequestError(
            f"error decoding YAML: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal "
            f"{json_type(patch)} into Go value of type map[string]interface {{}}"
        )
    kind = SCALE_VIEW.kind if subresource == "scale" else target.resource.kind
    _check_kind(patch, kind)
    if _member(patch, "metadata").get("managedFields") is not None:
        raise BadRequestError("metadata.managedFields must be nil")
    _check_types(kind, patch)
    if subresource == "scale":
        patch = _of_parent(target, patch)
    ctx.applies = True
    config = prepare.check_types(ctx, target.resource, patch)
    return _part(target, config, subresource)


def _check_kind(patch: Object, kind: Kind) -> None:
    api_version, name = patch.get("apiVersion") or "", patch.get("kind") or ""
    if (api_version, name) != (kind.api_version, kind.kind):
        raise BadRequestError(f"invalid object type: {_go_address(api_version, name)}")


def _go_address(api_version: str, kind: str) -> str:
    """Write a kind's address as Go does: the core group, which has no name, leaves its slash."""
    return f"{api_version if '/' in api_version else f'/{api_version}'}, Kind={kind}"


def _member(patch: Object, name: str) -> Object:
    """Return an object inside a configuration; the schema has not been held to it yet."""
    value = patch.get(name) or {}
    return value if isinstance(value, dict) else {}


def _no_manager() -> InvalidError:
    cause = Cause(
        "FieldValueRequired", "Required value: is required for apply patch", "fieldManager"
    )
    return InvalidError(
        f'PatchOptions.meta.k8s.io "" is invalid: fieldManager: {cause.message}',
        group="meta.k8s.io",
        kind="PatchOptions",
        causes=[cause],
    )


def _of_parent(target: Target, patch: Object) -> Object:
    """Return what a Scale says about the object that is scaled."""
    kind = target.resource.kind
    replicas = _member(patch, "spec").get("replicas")
    metadata = {k: v for k, v in _member(patch, "metadata").items() if k in _IDENTITY}
    parent: Object = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata}
    return parent if replicas is None else {**parent, "spec": {"replicas": replicas}}


def _check_types(kind: Kind, patch: Object) -> None:
    """Refuse what is no configuration of the kind, whatever the field validation (upstream: a 500)."""
    found = problems(patch, (kind.group, kind.version, kind.kind))
    if not found:
        return
    why = found[0] if len(found) == 1 else "errors:\n" + "\n".join(f"  {each}" for each in found)
    metadata = _member(patch, "metadata")
    raise UnclassifiedError(
        f"failed to create typed patch object ({metadata.get('namespace') or ''}/"
        f"{metadata.get('name') or ''}; {_go_address(kind.api_version, kind.kind)}): {why}"
    )


def _part(target: Target, config: Object, subresource: str) -> Object:
    """Return the part of a configuration that can be set here (upstream's reset fields)."""
    if subresource == "status":
        allowed = _IDENTITY + target.strategy.status_metadata
        metadata = {k: v for k, v in config["metadata"].items() if k in allowed}
        part = {k: v for k, v in config.items() if k in ("apiVersion", "kind", "status")}
        return {**part, "metadata": metadata}
    if not subresource and target.resource.subresource("status") is not None:
        return {k: v for k, v in config.items() if k != "status"}
    return config
