"""ComponentStatuses: how the parts of the control plane are. Pure.

kube-apiserver asks each component's health port. Ours do not listen where it could ask; who
leads renews a Lease every few seconds, so a lease that ran out says the same.
"""

from collections.abc import Iterable
from typing import Any, Final

from wherry.api.times import parse_time

Object = dict[str, Any]

NAMESPACE: Final = "kube-system"
STORE: Final = "etcd-0"
COMPONENTS: Final = {
    "controller-manager": "kube-controller-manager",
    "scheduler": "kube-scheduler",
}
"""Names of components, and of the leases of those who lead them."""


def component_statuses(leases: Iterable[Object], *, now: float) -> list[Object]:
    """Return all statuses, by name.

    Args:
        leases: Those of `NAMESPACE`. That they could be read says that the store is well.
        now: Epoch seconds.
    """
    by_name = {lease["metadata"]["name"]: lease for lease in leases}
    found = {name: _problem(by_name.get(lease), now) for name, lease in COMPONENTS.items()}
    return [_status(name, problem) for name, problem in sorted((found | {STORE: ""}).items())]


def _problem(lease: Object | None, now: float) -> str:
    spec = (lease or {}).get("spec") or {}
    if not spec.get("holderIdentity"):
        return "nobody leads"
    renewed, lasts_s = spec.get("renewTime"), spec.get("leaseDurationSeconds") or 0
    if not renewed or parse_time(renewed) + lasts_s < now:
        return f"{spec['holderIdentity']} has not renewed its lease since {renewed}"
    return ""


def _status(name: str, problem: str) -> Object:
    condition = {"type": "Healthy", "status": "False" if problem else "True"}
    condition |= {"message": "", "error": problem} if problem else {"message": "ok"}
    return {
        "metadata": {"name": name},
        "apiVersion": "v1",
        "kind": "ComponentStatus",
        "conditions": [condition],
    }
