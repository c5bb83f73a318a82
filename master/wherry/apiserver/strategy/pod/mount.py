"""Where a container sees volumes: core `ValidateVolumeMounts` and `ValidateVolumeDevices`.

Upstream's paths of what a mount says beyond its name and place have no index.
"""

from collections.abc import Mapping
from typing import Any

from wherry.api.errors import Cause
from wherry.apiserver.strategy import fields
from wherry.apiserver.strategy.formats import option
from wherry.apiserver.strategy.pod.paths import check_descending

Object = dict[str, Any]
_PROPAGATION = ("Bidirectional", "HostToContainer", "None")
_RECURSIVE = ("Disabled", "Enabled", "IfPossible")
_EXCLUSIVE = "subPathExpr and subPath are mutually exclusive"
_NO_BLOCK = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode"


def validate_mounts(path: str, container: Object, volumes: Mapping[str, Object]) -> list[Cause]:
    """Check mounts and devices. `path` is the container's."""
    mounts, devices = container.get("volumeMounts", []), container.get("volumeDevices", [])
    if not mounts and not devices:
        return []
    names = {device.get("name", "") for device in devices}
    paths = {device.get("devicePath", "") for device in devices}
    privileged = bool(container.get("securityContext", {}).get("privileged"))
    wrong: list[Cause] = []
    taken: set[str] = set()
    for index, mount in enumerate(mounts):
        at, where = f"{path}.volumeMounts[{index}]", mount.get("mountPath", "")
        name = mount.get("name", "")
        wrong += _reference(at, name, volumes)
        if not where:
            wrong.append(fields.required(f"{at}.mountPath"))
        if where in taken:
            wrong.append(fields.invalid(f"{at}.mountPath", where, "must be unique"))
        taken.add(where)
        if name in names:
            detail = "must not already exist in volumeDevices"
            wrong.append(fields.invalid(f"{at}.name", name, detail))
        if where in paths:
            detail = "must not already exist as a path in volumeDevices"
            wrong.append(fields.invalid(f"{at}.mountPath", where, detail))
        wrong += _options(path, at, mount, privileged=privileged)
    mounted = {mount.get("name", ""): mount.get("mountPath", "") for mount in mounts}
    return wrong + _devices(f"{path}.volumeDevices", devices, volumes, mounted)


def _reference(path: str, name: str, volumes: Mapping[str, Object]) -> list[Cause]:
    wrong = [] if name else [fields.required(f"{path}.name")]
    if name not in volumes:
        wrong.append(fields.not_found(f"{path}.name", name))
    return wrong


def _options(path: str, at: str, mount: Object, *, privileged: bool) -> list[Cause]:
    if len(mount) <= 2:
        return []
    mounts = f"{path}.volumeMounts"
    wrong: list[Cause] = []
    if mount.get("subPath"):
        wrong += check_descending(f"{mounts}.subPath", mount["subPath"])
    if mount.get("subPathExpr"):
        if mount.get("subPath"):
            wrong.append(fields.invalid(f"{at}.subPathExpr", mount["subPathExpr"], _EXCLUSIVE))
        wrong += check_descending(f"{mounts}.subPathExpr", mount["subPathExpr"])
    propagation = mount.get("mountPropagation")
    wrong += option(mounts, mount, "mountPropagation", _PROPAGATION)
    if propagation == "Bidirectional" and not privileged:
        detail = "Bidirectional mount propagation is available only to privileged containers"
        wrong.append(fields.forbidden(f"{mounts}.mountPropagation", detail))
    recursive, place = mount.get("recursiveReadOnly"), f"{mounts}.recursiveReadOnly"
    wrong += option(mounts, mount, "recursiveReadOnly", _RECURSIVE)
    if recursive in ("Enabled", "IfPossible"):
        if not mount.get("readOnly"):
            wrong.append(fields.forbidden(place, "may only be specified when readOnly is true"))
        if propagation not in (None, "None"):
            detail = "may only be specified when mountPropagation is None or not specified"
            wrong.append(fields.forbidden(place, detail))
    return wrong


def _devices(
    path: str, devices: list[Object], volumes: Mapping[str, Object], mounted: Mapping[str, str]
) -> list[Cause]:
    wrong: list[Cause] = []
    names: set[str] = set()
    paths: set[str] = set()
    for index, device in enumerate(devices):
        at, name, where = f"{path}[{index}]", device.get("name", ""), device.get("devicePath", "")
        if not name:
            wrong.append(fields.required(f"{at}.name"))
        if name in names:
            wrong.append(fields.invalid(f"{at}.name", name, "must be unique"))
        if name not in volumes:
            wrong.append(fields.not_found(f"{at}.name", name))
        elif not {"persistentVolumeClaim", "ephemeral"} & set(volumes[name]):
            wrong.append(fields.invalid(f"{at}.name", name, _NO_BLOCK))
        wrong += _device_path(f"{at}.devicePath", where, paths)
        if name in mounted:
            detail = "must not already exist in volumeMounts"
            wrong.append(fields.invalid(f"{at}.name", name, detail))
        if where in mounted.values():
            detail = "must not already exist as a path in volumeMounts"
            wrong.append(fields.invalid(f"{at}.devicePath", where, detail))
        names.add(name)
    return wrong


def _device_path(at: str, where: str, taken: set[str]) -> list[Cause]:
    wrong: list[Cause] = []
    if not where:
        wrong.append(fields.required(at))
    if where in taken:
        wrong.append(fields.invalid(at, where, "must be unique"))
    if ".." in where.split("/"):
        wrong.append(fields.invalid(at, where, "can not contain backsteps ('..')"))
    else:
        taken.add(where)
    return wrong
