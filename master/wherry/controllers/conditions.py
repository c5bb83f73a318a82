"""`.status.conditions`, as controllers keep them: one entry a type, and a date when its status changed."""

from collections.abc import Sequence

from msgspec.structs import replace

from wherry.api.objects import Condition
from wherry.api.times import format_time


def find(conditions: Sequence[Condition], type_: str) -> Condition | None:
    """Return the condition of that type."""
    return next((c for c in conditions if c.type == type_), None)


def condition(type_: str, status: str, reason: str, message: str, now: float) -> Condition:
    """Build a condition that changed, and was updated, `now`."""
    date = format_time(now)
    return Condition(
        type=type_,
        status=status,
        reason=reason,
        message=message,
        last_transition_time=date,
        last_update_time=date,
    )


def with_condition(conditions: Sequence[Condition], new: Condition) -> list[Condition]:
    """Set a condition; the same status and reason change nothing, not even the message.

    The transition date is kept while the status stays. Source: `SetDeploymentCondition`.
    """
    old = find(conditions, new.type)
    if old is not None and old.status == new.status:
        if old.reason == new.reason:
            return list(conditions)
        new = replace(new, last_transition_time=old.last_transition_time)
    return [*without(conditions, new.type), new]


def without(conditions: Sequence[Condition], type_: str) -> list[Condition]:
    """Drop the condition of that type."""
    return [c for c in conditions if c.type != type_]


def to_json(item: Condition, *, updated: bool = False) -> dict[str, str]:
    """Return the wire form; `lastUpdateTime` only for the kinds that have it."""
    full = {
        "type": item.type,
        "status": item.status,
        "lastUpdateTime": item.last_update_time if updated else None,
        "lastTransitionTime": item.last_transition_time,
        "lastHeartbeatTime": item.last_heartbeat_time,
        "lastProbeTime": item.last_probe_time,
        "reason": item.reason,
        "message": item.message,
    }
    return {key: value for key, value in full.items() if value}
