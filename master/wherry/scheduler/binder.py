"""What the scheduler tells the API server: bindings, and why a pod is pending."""

import orjson

from wherry.api.kinds import NODE, POD
from wherry.api.objects import Condition
from wherry.api.times import format_time
from wherry.client.api import Api
from wherry.scheduler.node_info import PodInfo


class DefaultBinder:
    """Binds through the `binding` subresource, which refuses a pod that is bound already."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def bind(self, pod: PodInfo, node: str) -> None:
        """Bind the pod, if it is still the same one.

        Raises:
            StatusError: the server refused: it is gone, or bound already.
            UnavailableError: it may or may not have happened.
        """
        meta = pod.pod.metadata
        body = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": meta.name, "namespace": meta.namespace, "uid": meta.uid},
            "target": {"apiVersion": NODE.api_version, "kind": NODE.kind, "name": node},
        }
        await self._api.create(
            POD, orjson.dumps(body), meta.namespace, name=meta.name, subresource="binding"
        )


async def set_unschedulable(api: Api, pod: PodInfo, message: str, now: float) -> None:
    """Set condition PodScheduled=False, unless it says the same already."""
    conditions = pod.pod.status.conditions
    old = next((c for c in conditions if c.type == "PodScheduled"), None)
    if old is not None and (old.status, old.message) == ("False", message):
        return
    since = old.last_transition_time if old is not None and old.status == "False" else None
    new = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": message,
        "lastTransitionTime": since or format_time(now),
    }
    kept = [_to_json(c) for c in conditions if c.type != "PodScheduled"]
    meta = pod.pod.metadata
    body = {"metadata": {"uid": meta.uid}, "status": {"conditions": [*kept, new]}}
    await api.patch(POD, meta.name, orjson.dumps(body), meta.namespace, subresource="status")


def _to_json(condition: Condition) -> dict[str, str]:
    full = {
        "type": condition.type,
        "status": condition.status,
        "reason": condition.reason,
        "message": condition.message,
        "lastTransitionTime": condition.last_transition_time,
        "lastProbeTime": condition.last_probe_time,
    }
    return {key: value for key, value in full.items() if value}
