"""Binding a pod to a node: a pure decision, as kube-apiserver's `assignPod`."""

from typing import Any

from wherry.api.errors import BadRequestError
from wherry.api.times import format_time
from wherry.apiserver import refusal
from wherry.apiserver.registry.prepare import Target, wrong_uid
from wherry.apiserver.strategy import fields

Object = dict[str, Any]


def bound(target: Target, pod: Object, binding: Object, *, now: float) -> Object:
    """Return the pod on the node that the binding names.

    Raises:
        ConflictError: the pod has a node, is being deleted, or is another incarnation.
        InvalidError: the binding names no node.
        BadRequestError: the binding is for another pod.
    """
    meta = binding.get("metadata") or {}
    to = binding.get("target") or {}
    name = target.name
    if meta.get("name", name) not in ("", name):
        raise BadRequestError("name in URL does not match name in Binding object")
    causes = []
    if to.get("kind", "Node") not in ("", "Node"):
        causes.append(fields.unsupported("target.kind", to["kind"], ["Node", "<empty>"]))
    if not to.get("name"):
        causes.append(fields.required("target.name"))
    if causes:
        raise refusal.invalid(target.resource, name, causes)
    uid, actual = meta.get("uid"), pod["metadata"]["uid"]
    if uid and uid != actual:
        raise refusal.conflict(target.resource, name, wrong_uid(uid, actual))
    if pod["metadata"].get("deletionTimestamp"):
        why = f"pod {name} is being deleted, cannot be assigned to a host"
        raise refusal.conflict(target.resource, name, why, "binding")
    node = pod.get("spec", {}).get("nodeName")
    if node:
        why = f'pod {name} is already assigned to node "{node}"'
        raise refusal.conflict(target.resource, name, why, "binding")
    annotations = {**pod["metadata"].get("annotations", {}), **(meta.get("annotations") or {})}
    metadata = {**pod["metadata"], **({"annotations": annotations} if annotations else {})}
    status = pod.get("status", {})
    others = [c for c in status.get("conditions", ()) if c.get("type") != "PodScheduled"]
    scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": format_time(now)}
    return {
        **pod,
        "metadata": metadata,
        "spec": {**pod["spec"], "nodeName": to["name"]},
        "status": {**status, "conditions": [*others, scheduled]},
    }
