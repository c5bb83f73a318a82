"""PersistentVolumeClaim, PersistentVolume and StorageClass."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from posixpath import normpath
from typing import Any, Final

from wherry.api.errors import Cause
from wherry.apiserver.strategy import fields, names
from wherry.apiserver.strategy.base import Object, Strategy
from wherry.apiserver.strategy.defaulting import Defaults
from wherry.apiserver.strategy.formats import amount_of, need, option, unchanged
from wherry.apiserver.strategy.pod import defaults
from wherry.apiserver.strategy.pod.scheduling import validate_node_selector
from wherry.apiserver.strategy.pod.volume_source import (
    OLD_VOLUMES,
    ORDER,
    SHARED,
    check_csi,
    check_iscsi,
    check_local,
    check_portal,
)
from wherry.apiserver.strategy.volume_claim_spec import (
    VOLUME_MODES,
    check_access_modes,
    check_size,
    validate_claim_spec,
)

_RECLAIM = ("Delete", "Recycle", "Retain")
_BINDING = ("Immediate", "WaitForFirstConsumer")
_CLAIM_IS_FIXED = (
    "spec is immutable after creation except resources.requests and volumeAttributesClassName for "
    "bound claims"
)
_CLASS = "volume.beta.kubernetes.io/storage-class"
_OLD_CLASS = 'deprecated since v1.8; use "storageClassName" attribute instead'
_OLD_POLICY = (
    "The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic "
    "provisioning."
)
_FINAL_LABELS: Final = {
    "failure-domain.beta.kubernetes.io/zone": "topology.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region": "topology.kubernetes.io/region",
    "beta.kubernetes.io/os": "kubernetes.io/os",
    "beta.kubernetes.io/arch": "kubernetes.io/arch",
    "beta.kubernetes.io/instance-type": "node.kubernetes.io/instance-type",
}
_SOURCES: Final[Mapping[str, Any]] = {
    **SHARED,
    "iscsi": check_iscsi,
    "local": check_local,
    "csi": check_csi,
}
_OTHER_FIELDS = frozenset(
    {
        "accessModes",
        "capacity",
        "claimRef",
        "mountOptions",
        "nodeAffinity",
        "persistentVolumeReclaimPolicy",
        "storageClassName",
        "volumeAttributesClassName",
        "volumeMode",
    }
)
_CLAIM = Defaults(
    made={"spec": defaults.CLAIM_SPEC, "status": Defaults(empty={"phase": "Pending"})}
)
_VOLUME = Defaults(
    made={
        "spec": Defaults(
            empty={"persistentVolumeReclaimPolicy": "Retain"},
            absent={"volumeMode": "Filesystem"},
            within={
                "hostPath": defaults.HOST_PATH,
                "rbd": defaults.RBD,
                "iscsi": defaults.ISCSI,
                "azureDisk": defaults.AZURE_DISK,
                "scaleIO": defaults.SCALE_IO,
            },
        ),
        "status": Defaults(empty={"phase": "Pending"}),
    }
)


class PersistentVolumeClaimStrategy(Strategy):
    """So much storage, please."""

    def default(self, obj: Object) -> None:
        """Ask for a file system, and be pending."""
        _CLAIM.apply(obj)

    def validate(self, obj: Object) -> list[Cause]:
        """Check modes and size."""
        return validate_claim_spec("spec", obj["spec"])

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        """Let a bound claim grow, and a claim be bound."""
        was, is_ = old.get("spec", {}), new["spec"]
        bound = old.get("status", {}).get("phase") == "Bound"
        wrong = _class_annotation(new, old)
        if _fixed(is_, is_, was, bound=bound) != _fixed(was, is_, was, bound=bound):
            wrong.append(fields.forbidden("spec", _CLAIM_IS_FIXED))
        size, has = _size(is_), old.get("status", {}).get("capacity", {}).get("storage", "0")
        if size < _size(was) and size <= amount_of(has):
            detail = "field can not be less than status.capacity"
            wrong.append(fields.forbidden("spec.resources.requests.storage", detail))
        wrong += unchanged("", is_, was, "volumeMode")
        return wrong + _attributes(is_, was)

    def warnings(self, obj: Object) -> list[str]:
        """Warn of a class that is named as it was once."""
        if _CLASS not in obj.get("metadata", {}).get("annotations", {}):
            return []
        return [f"metadata.annotations[{_CLASS}]: {_OLD_CLASS}"]

    def validate_status(self, new: Object, old: Object) -> list[Cause]:  # noqa: ARG002
        """Check what there is of it."""
        capacity = new.get("status", {}).get("capacity", {})
        return [
            fields.invalid(f"status.capacity[{name}]", shown, "must be a valid resource quantity")
            for name, shown in capacity.items()
            if amount_of(shown) < 0
        ]


def _class_annotation(new: Object, old: Object) -> list[Cause]:
    """Keep the class that a claim of old names in an annotation."""
    now, was = (obj["metadata"].get("annotations", {}).get(_CLASS, "") for obj in (new, old))
    if now == was:
        return []
    return [fields.invalid(f"metadata.annotations.{_CLASS}", now, fields.IMMUTABLE)]


def _fixed(spec: Object, new: Object, was: Object, *, bound: bool) -> Object:
    """Return what of `spec`, one side of an update, may not differ from the other's."""
    fixed = dict(spec)
    if not was.get("volumeName"):
        fixed.pop("volumeName", None)
    if "storageClassName" not in was:
        fixed.pop("storageClassName", None)
    if not bound:
        return fixed
    if "volumeAttributesClassName" in new:
        fixed.pop("volumeAttributesClassName", None)
    resources = dict(spec.get("resources", {}))
    requests = {k: v for k, v in resources.get("requests", {}).items() if k != "storage"}
    fixed["resources"] = {**resources, "requests": requests}
    return fixed


def _attributes(is_: Object, was: Object) -> list[Cause]:
    """Let the class of attributes be changed for another, but not for none."""
    at, field = "spec.volumeAttributesClassName", "volumeAttributesClassName"
    if field not in was or is_.get(field) == was[field] or is_.get(field):
        return []
    what = "an empty string" if field in is_ else "nil"
    return [fields.forbidden(at, f"update from non-nil value to {what} is forbidden")]


def _size(spec: Object) -> Fraction:
    return amount_of(spec.get("resources", {}).get("requests", {}).get("storage", "0"))


class PersistentVolumeStrategy(Strategy):
    """So much storage, there."""

    def warnings(self, obj: Object) -> list[str]:
        """Warn of what is old."""
        spec = obj.get("spec", {})
        found = [f"spec.{kind}: {why}" for kind, why in OLD_VOLUMES.items() if kind in spec]
        if _CLASS in obj.get("metadata", {}).get("annotations", {}):
            found.append(f"metadata.annotations[{_CLASS}]: {_OLD_CLASS}")
        if spec.get("persistentVolumeReclaimPolicy") == "Recycle":
            found.append(f"spec.persistentVolumeReclaimPolicy: {_OLD_POLICY}")
        return found

    def prepare_create(self, obj: Object) -> None:
        """Begin pending."""
        obj["status"] = {"phase": "Pending"}

    def default(self, obj: Object) -> None:
        """Be a file system that is kept when nobody claims it any more."""
        _VOLUME.apply(obj)

    def validate(self, obj: Object) -> list[Cause]:
        """Check size, modes and source."""
        spec = obj["spec"]
        wrong = need("spec", spec, "accessModes")
        wrong += check_access_modes("spec.accessModes", spec.get("accessModes", []))
        wrong += _capacity("spec.capacity", spec.get("capacity", {}))
        wrong += option("spec", spec, "persistentVolumeReclaimPolicy", _RECLAIM)
        required = spec.get("nodeAffinity", {}).get("required")
        if "nodeAffinity" in spec:
            at = "spec.nodeAffinity.required"
            if required is None:
                wrong.append(fields.required(at, "must specify required node constraints"))
            else:
                wrong += validate_node_selector(at, required)
        wrong += _volume_source("spec", spec, obj.get("metadata", {}).get("name", ""))
        if "local" in spec and "nodeAffinity" not in spec:
            detail = "Local volume requires node affinity"
            wrong.append(fields.required("spec.nodeAffinity", detail))
        recycled = spec.get("persistentVolumeReclaimPolicy") == "Recycle"
        if recycled and normpath(spec.get("hostPath", {}).get("path", "")).strip("/") == "":
            detail = "may not be 'recycle' for a hostPath mount of '/'"
            wrong.append(fields.forbidden("spec.persistentVolumeReclaimPolicy", detail))
        if spec.get("storageClassName"):
            at = "spec.storageClassName"
            wrong += names.check(at, spec["storageClassName"], names.dns1123_subdomain)
        wrong += option("spec", spec, "volumeMode", VOLUME_MODES)
        if "volumeAttributesClassName" in spec:
            wrong += _attributes_class(spec)
        return wrong

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        """Keep the source and the mode."""
        was, is_ = old.get("spec", {}), new["spec"]
        wrong: list[Cause] = []
        if _expandable(_source_of(is_), _source_of(was)) != _source_of(was):
            detail = "spec.persistentvolumesource is immutable after creation"
            wrong.append(fields.forbidden("spec.persistentvolumesource", detail))
        wrong += unchanged("", is_, was, "volumeMode")
        if "nodeAffinity" in was and not _same_nodes(is_.get("nodeAffinity"), was["nodeAffinity"]):
            detail = f"{fields.IMMUTABLE}, except for updating from beta label to GA"
            wrong.append(fields.invalid("nodeAffinity", is_.get("nodeAffinity"), detail))
        if "volumeAttributesClassName" in was and "volumeAttributesClassName" not in is_:
            at = "spec.volumeAttributesClassName"
            detail = "update from non-nil value to nil is forbidden"
            wrong.append(fields.forbidden(at, detail))
        return wrong


def _attributes_class(spec: Object) -> list[Cause]:
    at, name = "spec.volumeAttributesClassName", spec["volumeAttributesClassName"]
    if not name:
        wrong = [fields.required(at, "an empty string is disallowed")]
    else:
        wrong = names.check(at, name, names.dns1123_subdomain)
    if "csi" not in spec:
        detail = "has to be specified when using volumeAttributesClassName"
        wrong.append(fields.required("spec.csi", detail))
    return wrong


def _expandable(new: Object, old: Object) -> Object:
    """Return the new source as it was, if all that it has got is the secret to grow with."""
    field = "controllerExpandSecretRef"
    if "csi" not in new or "csi" not in old or field in old["csi"]:
        return new
    return {**new, "csi": {k: v for k, v in new["csi"].items() if k != field}}


def _same_nodes(new: Any, old: Any) -> bool:
    """Tell whether two affinities are the same but for labels that have got their final names."""
    if isinstance(old, dict) and isinstance(new, dict):
        if old.keys() != new.keys():
            return False
        return all(
            new[k] == old[k] or (k == "key" and _FINAL_LABELS.get(old[k]) == new[k])
            if not isinstance(old[k], (dict, list))
            else _same_nodes(new[k], old[k])
            for k in old
        )
    if isinstance(old, list) and isinstance(new, list):
        return len(old) == len(new) and all(map(_same_nodes, new, old))
    return bool(new == old)


def _source_of(spec: Object) -> Object:
    return {kind: value for kind, value in spec.items() if kind not in _OTHER_FIELDS}


def _capacity(path: str, capacity: Object) -> list[Cause]:
    wrong = [] if capacity else [fields.required(path)]
    if "storage" not in capacity or len(capacity) > 1:
        wrong.append(fields.unsupported(path, capacity, ["storage"]))
    for name, shown in capacity.items():
        if amount_of(shown) < 0:
            detail = "must be a valid resource quantity"
            wrong.append(fields.invalid(f"{path}[{name}]", shown, detail))
        wrong += check_size(f"{path}[{name}]", shown)
    return wrong


def _volume_source(path: str, spec: Object, name: str) -> list[Cause]:
    kinds = sorted(_source_of(spec), key=ORDER.index)
    if not kinds:
        return [fields.required(path, "must specify a volume type")]
    check = _SOURCES[kinds[0]]
    wrong = check(f"{path}.{kinds[0]}", spec[kinds[0]])
    if kinds[0] == "iscsi":
        wrong += check_portal(path, name, spec["iscsi"])
    return list(wrong) + [
        fields.forbidden(f"{path}.{kind}", "may not specify more than 1 volume type")
        for kind in kinds[1:]
    ]


class StorageClassStrategy(Strategy):
    """How storage of a sort is made."""

    def default(self, obj: Object) -> None:
        """Delete what nobody claims any more, and make it at once."""
        obj.setdefault("reclaimPolicy", "Delete")
        obj.setdefault("volumeBindingMode", "Immediate")

    def validate(self, obj: Object) -> list[Cause]:
        """Check provisioner, parameters and policies."""
        wrong: list[Cause] = []
        provisioner = obj.get("provisioner", "")
        if not provisioner:
            wrong.append(fields.required("provisioner", provisioner))
        else:
            wrong += names.check("provisioner", provisioner.lower(), names.qualified_name)
        wrong += check_parameters("parameters", obj.get("parameters", {}))
        wrong += option("", obj, "reclaimPolicy", ("Delete", "Retain"))
        wrong += option("", obj, "volumeBindingMode", _BINDING)
        return wrong + _topologies(obj.get("allowedTopologies", ()))

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        """Keep everything that storage was made by."""
        wrong: list[Cause] = []
        for field in ("parameters", "provisioner", "reclaimPolicy"):
            if (new.get(field) or None) != (old.get(field) or None):
                detail = f"updates to {field} are forbidden."
                wrong.append(fields.forbidden(field, detail))
        return wrong + unchanged("", new, old, "volumeBindingMode")


def check_parameters(path: str, parameters: Mapping[str, str]) -> list[Cause]:
    """Check what is handed to a driver: not too much of it."""
    size = sum(len(k.encode()) + len(v.encode()) for k, v in parameters.items())
    wrong: list[Cause] = []
    if len(parameters) > 512:
        return [fields.too_long(path, 512)]
    if "" in parameters:
        wrong.append(fields.invalid(path, "", "field can not be empty."))
    if size > 256 * 1024:
        wrong.append(fields.too_long(path, 256 * 1024))
    return wrong


def _topologies(topologies: Sequence[Object]) -> list[Cause]:
    wrong: list[Cause] = []
    for index, topology in enumerate(topologies):
        for number, expression in enumerate(topology.get("matchLabelExpressions", ())):
            at = f"allowedTopologies[{index}].matchLabelExpressions[{number}]"
            if not expression.get("values"):
                wrong.append(fields.required(f"{at}.values"))
            wrong += names.check(f"{at}.key", expression.get("key", ""), names.qualified_name)
    return wrong
