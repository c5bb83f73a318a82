"""Node: core `ValidateNode` and `ValidateNodeUpdate`."""

from collections.abc import Sequence

from wherry.api.errors import Cause
from wherry.apiserver.strategy import fields, names
from wherry.apiserver.strategy.base import Object, Strategy
from wherry.apiserver.strategy.formats import NOT_NEGATIVE, amount_of, check_cidr, check_families
from wherry.apiserver.strategy.pod.resources import check_whole

_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")


class NodeStrategy(Strategy):
    """An agent creates its Node with the status already in it."""

    def prepare_create(self, obj: Object) -> None:
        """Keep the status."""

    def default(self, obj: Object) -> None:
        """Fill allocatable from capacity, and keep podCIDR and podCIDRs the same."""
        spec = obj.setdefault("spec", {})
        if spec.get("podCIDR") and not spec.get("podCIDRs"):
            spec["podCIDRs"] = [spec["podCIDR"]]
        status = obj.get("status")
        if status and status.get("capacity") and not status.get("allocatable"):
            status["allocatable"] = dict(status["capacity"])

    def validate(self, obj: Object) -> list[Cause]:
        """Check taints, resources and pod CIDRs. Upstream's path of a taint is in the metadata."""
        wrong = _taints("metadata.taints", obj.get("spec", {}).get("taints", ()))
        wrong += _resources(obj.get("status", {}))
        return wrong + _cidrs("spec.podCIDRs", obj.get("spec", {}).get("podCIDRs", []))

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        """Let podCIDR and providerID be set once."""
        was, is_ = old.get("spec", {}), new.get("spec", {})
        wrong: list[Cause] = []
        before, now = was.get("podCIDRs", []), is_.get("podCIDRs", [])
        if before and before != now:
            detail = 'node updates may not change podCIDR except from "" to valid'
            wrong.append(fields.forbidden("spec.podCIDRs", detail))
        if was.get("providerID") and was["providerID"] != is_.get("providerID"):
            detail = 'node updates may not change providerID except from "" to valid'
            wrong.append(fields.forbidden("spec.providerID", detail))
        if is_.get("externalID") and is_["externalID"] != was.get("externalID"):
            wrong.append(fields.forbidden("spec.externalID", "may not be updated"))
        return wrong

    def validate_status(self, new: Object, old: Object) -> list[Cause]:  # noqa: ARG002
        """Check addresses and resources."""
        status = new.get("status", {})
        wrong = _resources(status)
        seen: set[tuple[str, str]] = set()
        for index, address in enumerate(status.get("addresses", ())):
            key = (address.get("type", ""), address.get("address", ""))
            if key in seen:
                wrong.append(fields.duplicate(f"status.addresses[{index}]", address))
            seen.add(key)
        return wrong


def _resources(status: Object) -> list[Cause]:
    """Check amounts. Names are the agent's affair."""
    wrong: list[Cause] = []
    for field in ("capacity", "allocatable"):
        resources = status.get(field, {})
        for name, shown in resources.items():
            at = f"status.{field}.{name}"
            if amount_of(shown) < 0:
                wrong.append(fields.invalid(at, shown, NOT_NEGATIVE))
            wrong += check_whole(at, name, shown, amount_of(shown))
    return wrong


def _cidrs(path: str, cidrs: list[str]) -> list[Cause]:
    wrong: list[Cause] = []
    for index, cidr in enumerate(cidrs):
        wrong += check_cidr(f"{path}[{index}]", cidr)
    return wrong or check_families(path, cidrs, cidrs, "CIDR")


def _taints(path: str, taints: Sequence[Object]) -> list[Cause]:
    wrong: list[Cause] = []
    seen: set[tuple[str, str]] = set()
    for index, taint in enumerate(taints):
        at = f"{path}[{index}]"
        key, effect, value = (taint.get(f, "") for f in ("key", "effect", "value"))
        wrong += names.check(f"{at}.key", key, names.qualified_name)
        reasons = names.label_value(value)
        if reasons:
            wrong.append(fields.invalid(f"{at}.value", value, ";".join(reasons)))
        if not effect:
            wrong.append(fields.required(f"{at}.effect"))
        elif effect not in _EFFECTS:
            wrong.append(fields.unsupported(f"{at}.effect", effect, _EFFECTS))
        if (key, effect) in seen:
            shown = {"key": key, "value": value, "effect": effect}
            detail = "taints must be unique by key and effect pair"
            wrong.append(fields.duplicate(at, {k: v for k, v in shown.items() if v}, detail))
        seen.add((key, effect))
    return wrong
