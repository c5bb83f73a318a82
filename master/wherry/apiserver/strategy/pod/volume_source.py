"""Volume sources that pods and PersistentVolumes share: what each cannot do without.

`NEEDED` holds the fields, in the order in which upstream complains about them; what is more
than "must be set" stands in the functions.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

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
    "azureFile": ("secretName", "shareName"),
    "cephfs": ("monitors",),
    "glusterfs": ("endpoints", "path"),
    "photonPersistentDisk": ("pdID",),
    "portworxVolume": ("volumeID",),
    "rbd": ("monitors", "image"),
    "scaleIO": ("gateway", "system", "volumeName"),
    "vsphereVolume": ("volumePath",),
}
ORDER = (
    "emptyDir",
    "hostPath",
    "gitRepo",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "secret",
    "nfs",
    "iscsi",
    "glusterfs",
    "flocker",
    "persistentVolumeClaim",
    "rbd",
    "quobyte",
    "cinder",
    "cephfs",
    "downwardAPI",
    "fc",
    "flexVolume",
    "configMap",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "storageos",
    "projected",
    "scaleIO",
    "local",
    "csi",
    "ephemeral",
    "image",
)
"""Which of several sources counts: the first."""
OLD_VOLUMES: Final = {
    "photonPersistentDisk": "deprecated in v1.11, non-functional in v1.16+",
    "gitRepo": "deprecated in v1.11",
    "scaleIO": "deprecated in v1.16, non-functional in v1.22+",
    "flocker": "deprecated in v1.22, non-functional in v1.25+",
    "storageos": "deprecated in v1.22, non-functional in v1.25+",
    "quobyte": "deprecated in v1.22, non-functional in v1.25+",
    "glusterfs": "deprecated in v1.25, non-functional in v1.26+",
    "cephfs": "deprecated in v1.28, non-functional in v1.31+",
    "rbd": "deprecated in v1.28, non-functional in v1.31+",
}
_IQN = re.compile(r"iqn\.\d{4}-\d{2}\.([A-Za-z0-9.-]+)(:[^,;*&$|\s]+)$")
_EUI = re.compile(r"eui.[A-Za-z0-9]{16}$")
_NAA = re.compile(r"naa.[A-Za-z0-9]{32}$")
_INITIATORS = {"iqn": _IQN, "eui": _EUI, "naa": _NAA}
_MOST_LUN = 255
_MOST_PORTAL = 64
_MOST_TENANT = 64
_LONG_PORTAL = (
    "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if "
    "iscsi.initiatorName is specified."
)
_PAIRS = "must be a host:port pair or multiple pairs separated by commas"
_MANAGED = "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}"
_BLOB = "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd"


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
    where = source.get("path", "")
    if not where.startswith("/"):
        wrong.append(fields.invalid(f"{path}.path", where, "must be an absolute path"))
    return wrong


def _partition(path: str, source: Object, needed: str) -> list[Cause]:
    wrong = need(path, source, needed)
    partition = source.get("partition", 0)
    if not 0 <= partition <= 255:
        detail = "must be between 1 and 255, inclusive"  # 0 is none
        wrong.append(fields.invalid(f"{path}.partition", partition, detail))
    return wrong


def _gce(path: str, source: Object) -> list[Cause]:
    at = f"{path.removesuffix('gcePersistentDisk')}persistentDisk"  # upstream's path
    return _partition(at, source, "pdName")


def _aws(path: str, source: Object) -> list[Cause]:
    return _partition(path, source, "volumeID")


def _initiator(path: str, name: str, unknown: str) -> list[Cause]:
    """Check the name of one end of iSCSI; `unknown` is what to say of a form that is none."""
    pattern = _INITIATORS.get(name[:3])
    if pattern is None:
        return [fields.invalid(path, name, unknown)]
    return [] if pattern.match(name) else [fields.invalid(path, name, "must be valid format")]


def _iscsi(path: str, source: Object) -> list[Cause]:
    return _iscsi_target(path, source, "must be valid format starting with iqn, eui, or naa")


def check_iscsi(path: str, source: Object) -> list[Cause]:
    """Check a PersistentVolume that is an iSCSI disk."""
    wrong = _iscsi_target(path, source, "must be valid format")
    if "secretRef" in source:
        wrong += need(f"{path}.secretRef", source["secretRef"], "name")
    return wrong


def check_portal(path: str, name: str, source: Object) -> list[Cause]:
    """Check that the names of a volume and its iSCSI portal fit into one name. `path` is the volume's."""
    portal = source.get("targetPortal", "")
    if "initiatorName" not in source or len(f"{name}:{portal}".encode()) <= _MOST_PORTAL:
        return []
    return [fields.invalid(f"{path}.name", name, _LONG_PORTAL)]


def _iscsi_target(path: str, source: Object, unknown: str) -> list[Cause]:
    wrong = need(path, source, "targetPortal", "iqn")
    if source.get("iqn"):
        wrong += _initiator(f"{path}.iqn", source["iqn"], unknown)
    lun = source.get("lun", 0)
    if not 0 <= lun <= _MOST_LUN:
        wrong.append(fields.invalid(f"{path}.lun", lun, "must be between 0 and 255, inclusive"))
    if (source.get("chapAuthDiscovery") or source.get("chapAuthSession")) and (
        "secretRef" not in source
    ):
        wrong.append(fields.required(f"{path}.secretRef"))
    if "initiatorName" in source:
        wrong += _initiator(f"{path}.initiatorname", source["initiatorName"], unknown)
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
    wrong += option(path, source, "kind", ("Dedicated", "Managed", "Shared"))
    managed, uri = source.get("kind") == "Managed", source.get("diskURI", "")
    if not uri.startswith("/subscriptions/" if managed else "https://"):
        form = _MANAGED if managed else _BLOB
        wrong.append(fields.unsupported(f"{path}.diskURI", uri, [form]))
    return wrong


def check_local(path: str, source: Object) -> list[Cause]:
    """Check a PersistentVolume that is a directory or disk of one node."""
    if not source.get("path"):
        return [fields.required(f"{path}.path")]
    return check_no_backsteps(f"{path}.path", source["path"])


def check_csi(path: str, source: Object) -> list[Cause]:
    """Check a PersistentVolume that a CSI driver provides."""
    wrong = need(path, source, "driver")
    wrong += check_driver_name(f"{path}.driver", source.get("driver", ""))
    wrong += need(path, source, "volumeHandle")
    for field in _CSI_SECRETS:
        if field in source:
            wrong += _secret_of(f"{path}.{field}", source[field])
    return wrong


_CSI_SECRETS = (
    "controllerPublishSecretRef",
    "controllerExpandSecretRef",
    "nodePublishSecretRef",
    "nodeExpandSecretRef",
)


def _secret_of(path: str, ref: Object) -> list[Cause]:
    rules = {"name": names.dns1123_subdomain, "namespace": names.dns1123_label}
    wrong: list[Cause] = []
    for field, rule in rules.items():
        if not ref.get(field):
            wrong.append(fields.required(f"{path}.{field}"))
        else:
            wrong += names.check(f"{path}.{field}", ref[field], rule)
    return wrong


def _quobyte(path: str, source: Object) -> list[Cause]:
    registry = source.get("registry", "")
    wrong: list[Cause] = []
    if not registry:
        wrong.append(fields.required(f"{path}.registry", _PAIRS))
    elif len(source.get("tenant", "")) > _MOST_TENANT:
        detail = "must be a UUID and may not exceed a length of 64 characters"
        wrong.append(fields.required(f"{path}.tenant", detail))
    else:
        wrong += [
            fields.invalid(f"{path}.registry", registry, _PAIRS)
            for pair in registry.split(",")
            if pair.count(":") != 1 and "]:" not in pair
        ]
    return wrong + need(path, source, "volume")


def _flocker(path: str, source: Object) -> list[Cause]:
    name, uuid = source.get("datasetName", ""), source.get("datasetUUID", "")
    wrong: list[Cause] = []
    if not name and not uuid:
        detail = "one of datasetName and datasetUUID is required"
        wrong.append(fields.required(path, detail))
    if name and uuid:
        detail = "datasetName and datasetUUID can not be specified simultaneously"
        wrong.append(fields.invalid(path, "resource", detail))
    if "/" in name:
        wrong.append(fields.invalid(f"{path}.datasetName", name, "must not contain '/'"))
    return wrong


def _flex(path: str, source: Object) -> list[Cause]:
    wrong = need(path, source, "driver")
    for key in source.get("options", {}):
        domain = f".{key.partition('/')[0].lower()}"
        if domain.endswith((".kubernetes.io", ".k8s.io")):
            detail = "kubernetes.io and k8s.io namespaces are reserved"
            wrong.append(fields.invalid(f"{path}.options[{key}]", key, detail))
    return wrong


def _cinder(path: str, source: Object) -> list[Cause]:
    wrong = need(path, source, "volumeID")
    return wrong + _secret_named(path, source)


def _storage_os(path: str, source: Object) -> list[Cause]:
    wrong = need(path, source, "volumeName")
    for field in ("volumeName", "volumeNamespace"):
        if source.get(field):
            wrong += names.check(f"{path}.{field}", source[field], names.dns1123_label)
    return wrong + _secret_named(path, source)


def _secret_named(path: str, source: Object) -> list[Cause]:
    return need(f"{path}.secretRef", source["secretRef"], "name") if "secretRef" in source else []


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
    "flocker": _flocker,
    "flexVolume": _flex,
    "cinder": _cinder,
    "storageos": _storage_os,
}
