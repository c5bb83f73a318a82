"""CSI's kinds: storage `ValidateCSIDriver`, `ValidateCSINode`, `ValidateVolumeAttachment` and others."""

from wherry.api.errors import Cause
from wherry.apiserver.strategy import fields, names
from wherry.apiserver.strategy.base import Object, Strategy
from wherry.apiserver.strategy.defaulting import Defaults
from wherry.apiserver.strategy.formats import need, not_negative, option, unchanged
from wherry.apiserver.strategy.pod.volume_source import check_driver_name
from wherry.apiserver.strategy.selector import validate_label_selector

_FS_GROUP = ("File", "None", "ReadWriteOnceWithFSType")
_LIFECYCLES = ("Ephemeral", "Persistent")
_DRIVER = Defaults(
    made={
        "spec": Defaults(
            absent={
                "attachRequired": True,
                "podInfoOnMount": False,
                "storageCapacity": False,
                "fsGroupPolicy": "ReadWriteOnceWithFSType",
                "requiresRepublish": False,
                "seLinuxMount": False,
            }
        )
    }
)


class CSIDriverStrategy(Strategy):
    """What a driver can do; the driver's name is the object's."""

    generation = True
    unconditional_update = False

    def default(self, obj: Object) -> None:
        """Assume a driver that attaches volumes which outlive pods."""
        _DRIVER.apply(obj)
        if not obj["spec"].get("volumeLifecycleModes"):
            obj["spec"]["volumeLifecycleModes"] = ["Persistent"]

    def validate(self, obj: Object) -> list[Cause]:
        """Check name, modes and token requests."""
        spec = obj["spec"]
        wrong = check_driver_name("metadata.name", obj["metadata"].get("name", ""))
        wrong += option("spec", spec, "fsGroupPolicy", _FS_GROUP)
        for index, request in enumerate(spec.get("tokenRequests", ())):
            seconds, at = request.get("expirationSeconds", 600), f"spec.tokenRequests[{index}]"
            if seconds < 600:
                detail = "may not specify a duration less than 10 minutes"
                wrong.append(fields.invalid(f"{at}.expirationSeconds", seconds, detail))
        return wrong + [
            fields.unsupported("spec.volumeLifecycleModes", mode, _LIFECYCLES)
            for mode in spec["volumeLifecycleModes"]
            if mode not in _LIFECYCLES
        ]

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        """Keep what kubelets have acted on."""
        names_ = ("attachRequired", "fsGroupPolicy", "volumeLifecycleModes")
        return unchanged("spec", new["spec"], old.get("spec", {}), *names_)


class CSINodeStrategy(Strategy):
    """The drivers of one node."""

    unconditional_update = False

    def default(self, obj: Object) -> None:
        """Have a list of drivers."""
        obj.setdefault("spec", {}).setdefault("drivers", [])

    def validate(self, obj: Object) -> list[Cause]:
        """Check every driver's name, node and count."""
        wrong: list[Cause] = []
        seen: set[str] = set()
        for index, driver in enumerate(obj["spec"]["drivers"]):
            at, name = f"spec.drivers[{index}]", driver.get("name", "")
            wrong += need(at, driver, "name", "nodeID")
            if name:
                wrong += check_driver_name(f"{at}.name", name)
            if name in seen:
                wrong.append(fields.duplicate(f"{at}.name", name))
            seen.add(name)
            wrong += not_negative(f"{at}.allocatable", driver.get("allocatable", {}), "count")
            for number, key in enumerate(driver.get("topologyKeys", ())):
                wrong += names.check(f"{at}.topologyKeys[{number}]", key, names.qualified_name)
        return wrong


class VolumeAttachmentStrategy(Strategy):
    """A volume that is to be attached to a node."""

    unconditional_update = False
    status_metadata = ()

    def prepare_create(self, obj: Object) -> None:
        """Begin detached."""
        obj["status"] = {"attached": False}

    def validate(self, obj: Object) -> list[Cause]:
        """Check attacher, node and source."""
        spec = obj.get("spec", {})
        wrong = need("spec", spec, "attacher", "nodeName")
        if spec.get("attacher"):
            wrong += check_driver_name("spec.attacher", spec["attacher"])
        source = spec.get("source", {})
        kinds = [kind for kind in ("persistentVolumeName", "inlineVolumeSpec") if kind in source]
        if not kinds:
            detail = "must specify exactly one of inlineVolumeSpec and persistentVolumeName"
            wrong.append(fields.required("spec.source", detail))
        elif len(kinds) > 1:
            detail = "must specify exactly one of inlineVolumeSpec and persistentVolumeName"
            wrong.append(fields.forbidden("spec.source", detail))
        return wrong

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        """Keep the spec."""
        return unchanged("", new, old, "spec")


class CSIStorageCapacityStrategy(Strategy):
    """How much room a driver has for a class."""

    unconditional_update = False

    def validate(self, obj: Object) -> list[Cause]:
        """Name the class."""
        wrong = need("", obj, "storageClassName")
        if "nodeTopology" in obj:
            wrong += validate_label_selector("nodeTopology", obj["nodeTopology"])
        return wrong

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        """Keep class and topology."""
        return unchanged("", new, old, "nodeTopology", "storageClassName")


class VolumeAttributesClassStrategy(Strategy):
    """Parameters of volumes that may change."""

    def validate(self, obj: Object) -> list[Cause]:
        """Check the driver, and that there are parameters."""
        wrong = need("", obj, "driverName")
        if obj.get("driverName"):
            wrong += check_driver_name("driverName", obj["driverName"])
        if not obj.get("parameters"):
            wrong.append(fields.required("parameters", "must contain at least one key/value pair"))
        return wrong

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        """Keep both."""
        return unchanged("", new, old, "driverName", "parameters")
