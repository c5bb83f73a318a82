"""The registry's ways to say no, in kube-apiserver's words."""

from collections.abc import Sequence

from wherry.api.errors import (
    AlreadyExistsError,
    Cause,
    ConflictError,
    ForbiddenError,
    InternalError,
    InvalidError,
    NotFoundError,
    TimeoutStatusError,
)
from wherry.apiserver.resources import Resource

MODIFIED = (
    "the object has been modified; please apply your changes to the latest version and try again"
)


def not_found(resource: Resource, name: str) -> NotFoundError:
    """Say `pods "x" not found`."""
    kind = resource.kind
    message = f'{kind.qualified} "{name}" not found'
    return NotFoundError(message, name=name, kind=kind.plural, group=kind.group)


def already_exists(resource: Resource, name: str) -> AlreadyExistsError:
    """Say `pods "x" already exists`."""
    kind = resource.kind
    message = f'{kind.qualified} "{name}" already exists'
    return AlreadyExistsError(message, name=name, kind=kind.plural, group=kind.group)


def not_generated(resource: Resource, name: str) -> AlreadyExistsError:
    """Say that a name which was made up, or is one of several to choose from, is taken."""
    kind = resource.kind
    message = (
        f'{kind.qualified} "{name}" already exists, the server was not able to generate a unique '
        "name for the object"
    )
    return AlreadyExistsError(
        message, name=name, kind=kind.plural, group=kind.group, retry_after_s=1
    )


def conflict(
    resource: Resource, name: str, why: str = MODIFIED, subresource: str = ""
) -> ConflictError:
    """Say `Operation cannot be fulfilled on pods "x": why`."""
    kind = resource.kind
    part = f"{kind.plural}/{subresource}" if subresource else kind.plural
    qualified = f"{part}.{kind.group}" if kind.group else part
    message = f'Operation cannot be fulfilled on {qualified} "{name}": {why}'
    return ConflictError(message, name=name, kind=part, group=kind.group)


def forbidden(resource: Resource, name: str, why: str) -> ForbiddenError:
    """Say `pods "x" is forbidden: why`."""
    kind = resource.kind
    message = f'{kind.qualified} "{name}" is forbidden: {why}'
    return ForbiddenError(message, name=name, kind=kind.plural, group=kind.group)


def invalid(resource: Resource, name: str, causes: Sequence[Cause]) -> InvalidError:
    """Say `Pod "x" is invalid: field: message`, or `[a, b]` where there are several."""
    return invalid_kind(resource.kind.kind, resource.kind.group, name, causes)


def invalid_kind(kind: str, group: str, name: str, causes: Sequence[Cause]) -> InvalidError:
    """Say the same of something that is no resource: a question, or the body of a subresource."""
    what = f"{kind}.{group}" if group else kind
    each = [f"{c.field}: {c.message}" for c in causes]
    text = each[0] if len(each) == 1 else f"[{', '.join(each)}]"
    message = f'{what} "{name}" is invalid: {text}'
    return InvalidError(message, name=name, kind=kind, group=group, causes=causes)


def internal(why: str) -> InternalError:
    """Say `Internal error occurred: why`: of what is not wrong by itself, and cannot be had."""
    return InternalError(f"Internal error occurred: {why}", causes=[Cause("", why)])


def unknown_outcome(resource: Resource, name: str) -> TimeoutStatusError:
    """Say that a write may or may not have happened."""
    kind = resource.kind
    message = f'the store did not confirm the write of {kind.qualified} "{name}" in time; it may have happened'
    return TimeoutStatusError(message, name=name, kind=kind.plural, group=kind.group)
