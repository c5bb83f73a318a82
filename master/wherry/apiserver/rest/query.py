"""Query parameters to options, with apimachinery's conversions."""

from collections.abc import Sequence
from urllib.parse import parse_qsl

from wherry.api.errors import BadRequestError, InvalidError
from wherry.apiserver.apply import manager_of
from wherry.apiserver.asked import PROPAGATION, check_write, invalid_option, one_of
from wherry.apiserver.registry.read import parse_revision
from wherry.apiserver.verbs import Context, DeleteOptions, ListOptions, User, WatchOptions


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
        try:
            number = int(value)
        except ValueError as error:
            raise BadRequestError(
                f'strconv.ParseInt: parsing "{value}": invalid syntax ({name})'
            ) from error
        if not -(2**63) <= number < 2**63:
            raise BadRequestError(f'strconv.ParseInt: parsing "{value}": value out of range')
        return number


def context(query: Query, user: User, user_agent: str, kind: str) -> Context:
    """Return what applies to any write.

    Raises:
        InvalidError: dryRun or fieldValidation have unknown values, or the field manager's
            name is too long or cannot be printed.
    """
    manager = query.text("fieldManager")
    validation = query.text("fieldValidation")
    check_write(kind, manager, validation)
    dry_run = [one_of(kind, "dryRun", value, ["All"]) for value in query.texts("dryRun") if value]
    return Context(
        user,
        dry_run=bool(dry_run),
        field_manager=manager or manager_of(user_agent),
        field_validation=validation or "Warn",
        force=query.flag("force"),
    )


def apply_context(query: Query, ctx: Context, *, apply: bool) -> None:
    """Finish the context of a patch: who applies says so, and only who applies may force.

    Raises:
        InvalidError: `force` without an apply.
    """
    if apply:
        ctx.field_manager = query.text("fieldManager")
    elif query.texts("force"):
        why = "Forbidden: may not be specified for non-apply patch"
        raise invalid_option("PatchOptions", "force", "FieldValueForbidden", why)


def list_options(query: Query) -> ListOptions:
    """Return the options of a list.

    Raises:
        InvalidError: resourceVersionMatch is unknown, or there is nothing to match
            (apimachinery `ValidateListOptions`).
    """
    limit = query.number("limit") or 0
    _check_match(query)
    if query.text("sendInitialEvents"):
        raise _forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list")
    return ListOptions(
        labels=query.text("labelSelector"),
        fields=query.text("fieldSelector"),
        limit=max(limit, 0),
        continue_token=query.text("continue"),
        revision=query.text("resourceVersion"),
        revision_match=query.text("resourceVersionMatch"),
    )


def _check_match(query: Query) -> None:
    match, revision = query.text("resourceVersionMatch"), query.text("resourceVersion")
    if not match:
        return
    if not revision:
        why = "resourceVersionMatch is forbidden unless resourceVersion is provided"
        raise _forbidden("resourceVersionMatch", why)
    if query.text("continue"):
        why = "resourceVersionMatch is forbidden when continue is provided"
        raise _forbidden("resourceVersionMatch", why)
    one_of("ListOptions", "resourceVersionMatch", match, ["Exact", "NotOlderThan"])
    if match == "Exact" and revision == "0":
        why = 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'
        raise _forbidden("resourceVersionMatch", why)


def watch_options(query: Query) -> WatchOptions:
    """Return the options of a watch.

    Raises:
        BadRequestError: resourceVersion is no number; an error while nothing is streamed yet.
        InvalidError: sendInitialEvents without resourceVersionMatch=NotOlderThan, or the
            other way round (apimachinery `ValidateListOptions`).
    """
    match = query.text("resourceVersionMatch")
    initial = query.text("sendInitialEvents")
    if initial and match != "NotOlderThan":
        raise _forbidden(
            "resourceVersionMatch",
            "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        )
    if match and not initial:
        raise _forbidden(
            "resourceVersionMatch",
            "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
        )
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


def _forbidden(field: str, detail: str) -> InvalidError:
    return invalid_option("ListOptions", field, "FieldValueForbidden", f"Forbidden: {detail}")


def delete_options(query: Query, body: dict[str, object]) -> tuple[DeleteOptions, bool]:
    """Merge DeleteOptions from the body with those of the query; the body wins.

    Returns:
        The options, and whether it is a dry run.

    Raises:
        BadRequestError: a field has the wrong type.
        InvalidError: unknown propagation policy or dryRun.
    """
    grace = body.get("gracePeriodSeconds")
    if grace is None:
        grace = query.number("gracePeriodSeconds")
    elif not isinstance(grace, int) or isinstance(grace, bool):
        raise BadRequestError("DeleteOptions: gracePeriodSeconds must be an integer")
    policy = body.get("propagationPolicy") or query.text("propagationPolicy")
    orphan = body.get("orphanDependents")
    if not policy and orphan is not None:
        policy = "Orphan" if orphan else "Background"
    conditions = body.get("preconditions") or {}
    if not isinstance(policy, str) or not isinstance(conditions, dict):
        raise BadRequestError("DeleteOptions: propagationPolicy or preconditions cannot be read")
    dry_run = body.get("dryRun") or query.texts("dryRun")
    for value in dry_run if isinstance(dry_run, list) else [str(dry_run)]:
        one_of("DeleteOptions", "dryRun", value, ["All"])
    options = DeleteOptions(
        grace_s=grace,
        propagation=one_of("DeleteOptions", "propagationPolicy", policy, PROPAGATION),
        uid=str(conditions.get("uid") or ""),
        revision=str(conditions.get("resourceVersion") or ""),
    )
    return options, bool(dry_run)
