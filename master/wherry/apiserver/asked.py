"""What both doors check of a request before anybody performs it: its address and its options."""

import json
from collections.abc import Sequence

from wherry.api.errors import BadRequestError, Cause, InvalidError, MethodNotAllowedError
from wherry.apiserver.gate import Action

FIELD_VALIDATION = ("Ignore", "Strict", "Warn")
PROPAGATION = ("Background", "Foreground", "Orphan")
_MAX_MANAGER_BYTES = 128


def check_segment(what: str, name: str) -> None:
    """Refuse a name that would be another path, and so another object's key in the store."""
    if name in (".", ".."):
        raise BadRequestError(f"{what} parameter invalid: \"{name}\": may not be '{name}'")
    for character in "/%":
        if character in name:
            why = f"may not contain '{character}'"
            raise BadRequestError(f'{what} parameter invalid: "{name}": {why}')


def check_served(action: Action) -> None:
    """Refuse a verb that the resource or subresource has not, or that lacks its namespace.

    Raises:
        MethodNotAllowedError: it is not served.
    """
    resource = action.resource
    subresource = resource.subresource(action.subresource) if action.subresource else None
    served = resource.verbs if subresource is None else subresource.verbs
    nowhere = action.verb == "create" and resource.kind.namespaced and not action.namespace
    if action.verb not in served or nowhere:
        raise not_allowed()


def not_allowed() -> MethodNotAllowedError:
    """Refuse a method."""
    return MethodNotAllowedError("the server does not allow this method on the requested resource")


def check_write(kind: str, manager: str, validation: str) -> None:
    """Check the options of a write; `kind` is that of the options, for the message.

    Raises:
        InvalidError: fieldValidation is unknown, or the field manager's name is too long or
            cannot be printed.
    """
    if len(manager.encode()) > _MAX_MANAGER_BYTES:
        why = f"may not be more than {_MAX_MANAGER_BYTES} bytes"
        raise invalid_option(kind, "fieldManager", "FieldValueTooLong", f"Too long: {why}")
    if not manager.isprintable():
        why = f"Invalid value: {json.dumps(manager)}: should only contain printable characters"
        raise invalid_option(kind, "fieldManager", "FieldValueInvalid", why)
    one_of(kind, "fieldValidation", validation, FIELD_VALIDATION)


def one_of(kind: str, field: str, value: str, allowed: Sequence[str]) -> str:
    """Return `value`, which must be "" or allowed.

    Raises:
        InvalidError: it is neither.
    """
    if value and value not in allowed:
        choices = ", ".join(f'"{a}"' for a in allowed)
        message = f'Unsupported value: "{value}": supported values: {choices}'
        raise invalid_option(kind, field, "FieldValueNotSupported", message)
    return value


def invalid_option(kind: str, field: str, reason: str, message: str) -> InvalidError:
    """Refuse an option of a request."""
    return InvalidError(
        f'{kind}.meta.k8s.io "" is invalid: {field}: {message}',
        group="meta.k8s.io",
        kind=kind,
        causes=[Cause(reason, message, field)],
    )
