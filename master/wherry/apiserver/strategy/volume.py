"""PersistentVolumeClaim, PersistentVolume and StorageClass."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, Final

from wherry.api.errors import Cause
from wherry.apiserver.strategy import fields, names
from wherry.apiserver.strategy.base import Object, Strategy
from wherry.apiserver.strategy.defaulting import Defaults
from wherry.apiserver.strategy.formats import amount_of, option, quantities, unchanged
from wherry.apiserver.strategy.pod import defaults
from wherry.apiserver.strategy.pod.scheduling import validate_node_selector
from wherry.apiserver.strategy.pod.volume_source import SHARED, check_csi, check_local
from wherry.apiserver.strategy.volume_claim_spec import (
    VOLUME_MODES,
    check_access_modes,
    validate_claim_spec,
)

_RECLAIM = ("Delete", "Recycle", "Retain")
_BINDING = ("Immediate", "WaitForFirstConsumer")
_MAY_CHANGE_OF_CLAIM = frozenset({"resources", "volumeAttributesClassName"})
_CLAIM_IS_FIXED = (
    "spec is immutable after creation except resources.requests and volumeAttributesClassName for "
    "bound claims"
)
_SOURCES: Final[Mapping[str, Any]] = {**SHARED, "local": check_local, "csi": check_csi}
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
        may = set(_MAY_CHANGE_OF_CLAIM)
        if not was.get("volumeName"):
            may |= {"volumeName"}
        if not was.get("storageClassName"):
            may |= {"storageClassName"}
        changed = {k for k in {*was, *is_} - may if was.get(k) != is_.get(k)}
        wrong = [fields.forbidden("spec", _CLAIM_IS_FIXED)] if changed else []
        return wrong + _resized(is_, was, old.get("status", {}))


def _resized(is_: Object, was: Object, status: Object) -> list[Cause]:
    """Let a bound claim grow, and one that could not grow ask for less, but not for less than there is."""
    size, before = _size(is_), _size(was)
    if size == before:
        return []
    if status.get("phase") != "Bound":
        return [fields.forbidden("spec", _CLAIM_IS_FIXED)]
    if size < before and size <= amount_of(status.get("capacity", {}).get("storage", "0")):
        detail = "field can not be less than status.capacity"
        return [fields.forbidden("spec.resources.requests.storage", detail)]
    return []


def _size(spec: Object) -> Fraction:
    return amount_of(spec.get("resources", {}).get("requests", {}).get("storage", "0"))


class PersistentVolumeStrategy(Strategy):
    """So much storage, there."""

    def prepare_create(self, obj: Object) -> None:
        """Begin pending."""
        obj["status"] = {"phase": "Pending"}

    def default(self, obj: Object) -> None:
        """Be a file system that is kept when nobody claims it any more."""
        _VOLUME.apply(obj)

    def validate(self, obj: Object) -> list[Cause]:
        """Check size, modes and source."""
        spec = obj["spec"]
        wrong = check_access_modes("spec.accessModes", spec.get("accessModes", []))
        wrong += _capacity("spec.capacity", spec.get("capacity", {}))
        wrong += option("spec", spec, "persistentVolumeReclaimPolicy", _RECLAIM)
        required = spec.get("nodeAffinity", {}).get("required")
        if "nodeAffinity" in spec:
            at = "spec.nodeAffinity.required"
            if required is None:
                wrong.append(fields.required(at, "must specify required node constraints"))
            else:
                wrong += validate_node_selector(at, required)
        wrong += _volume_source("spec", spec)
        if "local" in spec and required is None:
            detail = "Local volume requires node affinity"
            wrong.append(fields.required("spec.nodeAffinity", detail))
        recycled = spec.get("persistentVolumeReclaimPolicy") == "Recycle"
        if recycled and spec.get("hostPath", {}).get("path") == "/":
            detail = "may not be 'recycle' for a hostPath mount of '/'"
            wrong.append(fields.forbidden("spec.persistentVolumeReclaimPolicy", detail))
        if spec.get("storageClassName"):
            at = "spec.storageClassName"
            wrong += names.check(at, spec["storageClassName"], names.dns1123_subdomain)
        return wrong + option("spec", spec, "volumeMode", VOLUME_MODES)

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        """Keep the source and the mode."""
        was, is_ = old.get("spec", {}), new["spec"]
        wrong: list[Cause] = []
        if _source_of(is_) != _source_of(was):
            detail = "spec.persistentvolumesource is immutable after creation"
            wrong.append(fields.forbidden("spec.persistentvolumesource", detail))
        return wrong + unchanged("spec", is_, was, "volumeMode")


def _source_of(spec: Object) -> Object:
    return {kind: value for kind, value in spec.items() if kind not in _OTHER_FIELDS}


def _capacity(path: str, capacity: Object) -> list[Cause]:
    if not capacity:
        return [fields.required(path)]
    if "storage" not in capacity or len(capacity) > 1:
        return [fields.unsupported(path, capacity, ["storage"])]
    wrong: list[Cause] = []
    amount = quantities(path, capacity, wrong).get("storage")
    if amount == 0:
        detail = "must be greater than zero"
        wrong.append(fields.invalid(f"{path}[storage]", capacity["storage"], detail))
    return wrong


def _volume_source(path: str, spec: Object) -> list[Cause]:
    kinds = list(_source_of(spec))
    if not kinds:
        return [fields.required(path, "must specify a volume type")]
    check = _SOURCES.get(kinds[0])
    wrong = check(f"{path}.{kinds[0]}", spec[kinds[0]]) if check is not None else []
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
