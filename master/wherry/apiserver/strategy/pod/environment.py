"""Environment variables: core `ValidateEnv`, `ValidateEnvFrom` and what a variable may refer to."""

from typing import Any, Final

from wherry.api.errors import Cause
from wherry.apiserver.strategy import fields, names
from wherry.apiserver.strategy.formats import amount_of
from wherry.apiserver.strategy.pod.paths import check_no_backsteps

Object = dict[str, Any]
_SOURCES = ("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef")
ENV_FIELDS: Final = (
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
)
FILE_FIELDS: Final = (
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
)
_KNOWN_FIELDS = frozenset(
    {*ENV_FIELDS, *FILE_FIELDS, "spec.restartPolicy", "spec.schedulerName", "status.phase"}
)
_OLD_NAMES = {"spec.host": "spec.nodeName"}
_SUBSCRIPTED = ("metadata.annotations", "metadata.labels")
_RESOURCES = ("cpu", "ephemeral-storage", "memory")
RESOURCE_FIELDS: Final = tuple(
    f"{kind}.{name}" for kind in ("limits", "requests") for name in _RESOURCES
)
_CPU_DIVISORS = ("1m", "1")
_BYTE_DIVISORS = ("1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei")
_NO_SOURCE = (
    "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`"
)


def validate_env(path: str, env: list[Object]) -> list[Cause]:
    """Check every variable."""
    wrong: list[Cause] = []
    for index, each in enumerate(env):
        name = each.get("name", "")
        if not name:
            wrong.append(fields.required(f"{path}[{index}].name"))
        else:
            wrong += names.check(f"{path}[{index}].name", name, names.env_name)
        source = each.get("valueFrom")
        if source is not None:
            wrong += _value_from(f"{path}[{index}].valueFrom", source, each.get("value", ""))
    return wrong


def _value_from(path: str, source: Object, value: str) -> list[Cause]:
    wrong: list[Cause] = []
    kinds = [kind for kind in _SOURCES if kind in source]
    for kind in kinds:
        at, ref = f"{path}.{kind}", source[kind]
        if kind == "fieldRef":
            wrong += check_field_ref(at, ref, ENV_FIELDS)
        elif kind == "resourceFieldRef":
            wrong += check_resource_ref(at, ref)
        elif kind == "fileKeyRef":
            wrong += _file_key(at, ref)
        else:
            wrong += check_key_ref(at, ref)
    if not kinds:
        wrong.append(fields.invalid(path, "", _NO_SOURCE))
    elif value:
        wrong.append(fields.invalid(path, "", "may not be specified when `value` is not empty"))
    elif len(kinds) > 1:
        detail = "may not have more than one field specified at a time"
        wrong.append(fields.invalid(path, "", detail))
    return wrong


def check_key_ref(path: str, ref: Object) -> list[Cause]:
    """Check a reference to one key of a ConfigMap or Secret."""
    wrong = names.check(f"{path}.name", ref.get("name", ""), names.dns1123_subdomain)
    if not ref.get("key"):
        return [*wrong, fields.required(f"{path}.key")]
    return wrong + names.check(f"{path}.key", ref["key"], names.config_key)


def _file_key(path: str, ref: Object) -> list[Cause]:
    """Check a reference to one line of a file that another container writes."""
    wrong = [
        fields.required(f"{path}.{field}")
        for field in ("key", "volumeName", "path")
        if not ref.get(field)
    ]
    if ref.get("key"):
        wrong += names.check(f"{path}.key", ref["key"], names.env_name)
    if ref.get("volumeName"):
        wrong += names.check(f"{path}.volumeName", ref["volumeName"], names.dns1123_label)
    return wrong + check_no_backsteps(f"{path}.path", ref.get("path", ""))


def check_field_ref(path: str, ref: Object, allowed: tuple[str, ...]) -> list[Cause]:
    """Check a reference to a field of the pod itself; `allowed` are those of this place."""
    version: str = ref.get("apiVersion", "")
    field: str = ref.get("fieldPath", "")
    if not version:
        return [fields.required(f"{path}.apiVersion")]
    if not field:
        return [fields.required(f"{path}.fieldPath")]
    field = _OLD_NAMES.get(field, field)
    head, bracket, key = field.partition("['")
    subscript = key.removesuffix("']") if bracket and key.endswith("']") else None
    known = (subscript is not None and head in _SUBSCRIPTED) or field in _KNOWN_FIELDS
    if version != "v1" or not known:
        why = (
            f"unsupported pod version: {version}"
            if version != "v1"
            else "field label does not support subscript: " + field
            if subscript is not None
            else f"field label not supported: {field}"
        )
        detail = f"error converting fieldPath: {why}"
        return [fields.invalid(f"{path}.fieldPath", field, detail)]
    if subscript is not None:
        text = subscript.lower() if head == "metadata.annotations" else subscript
        return [fields.invalid(path, subscript, why) for why in names.qualified_name(text)]
    if field not in allowed:
        return [fields.unsupported(f"{path}.fieldPath", field, allowed)]
    return []


def check_resource_ref(path: str, ref: Object, *, in_volume: bool = False) -> list[Cause]:
    """Check a reference to a container's requests or limits; a volume must name the container."""
    resource = ref.get("resource", "")
    huge = resource.startswith(("limits.hugepages-", "requests.hugepages-"))
    wrong: list[Cause] = []
    if in_volume and not ref.get("containerName"):
        wrong.append(fields.required(f"{path}.containerName"))
    elif not resource:
        wrong.append(fields.required(f"{path}.resource"))
    elif resource not in RESOURCE_FIELDS and not huge:
        wrong.append(fields.unsupported(f"{path}.resource", resource, RESOURCE_FIELDS))
    if resource not in RESOURCE_FIELDS and not huge:
        return wrong
    name = "hugepages" if huge else resource.partition(".")[2]
    divisor = ref.get("divisor", "0")
    divisors = _CPU_DIVISORS if name == "cpu" else _BYTE_DIVISORS
    amount = amount_of(divisor)
    if not amount or any(amount == amount_of(each) for each in divisors):
        return wrong
    shown = "1m and 1" if name == "cpu" else ", ".join(divisors)
    kind = "local ephemeral storage" if name == "ephemeral-storage" else name
    detail = f"only divisor's values {shown} are supported with the {kind} resource"
    return [*wrong, fields.invalid(f"{path}.divisor", resource, detail)]


def validate_env_from(path: str, sources: list[Object]) -> list[Cause]:
    """Check ConfigMaps and Secrets whose keys all become variables.

    Their names are checked as names that are only begun, and how many there are of one entry is
    said of the whole list: so does upstream.
    """
    wrong: list[Cause] = []
    for index, source in enumerate(sources):
        at = f"{path}[{index}]"
        if source.get("prefix"):
            wrong += names.check(f"{at}.prefix", source["prefix"], names.env_name)
        kinds = [kind for kind in ("configMapRef", "secretRef") if kind in source]
        for kind in kinds:
            name = source[kind].get("name", "")
            where = f"{at}.{kind}.name"
            if not name:
                wrong.append(fields.required(where))
            else:
                reasons = names.dns1123_subdomain(names.masked(name))
                wrong += [fields.invalid(where, name, why) for why in reasons]
        if not kinds:
            detail = "must specify one of: `configMapRef` or `secretRef`"
            wrong.append(fields.invalid(path, "", detail))
        elif len(kinds) > 1:
            detail = "may not have more than one field specified at a time"
            wrong.append(fields.invalid(path, "", detail))
    return wrong
