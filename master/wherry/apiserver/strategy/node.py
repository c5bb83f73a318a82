"""Node."""

from wherry.api.errors import Cause
from wherry.apiserver.strategy import fields, names
from wherry.apiserver.strategy.base import Object, Strategy
from wherry.apiserver.strategy.formats import check_cidr, quantities
from wherry.apiserver.strategy.pod.resources import check_resource_name

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
        """Check taints and pod CIDRs."""
        spec = obj.get("spec", {})
        wrong = _taints(spec.get("taints", ()))
        cidrs = spec.get("podCIDRs", [])
        for index, cidr in enumerate(cidrs):
            wrong += check_cidr(f"spec.podCIDRs[{index}]", cidr)
        if not wrong and len(cidrs) > 1 and (len(cidrs) > 2 or _one_family(cidrs)):
            detail = "may specify no more than one CIDR for each IP family"
            wrong.append(fields.invalid("spec.podCIDRs", cidrs, detail))
        return wrong

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        """Let podCIDR and providerID be set once."""
        was, is_ = old.get("spec", {}), new.get("spec", {})
        return [
            fields.forbidden(
                f"spec.{path}", f'node updates may not change {field} except from "" to valid'
            )
            for field, path in (("podCIDR", "podCIDRs"), ("providerID", "providerID"))
            if was.get(field) and was[field] != is_.get(field)
        ]

    def validate_status(self, new: Object, old: Object) -> list[Cause]:  # noqa: ARG002
        """Check addresses and resources."""
        status = new.get("status", {})
        wrong: list[Cause] = []
        seen: set[tuple[str, str]] = set()
        for index, address in enumerate(status.get("addresses", ())):
            key = (address.get("type", ""), address.get("address", ""))
            if key in seen:
                wrong.append(fields.duplicate(f"status.addresses[{index}]", address))
            seen.add(key)
        for field in ("capacity", "allocatable"):
            for name in status.get(field, {}):
                wrong += check_resource_name(f"status.{field}[{name}]", name)
            quantities(f"status.{field}", status.get(field, {}), wrong)
        return wrong


def _one_family(cidrs: list[str]) -> bool:
    return len({":" in cidr for cidr in cidrs}) == 1


def _taints(taints: list[Object]) -> list[Cause]:
    wrong: list[Cause] = []
    seen: set[tuple[str, str]] = set()
    for index, taint in enumerate(taints):
        path = f"spec.taints[{index}]"
        key, effect = taint.get("key", ""), taint.get("effect", "")
        wrong += names.check(f"{path}.key", key, names.qualified_name)
        wrong += names.check(f"{path}.value", taint.get("value", ""), names.label_value)
        if not effect:
            wrong.append(fields.required(f"{path}.effect"))
        elif effect not in _EFFECTS:
            wrong.append(fields.unsupported(f"{path}.effect", effect, _EFFECTS))
        if (key, effect) in seen:
            shown = {"key": key, "value": taint.get("value", ""), "effect": effect}
            wrong.append(fields.duplicate(path, {k: v for k, v in shown.items() if v}))
        seen.add((key, effect))
    return wrong
