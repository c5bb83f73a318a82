"""Volume sources that pods and PersistentVolumes share: what each cannot do without.

`NEEDED` holds the fields, in the order in which upstream complains about them; what is more
than "must be set" stands in the functions.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from wherry.api.errors import Cause
from wherry.apiserver.strategy import fields, names
from wherry.apiserver.strategy.formats import need, option
from wherry.apiserver.strategy.pod.paths import check_no_backsteps

Object = dict[str, Any]
Check = Callable[[str, Object], list[Cause]]

_HOST_PATH_TYPES = (
    "",
    "BlockDevice",
    "CharDevice",
    "Directory",
    "DirectoryOrCreate",
    "File",
    "FileOrCreate",
    "Socket",
)
NEEDED: Mapping[str, tuple[str, ...]] = {
    "awsElasticBlockStore": ("volumeID",),
    "azureDisk": ("diskName", "diskURI"),
    "azureFile": ("secretName", "shareName"),
    "cephfs": ("monitors",),
    "cinder": ("volumeID",),
    "flexVolume": ("driver",),
    "gcePersistentDisk": ("pdName",),
    "glusterfs": ("endpoints", "path"),
    "iscsi": ("targetPortal", "iqn"),
    "nfs": ("server", "path"),
    "photonPersistentDisk": ("pdID",),
    "portworxVolume": ("volumeID",),
    "quobyte": ("registry", "volume"),
    "rbd": ("monitors", "image"),
    "scaleIO": ("gateway", "system", "volumeName"),
    "storageos": ("volumeName",),
    "vsphereVolume": ("volumePath",),
}
_IQN = re.compile(r"iqn\.\d{4}-\d{2}\.([A-Za-z0-9.-]+)(:[^,;*&$|\s]+)$")
_EUI = re.compile(r"eui\.[A-Za-z0-9]{16}")
_NAA = re.compile(r"naa\.[A-Za-z0-9]{32}")
_MOST_LUN = 255


def check_driver_name(path: str, name: str) -> list[Cause]:
    """Check the name of a CSI driver: a subdomain, of whatever case, of 63 characters."""
    wrong: list[Cause] = []
    if len(name) > 63:
        wrong.append(fields.too_long(path, 63))
    return wrong + [
        fields.invalid(path, name, why) for why in names.dns1123_subdomain(name.lower())
    ]


def _needed(kind: str) -> Check:
    wanted = NEEDED[kind]

    def check(path: str, source: Object) -> list[Cause]:
        return need(path, source, *wanted)

    return check


def _host_path(path: str, source: Object) -> list[Cause]:
    where = source.get("path", "")
    if not where:
        return [fields.required(f"{path}.path")]
    wrong = check_no_backsteps(f"{path}.path", where)
    return wrong + option(path, source, "type", _HOST_PATH_TYPES)


def _nfs(path: str, source: Object) -> list[Cause]:
    wrong = need(path, source, "server", "path")
    if source.get("path") and not source["path"].startswith("/"):
        wrong.append(fields.invalid(f"{path}.path", source["path"], "must be an absolute path"))
    return wrong


def _partition(path: str, source: Object, needed: str) -> list[Cause]:
    wrong = need(path, source, needed)
    partition = source.get("partition", 0)
    if not 0 <= partition <= 255:
        detail = "must be between 0 and 255, inclusive"
        wrong.append(fields.invalid(f"{path}.partition", partition, detail))
    return wrong


def _gce(path: str, source: Object) -> list[Cause]:
    return _partition(path, source, "pdName")


def _aws(path: str, source: Object) -> list[Cause]:
    return _partition(path, source, "volumeID")


def _iscsi(path: str, source: Object) -> list[Cause]:
    wrong = need(path, source, "targetPortal")
    iqn, at = source.get("iqn", ""), f"{path}.iqn"
    if not iqn:
        wrong.append(fields.required(at))
    elif not iqn.startswith(("iqn", "eui", "naa")) or not any(
        pattern.match(iqn) for pattern in (_IQN, _EUI, _NAA)
    ):
        wrong.append(fields.invalid(at, iqn, "must be valid format"))
    lun = source.get("lun", 0)
    if not 0 <= lun <= _MOST_LUN:
        wrong.append(fields.invalid(f"{path}.lun", lun, "must be between 0 and 255, inclusive"))
    if (source.get("chapAuthDiscovery") or source.get("chapAuthSession")) and (
        "secretRef" not in source
    ):
        wrong.append(fields.required(f"{path}.secretRef"))
    return wrong


def _fc(path: str, source: Object) -> list[Cause]:
    targets, ids = source.get("targetWWNs", []), source.get("wwids", [])
    if not targets and not ids:
        detail = "must specify either targetWWNs or wwids, but not both"
        return [fields.required(f"{path}.targetWWNs", detail)]
    if targets and ids:
        detail = "targetWWNs and wwids can not be specified simultaneously"
        return [fields.invalid(f"{path}.targetWWNs", targets, detail)]
    if not targets:
        return []
    if "lun" not in source:
        return [fields.required(f"{path}.lun", "lun is required if targetWWNs is specified")]
    if not 0 <= source["lun"] <= _MOST_LUN:
        detail = "must be between 0 and 255, inclusive"
        return [fields.invalid(f"{path}.lun", source["lun"], detail)]
    return []


def _azure_disk(path: str, source: Object) -> list[Cause]:
    wrong = need(path, source, "diskName", "diskURI")
    wrong += option(path, source, "cachingMode", ("None", "ReadOnly", "ReadWrite"))
    return wrong + option(path, source, "kind", ("Dedicated", "Managed", "Shared"))


def check_local(path: str, source: Object) -> list[Cause]:
    """Check a PersistentVolume that is a directory or disk of one node."""
    if not source.get("path"):
        return [fields.required(f"{path}.path")]
    return check_no_backsteps(f"{path}.path", source["path"])


def check_csi(path: str, source: Object) -> list[Cause]:
    """Check a PersistentVolume that a CSI driver provides."""
    wrong = need(path, source, "driver")
    if source.get("driver"):
        wrong += check_driver_name(f"{path}.driver", source["driver"])
    wrong += need(path, source, "volumeHandle")
    for name in ("controllerPublishSecretRef", "nodePublishSecretRef"):
        if name in source:
            wrong += need(f"{path}.{name}", source[name], "name", "namespace")
    return wrong


def _quobyte(path: str, source: Object) -> list[Cause]:
    wrong = need(path, source, "registry")
    for address in source.get("registry", "").split(",") if source.get("registry") else ():
        if ":" not in address:
            detail = "must be a host:port pair or multiple pairs separated by commas"
            wrong.append(fields.invalid(f"{path}.registry", address, detail))
    return wrong + need(path, source, "volume")


SHARED: Mapping[str, Check] = {
    **{kind: _needed(kind) for kind in NEEDED},
    "hostPath": _host_path,
    "nfs": _nfs,
    "gcePersistentDisk": _gce,
    "awsElasticBlockStore": _aws,
    "iscsi": _iscsi,
    "fc": _fc,
    "azureDisk": _azure_disk,
    "quobyte": _quobyte,
}
