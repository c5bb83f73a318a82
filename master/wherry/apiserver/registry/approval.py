"""The approval subresource of a CertificateSigningRequest: only conditions change. Pure."""

from typing import Any

from wherry.api.times import format_time
from wherry.apiserver import refusal
from wherry.apiserver.registry.prepare import Target
from wherry.apiserver.strategy.certificate import condition_causes

Object = dict[str, Any]


def decided(target: Target, sent: Object, old: Object, *, now: float) -> Object:
    """Return `old` with the conditions that were sent, dated where the client did not.

    Raises:
        InvalidError: the conditions contradict each other or take an earlier decision back.
    """
    status = old.get("status", {})
    were = {c.get("type"): c for c in status.get("conditions", ())}
    conditions = [
        _dated(c, were.get(c.get("type")), format_time(now))
        for c in sent.get("status", {}).get("conditions", ())
    ]
    new = {**old, "status": {**status, "conditions": conditions}}
    causes = condition_causes(new, old)
    if causes:
        raise refusal.invalid(target.resource, target.name, causes)
    return new


def _dated(condition: Object, was: Object | None, date: str) -> Object:
    out = dict(condition)
    out["lastUpdateTime"] = condition.get("lastUpdateTime") or date
    if not condition.get("lastTransitionTime"):
        same = was is not None and was.get("status") == condition.get("status")
        kept = was.get("lastTransitionTime") if was is not None and same else None
        out["lastTransitionTime"] = kept or date
    return out
