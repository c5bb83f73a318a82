"""Request bodies: bytes and a Content-Type become a dict (or, for JSON patch, a list).

JSON, YAML and Kubernetes' protobuf. Sizes, nesting and YAML aliases are bounded here, before
anything else sees the value. Messages are those of kube-apiserver.
"""

from typing import Any

from wherry.api.errors import BadRequestError, TooLargeError, UnsupportedMediaError
from wherry.api.exchange import PatchType
from wherry.api.kinds import Kind
from wherry.apiserver import protobuf
from wherry.apiserver.decode import json_body, yaml_body
from wherry.apiserver.schema import GVK, get_schema, gvk_of
from wherry.apiserver.schema.scalar import json_type
from wherry.apiserver.unreadable import UnreadableError

MAX_BODY_BYTES = 3 * 1024 * 1024
JSON_TYPES = frozenset({"", "application/json"})
YAML_TYPES = frozenset({"application/yaml", "text/yaml"})
PROTOBUF_TYPE = "application/vnd.kubernetes.protobuf"


def decode_body(
    data: bytes, content_type: str, *, strict: bool, duplicates: bool = True
) -> tuple[Any, list[str]]:
    """Decode a body.

    Args:
        data: The body.
        content_type: The header's value; "" (many clients send none) is JSON.
        strict: Refuse duplicate fields; otherwise they become warnings and the last one counts.
        duplicates: False skips looking for them (fieldValidation=Ignore): half the cost.

    Returns:
        The value, and warnings such as `duplicate field "spec.replicas"`.

    Raises:
        UnreadableError: The body cannot be read.
        BadRequestError: It has duplicate fields, and may not.
        TooLargeError: It is larger than 3 MiB.
        UnsupportedMediaError: Its media type is not understood.
    """
    _check_size(data)
    media = _media(content_type)
    if media in JSON_TYPES:
        value, found = json_body.decode(data, duplicates=duplicates or strict)
    elif media in YAML_TYPES:
        value, found = yaml_body.decode(data)
    elif media == PROTOBUF_TYPE:
        value, found = protobuf.decode(data), []
    else:
        raise UnsupportedMediaError(
            "the body of the request was in an unknown format - accepted media types include: "
            "application/json, application/yaml, application/vnd.kubernetes.protobuf"
        )
    if strict and found:
        why = ", ".join(strictly(found))
        raise BadRequestError(_described(value, f"strict decoding error: {why}"))
    return value, found


def _media(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _check_size(data: bytes) -> None:
    if len(data) > MAX_BODY_BYTES:
        raise TooLargeError(f"Request entity too large: limit is {MAX_BODY_BYTES}")


_PATCH_SAID = {
    PatchType.JSON: "error decoding patch: ",
    PatchType.MERGE: "error decoding patch: ",
    PatchType.STRATEGIC: "",
    PatchType.APPLY: "error decoding YAML: error converting YAML to JSON: ",
}
"""What upstream says before the decoder's own words."""


def decode_patch(data: bytes, form: PatchType) -> tuple[Any, list[str]]:
    """Decode a patch: JSON, but what is applied is YAML. Returns what `decode_body` does.

    Raises:
        BadRequestError: It cannot be read.
        TooLargeError: It is larger than 3 MiB.
    """
    _check_size(data)
    try:
        if form is PatchType.APPLY:
            return yaml_body.decode(data)
        return json_body.decode(data, duplicates=True)
    except UnreadableError as error:
        raise BadRequestError(f"{_PATCH_SAID[form]}{error.message}") from error


def strictly(found: list[str]) -> list[str]:
    """Return what was found in a body as the errors of a strict decoder: all of a YAML body are one."""
    lines = [f"  {each}" for each in found if each.startswith("line ")]
    return ["\n".join(["yaml: unmarshal errors:", *lines])] if lines else found


def decode_object(
    data: bytes, content_type: str, expected: Kind | GVK, *, field_validation: str = "Warn"
) -> tuple[dict[str, Any], list[str]]:
    """Decode the body of a create or update: an object of the expected kind.

    apiVersion and kind are filled in where they are missing, as upstream does.

    Raises:
        BadRequestError: As `decode_body`, or the body is something else than expected.
    """
    try:
        value, warnings = decode_body(
            data, content_type, strict=False, duplicates=field_validation != "Ignore"
        )
        obj = expect_kind(_typed(value), expected)
    except UnreadableError as error:
        raise BadRequestError(
            f"the object provided is unrecognized (must be of type {gvk_of(expected)[2]}): "
            f"{_interpreted(error, content_type)} ({json_body.summary(data)})"
        ) from error
    if field_validation == "Strict" and warnings:
        get_schema().normalize(expected, obj, field_validation, found=strictly(warnings))
    return obj, warnings


def decode_options(data: bytes, content_type: str) -> dict[str, Any]:
    """Decode the options that come in a body.

    Raises:
        BadRequestError: As `decode_body`, or they are no object.
    """
    try:
        value, _ = decode_body(data, content_type, strict=False, duplicates=False)
        return _typed(value)
    except UnreadableError as error:
        raise BadRequestError(_interpreted(error, content_type)) from error


_NO_KIND = "couldn't get version/kind; json parse error: "
_TYPE_META = (
    r'struct { APIVersion string "json:\"apiVersion,omitempty\""; '
    r'Kind string "json:\"kind,omitempty\"" }'
)
"""How Go writes the type that it looks for a kind with."""


def _interpreted(error: UnreadableError, content_type: str) -> str:
    """Return an error as upstream's search for a kind tells it: only JSON is searched."""
    known = error.message.startswith(_NO_KIND) or _media(content_type) not in JSON_TYPES
    return error.message if known else f"{_NO_KIND}{error.message}"


def _typed(value: Any) -> dict[str, Any]:
    """Return a body as the object that it is; null is one without a field.

    Raises:
        UnreadableError: It is none, or its kind cannot be one.
    """
    if value is None:
        return {}
    if not isinstance(value, dict):
        what = json_type(value)
        raise UnreadableError(
            f"{_NO_KIND}json: cannot unmarshal {what} into Go value of type {_TYPE_META}"
        )
    for field in value:
        if field in ("apiVersion", "kind") and not isinstance(value[field], str | None):
            raise UnreadableError(
                f"{_NO_KIND}json: cannot unmarshal {json_type(value[field])} into Go struct field "
                f".{field} of type string"
            )
    return value


_OLD_EVICTION = ("policy/v1beta1", "Eviction", "policy/v1")
"""kubectl 1.20 evicts by it, and upstream takes it still: every field is the same."""


def expect_kind(obj: dict[str, Any], expected: Kind | GVK) -> dict[str, Any]:
    """Return `obj` with apiVersion and kind, which must be the expected ones or absent.

    Raises:
        BadRequestError: They are others.
    """
    group, version, kind = gvk_of(expected)
    api_version = f"{group}/{version}" if group else version
    got_version = api_version if obj.get("apiVersion") in (None, "") else obj["apiVersion"]
    got_kind = kind if obj.get("kind") in (None, "") else obj["kind"]
    if (got_version, got_kind) == (api_version, kind):
        return {**obj, "apiVersion": api_version, "kind": kind}
    if (got_version, got_kind, api_version) == _OLD_EVICTION:
        return {**obj, "apiVersion": api_version}
    got_group, _, short = got_version.rpartition("/")
    if not get_schema().knows((got_group, short, got_kind)):
        raise BadRequestError(
            f'{got_kind} in version "{short}" cannot be handled as a {kind}: no kind "{got_kind}" '
            f'is registered for version "{got_version}" in scheme "wherry"'
        )
    if got_version != api_version:
        raise BadRequestError(
            f"the API version in the data ({got_version}) does not match the expected API "
            f"version ({api_version})"
        )
    raise BadRequestError(
        f'{got_kind} in version "{short}" cannot be handled as a {kind}: converting '
        f"({short}.{got_kind}) to ({group.partition('.')[0] or 'core'}.{kind}): unknown conversion"
    )


def _described(value: Any, why: str) -> str:
    if isinstance(value, dict) and isinstance(value.get("kind"), str):
        version = str(value.get("apiVersion", "")).rpartition("/")[2]
        kind = value["kind"]
        return f'{kind} in version "{version}" cannot be handled as a {kind}: {why}'
    return why
