"""From what a client sent to what is stored: metadata, defaults, validation. No I/O.

    create:  schema -> metadata filled -> strategy.prepare_create -> defaults -> (admission) -> validate
    update:  schema -> metadata carried over -> strategy.prepare_update -> defaults -> (admission) -> validate
    status:  everything but the status carried over -> validate_status

Admission stands between because it may change the object; the registry calls it.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from wherry.api.errors import BadRequestError, Cause, ConflictError
from wherry.api.times import format_time
from wherry.apiserver import refusal
from wherry.apiserver.resources import Resource
from wherry.apiserver.schema import Refuse, normalize
from wherry.apiserver.strategy import fields, strategy_for
from wherry.apiserver.strategy.base import Strategy, keep
from wherry.apiserver.strategy.metadata import validate_metadata, validate_metadata_update
from wherry.apiserver.verbs import Context

Object = dict[str, Any]

_SERVER_OWNED = (
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "resourceVersion",
    "selfLink",
    "managedFields",
)
_CARRIED = ("creationTimestamp", "generation")
_CARRIED_IF_THERE = ("deletionTimestamp", "deletionGracePeriodSeconds")
_CARRIED_IF_ABSENT = ("name", "namespace", "uid", "generateName")
_NOT_TAKEN = ("selfLink", "managedFields")
_NEVER_EMPTY = ("labels", "annotations", "finalizers", "ownerReferences")


@dataclass(frozen=True, slots=True)
class Target:
    """What a request is about."""

    resource: Resource
    strategy: Strategy
    namespace: str
    name: str


def check_types(
    ctx: Context, resource: Resource, obj: Object, refuse: Refuse | None = None
) -> Object:
    """Return the object in the form of its kind's schema, as a tree of its own.

    Who sends a new object is warned of what its kind would rather not see.

    Args:
        ctx: Of the request; its warnings are refused where it is strict.
        resource: What it is to be.
        obj: What was sent, or what a patch has made.
        refuse: How to refuse it, if not as a body.

    Raises:
        BadRequestError: another kind was sent, or a value has the wrong type.
    """
    if not isinstance(obj, dict):
        raise BadRequestError("the object provided is unrecognized: it is not a JSON object")
    kind = resource.kind
    sent = (obj.get("apiVersion") or kind.api_version, obj.get("kind") or kind.kind)
    if sent != (kind.api_version, kind.kind):
        raise BadRequestError(
            f"the object provided is unrecognized (must be of type {kind.kind}): got "
            f'kind "{sent[1]}" of apiVersion "{sent[0]}", expected "{kind.kind}" of "{kind.api_version}"'
        )
    found = [warning for warning in ctx.warnings if warning not in ctx.advice]
    out, warnings = normalize(kind, obj, ctx.field_validation, found=found, refuse=refuse)
    ctx.warnings.extend(w for w in warnings if w not in ctx.warnings)
    out["apiVersion"], out["kind"] = kind.api_version, kind.kind
    if not isinstance(out.get("metadata"), dict):
        out["metadata"] = {}
    if len(out["metadata"].get("ownerReferences") or ()) > 1:
        _drop_repeated_owners(ctx, out["metadata"], patched=refuse is not None)
    if not out["metadata"].get("uid"):
        _advise(ctx, strategy_for(kind).warnings(out))
    return out


def _advise(ctx: Context, texts: Iterable[str]) -> None:
    new = [text for text in texts if text not in ctx.warnings]
    ctx.warnings.extend(new)
    ctx.advice.extend(new)


def _drop_repeated_owners(ctx: Context, meta: Object, *, patched: bool) -> None:
    """Leave out owners that stand there twice, and warn of them."""
    kept: dict[object, Object] = {}
    repeated = [
        owner.get("uid", "")
        for owner in meta["ownerReferences"]
        if kept.setdefault(tuple(sorted(owner.items())), owner) is not owner
    ]
    if not repeated:
        return
    meta["ownerReferences"] = list(kept.values())
    when = " after mutating admission happens" if patched else ""
    warning = (
        f".metadata.ownerReferences contains duplicate entries{when}; API server dedups owner "
        "references in 1.20+, and may reject such requests as early as 1.24; please fix your "
        f"requests; duplicate UID(s) observed: {', '.join(repeated)}"
    )
    _advise(ctx, [warning])


def begin_create(target: Target, obj: Object, *, now: float, uid: str) -> Object:
    """Fill the metadata of a new object (which has passed `check_types`) and apply defaults.

    Raises:
        BadRequestError: the object contradicts the URL.
    """
    meta = obj["metadata"]
    if meta.get("resourceVersion") not in (None, "", "0"):
        raise BadRequestError("resourceVersion should not be set on objects to be created")
    check_address(target, obj)
    for field in _SERVER_OWNED:
        meta.pop(field, None)
    _drop_empty(meta)
    if target.name:
        meta["name"] = target.name
    if target.resource.kind.namespaced:
        meta["namespace"] = target.namespace
    meta["uid"] = uid
    meta["creationTimestamp"] = format_time(now)
    if target.strategy.generation:
        meta["generation"] = 1
    target.strategy.prepare_create(obj)
    target.strategy.default(obj)
    return obj


def check_address(target: Target, obj: Object) -> None:
    """Refuse an object whose namespace or name is not the URL's; fill in the namespace if left out.

    Raises:
        BadRequestError: they differ, or there is no name.
    """
    meta = obj["metadata"]
    if target.resource.kind.namespaced:
        if meta.get("namespace", target.namespace) not in ("", target.namespace):
            raise BadRequestError(
                "the namespace of the provided object does not match the namespace sent on the request"
            )
        meta["namespace"] = target.namespace
    else:
        meta.pop("namespace", None)
    name = meta.get("name", "")
    if target.name and not name:
        raise BadRequestError(
            f"the name of the object ({target.name} based on URL) was undeterminable: name must be provided"
        )
    if target.name and name != target.name:
        raise BadRequestError(
            f"the name of the object ({name}) does not match the name on the URL ({target.name})"
        )


def finish_create(target: Target, obj: Object) -> None:
    """Validate a new object.

    Raises:
        InvalidError: with every cause there is.
    """
    causes = fields.collect(
        lambda: _metadata_causes(target, obj),
        lambda: target.strategy.validate(obj),
        lambda: target.strategy.validate_create(obj),
    )
    if causes:
        raise refusal.invalid(target.resource, obj["metadata"].get("name", ""), causes)


def begin_update(target: Target, new: Object, old: Object) -> Object:
    """Carry over what a client may not change, and apply defaults.

    Raises:
        BadRequestError: the object contradicts the URL.
        ConflictError: its resourceVersion is not the stored one's.
        InvalidError: it has no resourceVersion, and its kind needs one.
    """
    check_address(target, new)
    check_preconditions(target, new, old)
    carry_metadata(new["metadata"], old["metadata"])
    target.strategy.prepare_update(new, old)
    target.strategy.default(new)
    return new


def check_preconditions(target: Target, new: Object, old: Object) -> None:
    """Refuse a write that was made for another version; whoever replaces has passed `check_uid` too.

    Raises:
        ConflictError: resourceVersion is not the stored one's.
        InvalidError: there is no resourceVersion, and the kind needs one.
    """
    meta, was = new["metadata"], old["metadata"]
    stated = meta.get("resourceVersion")
    if stated and stated != "0":
        if stated != was["resourceVersion"]:
            raise refusal.conflict(target.resource, target.name)
    elif not target.strategy.unconditional_update:
        cause = Cause(
            "FieldValueInvalid",
            "Invalid value: 0: must be specified for an update",
            "metadata.resourceVersion",
        )
        kind = target.resource.kind  # upstream names the resource here, not the kind
        raise refusal.invalid_kind(kind.plural, kind.group, target.name, [cause])


def check_uid(target: Target, sent: Object, actual: str) -> None:
    """Refuse to replace another incarnation than the one that was sent; what is gone has no uid.

    A patch that changes the uid is refused for that: it is immutable (`validate_metadata_update`).

    Raises:
        ConflictError: the uid is not the stored one's.
    """
    meta = sent.get("metadata")
    uid = meta.get("uid") if isinstance(meta, dict) else None
    if isinstance(uid, str) and uid not in ("", actual):
        raise failed_precondition(target, "UID", uid, actual)


def check_part(target: Target, sent: Object, old: Object) -> None:
    """Refuse what was made for another object, version or incarnation, where only a part is changed.

    Raises:
        BadRequestError: the object contradicts the URL.
        ConflictError: its resourceVersion is not the stored one's.
        InvalidError: its uid is not, or it has no resourceVersion and its kind needs one.
    """
    check_address(target, sent)
    check_preconditions(target, sent, old)
    uid = sent["metadata"].get("uid")
    if uid and uid != old["metadata"]["uid"]:
        cause = fields.invalid("metadata.uid", uid, fields.IMMUTABLE)
        raise refusal.invalid(target.resource, target.name, [cause])


def failed_precondition(target: Target, what: str, asked: str, actual: str) -> ConflictError:
    """Return a refusal in the words of upstream's storage, which come through to the client."""
    key = target.resource.key(target.namespace, target.name).decode()
    why = (
        f"StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, AdditionalErrorMsg: "
        f"Precondition failed: {what} in precondition: {asked}, {what} in object meta: {actual}"
    )
    return refusal.conflict(target.resource, target.name, why)


def carry_metadata(meta: Object, was: Object) -> None:
    """Give new metadata what only the server sets."""
    for field in _CARRIED:
        keep(meta, was, field)
    for field in _CARRIED_IF_THERE:  # who marks an object by an update is told that he may not
        if field in was:
            meta[field] = was[field]
    for field in _CARRIED_IF_ABSENT:
        if not meta.get(field) and field in was:
            meta[field] = was[field]
    for field in _NOT_TAKEN:
        meta.pop(field, None)
    _drop_empty(meta)
    meta["resourceVersion"] = was["resourceVersion"]


def _drop_empty(meta: Object) -> None:
    """Leave out empty maps and lists, as Go's `omitempty` does."""
    for field in _NEVER_EMPTY:
        if not meta.get(field):
            meta.pop(field, None)


def finish_update(target: Target, new: Object, old: Object) -> None:
    """Validate an update and count the generation.

    Raises:
        InvalidError: with every cause there is.
    """
    strategy = target.strategy
    checks = [lambda: strategy.validate_update(new, old), lambda: strategy.validate(new)]
    causes = fields.collect(
        lambda: validate_metadata_update(new["metadata"], old["metadata"]),
        lambda: _metadata_causes(target, new),
        *(checks if strategy.step_first else reversed(checks)),
    )
    if causes:
        raise refusal.invalid(target.resource, target.name, _unique(causes))
    _count_generation(target, new, old)


def update_containers(
    target: Target, old: Object, spec: Object, causes: Callable[[Object], list[Cause]]
) -> Object:
    """Return `old` with another spec: what a subresource of pods let through of `sent`.

    Args:
        target: The pod.
        old: The pod as it is.
        spec: The new spec; nothing of it may be shared with `old` and still lack defaults.
        causes: What is wrong with the step to the new pod.

    Raises:
        InvalidError: with every cause there is.
    """
    new = {**old, "metadata": dict(old["metadata"]), "spec": spec}
    target.strategy.default(new)
    wrong = fields.collect(lambda: target.strategy.validate(new), lambda: causes(new))
    if wrong:
        raise refusal.invalid(target.resource, target.name, _unique(wrong))
    _count_generation(target, new, old)
    return new


def _count_generation(target: Target, new: Object, old: Object) -> None:
    if target.strategy.generation and target.strategy.is_change(new, old):
        new["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1


def update_status(target: Target, new: Object, old: Object) -> Object:
    """Return `old` with the status of `new`, and what of its metadata the kind lets through.

    Raises:
        InvalidError: with every cause there is.
    """
    out = with_status(target, new, old)
    target.strategy.prepare_status(out, old)
    check_status(target, out, old, target.strategy.validate_status)
    return out


def with_status(target: Target, new: Object, old: Object) -> Object:
    """Return `old` with the status of `new`, and what of its metadata the kind lets through."""
    out = {k: v for k, v in old.items() if k != "status"}
    if "status" in new:
        out["status"] = new["status"]
    out["metadata"] = dict(old["metadata"])
    for field in target.strategy.status_metadata:
        keep(out["metadata"], new["metadata"], field)
    return out


def check_status(
    target: Target, out: Object, old: Object, validate: Callable[[Object, Object], list[Cause]]
) -> None:
    """Refuse a step of the status.

    Raises:
        InvalidError: with every cause there is.
    """
    checks = [lambda: validate(out, old)]
    if out["metadata"] != old["metadata"]:
        checks.append(lambda: validate_metadata_update(out["metadata"], old["metadata"]))
        checks.append(lambda: _metadata_causes(target, out))
    causes = fields.collect(*checks)
    if causes:
        raise refusal.invalid(target.resource, target.name, _unique(causes))


def _metadata_causes(target: Target, obj: Object) -> list[Cause]:
    namespaced = target.resource.kind.namespaced
    return validate_metadata(obj["metadata"], target.strategy.check_name, namespaced=namespaced)


def _unique(causes: list[Cause]) -> list[Cause]:
    return list(dict.fromkeys(causes))
