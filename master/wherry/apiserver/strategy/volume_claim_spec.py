"""What a claim asks for: core `ValidatePersistentVolumeClaimSpec`. Also of claims in templates."""

from collections.abc import Sequence
from typing import Any

from wherry.api.errors import Cause
from wherry.apiserver.strategy import fields, names
from wherry.apiserver.strategy.formats import option, quantities
from wherry.apiserver.strategy.selector import validate_label_selector

Object = dict[str, Any]
_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
VOLUME_MODES = ("Block", "Filesystem")


def validate_claim_spec(path: str, spec: Object) -> list[Cause]:
    """Return everything wrong with the spec of a claim."""
    wrong = check_access_modes(f"{path}.accessModes", spec.get("accessModes", []))
    if "selector" in spec:
        wrong += validate_label_selector(f"{path}.selector", spec["selector"])
    requests, at = spec.get("resources", {}).get("requests", {}), f"{path}.resources"
    if "storage" not in requests:
        wrong.append(fields.required(f"{at}[storage]"))
    else:
        amounts = quantities(at, {"storage": requests["storage"]}, wrong)
        if amounts.get("storage", 1) == 0:
            detail = "must be greater than zero"
            wrong.append(fields.invalid(f"{at}[storage]", requests["storage"], detail))
    if spec.get("storageClassName"):
        wrong += names.check(
            f"{path}.storageClassName", spec["storageClassName"], names.dns1123_subdomain
        )
    wrong += option(path, spec, "volumeMode", VOLUME_MODES)
    wrong += _source(f"{path}.dataSource", spec.get("dataSource"))
    wrong += _source(f"{path}.dataSourceRef", spec.get("dataSourceRef"))
    if spec.get("volumeAttributesClassName"):
        at, name = f"{path}.volumeAttributesClassName", spec["volumeAttributesClassName"]
        wrong += names.check(at, name, names.dns1123_subdomain)
    return wrong


def check_access_modes(path: str, modes: Sequence[str]) -> list[Cause]:
    """Check who may mount a volume at the same time."""
    if not modes:
        return [fields.required(path, "at least 1 access mode is required")]
    wrong = [fields.unsupported(path, mode, _MODES) for mode in modes if mode not in _MODES]
    if "ReadWriteOncePod" in modes and len(set(modes)) > 1:
        detail = "may not use ReadWriteOncePod with other access modes"
        wrong.append(fields.forbidden(path, detail))
    return wrong


def _source(path: str, source: Object | None) -> list[Cause]:
    if source is None:
        return []
    wrong = [fields.required(f"{path}.{name}") for name in ("name", "kind") if not source.get(name)]
    if not source.get("apiGroup") and source.get("kind") not in (None, "", "PersistentVolumeClaim"):
        kind = source["kind"]
        detail = "must be 'PersistentVolumeClaim' when referencing the default apiGroup"
        wrong.append(fields.invalid(path, kind, detail))
    return wrong
