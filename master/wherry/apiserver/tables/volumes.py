"""Printers of volumes, storage and devices."""

from collections.abc import Mapping
from typing import Any, Final

from wherry.api import kinds
from wherry.api.kinds import Kind
from wherry.apiserver.tables.cells import NONE, UNSET, Obj, created, name_of
from wherry.apiserver.tables.column import Printer, printer

_CLASS = "volume.beta.kubernetes.io/storage-class"
_DEFAULT_CLASSES = (
    "storageclass.kubernetes.io/is-default-class",
    "storageclass.beta.kubernetes.io/is-default-class",
)
_MODES = (
    ("ReadWriteOnce", "RWO"),
    ("ReadOnlyMany", "ROX"),
    ("ReadWriteMany", "RWX"),
    ("ReadWriteOncePod", "RWOP"),
)


def _annotations(obj: Obj) -> Obj:
    return obj["metadata"].get("annotations") or {}


def _access_modes(modes: Any) -> str:
    return ",".join(short for mode, short in _MODES if mode in (modes or ()))


def _phase(obj: Obj) -> str:
    if obj["metadata"].get("deletionTimestamp"):
        return "Terminating"
    return str(obj.get("status", {}).get("phase", ""))


def _class_of(obj: Obj) -> str:
    return str(_annotations(obj).get(_CLASS) or obj.get("spec", {}).get("storageClassName") or "")


def _volume(obj: Obj, now: float) -> list[Any]:
    spec, claim = obj.get("spec", {}), obj.get("spec", {}).get("claimRef")
    return [
        name_of(obj),
        (spec.get("capacity") or {}).get("storage", "0"),
        _access_modes(spec.get("accessModes")),
        spec.get("persistentVolumeReclaimPolicy", ""),
        _phase(obj),
        f"{claim.get('namespace', '')}/{claim.get('name', '')}" if claim else "",
        _class_of(obj),
        spec.get("volumeAttributesClassName") or UNSET,
        obj.get("status", {}).get("reason", ""),
        created(obj, now),
        spec.get("volumeMode") or UNSET,
    ]


def _claim(obj: Obj, now: float) -> list[Any]:
    spec, status = obj.get("spec", {}), obj.get("status", {})
    bound = bool(spec.get("volumeName"))
    return [
        name_of(obj),
        _phase(obj),
        spec.get("volumeName", ""),
        (status.get("capacity") or {}).get("storage", "0") if bound else "",
        _access_modes(status.get("accessModes")) if bound else "",
        _class_of(obj),
        spec.get("volumeAttributesClassName") or UNSET,
        created(obj, now),
        spec.get("volumeMode") or UNSET,
    ]


def _storage_class(obj: Obj, now: float) -> list[Any]:
    default = any(_annotations(obj).get(name) == "true" for name in _DEFAULT_CLASSES)
    return [
        name_of(obj) + (" (default)" if default else ""),
        obj.get("provisioner", ""),
        obj.get("reclaimPolicy", "Delete"),
        obj.get("volumeBindingMode", "Immediate"),
        bool(obj.get("allowVolumeExpansion")),
        created(obj, now),
    ]


def _attributes_class(obj: Obj, now: float) -> list[Any]:
    return [name_of(obj), obj.get("driverName", ""), created(obj, now)]


def _attachment(obj: Obj, now: float) -> list[Any]:
    spec = obj.get("spec", {})
    return [
        name_of(obj),
        spec.get("attacher", ""),
        (spec.get("source") or {}).get("persistentVolumeName", ""),
        spec.get("nodeName", ""),
        bool(obj.get("status", {}).get("attached")),
        created(obj, now),
    ]


def _csi_driver(obj: Obj, now: float) -> list[Any]:
    spec = obj.get("spec", {})
    requests = spec.get("tokenRequests")
    return [
        name_of(obj),
        bool(spec.get("attachRequired", True)),
        bool(spec.get("podInfoOnMount", False)),
        bool(spec.get("storageCapacity", False)),
        UNSET if requests is None else ",".join(each.get("audience", "") for each in requests),
        bool(spec.get("requiresRepublish", False)),
        ",".join(spec.get("volumeLifecycleModes") or ()) or NONE,
        created(obj, now),
    ]


def _csi_node(obj: Obj, now: float) -> list[Any]:
    return [name_of(obj), len(obj.get("spec", {}).get("drivers") or ()), created(obj, now)]


def _csi_capacity(obj: Obj, now: float) -> list[Any]:  # noqa: ARG001  (it shows no age)
    return [name_of(obj), obj.get("storageClassName", ""), obj.get("capacity") or UNSET]


def _named(obj: Obj, now: float) -> list[Any]:
    return [name_of(obj), created(obj, now)]


def _device_claim(obj: Obj, now: float) -> list[Any]:
    status, deleted = obj.get("status", {}), bool(obj["metadata"].get("deletionTimestamp"))
    words = ["deleted"] if deleted else []
    if status.get("allocation"):
        words += ["allocated", "reserved"] if status.get("reservedFor") else ["allocated"]
    elif not deleted:
        words.append("pending")
    return [name_of(obj), ",".join(words), created(obj, now)]


def _device_slice(obj: Obj, now: float) -> list[Any]:
    spec = obj.get("spec", {})
    return [
        name_of(obj),
        spec.get("nodeName") or UNSET,
        spec.get("driver", ""),
        (spec.get("pool") or {}).get("name", ""),
        created(obj, now),
    ]


PRINTERS: Final[Mapping[Kind, Printer]] = {
    kinds.PERSISTENT_VOLUME: printer(
        "Name|Capacity|Access Modes|Reclaim Policy|Status|Claim|StorageClass"
        "|VolumeAttributesClass|Reason|Age|VolumeMode+",
        _volume,
    ),
    kinds.PERSISTENT_VOLUME_CLAIM: printer(
        "Name|Status|Volume|Capacity|Access Modes|StorageClass|VolumeAttributesClass|Age"
        "|VolumeMode+",
        _claim,
    ),
    kinds.STORAGE_CLASS: printer(
        "Name|Provisioner|ReclaimPolicy|VolumeBindingMode|AllowVolumeExpansion|Age",
        _storage_class,
    ),
    kinds.VOLUME_ATTRIBUTES_CLASS: printer("Name|DriverName|Age", _attributes_class),
    kinds.VOLUME_ATTACHMENT: printer("Name|Attacher|PV|Node|Attached:boolean|Age", _attachment),
    kinds.CSI_DRIVER: printer(
        "Name|AttachRequired:boolean|PodInfoOnMount:boolean|StorageCapacity:boolean"
        "|TokenRequests|RequiresRepublish:boolean|Modes|Age",
        _csi_driver,
    ),
    kinds.CSI_NODE: printer("Name|Drivers:integer|Age", _csi_node),
    kinds.CSI_STORAGE_CAPACITY: printer("Name|StorageClassName|Capacity", _csi_capacity),
    kinds.DEVICE_CLASS: printer("Name|Age", _named),
    kinds.RESOURCE_CLAIM: printer("Name|State|Age", _device_claim),
    kinds.RESOURCE_CLAIM_TEMPLATE: printer("Name|Age", _named),
    kinds.RESOURCE_SLICE: printer("Name|Node|Driver|Pool|Age", _device_slice),
}
