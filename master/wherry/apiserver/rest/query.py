"""Query parameters to options, with apimachinery's conversions."""

import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qsl

from wherry.api.errors import BadRequestError, Cause
from wherry.api.exchange import PatchType
from wherry.apiserver.apply import manager_of
from wherry.apiserver.asked import (
    check_options,
    dry_run_causes,
    propagation_causes,
    write_causes,
)
from wherry.apiserver.registry.read import parse_revision
from wherry.apiserver.rest.accept import TABLE, Form
from wherry.apiserver.schema.scalar import json_type
from wherry.apiserver.strategy import fields
from wherry.apiserver.verbs import Context, DeleteOptions, ListOptions, User, WatchOptions

_NUMBER = re.compile(r"[+-]?[0-9]{1,40}")


class Query:
    """The parameters of one request, in order."""

    __slots__ = ("_pairs",)

    def __init__(self, raw: str) -> None:
        """Parse.

        Raises:
            BadRequestError: more parameters than anybody needs.
        """
        try:
            self._pairs = parse_qsl(raw, keep_blank_values=True, max_num_fields=1000) if raw else []
        except ValueError as error:
            raise BadRequestError(f"cannot read the query: {error}") from error

    def text(self, name: str, default: str = "") -> str:
        """Return the first value."""
        if not self._pairs:
            return default
        return next((value for key, value in self._pairs if key == name), default)

    def texts(self, name: str) -> Sequence[str]:
        """Return every value, in order."""
        return [value for key, value in self._pairs if key == name]

    def flag(self, name: str) -> bool:
        """Return a boolean: false if absent, `0` or `false`, true for anything else.

        Source: apimachinery `runtime.Convert_Slice_string_To_bool`; clients send `true`,
        `True` and `1`.
        """
        value = self.text(name, "0")
        return value != "0" and value.lower() != "false"

    def number(self, name: str) -> int | None:
        """Return an integer, None if absent or empty.

        Raises:
            BadRequestError: it is not one.
        """
        value = self.text(name)
        if not value:
            return None
        if not _NUMBER.fullmatch(value):
            raise BadRequestError(f'strconv.ParseInt: parsing "{value}": invalid syntax')
        number = int(value)
        if not -(2**63) <= number < 2**63:
            raise BadRequestError(f'strconv.ParseInt: parsing "{value}": value out of range')
        return number


def context(
    query: Query, user: User, user_agent: str, kind: str, *, patch: PatchType | None = None
) -> Context:
    """Return what applies to any write; `patch` says which kind of patch it is, if it is one.

    Who applies says so, and only who applies may force.

    Raises:
        InvalidError: dryRun or fieldValidation have unknown values, the field manager's name is too long,
            cannot be printed or is missing, or something else than an apply is forced.
    """
    manager = query.text("fieldManager")
    validation = query.text("fieldValidation")
    dry_run = [stage for stage in query.texts("dryRun") if stage]
    wrong: list[Cause] = []
    if patch is PatchType.APPLY:
        if not manager:
            wrong.append(fields.required("fieldManager", "is required for apply patch"))
    elif patch is not None and query.texts("force"):
        wrong.append(fields.forbidden("force", "may not be specified for non-apply patch"))
    check_options(kind, [*wrong, *write_causes(manager, validation, dry_run)])
    return Context(
        user,
        dry_run=bool(dry_run),
        field_manager=manager or manager_of(user_agent),
        field_validation=validation or "Warn",
        force=query.flag("force"),
    )


def include_object(query: Query, form: Form) -> str:
    """Return what a table's rows carry of their objects, "" for what they do by default.

    Raises:
        BadRequestError: a table is asked for, with something that rows cannot carry.
    """
    include = query.text("includeObject")
    if form.kind == TABLE and include not in ("", "None", "Metadata", "Object"):
        cause = fields.invalid(
            "includeObject", include, "must be 'Metadata', 'Object', 'None', or empty"
        )
        raise BadRequestError(
            f"Unable to convert to Table as requested: {cause.field}: {cause.message}"
        )
    return include


def list_options(query: Query) -> ListOptions:
    """Return the options of a list.

    Raises:
        InvalidError: resourceVersionMatch is unknown, or there is nothing to match
            (apimachinery `ValidateListOptions`).
    """
    limit = query.number("limit") or 0
    query.number("timeoutSeconds")  # of a watch, and an error here too where it is no number
    wrong = _match_causes(query)
    if query.texts("sendInitialEvents"):
        why = "sendInitialEvents is forbidden for list"
        wrong.append(fields.forbidden("sendInitialEvents", why))
    check_options("ListOptions", wrong)
    return ListOptions(
        labels=query.text("labelSelector"),
        fields=query.text("fieldSelector"),
        limit=max(limit, 0),
        continue_token=query.text("continue"),
        revision=query.text("resourceVersion"),
        revision_match=query.text("resourceVersionMatch"),
    )


_MATCH = "resourceVersionMatch"


def _match_causes(query: Query) -> list[Cause]:
    match, revision = query.text(_MATCH), query.text("resourceVersion")
    wrong: list[Cause] = []
    if not match:
        return wrong
    if not revision:
        why = "resourceVersionMatch is forbidden unless resourceVersion is provided"
        wrong.append(fields.forbidden(_MATCH, why))
    if query.text("continue"):
        why = "resourceVersionMatch is forbidden when continue is provided"
        wrong.append(fields.forbidden(_MATCH, why))
    if match not in ("Exact", "NotOlderThan"):
        wrong.append(fields.unsupported(_MATCH, match, ["Exact", "NotOlderThan", ""]))
    if match == "Exact" and revision == "0":
        why = 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'
        wrong.append(fields.forbidden(_MATCH, why))
    return wrong


def watch_options(query: Query) -> WatchOptions:
    """Return the options of a watch.

    Raises:
        BadRequestError: resourceVersion is no number; an error while nothing is streamed yet.
        InvalidError: sendInitialEvents without resourceVersionMatch=NotOlderThan, or the
            other way round (apimachinery `ValidateListOptions`).
    """
    initial = bool(query.texts("sendInitialEvents"))
    check_options("ListOptions", _initial_causes(query, initial=initial))
    parse_revision(query.text("resourceVersion"))
    timeout_s = query.number("timeoutSeconds")
    return WatchOptions(
        labels=query.text("labelSelector"),
        fields=query.text("fieldSelector"),
        revision=query.text("resourceVersion"),
        bookmarks=query.flag("allowWatchBookmarks"),
        timeout_s=float(timeout_s) if timeout_s else None,
        send_initial_events=query.flag("sendInitialEvents") if initial else None,
    )


def _initial_causes(query: Query, *, initial: bool) -> list[Cause]:
    match = query.text(_MATCH)
    wrong = []
    if initial and match != "NotOlderThan":
        why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
        wrong.append(fields.forbidden(_MATCH, why))
    if match and not initial:
        why = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
        wrong.append(fields.forbidden(_MATCH, why))
    if match and match != "NotOlderThan":
        wrong.append(fields.unsupported(_MATCH, match, ["NotOlderThan"]))
    if match and query.text("continue"):
        why = "resourceVersionMatch is forbidden when continue is provided"
        wrong.append(fields.forbidden(_MATCH, why))
    return wrong


_DELETE_FIELDS = {
    "gracePeriodSeconds": ("number", "int64"),
    "orphanDependents": ("bool", "bool"),
    "propagationPolicy": ("string", "v1.DeletionPropagation"),
    "preconditions": ("object", "v1.Preconditions"),
    "dryRun": ("array", "[]string"),
}
"""What each is in JSON, and in Go."""


def delete_options(query: Query, body: dict[str, Any]) -> tuple[DeleteOptions, bool]:
    """Merge DeleteOptions from the body with those of the query; the body wins.

    Returns:
        The options, and whether it is a dry run.

    Raises:
        BadRequestError: a field has the wrong type.
        InvalidError: unknown propagation policy or dryRun.
    """
    body = {field: value for field, value in body.items() if value is not None}
    for field, (wanted, go_type) in _DELETE_FIELDS.items():
        value = body.get(field)
        found = f"number {value}" if isinstance(value, float) else json_type(value)
        if field in body and found != wanted:
            raise BadRequestError(
                'DeleteOptions in version "v1" cannot be handled as a DeleteOptions: json: cannot '
                f"unmarshal {found} into Go struct field DeleteOptions.{field} of type {go_type}"
            )
    grace = body.get("gracePeriodSeconds")
    if grace is None:
        grace = query.number("gracePeriodSeconds")
    policy = body.get("propagationPolicy") or query.text("propagationPolicy")
    orphan = body.get("orphanDependents")
    if orphan is None and query.texts("orphanDependents"):
        orphan = query.flag("orphanDependents")
    conditions = body.get("preconditions") or {}
    dry_run = body.get("dryRun") or [stage for stage in query.texts("dryRun") if stage]
    wrong = [*propagation_causes(policy, orphan=orphan), *dry_run_causes(dry_run)]
    check_options("DeleteOptions", wrong)
    if orphan is not None:
        policy = "Orphan" if orphan else "Background"
    options = DeleteOptions(
        grace_s=grace,
        propagation=policy,
        uid=str(conditions.get("uid") or ""),
        revision=str(conditions.get("resourceVersion") or ""),
    )
    return options, bool(dry_run)
