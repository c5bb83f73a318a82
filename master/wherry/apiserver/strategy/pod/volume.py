"""Rules for volumes: core `ValidateVolumes`.

Sources that a PersistentVolume can have as well stand in `volume_source`.
"""

from collections.abc import Mapping
from typing import Any

from wherry.api.errors import Cause
from wherry.apiserver.strategy import fields, names
from wherry.apiserver.strategy.formats import amount_of, check_token_lifetime, choice, need
from wherry.apiserver.strategy.pod.environment import (
    FILE_FIELDS,
    check_field_ref,
    check_resource_ref,
)
from wherry.apiserver.strategy.pod.paths import check_descending, check_file_name
from wherry.apiserver.strategy.pod.volume_source import (
    ORDER,
    SHARED,
    Check,
    check_driver_name,
    check_portal,
)
from wherry.apiserver.strategy.volume_claim_spec import validate_claim_spec

Object = dict[str, Any]
_PULL_POLICIES = ("Always", "IfNotPresent", "Never")
_MOST_MODE = 0o777
_PROJECTED = ("secret", "configMap", "downwardAPI", "serviceAccountToken", "clusterTrustBundle")


def validate_volumes(
    path: str, volumes: list[Object], meta: Object | None
) -> tuple[dict[str, Object], list[Cause]]:
    """Return the volumes by name, for the mounts to refer to, and what is wrong with them.

    Args:
        path: Where they stand.
        volumes: All of them; one that is wrong cannot be mounted.
        meta: The pod's metadata, None in a template.
    """
    pod_name = meta.get("name", "") if meta else ""
    made = {
        f"{pod_name}-{volume.get('name', '')}"
        for volume in volumes
        if pod_name and "ephemeral" in volume
    }
    wrong: list[Cause] = []
    found: dict[str, Object] = {}
    for index, volume in enumerate(volumes):
        at, name = f"{path}[{index}]", volume.get("name", "")
        bad = _source(at, volume, is_pod=meta is not None)
        if pod_name and "ephemeral" in volume and name:
            bad += _claim_name(f"{at}.name", name, f"{pod_name}-{name}")
        if not name:
            bad.append(fields.required(f"{at}.name"))
        else:
            bad += names.check(f"{at}.name", name, names.dns1123_label)
        if name in found:
            bad.append(fields.duplicate(f"{at}.name", name))
        if not bad:
            found[name] = volume
        wrong += bad
        claim = volume.get("persistentVolumeClaim", {}).get("claimName")
        if claim in made:
            detail = "must not reference a PVC that gets created for an ephemeral volume"
            wrong.append(fields.invalid(f"{at}.persistentVolumeClaim.claimName", claim, detail))
    return found, wrong


def _claim_name(path: str, volume: str, claim: str) -> list[Cause]:
    reasons = names.dns1123_subdomain(claim)
    return [fields.invalid(path, volume, f'PVC name "{claim}": {why}') for why in reasons]


def _source(path: str, volume: Object, *, is_pod: bool) -> list[Cause]:
    if len(volume) <= ("name" in volume):
        return [fields.required(path, "must specify a volume type")]
    kinds = [kind for kind in volume if kind != "name"]
    if len(kinds) > 1:
        kinds.sort(key=ORDER.index)
    first = kinds[0]
    check = SOURCES.get(first) or SHARED[first]
    wrong = check(f"{path}.{first}", volume[first])
    if first == "image" and is_pod:
        wrong += need(f"{path}.image", volume["image"], "reference")
    if first == "iscsi":
        wrong += check_portal(path, volume.get("name", ""), volume["iscsi"])
    return wrong + [
        fields.forbidden(f"{path}.{kind}", "may not specify more than 1 volume type")
        for kind in kinds[1:]
    ]


def _empty_dir(path: str, source: Object) -> list[Cause]:
    if amount_of(source.get("sizeLimit", "0")) >= 0:
        return []
    detail = "SizeLimit field must be a valid resource quantity"
    return [fields.forbidden(f"{path}.sizeLimit", detail)]


def _secret(path: str, source: Object) -> list[Cause]:
    wrong = [] if source.get("secretName") else [fields.required(f"{path}.secretName")]
    return wrong + _mode(path, source) + _items(path, source)


def _config_map(path: str, source: Object) -> list[Cause]:
    wrong = [] if source.get("name") else [fields.required(f"{path}.name")]
    return wrong + _mode(path, source) + _items(path, source)


def _downward(path: str, source: Object) -> list[Cause]:
    """Check files that tell of the pod. Upstream's paths say of which volume, not which file."""
    wrong = _mode(path, source)
    at = path
    for item in source.get("items", ()):
        if not item.get("path"):
            wrong.append(fields.required(f"{at}.path"))
        else:
            wrong += check_file_name(f"{at}.path", item["path"])
        both = "fieldRef" in item and "resourceFieldRef" in item
        if "fieldRef" in item:
            wrong += check_field_ref(f"{at}.fieldRef", item["fieldRef"], FILE_FIELDS)
            if both:
                detail = "fieldRef and resourceFieldRef can not be specified simultaneously"
                wrong.append(fields.invalid(at, "resource", detail))
        elif "resourceFieldRef" in item:
            where = f"{at}.resourceFieldRef"
            wrong += check_resource_ref(where, item["resourceFieldRef"], in_volume=True)
        else:
            wrong.append(fields.required(at, "one of fieldRef and resourceFieldRef is required"))
        wrong += _mode(at, item, "mode")
    return wrong


def _projected(path: str, source: Object) -> list[Cause]:
    wrong = _mode(path, source)
    taken: set[str] = set()
    for index, each in enumerate(source.get("sources", ())):
        at = f"{path}.sources[{index}]"
        kinds = [kind for kind in _PROJECTED if kind in each]
        for kind in kinds:
            if kind == "serviceAccountToken":
                wrong += _token(path, f"{at}.{kind}", each[kind])
            else:
                wrong += _PROJECTIONS[kind](f"{at}.{kind}", each[kind])
            for file, shown in _files_of(kind, each[kind]):
                if file in taken:
                    detail = "conflicting duplicate paths"
                    wrong.append(fields.invalid(path, shown, detail))
                taken.add(file)
        if len(kinds) > 1:
            detail = "may not specify more than 1 volume type per source"
            wrong.append(fields.forbidden(at, detail))
    return wrong


def _files_of(kind: str, source: Object) -> list[tuple[str, str]]:
    """Return the files of a projection, and what upstream shows where one is there already."""
    if kind == "clusterTrustBundle":
        return [(source.get("path", ""), source.get("path", ""))]
    files = [item["path"] for item in source.get("items", ()) if item.get("path")]
    named = kind in ("secret", "configMap")
    return [(file, source.get("name", "") if named else file) for file in files]


def _projected_secret(path: str, source: Object) -> list[Cause]:
    wrong = [] if source.get("name") else [fields.required(f"{path}.name")]
    return wrong + _items(path, source)


def _token(volume: str, path: str, source: Object) -> list[Cause]:
    """Check a token. What is wrong with its file is said of the `volume`, as upstream does."""
    seconds = source.get("expirationSeconds", 3600)
    wrong = check_token_lifetime(f"{path}.expirationSeconds", seconds)
    if not source.get("path"):
        return [*wrong, fields.required(f"{volume}.path")]
    return wrong + check_file_name(f"{volume}.path", source["path"])


def _bundle(path: str, source: Object) -> list[Cause]:
    wrong: list[Cause] = []
    if "name" in source and "signerName" in source:
        wrong.append(fields.invalid(path, source, "only one of name and signerName may be used"))
    elif "name" in source:
        wrong += names.check(f"{path}.name", source["name"], names.dns1123_subdomain)
    elif not source.get("signerName"):
        wrong.append(fields.required(path, "either name or signerName must be specified"))
    if not source.get("path"):
        return [*wrong, fields.required(f"{path}.path")]
    return wrong + check_file_name(f"{path}.path", source["path"])


def _claim(path: str, source: Object) -> list[Cause]:
    return need(path, source, "claimName")


def _ephemeral(path: str, source: Object) -> list[Cause]:
    at = f"{path}.volumeClaimTemplate"
    if "volumeClaimTemplate" not in source:
        return [fields.required(at)]
    template = source["volumeClaimTemplate"]
    meta, about = template.get("metadata", {}), f"{at}.metadata"
    wrong = names.check_annotations(f"{about}.annotations", meta.get("annotations", {}))
    wrong += names.check_labels(f"{about}.labels", meta.get("labels", {}))
    wrong += [
        fields.forbidden(f"{about}.{field}", "cannot be set")
        for field in meta
        if field not in ("annotations", "labels")
    ]
    return wrong + validate_claim_spec(f"{at}.spec", template.get("spec", {}))


def _git_repo(path: str, source: Object) -> list[Cause]:
    wrong = need(path, source, "repository")
    return wrong + check_descending(f"{path}.directory", source.get("directory", ""))


def _image(path: str, source: Object) -> list[Cause]:
    return choice(path, source, "pullPolicy", _PULL_POLICIES)


def _inline_csi(path: str, source: Object) -> list[Cause]:
    wrong = need(path, source, "driver")
    wrong += check_driver_name(f"{path}.driver", source.get("driver", ""))
    if "nodePublishSecretRef" not in source:
        return wrong
    secret = source["nodePublishSecretRef"].get("name", "")
    if not secret:
        return [*wrong, fields.required(f"{path}.nodePublishSecretRef.name")]
    return wrong + names.check(f"{path}.name", secret, names.dns1123_subdomain)


def _items(path: str, source: Object) -> list[Cause]:
    wrong: list[Cause] = []
    for index, item in enumerate(source.get("items", ())):
        at = f"{path}.items[{index}]"
        if not item.get("key"):
            wrong.append(fields.required(f"{at}.key"))
        if not item.get("path"):
            wrong.append(fields.required(f"{at}.path"))
        else:
            wrong += check_file_name(f"{at}.path", item["path"])
        wrong += _mode(at, item, "mode")
    return wrong


def _mode(path: str, source: Object, field: str = "defaultMode") -> list[Cause]:
    mode = source.get(field)
    if mode is None or 0 <= mode <= _MOST_MODE:
        return []
    detail = "must be a number between 0 and 0777 (octal), both inclusive"
    return [fields.invalid(f"{path}.{field}", mode, detail)]


_PROJECTIONS: Mapping[str, Check] = {
    "secret": _projected_secret,
    "configMap": _projected_secret,
    "downwardAPI": _downward,
    "clusterTrustBundle": _bundle,
}
SOURCES: Mapping[str, Check] = {
    "emptyDir": _empty_dir,
    "secret": _secret,
    "configMap": _config_map,
    "downwardAPI": _downward,
    "projected": _projected,
    "persistentVolumeClaim": _claim,
    "ephemeral": _ephemeral,
    "gitRepo": _git_repo,
    "image": _image,
    "csi": _inline_csi,
}
