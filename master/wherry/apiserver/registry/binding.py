"""Binding a pod to a node: a pure decision, as kube-apiserver's `assignPod`."""

from typing import Any

from wherry.api.errors import BadRequestError
from wherry.api.times import format_time
from wherry.apiserver import refusal
from wherry.apiserver.registry.prepare import Target, check_uid, failed_precondition
from wherry.apiserver.strategy import fields

Object = dict[str, Any]


def bound(target: Target, pod: Object, binding: Object, *, now: float) -> Object:
    """Return the pod on the node that the binding (which has passed the schema) names.

    Raises:
        ConflictError: the pod has a node, waits for a gate, is being deleted, or is another incarnation.
        InvalidError: the binding names no node.
        BadRequestError: the binding is for another pod.
    """
    meta, to, name = binding.get("metadata", {}), binding.get("target", {}), target.name
    if meta.get("name", "") not in ("", name):
        raise BadRequestError("name in URL does not match name in Binding object")
    causes = []
    if to.get("kind", "") not in ("", "Node"):
        causes.append(fields.unsupported("target.kind", to["kind"], ["Node", "<empty>"]))
    if not to.get("name"):
        causes.append(fields.required("target.name"))
    if causes:
        raise refusal.invalid(target.resource, name, causes)
    check_uid(target, binding, pod["metadata"]["uid"])
    stated, actual = meta.get("resourceVersion"), pod["metadata"]["resourceVersion"]
    if stated and stated != actual:
        raise failed_precondition(target, "ResourceVersion", stated, actual)
    if why := _unbindable(name, pod):
        raise refusal.conflict(target.resource, name, why, "binding")
    annotations = {**pod["metadata"].get("annotations", {}), **meta.get("annotations", {})}
    metadata = {**pod["metadata"], **({"annotations": annotations} if annotations else {})}
    status = pod.get("status", {})
    scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": format_time(now)}
    conditions = [
        scheduled if c.get("type") == "PodScheduled" else c for c in status.get("conditions", ())
    ]
    if scheduled not in conditions:
        conditions.append(scheduled)
    return {
        **pod,
        "metadata": metadata,
        "spec": {**pod["spec"], "nodeName": to["name"]},
        "status": {**status, "conditions": conditions},
    }


def _unbindable(name: str, pod: Object) -> str:
    """Say why the pod cannot be bound; "" where it can."""
    spec = pod["spec"]
    if pod["metadata"].get("deletionTimestamp"):
        return f"pod {name} is being deleted, cannot be assigned to a host"
    if node := spec.get("nodeName"):
        return f'pod {name} is already assigned to node "{node}"'
    if spec.get("schedulingGates"):
        return f"pod {name} has non-empty .spec.schedulingGates"
    return ""
