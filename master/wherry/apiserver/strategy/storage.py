"""CSI's kinds: storage `ValidateCSIDriver`, `ValidateCSINode`, `ValidateVolumeAttachment` and others."""

from collections.abc import Sequence

from wherry.api.errors import Cause
from wherry.apiserver.strategy import fields, names
from wherry.apiserver.strategy.base import Object, Strategy
from wherry.apiserver.strategy.defaulting import Defaults
from wherry.apiserver.strategy.formats import (
    NOT_NEGATIVE,
    amount_of,
    check_token_lifetime,
    in_range,
    need,
    not_negative,
    option,
    unchanged,
)
from wherry.apiserver.strategy.pod.volume_source import check_driver_name
from wherry.apiserver.strategy.selector import validate_label_selector
from wherry.apiserver.strategy.volume import check_parameters

_FS_GROUP = ("File", "None", "ReadWriteOnceWithFSType")
_LIFECYCLES = ("Persistent", "Ephemeral")
_LEAST_PERIOD_S = 10
_MOST_NODE_ID = 256
_MOST_NOTES = 256 * 1024
_MOST_MESSAGE = 1024
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
        """Check policy, token requests, modes and how often to count."""
        spec = obj["spec"]
        wrong = option("spec", spec, "fsGroupPolicy", _FS_GROUP)
        wrong += _token_requests("spec.tokenRequests", spec.get("tokenRequests", ()))
        wrong += [
            fields.unsupported("spec.volumeLifecycleModes", mode, _LIFECYCLES)
            for mode in spec["volumeLifecycleModes"]
            if mode not in _LIFECYCLES
        ]
        period = spec.get("nodeAllocatableUpdatePeriodSeconds", _LEAST_PERIOD_S)
        if period < _LEAST_PERIOD_S:
            detail = f"must be greater than or equal to {_LEAST_PERIOD_S} seconds"
            at = "spec.nodeAllocatableUpdatePeriodSeconds"
            wrong.append(fields.invalid(at, period, detail))
        if "serviceAccountTokenInSecrets" in spec and not spec.get("tokenRequests"):
            at, value = "spec.serviceAccountTokenInSecrets", spec["serviceAccountTokenInSecrets"]
            detail = "serviceAccountTokenInSecrets is set but no tokenRequests are specified"
            wrong.append(fields.invalid(at, value, detail))
        return wrong

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        """Keep what kubelets have acted on. Upstream calls the first field by another name."""
        spec, was = new["spec"], old.get("spec", {})
        wrong: list[Cause] = []
        if spec["attachRequired"] != was.get("attachRequired"):
            at = "spec.attachedRequired"
            wrong.append(fields.invalid(at, spec["attachRequired"], fields.IMMUTABLE))
        return wrong + unchanged("spec", spec, was, "volumeLifecycleModes")


def _token_requests(path: str, requests: Sequence[Object]) -> list[Cause]:
    wrong: list[Cause] = []
    seen: set[str] = set()
    for index, request in enumerate(requests):
        at, audience = f"{path}[{index}]", request.get("audience", "")
        if audience in seen:
            wrong.append(fields.duplicate(f"{at}.audience", audience))
            continue
        seen.add(audience)
        if "expirationSeconds" in request:
            seconds = request["expirationSeconds"]
            wrong += check_token_lifetime(f"{at}.expirationSeconds", seconds)
    return wrong


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
            wrong += need(at, driver, "name") + check_driver_name(f"{at}.name", name)
            wrong += _node_id(f"{at}.nodeID", driver.get("nodeID", ""))
            wrong += not_negative(f"{at}.allocatable", driver.get("allocatable", {}), "count")
            if name in seen:
                wrong.append(fields.duplicate(f"{at}.name", name))
            seen.add(name)
            wrong += _topology_keys(at, driver.get("topologyKeys", ()))
        return wrong

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        """Keep every driver that is still there, but for how much it can take."""
        was = old.get("spec", {}).get("drivers", [])
        known, kept = {driver.get("name") for driver in was}, list(map(_identity, was))
        return [
            fields.invalid("spec.drivers", _identity(driver), fields.IMMUTABLE)
            for driver in new["spec"]["drivers"]
            if driver.get("name") in known and _identity(driver) not in kept
        ]


def _identity(driver: Object) -> Object:
    return {field: value for field, value in driver.items() if field != "allocatable"}


def _node_id(path: str, node: str) -> list[Cause]:
    if not node:
        return [fields.required(path)]
    if len(node.encode()) <= _MOST_NODE_ID:
        return []
    return [fields.invalid(path, node, f"must be {_MOST_NODE_ID} characters or less")]


def _topology_keys(path: str, keys: Sequence[str]) -> list[Cause]:
    """Check the keys. Upstream's paths end at the driver."""
    wrong: list[Cause] = []
    seen: set[str] = set()
    for key in keys:
        if not key:
            wrong.append(fields.required(path))
        if key in seen:
            wrong.append(fields.duplicate(path, key))
        seen.add(key)
        wrong += names.check(path, key, names.qualified_name)
    return wrong


class VolumeAttachmentStrategy(Strategy):
    """A volume that is to be attached to a node."""

    unconditional_update = False
    status_metadata = ()
    step_first = False

    def prepare_create(self, obj: Object) -> None:
        """Begin detached."""
        obj["status"] = {"attached": False}

    def validate(self, obj: Object) -> list[Cause]:
        """Check attacher, source and node."""
        spec = obj.get("spec", {})
        source, at = spec.get("source", {}), "spec.source"
        wrong = need("spec", spec, "attacher")
        kinds = [kind for kind in ("persistentVolumeName", "inlineVolumeSpec") if kind in source]
        if len(kinds) != 1:
            say = fields.forbidden if kinds else fields.required
            wrong.append(
                say(at, "must specify exactly one of inlineVolumeSpec and persistentVolumeName")
            )
        elif source.get("persistentVolumeName") == "":
            detail = "must specify non empty persistentVolumeName"
            wrong.append(fields.required(f"{at}.persistentVolumeName", detail))
        return wrong + names.check(
            "spec.nodeName", spec.get("nodeName", ""), names.dns1123_subdomain
        )

    def validate_create(self, obj: Object) -> list[Cause]:
        """Check the names that an older version did not look at."""
        spec = obj.get("spec", {})
        wrong = check_driver_name("spec.attacher", spec.get("attacher", ""))
        volume = spec.get("source", {}).get("persistentVolumeName")
        if volume is None:
            return wrong
        at = "spec.source.persistentVolumeName"
        return wrong + names.check(at, volume, names.dns1123_subdomain)

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        """Keep the spec."""
        return unchanged("", new, old, "spec")

    def validate_status(self, new: Object, old: Object) -> list[Cause]:  # noqa: ARG002
        """Check how much was said about the attachment."""
        status = new.get("status", {})
        notes = status.get("attachmentMetadata", {})
        wrong: list[Cause] = []
        if sum(len(k.encode()) + len(v.encode()) for k, v in notes.items()) > _MOST_NOTES:
            wrong.append(fields.too_long("status.attachmentMetadata", _MOST_NOTES))
        for field in ("attachError", "detachError"):
            error, at = status.get(field, {}), f"status.{field}"
            if len(error.get("message", "").encode()) > _MOST_MESSAGE:
                wrong.append(fields.too_long(f"{at}.message", _MOST_NOTES))  # as upstream says
            if error.get("errorCode", 0) < 0:
                wrong += in_range(f"{at}.errorCode", error["errorCode"], 0, (1 << 31) - 1)
        return wrong


class CSIStorageCapacityStrategy(Strategy):
    """How much room a driver has for a class."""

    unconditional_update = False

    def validate(self, obj: Object) -> list[Cause]:
        """Check topology, class and amount."""
        wrong: list[Cause] = []
        if "nodeTopology" in obj:
            wrong += validate_label_selector("nodeTopology", obj["nodeTopology"])
        name = obj.get("storageClassName", "")
        wrong += names.check("storageClassName", name, names.dns1123_subdomain)
        if "capacity" in obj and amount_of(obj["capacity"]) < 0:
            wrong.append(fields.invalid("capacity", obj["capacity"], NOT_NEGATIVE))
        return wrong

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        """Keep class and topology."""
        return unchanged("", new, old, "nodeTopology", "storageClassName")


class VolumeAttributesClassStrategy(Strategy):
    """Parameters of volumes that may change."""

    def validate(self, obj: Object) -> list[Cause]:
        """Check the driver, and that there are parameters, but not too many."""
        wrong = need("", obj, "driverName")
        if obj.get("driverName"):
            wrong += names.check("driverName", obj["driverName"].lower(), names.qualified_name)
        parameters = obj.get("parameters", {})
        wrong += check_parameters("parameters", parameters)
        if not parameters:
            wrong.append(fields.required("parameters", "must contain at least one key/value pair"))
        return wrong

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        """Keep both."""
        return [
            fields.forbidden(field, f"updates to {field} are forbidden.")
            for field in ("driverName", "parameters")
            if (new.get(field) or None) != (old.get(field) or None)
        ]
