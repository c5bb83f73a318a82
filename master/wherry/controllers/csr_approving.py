"""Approves or denies requests for nodes' certificates (`csrapproving`); see `csr` for who gets what.

Source: kubernetes `pkg/controller/certificates/approver`.
"""

from wherry.api.kinds import CERTIFICATE_SIGNING_REQUEST, ENDPOINTS, SERVICE
from wherry.api.objects import Condition
from wherry.api.times import format_time
from wherry.controllers.conditions import to_json
from wherry.controllers.csr import APPROVED, DENIED, has, judge
from wherry.controllers.framework import (
    NOTHING,
    Caches,
    Environment,
    Index,
    Patch,
    Result,
)
from wherry.controllers.on_demand import CSR_SOURCES
from wherry.controllers.views import SigningRequest

_MASTERS = "default/kubernetes"


def reserved_addresses(caches: Caches) -> frozenset[str]:
    """Return the addresses at which clients expect an API server or a Service."""
    found = {
        ip for s in caches[SERVICE].values() for ip in (s.spec.cluster_ip, *s.spec.cluster_ips)
    }
    masters = caches[ENDPOINTS].get(_MASTERS)
    if masters is not None:
        found |= {a.ip for subset in masters.subsets for a in subset.addresses}
    return frozenset(found)


def condition(type_: str, reason: str, message: str, now: float) -> Condition:
    """Build a condition of a request; all of them are "True"."""
    date = format_time(now)
    return Condition(
        type=type_,
        status="True",
        reason=reason,
        message=message,
        last_update_time=date,
        last_transition_time=date,
    )


def add_condition(csr: SigningRequest, new: Condition, subresource: str) -> Patch:
    """Return the patch that adds a condition to the request as it was seen."""
    conditions = [to_json(c, updated=True) for c in (*csr.status.conditions, new)]
    return Patch(
        CERTIFICATE_SIGNING_REQUEST,
        "",
        csr.metadata.name,
        {"status": {"conditions": conditions}},
        subresource=subresource,
        uid=csr.metadata.uid,
        revision=csr.metadata.resource_version,
    )


class CSRApprovingController:
    """See the module."""

    name = "certificatesigningrequest-approving-controller"
    indices: tuple[Index, ...] = ()
    sources = CSR_SOURCES

    async def reconcile(self, key: str, env: Environment) -> Result:
        """Decide once; `key` is the request's name."""
        csr: SigningRequest | None = env.caches[CERTIFICATE_SIGNING_REQUEST].get(key)
        if csr is None or csr.status.certificate or has(csr, APPROVED, DENIED):
            return NOTHING
        verdict = judge(csr, reserved_addresses(env.caches))
        if verdict is None:
            return NOTHING
        new = condition(verdict.type_, verdict.reason, verdict.message, env.now)
        return Result([add_condition(csr, new, "approval")])
