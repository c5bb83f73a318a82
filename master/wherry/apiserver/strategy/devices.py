"""Dynamic resource allocation: claims and their templates, classes and slices of devices."""

from wherry.api.errors import Cause
from wherry.apiserver.strategy import fields
from wherry.apiserver.strategy.base import Object, Strategy
from wherry.apiserver.strategy.defaulting import Defaults
from wherry.apiserver.strategy.device_claim import (
    CLAIM,
    validate_claim,
    validate_configurations,
    validate_selectors,
)
from wherry.apiserver.strategy.formats import need, unchanged
from wherry.apiserver.strategy.pod.volume_source import check_driver_name

_CLAIM = Defaults(within={"spec": CLAIM})
_TEMPLATE = Defaults(within={"spec": _CLAIM})
_PLACES = ("nodeName", "nodeSelector", "allNodes", "perDeviceNodeSelection")
_ONE_PLACE = f"exactly one of {', '.join(f'`{place}`' for place in _PLACES)} is required"


class ResourceClaimStrategy(Strategy):
    """A claim to devices."""

    status_metadata = ()

    def prepare_create(self, obj: Object) -> None:
        """Begin with nothing allocated."""
        obj["status"] = {}

    def default(self, obj: Object) -> None:
        """Ask for one device."""
        _CLAIM.apply(obj)

    def validate_create(self, obj: Object) -> list[Cause]:
        """Check what is asked for; it never changes."""
        return validate_claim("spec", obj.get("spec", {}))

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        """Keep what was asked for."""
        return unchanged("", new, old, "spec")


class ResourceClaimTemplateStrategy(Strategy):
    """A claim for each pod."""

    def default(self, obj: Object) -> None:
        """Ask for one device."""
        _TEMPLATE.apply(obj)

    def validate_create(self, obj: Object) -> list[Cause]:
        """Check what is asked for; it never changes."""
        return validate_claim("spec.spec", obj.get("spec", {}).get("spec", {}))

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        """Keep it: pods were made with it."""
        return unchanged("", new, old, "spec")


class DeviceClassStrategy(Strategy):
    """Devices of a sort."""

    generation = True

    def validate(self, obj: Object) -> list[Cause]:
        """Check selectors and configurations."""
        spec = obj.get("spec", {})
        wrong = validate_selectors("spec.selectors", spec.get("selectors", []))
        return wrong + validate_configurations("spec.config", spec.get("config", []))


class ResourceSliceStrategy(Strategy):
    """The devices of one node."""

    generation = True

    def validate(self, obj: Object) -> list[Cause]:
        """Check driver, pool and who can reach the devices."""
        spec = obj.get("spec", {})
        wrong = need("spec", spec, "driver")
        if spec.get("driver"):
            wrong += check_driver_name("spec.driver", spec["driver"])
        wrong += need("spec.pool", spec.get("pool", {}), "name")
        given = [place for place in _PLACES if spec.get(place)]
        if not given:
            wrong.append(fields.required("spec", _ONE_PLACE))
        elif len(given) > 1:
            shown = f"{{{', '.join(f'`{place}`' for place in given)}}}"
            detail = f"{_ONE_PLACE}, but multiple fields are set"
            wrong.append(fields.invalid("spec", shown, detail))
        return wrong

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        """Keep driver, node and pool."""
        was, is_ = old.get("spec", {}), new.get("spec", {})
        wrong = unchanged("spec", is_, was, "driver", "nodeName")
        return wrong + unchanged("spec.pool", is_.get("pool", {}), was.get("pool", {}), "name")
