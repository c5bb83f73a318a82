"""Request bodies: bytes and a Content-Type become a dict (or, for JSON patch, a list).

JSON, YAML and Kubernetes' protobuf. Sizes, nesting and YAML aliases are bounded here, before
anything else sees the value. Messages are those of kube-apiserver.
"""

from typing import Any

from wherry.api.errors import BadRequestError, TooLargeError, UnsupportedMediaError
from wherry.api.kinds import Kind
from wherry.apiserver import protobuf
from wherry.apiserver.decode import json_body, yaml_body
from wherry.apiserver.schema import GVK, get_schema, gvk_of

MAX_BODY_BYTES = 3 * 1024 * 1024
JSON_TYPES = frozenset(
    {
        "",
        "application/json",
        "application/json-patch+json",
        "application/merge-patch+json",
        "application/strategic-merge-patch+json",
    }
)
YAML_TYPES = frozenset({"application/yaml", "application/apply-patch+yaml", "text/yaml"})
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
        BadRequestError: The body cannot be read.
        TooLargeError: It is larger than 3 MiB.
        UnsupportedMediaError: Its media type is not understood.
    """
    if len(data) > MAX_BODY_BYTES:
        raise TooLargeError(f"Request entity too large: limit is {MAX_BODY_BYTES}")
    media = content_type.partition(";")[0].strip().lower()
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
    value, warnings = decode_body(
        data, content_type, strict=False, duplicates=field_validation != "Ignore"
    )
    if not isinstance(value, dict):
        what = "array" if isinstance(value, list) else "value"
        raise BadRequestError(
            f"the object provided is unrecognized (must be of type {gvk_of(expected)[2]}): "
            f"couldn't get version/kind; json parse error: json: cannot unmarshal {what} into "
            f"Go value of type struct ({json_body.summary(data)})"
        )
    obj = expect_kind(value, expected)
    if field_validation == "Strict" and warnings:
        get_schema().normalize(expected, obj, field_validation, found=strictly(warnings))
    return obj, warnings


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
    if not isinstance(got_version, str) or not isinstance(got_kind, str):
        raise BadRequestError(
            f"the object provided is unrecognized (must be of type {kind}): couldn't get "
            "version/kind; json parse error: json: cannot unmarshal into Go struct field "
            ".apiVersion of type string"
        )
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
