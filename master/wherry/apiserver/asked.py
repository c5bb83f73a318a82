"""What both doors check of a request before anybody performs it: its address and its options."""

from collections.abc import Sequence

from wherry.api.errors import BadRequestError, Cause, MethodNotAllowedError
from wherry.apiserver import refusal
from wherry.apiserver.gate import Action
from wherry.apiserver.strategy import fields

FIELD_VALIDATION = ("", "Ignore", "Strict", "Warn")
_PROPAGATION = ("Foreground", "Background", "Orphan")
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

    Nobody deletes the objects of all namespaces at once.

    Raises:
        MethodNotAllowedError: it is not served.
    """
    resource = action.resource
    subresource = resource.subresource(action.subresource) if action.subresource else None
    served = resource.verbs if subresource is None else subresource.verbs
    local = action.verb in ("create", "deletecollection") and resource.kind.namespaced
    nowhere = local and not action.namespace
    if action.verb not in served or nowhere:
        raise not_allowed()


def not_allowed() -> MethodNotAllowedError:
    """Refuse a method."""
    return MethodNotAllowedError("the server does not allow this method on the requested resource")


def check_options(kind: str, causes: Sequence[Cause]) -> None:
    """Refuse options of a kind for everything that is wrong with them.

    Raises:
        InvalidError: something is.
    """
    if causes:
        raise refusal.invalid_kind(kind, "meta.k8s.io", "", causes)


def check_write(kind: str, manager: str, validation: str, dry_run: Sequence[str] = ()) -> None:
    """Check the options of a write; `kind` is that of the options, for the message.

    Raises:
        InvalidError: dryRun or fieldValidation is unknown, or the field manager's name is too long or cannot be printed.
    """
    check_options(kind, write_causes(manager, validation, dry_run))


def write_causes(manager: str, validation: str, dry_run: Sequence[str]) -> list[Cause]:
    """Return what is wrong with the options that all writes have."""
    wrong = []
    if len(manager.encode()) > _MAX_MANAGER_BYTES:
        wrong.append(fields.too_long("fieldManager", _MAX_MANAGER_BYTES))
    for at, character in enumerate(manager[:_MAX_MANAGER_BYTES]):
        if not character.isprintable():
            place = len(manager[:at].encode())
            why = f"invalid character U+{ord(character):04X} (at position {place})"
            wrong.append(fields.invalid("fieldManager", manager, why))
    wrong += dry_run_causes(dry_run)
    if validation not in FIELD_VALIDATION:
        wrong.append(fields.unsupported("fieldValidation", validation, FIELD_VALIDATION))
    return wrong


def dry_run_causes(dry_run: Sequence[str]) -> list[Cause]:
    """Return what is wrong with the stages of a dry run: there is one, All."""
    if all(stage == "All" for stage in dry_run):
        return []
    return [fields.unsupported("dryRun", list(dry_run), ["All"])]


def propagation_causes(policy: str, *, orphan: bool | None = None) -> list[Cause]:
    """Return what is wrong with how a deletion is to go on; `orphan` is the old way to say it."""
    wrong = []
    if policy and orphan is not None:
        why = "orphanDependents and deletionPropagation cannot be both set"
        wrong.append(fields.invalid("propagationPolicy", policy, why))
    if policy and policy not in _PROPAGATION:
        wrong.append(fields.unsupported("propagationPolicy", policy, (*_PROPAGATION, "nil")))
    return wrong
