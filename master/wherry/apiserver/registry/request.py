"""Reading requests: preconditions, subresources, options and patches. No I/O."""

from typing import Any

import orjson

from wherry.api.errors import (
    BadRequestError,
    ConflictError,
    InvalidError,
    MethodNotAllowedError,
    NotFoundError,
    StatusError,
    UnsupportedMediaError,
)
from wherry.api.kinds import Kind
from wherry.apiserver.go import go_value
from wherry.apiserver.patch import json_patch, merge_patch
from wherry.apiserver.registry.prepare import Target
from wherry.apiserver.resources import Resource
from wherry.apiserver.schema import GVK, Problem, Refuse
from wherry.apiserver.schema.scalar import json_type
from wherry.apiserver.strategic import strategic_merge_patch
from wherry.apiserver.strategy import fields
from wherry.apiserver.verbs import DeleteOptions
from wherry.client.api import PatchType

Object = dict[str, Any]
VIEWS = ("", "status", "ephemeralcontainers", "resize")
"""Subresources that are read as the object itself."""
_CHANGEABLE = ("status", "scale", "finalize", "approval", "ephemeralcontainers", "resize")


def check_delete_preconditions(target: Target, old: Object, options: DeleteOptions) -> None:
    """Refuse a delete that was meant for another version or incarnation.

    Raises:
        ConflictError: uid or resourceVersion is not the stored one's.
    """
    meta = old["metadata"]
    if options.uid and options.uid != meta["uid"]:
        gone = "The object might have been deleted and then recreated"
        raise _precondition(target, "UID", options.uid, meta["uid"], gone)
    if options.revision and options.revision != meta["resourceVersion"]:
        changed = "The object might have been modified"
        raise _precondition(
            target, "ResourceVersion", options.revision, meta["resourceVersion"], changed
        )


def _precondition(target: Target, what: str, asked: str, actual: str, guess: str) -> ConflictError:
    """Say why not to delete, as upstream's `BeforeDelete`: by the kind, where others say the resource."""
    kind = target.resource.kind
    name = f"{kind.kind}.{kind.group}" if kind.group else kind.kind
    return ConflictError(
        f'Operation cannot be fulfilled on {name} "{target.name}": the {what} in the precondition '
        f"({asked}) does not match the {what} in record ({actual}). {guess}",
        name=target.name,
        kind=kind.kind,
        group=kind.group,
    )


def check_subresource(resource: Resource, subresource: str) -> None:
    """Refuse to change a subresource that the kind does not have.

    Raises:
        NotFoundError, MethodNotAllowedError: there is none, or it cannot be changed.
    """
    served = resource.subresource(subresource) if subresource else None
    if subresource and (served is None or subresource not in _CHANGEABLE):
        raise not_served(resource, "update", subresource)


def not_served(resource: Resource, verb: str, subresource: str) -> StatusError:
    """Return the refusal of a verb that a subresource does not have."""
    kind = resource.kind
    if resource.subresource(subresource) is None:
        return NotFoundError("the server could not find the requested resource")
    return MethodNotAllowedError(
        f"the server does not allow this method on the requested resource: {verb} "
        f"{kind.qualified}/{subresource}"
    )


def _patch_object(patch: Any, said: str = "") -> Object:
    if not isinstance(patch, dict):
        raise BadRequestError(
            f"{said}json: cannot unmarshal {json_type(patch)} into Go value of type map[string]interface {{}}"
        )
    return patch


def apply_patch(
    resource: Resource, subresource: str, old: Object, patch: Any, patch_type: PatchType
) -> Object:
    """Return `old` as the patch makes it.

    Raises:
        BadRequestError, InvalidError: the patch is malformed or does not apply.
        UnsupportedMediaError: the kind does not know this kind of patch.
    """
    match patch_type:
        case PatchType.JSON:
            return json_patch(old, patch)
        case PatchType.STRATEGIC if subresource != "scale":
            return strategic_merge_patch(
                old, _patch_object({} if patch is None else patch), resource.kind
            )
        case PatchType.MERGE | PatchType.STRATEGIC:
            if patch is None:
                raise BadRequestError("Invalid JSON Patch")
            merged: Object = merge_patch(old, _patch_object(patch, "error decoding patch: "))
            return merged
        case PatchType.APPLY:
            raise UnsupportedMediaError("an apply is no patch of an object")


def refusal_of(made: Object, patch: Any, patch_type: PatchType) -> Refuse:
    """Return how to refuse what a patch has made of an object: with the patch, or with all of the result."""

    def refuse(kind: Kind | GVK, problem: Problem) -> InvalidError:  # noqa: ARG001  (a Refuse)
        why, value = problem.message, ""
        if patch_type is PatchType.STRATEGIC:
            why, value = problem.converted or why, go_value(patch)
        else:
            value = orjson.dumps(made, option=orjson.OPT_SORT_KEYS).decode()
        cause = fields.invalid("patch", value, why)
        return InvalidError(f' "" is invalid: patch: {cause.message}', causes=[cause])

    return refuse
