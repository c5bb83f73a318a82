"""Node."""

import ipaddress

from wherry.api.errors import Cause
from wherry.apiserver.strategy import fields, names
from wherry.apiserver.strategy.base import Object, Strategy

_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")


class NodeStrategy(Strategy):
    """An agent creates its Node with the status already in it."""

    status_metadata = True

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
        for index, cidr in enumerate(spec.get("podCIDRs", ())):
            if not _is_cidr(cidr):
                path = f"spec.podCIDRs[{index}]"
                wrong.append(
                    fields.invalid(
                        path,
                        cidr,
                        "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
                    )
                )
        return wrong

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        """Let podCIDR and providerID be set once."""
        was, is_ = old.get("spec", {}), new.get("spec", {})
        return [
            fields.forbidden(
                f"spec.{field}", f'node updates may not change {field} except from "" to valid'
            )
            for field in ("podCIDR", "providerID")
            if was.get(field) and was[field] != is_.get(field)
        ]


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


def _is_cidr(text: str) -> bool:
    try:
        ipaddress.ip_network(text)
    except ValueError:
        return False
    return "/" in text
