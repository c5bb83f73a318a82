"""Where a container sees volumes: core `ValidateVolumeMounts` and `ValidateVolumeDevices`."""

from collections.abc import Mapping
from typing import Any

from wherry.api.errors import Cause
from wherry.apiserver.strategy import fields
from wherry.apiserver.strategy.formats import option
from wherry.apiserver.strategy.pod.paths import check_descending, check_no_backsteps

Object = dict[str, Any]
_PROPAGATION = ("Bidirectional", "HostToContainer", "None")
_RECURSIVE = ("Disabled", "Enabled", "IfPossible")
_EXCLUSIVE = "subPathExpr and subPath are mutually exclusive"


def validate_mounts(path: str, container: Object, volumes: Mapping[str, Object]) -> list[Cause]:
    """Check mounts and devices. `path` is the container's."""
    mounts, devices = container.get("volumeMounts", []), container.get("volumeDevices", [])
    if not mounts and not devices:
        return []
    mounted = {mount.get("name", "") for mount in mounts}
    device_paths = {device.get("devicePath", "") for device in devices}
    privileged = bool(container.get("securityContext", {}).get("privileged"))
    wrong: list[Cause] = []
    taken: set[str] = set()
    for index, mount in enumerate(mounts):
        at, where = f"{path}.volumeMounts[{index}]", mount.get("mountPath", "")
        wrong += _reference(at, mount, volumes)
        if not where:
            wrong.append(fields.required(f"{at}.mountPath"))
        if where in taken:
            wrong.append(fields.invalid(f"{at}.mountPath", where, "must be unique"))
        if where in device_paths:
            detail = "must not already exist as a path in volumeDevices"
            wrong.append(fields.invalid(f"{at}.mountPath", where, detail))
        taken.add(where)
        wrong += _options(at, mount, privileged=privileged)
    return wrong + _devices(f"{path}.volumeDevices", devices, volumes, mounted, taken)


def _reference(path: str, mount: Object, volumes: Mapping[str, Object]) -> list[Cause]:
    name = mount.get("name", "")
    wrong = [] if name else [fields.required(f"{path}.name")]
    if name not in volumes:
        wrong.append(fields.not_found(f"{path}.name", name))
    return wrong


def _options(path: str, mount: Object, *, privileged: bool) -> list[Cause]:
    if len(mount) <= 2:
        return []
    wrong: list[Cause] = []
    for field in ("subPath", "subPathExpr"):
        if mount.get(field):
            wrong += check_descending(f"{path}.{field}", mount[field])
    if mount.get("subPath") and mount.get("subPathExpr"):
        wrong.append(fields.invalid(f"{path}.subPathExpr", mount["subPathExpr"], _EXCLUSIVE))
    propagation = mount.get("mountPropagation")
    wrong += option(path, mount, "mountPropagation", _PROPAGATION)
    if propagation == "Bidirectional" and not privileged:
        detail = "Bidirectional mount propagation is available only to privileged containers"
        wrong.append(fields.forbidden(f"{path}.mountPropagation", detail))
    recursive = mount.get("recursiveReadOnly")
    wrong += option(path, mount, "recursiveReadOnly", _RECURSIVE)
    if recursive in ("Enabled", "IfPossible"):
        at = f"{path}.recursiveReadOnly"
        if not mount.get("readOnly"):
            wrong.append(fields.forbidden(at, "may only be specified when readOnly is true"))
        if propagation not in (None, "None"):
            detail = "may only be specified when mountPropagation is None or not specified"
            wrong.append(fields.forbidden(at, detail))
    return wrong


def _devices(
    path: str,
    devices: list[Object],
    volumes: Mapping[str, Object],
    mounted: set[str],
    mount_paths: set[str],
) -> list[Cause]:
    wrong: list[Cause] = []
    names_taken: set[str] = set()
    paths_taken: set[str] = set()
    for index, device in enumerate(devices):
        at, name, where = f"{path}[{index}]", device.get("name", ""), device.get("devicePath", "")
        if not name:
            wrong.append(fields.required(f"{at}.name"))
        elif name not in volumes:
            wrong.append(fields.not_found(f"{at}.name", name))
        elif not {"persistentVolumeClaim", "ephemeral"} & set(volumes[name]):
            detail = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode"
            wrong.append(fields.invalid(f"{at}.name", name, detail))
        if name in names_taken:
            wrong.append(fields.invalid(f"{at}.name", name, "must be unique"))
        if name in mounted:
            wrong.append(
                fields.invalid(f"{at}.name", name, "must not already exist in volumeMounts")
            )
        if not where:
            wrong.append(fields.required(f"{at}.devicePath"))
        elif where in paths_taken:
            wrong.append(fields.invalid(f"{at}.devicePath", where, "must be unique"))
        elif where in mount_paths:
            detail = "must not already exist as a path in volumeMounts"
            wrong.append(fields.invalid(f"{at}.devicePath", where, detail))
        else:
            wrong += check_no_backsteps(f"{at}.devicePath", where)
        names_taken.add(name)
        paths_taken.add(where)
    return wrong
