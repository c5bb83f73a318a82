"""The scale subresource: `autoscaling/v1 Scale` as a view of a workload. Pure."""

from typing import Any

from wherry.apiserver import refusal
from wherry.apiserver.registry.prepare import Target, check_address
from wherry.apiserver.strategy import fields

Object = dict[str, Any]
_SHOWN = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")


def scale_of(obj: Object) -> Object:
    """Return the Scale of a Deployment, ReplicaSet or ReplicationController."""
    spec, status, meta = obj.get("spec", {}), obj.get("status", {}), obj["metadata"]
    scale_status: Object = {"replicas": status.get("replicas", 0)}
    if selector := format_selector(spec.get("selector", {})):
        scale_status["selector"] = selector
    return {
        "metadata": {k: meta[k] for k in _SHOWN if k in meta},
        "apiVersion": "autoscaling/v1",
        "kind": "Scale",
        "spec": {"replicas": spec["replicas"]} if spec.get("replicas") else {},
        "status": scale_status,
    }


def scaled(target: Target, old: Object, scale: Object) -> Object:
    """Return `old` with the replicas that `scale` (which has passed the schema) asks for.

    Raises:
        BadRequestError: it contradicts the URL.
        ConflictError: it was made for another version.
        InvalidError: the number is negative.
    """
    check_address(target, scale)
    meta, spec = scale["metadata"], scale.get("spec", {})
    stated = meta.get("resourceVersion")
    replicas = spec.get("replicas", 0)
    if replicas < 0:
        cause = fields.invalid("spec.replicas", replicas, "must be greater than or equal to 0")
        raise refusal.invalid_kind("Scale", "autoscaling", target.name, [cause])
    if stated and stated != old["metadata"]["resourceVersion"]:
        raise refusal.conflict(target.resource, target.name)
    # A copy: an update carries metadata over in place, and managers are told by what was.
    metadata = dict(old["metadata"])
    return {**old, "metadata": metadata, "spec": {**old["spec"], "replicas": replicas}}


def check_uid(target: Target, scale: Object, old: Object) -> None:
    """Refuse a patch for another incarnation; a PUT has been refused by the store's precondition.

    Raises:
        ConflictError: the uid is not that of what is scaled.
    """
    uid, actual = (scale.get("metadata") or {}).get("uid"), old["metadata"]["uid"]
    if uid and uid != actual:
        why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {actual}"
        raise refusal.conflict(target.resource, target.name, why, "scale")


def format_selector(selector: Object) -> str:
    """Write a selector as text, as in a list request; a ReplicationController's is a plain map."""
    if "matchLabels" not in selector and "matchExpressions" not in selector:
        return ",".join(f"{k}={v}" for k, v in sorted(selector.items()))
    parts = [f"{k}={v}" for k, v in sorted(selector.get("matchLabels", {}).items())]
    for each in selector.get("matchExpressions", ()):
        key, operator = each.get("key", ""), each.get("operator", "")
        values = ",".join(sorted(each.get("values", ())))
        parts.append(
            {
                "In": f"{key} in ({values})",
                "NotIn": f"{key} notin ({values})",
                "Exists": key,
                "DoesNotExist": f"!{key}",
            }.get(operator, key)
        )
    return ",".join(parts)
