"""What a claim asks for: core `ValidatePersistentVolumeClaimSpec`. Also of claims in templates."""

from collections.abc import Sequence
from typing import Any

from wherry.api.errors import Cause
from wherry.apiserver.strategy import fields, names
from wherry.apiserver.strategy.formats import amount_of, option
from wherry.apiserver.strategy.selector import validate_label_selector

Object = dict[str, Any]
_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
VOLUME_MODES = ("Block", "Filesystem")


def validate_claim_spec(path: str, spec: Object) -> list[Cause]:
    """Return everything wrong with the spec of a claim."""
    modes = spec.get("accessModes", [])
    wrong: list[Cause] = []
    if not modes:
        detail = "at least 1 access mode is required"
        wrong.append(fields.required(f"{path}.accessModes", detail))
    if "selector" in spec:
        wrong += validate_label_selector(f"{path}.selector", spec["selector"])
    wrong += check_access_modes(f"{path}.accessModes", modes)
    requests, at = spec.get("resources", {}).get("requests", {}), f"{path}.resources"
    if "storage" not in requests:
        wrong.append(fields.required(f"{at}[storage]"))
    else:
        wrong += check_size(f"{at}[storage]", requests["storage"])
    if spec.get("storageClassName"):
        wrong += names.check(
            f"{path}.storageClassName", spec["storageClassName"], names.dns1123_subdomain
        )
    wrong += option(path, spec, "volumeMode", VOLUME_MODES)
    wrong += _source(f"{path}.dataSource", spec.get("dataSource"))
    wrong += _source(f"{path}.dataSourceRef", spec.get("dataSourceRef"))
    wrong += _same_source(path, spec)
    if spec.get("volumeAttributesClassName"):
        at, name = f"{path}.volumeAttributesClassName", spec["volumeAttributesClassName"]
        wrong += names.check(at, name, names.dns1123_subdomain)
    return wrong


def check_access_modes(path: str, modes: Sequence[str]) -> list[Cause]:
    """Check who may mount a volume at the same time."""
    wrong = [fields.unsupported(path, mode, _MODES) for mode in modes if mode not in _MODES]
    if "ReadWriteOncePod" in modes and len(set(modes) & set(_MODES)) > 1:
        detail = "may not use ReadWriteOncePod with other access modes"
        wrong.append(fields.forbidden(path, detail))
    return wrong


def _source(path: str, source: Object | None) -> list[Cause]:
    if source is None:
        return []
    wrong = [fields.required(f"{path}.{name}") for name in ("name", "kind") if not source.get(name)]
    group, kind = source.get("apiGroup", ""), source.get("kind", "")
    if group:
        wrong += names.check(f"{path}.apiGroup", group, names.dns1123_subdomain)
    elif kind != "PersistentVolumeClaim":
        detail = "must be 'PersistentVolumeClaim' when referencing the default apiGroup"
        wrong.append(fields.invalid(path, kind, detail))
    if source.get("namespace"):
        wrong += names.check(f"{path}.namespace", source["namespace"], names.dns1123_label)
    return wrong


def _same_source(path: str, spec: Object) -> list[Cause]:
    """Check that the old field says what the new one says. The value that upstream shows is a path."""
    old, new = spec.get("dataSource"), spec.get("dataSourceRef")
    if old is None or new is None:
        return []
    shown = f"{path}.dataSource"
    if new.get("namespace"):
        detail = "may not be specified when dataSourceRef.namespace is specified"
        return [fields.invalid(path, shown, detail)]
    if any(old.get(field) != new.get(field) for field in ("apiGroup", "kind", "name")):
        return [fields.invalid(path, shown, "must match dataSourceRef")]
    return []


def check_size(path: str, shown: str) -> list[Cause]:
    """Check that there is any storage at all."""
    if amount_of(shown) > 0:
        return []
    return [fields.invalid(path, shown, "must be greater than zero")]
