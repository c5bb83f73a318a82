"""Node lifecycle: who has not been heard of is marked, tainted, and in the end emptied.

    heartbeat (Lease renewed, or node status posted) seen   ... 40 s of silence ...
      -> conditions Unknown "Kubelet stopped posting node status."
      -> pods on it: Ready False, so that Services leave them out
      -> taints node.kubernetes.io/unreachable:NoSchedule, and :NoExecute with `timeAdded`
      -> (wherry.controllers.taint_eviction deletes pods as their tolerations run out)

Silence counts only while we could have heard something: a gap in our own contact with the
API server starts every node's grace period anew, or the return of the masters would look
like the death of all nodes. It is measured on our own clock from the moment at which a heartbeat was *seen to
change*; the dates inside heartbeats are of other hosts and are only compared with each
other. A new leader therefore gives every node a whole grace period.

When *no* node is ready it still is probably us who are cut off: then nobody is evicted and
no Service loses its endpoints.
Source: kubernetes `pkg/controller/nodelifecycle`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from wherry.api.kinds import LEASE, NODE, POD
from wherry.api.objects import Condition, Lease, Node, Pod, Taint
from wherry.api.times import format_time
from wherry.controllers.conditions import find, to_json
from wherry.controllers.framework import (
    Action,
    Caches,
    Emit,
    Environment,
    Index,
    Json,
    Patch,
    Result,
    Source,
    own_key,
    reference,
)
from wherry.controllers.views import to_dict

LEASE_NAMESPACE: Final = "kube-node-lease"
GRACE_S: Final = 40.0
"""`--node-monitor-grace-period`."""
PROBE_S: Final = 5.0
"""How long without news until the API server is asked whether it is there."""
BLIND_S: Final = 15.0
"""A gap in our contact after which nobody's silence counts."""
NODE_INDEX: Final = "nodeName"

NOT_READY: Final = "node.kubernetes.io/not-ready"
UNREACHABLE: Final = "node.kubernetes.io/unreachable"
UNSCHEDULABLE: Final = "node.kubernetes.io/unschedulable"
_BY_CONDITION: Final[Mapping[tuple[str, str], str]] = {
    ("Ready", "False"): NOT_READY,
    ("Ready", "Unknown"): UNREACHABLE,
    ("MemoryPressure", "True"): "node.kubernetes.io/memory-pressure",
    ("DiskPressure", "True"): "node.kubernetes.io/disk-pressure",
    ("PIDPressure", "True"): "node.kubernetes.io/pid-pressure",
    ("NetworkUnavailable", "True"): "node.kubernetes.io/network-unavailable",
}
_MANAGED: Final = frozenset((*_BY_CONDITION.values(), UNSCHEDULABLE))
_EVICTING: Final = frozenset((NOT_READY, UNREACHABLE))
_HEARTBEAT_CONDITIONS: Final = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The last sign of life: what it said, and when (on our clock) it was first seen."""

    sign: tuple[str, str]
    seen_s: float


def observe(last: Heartbeat | None, node: Node, lease: Lease | None, now: float) -> Heartbeat:
    """Return the present heartbeat: `last` if nothing has changed, a new one otherwise."""
    ready = find(node.status.conditions, "Ready")
    renewed = lease.spec.renew_time if lease is not None else None
    # Our own marking changes the conditions too, but never their heartbeat date.
    posted = ready.last_heartbeat_time if ready is not None else None
    sign = (renewed or "", posted or "")
    return last if last is not None and last.sign == sign else Heartbeat(sign, now)


def reconcile(
    node: Node,
    pods: Iterable[Pod],
    heartbeat: Heartbeat,
    *,
    now: float,
    grace_s: float = GRACE_S,
    cut_off: bool = False,
) -> Result:
    """Decide about one node.

    Args:
        node: The node.
        pods: The pods bound to it.
        heartbeat: See `observe`.
        now: The date.
        grace_s: Silence after which the node counts as lost.
        cut_off: No node is ready, so the fault is probably ours: taints that evict are
            taken away, and pods keep their readiness, so that Services keep their endpoints.

    Returns:
        The status first, then taints, then the pods' readiness.
    """
    if node.metadata.deleting:
        return Result()
    actions: list[Action] = []
    left_s = heartbeat.seen_s + grace_s - now
    if left_s <= 0:
        conditions = _unknown(node, now)
        if conditions != node.status.conditions:
            actions += _mark(node, conditions)
            node = replace(node, status=replace(node.status, conditions=conditions))
    taints = _taints(node, now, cut_off=cut_off)
    if taints != node.spec.taints:
        actions.append(_set_taints(node, taints, plain=bool(actions)))
    ready = find(node.status.conditions, "Ready")
    if ready is not None and ready.status == "Unknown" and not cut_off:
        actions += [_unready(pod, now) for pod in pods if pod.ready and not pod.finished]
    return Result(actions, left_s if left_s > 0 else None)


def _unknown(node: Node, now: float) -> list[Condition]:
    """Set what only the node itself can know to Unknown."""
    date = format_time(now)
    conditions = list(node.status.conditions)
    for type_ in _HEARTBEAT_CONDITIONS:
        old = find(conditions, type_)
        if old is None:
            new = Condition(
                type=type_,
                status="Unknown",
                reason="NodeStatusNeverUpdated",
                message="Kubelet never posted node status.",
                last_transition_time=date,
                last_heartbeat_time=node.metadata.creation_timestamp,
            )
            conditions.append(new)
        elif old.status != "Unknown":
            new = replace(
                old,
                status="Unknown",
                reason="NodeStatusUnknown",
                message="Kubelet stopped posting node status.",
                last_transition_time=date,
            )
            conditions = [new if c is old else c for c in conditions]
    return conditions


def _mark(node: Node, conditions: list[Condition]) -> list[Action]:
    """Write the conditions, unless the node has spoken since: its own word wins."""
    meta = node.metadata
    body = {"status": {"conditions": [to_json(c) for c in conditions]}}
    patch = Patch(
        NODE,
        "",
        meta.name,
        body,
        subresource="status",
        uid=meta.uid,
        revision=meta.resource_version,
    )
    was = find(node.status.conditions, "Ready")
    if was is None or was.status != "True":
        return [patch]
    message = f"Node {meta.name} status is now: NodeNotReady"
    return [patch, Emit(node_reference(node), "Normal", "NodeNotReady", message)]


def _taints(node: Node, now: float, *, cut_off: bool) -> list[Taint]:
    """Return the taints that the node should have; foreign ones stay as they are."""
    wanted = [
        (key, "NoSchedule")
        for c in node.status.conditions
        if (key := _BY_CONDITION.get((c.type, c.status))) is not None
    ]
    if node.spec.unschedulable:
        wanted.append((UNSCHEDULABLE, "NoSchedule"))
    if not cut_off:
        wanted += [(key, "NoExecute") for key, _ in wanted if key in _EVICTING]
    have = {(t.key, t.effect) for t in node.spec.taints}
    kept = [t for t in node.spec.taints if (t.key, t.effect) in wanted or not _is_ours(t)]
    date = format_time(now)
    new = [
        Taint(key=key, effect=effect, time_added=date)
        for key, effect in wanted
        if (key, effect) not in have
    ]
    return [*kept, *new]


def _is_ours(taint: Taint) -> bool:
    if taint.effect == "NoExecute":
        return taint.key in _EVICTING
    return taint.effect == "NoSchedule" and taint.key in _MANAGED


def _set_taints(node: Node, taints: list[Taint], *, plain: bool) -> Patch:
    """Replace the taints; `plain` leaves the revision out, as our own status patch moves it."""
    meta = node.metadata
    body = {"spec": {"taints": [_taint_to_json(t) for t in taints] or None}}
    revision = "" if plain else meta.resource_version
    return Patch(NODE, "", meta.name, body, uid=meta.uid, revision=revision)


def _taint_to_json(taint: Taint) -> Json:
    return {key: value for key, value in to_dict(taint).items() if value}


def _unready(pod: Pod, now: float) -> Patch:
    conditions = [
        replace(c, status="False", last_transition_time=format_time(now))
        if c.type == "Ready"
        else c
        for c in pod.status.conditions
    ]
    meta = pod.metadata
    return Patch(
        POD,
        meta.namespace,
        meta.name,
        {"status": {"conditions": [to_json(c) for c in conditions]}},
        subresource="status",
        uid=meta.uid,
        revision=meta.resource_version,
    )


def node_reference(node: Node) -> Json:
    """Return the `involvedObject` of a node; its uid there is its name, as kubelets write it."""
    return {**reference(NODE, node.metadata), "uid": node.metadata.name}


def node_ready(node: Node) -> bool:
    """Tell whether the node's Ready condition is True."""
    ready = find(node.status.conditions, "Ready")
    return ready is not None and ready.status == "True"


def node_name_index(pod: Pod) -> Sequence[str]:
    """Index pods by the node that they are bound to."""
    return (pod.spec.node_name,) if pod.spec.node_name else ()


def _node_keys(caches: Caches, old: Node | None, new: Node | None) -> Sequence[str]:
    """Wake the node; and all of them when the first becomes ready or the last stops being so."""
    was, is_ = old is not None and node_ready(old), new is not None and node_ready(new)
    if was != is_ and sum(map(node_ready, caches[NODE].values())) <= 1:
        return [n.metadata.name for n in caches[NODE].values()]
    return list(own_key(caches, old, new))


class NodeLifecycleController:
    """Runs `reconcile` for every node.

    Args:
        grace_s: Silence after which a node counts as lost.
        monotonic: Our own clock, seconds.
    """

    name = "node-lifecycle-controller"

    def __init__(self, *, grace_s: float, monotonic: Callable[[], float]) -> None:
        self._grace_s = grace_s
        self._monotonic = monotonic
        self._heartbeats: dict[str, Heartbeat] = {}
        self._contact_s = monotonic()
        self.sources = (Source(NODE, _node_keys), Source(LEASE, self._lease_keys))
        self.indices = (Index(POD, NODE_INDEX, node_name_index),)

    def _lease_keys(self, _caches: Caches, old: Lease | None, new: Lease | None) -> Sequence[str]:
        """Wake the node whose Lease it is; any Lease, an election's too, proves our contact."""
        self._contacted()
        lease = new if new is not None else old
        if lease is None or lease.metadata.namespace != LEASE_NAMESPACE:
            return ()
        return (lease.metadata.name,)

    def _contacted(self) -> None:
        """Note that the API server answers; after a gap nobody's silence counts."""
        now_s = self._monotonic()
        if now_s - self._contact_s > BLIND_S:
            self._heartbeats = {
                name: Heartbeat(h.sign, now_s) for name, h in self._heartbeats.items()
            }
        self._contact_s = now_s

    async def reconcile(self, key: str, env: Environment) -> Result:
        """See `reconcile` of this module."""
        if self._monotonic() - self._contact_s > PROBE_S:
            await env.fetch(NODE, key)
            self._contacted()
        node: Node | None = env.caches[NODE].get(key)
        if node is None:
            self._heartbeats.pop(key, None)
            return Result()
        lease: Lease | None = env.caches[LEASE].get(f"{LEASE_NAMESPACE}/{key}")
        heartbeat = await self._heartbeat(node, lease, env)
        if not env.current:
            return Result()
        shift_s = env.now - self._monotonic()  # decisions are made in dates
        result = reconcile(
            node,
            env.caches[POD].by_index(NODE_INDEX, key),
            Heartbeat(heartbeat.sign, heartbeat.seen_s + shift_s),
            now=env.now,
            grace_s=self._grace_s,
            cut_off=not any(map(node_ready, env.caches[NODE].values())),
        )
        again_s = None if result.again_s is None else min(result.again_s, PROBE_S)
        return Result(result.actions, again_s)

    async def _heartbeat(self, node: Node, lease: Lease | None, env: Environment) -> Heartbeat:
        """Return the last sign of life; before it is believed to be too old, ask the server."""
        name, now_s = node.metadata.name, self._monotonic()
        heartbeat = observe(self._heartbeats.get(name), node, lease, now_s)
        if lease is not None and now_s - heartbeat.seen_s >= self._grace_s:
            live = await env.fetch(LEASE, name, LEASE_NAMESPACE)
            if (
                live is not None
                and live.metadata.resource_version != lease.metadata.resource_version
            ):
                heartbeat = Heartbeat(heartbeat.sign, now_s)
        self._heartbeats[name] = heartbeat
        return heartbeat
