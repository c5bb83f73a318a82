"""Conditions of CertificateSigningRequests: dated by the server, decided by `approval` alone. Pure."""

from typing import Any

from wherry.api import kinds
from wherry.api.times import format_time
from wherry.apiserver.registry import prepare
from wherry.apiserver.registry.prepare import Target
from wherry.apiserver.strategy.certificate import validate_approval

Object = dict[str, Any]


def decided(target: Target, sent: Object, old: Object, *, now: float) -> Object:
    """Return `old` with the conditions that were sent, dated where the client did not.

    Raises:
        InvalidError: the conditions contradict each other or take an earlier decision back.
    """
    conditions = _dated(sent, old, now)
    new = prepare.with_status(
        target, {**sent, "status": {**old.get("status", {}), "conditions": conditions}}, old
    )
    prepare.check_status(target, new, old, validate_approval)
    return new


def dated(target: Target, sent: Object, old: Object, *, now: float) -> Object:
    """Return what was sent as a status, its conditions dated if they are of a request."""
    if target.resource.kind != kinds.CERTIFICATE_SIGNING_REQUEST:
        return sent
    conditions = _dated(sent, old, now)
    return {**sent, "status": {**sent["status"], "conditions": conditions}} if conditions else sent


def _dated(sent: Object, old: Object, now: float) -> list[Object]:
    were = {
        (c.get("type"), c.get("status")): c for c in old.get("status", {}).get("conditions", ())
    }
    date = format_time(now)
    found = []
    for condition in sent.get("status", {}).get("conditions", ()):
        was = were.get((condition.get("type"), condition.get("status")), {})
        since = condition.get("lastTransitionTime") or was.get("lastTransitionTime") or date
        dates = {
            "lastUpdateTime": condition.get("lastUpdateTime") or date,
            "lastTransitionTime": since,
        }
        found.append({**condition, **dates})
    return found
