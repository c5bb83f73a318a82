"""Node lifecycle, taint eviction and pod garbage, one decision at a time."""

from typing import Any

import pytest
import virtual_loop
from msgspec.structs import replace
from workload_objects import NOW, Json, meta, pod, view

from wherry.api.objects import Lease, Node, Pod, Taint
from wherry.api.times import format_micro_time, format_time
from wherry.controllers import podgc, taint_eviction
from wherry.controllers.framework import Delete, Emit, Patch, Result
from wherry.controllers.node_lifecycle import (
    Heartbeat,
    NodeLifecycleController,
    observe,
    reconcile,
)

FRESH, STALE = Heartbeat(("", ""), NOW - 10), Heartbeat(("", ""), NOW - 41)


def ready(status: str, reason: str = "KubeletReady") -> Json:
    return {"type": "Ready", "status": status, "reason": reason}


def node(*conditions: Json, taints: list[Json] | None = None, cordoned: bool = False) -> Node:
    spec = {"taints": taints or [], "unschedulable": cordoned}
    status = {"conditions": list(conditions)}
    return view(Node, {"metadata": {**meta("n1"), "namespace": ""}, "spec": spec, "status": status})


def taint(key: str, effect: str) -> Json:
    return {"key": f"node.kubernetes.io/{key}", "effect": effect, "timeAdded": format_time(NOW)}


def taints(result: Result) -> set[tuple[str, str]] | None:
    """Return the taints that are set, None where they stay as they are."""
    for action in result.actions:
        if isinstance(action, Patch) and "spec" in action.body:
            return {
                (t["key"].removeprefix("node.kubernetes.io/"), t["effect"])
                for t in action.body["spec"]["taints"] or []
            }
    return None


UNREACHABLE = {("unreachable", "NoSchedule"), ("unreachable", "NoExecute")}


@pytest.mark.parametrize(
    ("given_node", "heartbeat", "cut_off", "want"),
    [
        pytest.param(node(ready("True")), FRESH, False, None, id="well"),
        pytest.param(
            node(ready("False")),
            FRESH,
            False,
            {("not-ready", "NoSchedule"), ("not-ready", "NoExecute")},
            id="says that it is not ready",
        ),
        pytest.param(node(ready("True")), STALE, False, UNREACHABLE, id="silent"),
        pytest.param(node(), STALE, False, UNREACHABLE, id="never heard of"),
        pytest.param(node(), FRESH, False, None, id="not heard of yet"),
        pytest.param(
            node(ready("True")), STALE, True, {("unreachable", "NoSchedule")}, id="we are cut off"
        ),
        pytest.param(
            node(ready("True"), taints=[taint("unreachable", "NoExecute")]),
            FRESH,
            False,
            set(),
            id="back",
        ),
        pytest.param(
            node(
                ready("Unknown"),
                taints=[taint("not-ready", "NoSchedule"), taint("not-ready", "NoExecute")],
            ),
            STALE,
            False,
            UNREACHABLE,
            id="from not ready to silent",
        ),
        pytest.param(
            node(ready("True"), cordoned=True),
            FRESH,
            False,
            {("unschedulable", "NoSchedule")},
            id="cordoned",
        ),
        pytest.param(
            node(ready("True"), {"type": "DiskPressure", "status": "True"}),
            FRESH,
            False,
            {("disk-pressure", "NoSchedule")},
            id="pressed",
        ),
        pytest.param(
            node(ready("True"), taints=[{"key": "mine", "effect": "NoExecute"}]),
            FRESH,
            False,
            None,
            id="foreign taints stay",
        ),
    ],
)
def test_taints(
    given_node: Node, heartbeat: Heartbeat, cut_off: bool, want: set[tuple[str, str]] | None
) -> None:
    assert taints(reconcile(given_node, [], heartbeat, now=NOW, cut_off=cut_off)) == want


def test_a_silent_node_is_marked_in_the_words_of_upstream() -> None:
    known = node(ready("True"), {"type": "DiskPressure", "status": "False"})
    [status, emit, _taints] = reconcile(known, [], STALE, now=NOW).actions
    assert isinstance(status, Patch)
    assert status.revision == "1"
    told = {c["type"]: (c["status"], c["reason"]) for c in status.body["status"]["conditions"]}
    assert told == {
        "Ready": ("Unknown", "NodeStatusUnknown"),
        "DiskPressure": ("Unknown", "NodeStatusUnknown"),
        "MemoryPressure": ("Unknown", "NodeStatusNeverUpdated"),
        "PIDPressure": ("Unknown", "NodeStatusNeverUpdated"),
    }
    assert isinstance(emit, Emit)
    assert emit.message == "Node n1 status is now: NodeNotReady"


def test_its_pods_are_not_ready_any_more() -> None:
    unknown = node(ready("Unknown"), taints=[taint(*t) for t in sorted(UNREACHABLE)])
    pods = [pod("a"), pod("b", ready=False), pod("c", phase="Succeeded")]
    result = reconcile(unknown, pods, FRESH, now=NOW)
    patched = [a for a in result.actions if isinstance(a, Patch) and a.kind.kind == "Pod"]
    assert [a.name for a in patched] == ["a"]
    assert patched[0].body["status"]["conditions"][0]["status"] == "False"
    result = reconcile(unknown, pods, FRESH, now=NOW, cut_off=True)
    assert not [a for a in result.actions if isinstance(a, Patch) and a.kind.kind == "Pod"]


def test_silence_is_measured_on_our_own_clock() -> None:
    def lease(renewed: float) -> Lease:
        return view(
            Lease, {"metadata": meta("n1"), "spec": {"renewTime": format_micro_time(renewed)}}
        )

    first = observe(None, node(), lease(NOW - 9999), 100.0)
    assert first.seen_s == 100.0
    assert observe(first, node(), lease(NOW - 9999), 130.0) == first
    assert observe(first, node(), lease(NOW - 9989), 130.0).seen_s == 130.0
    posted = node({**ready("True"), "lastHeartbeatTime": format_time(NOW)})
    assert observe(first, posted, lease(NOW - 9999), 130.0).seen_s == 130.0


class Ears:
    """`framework.Environment` with one node and its Lease."""

    def __init__(self) -> None:
        self.node = node(ready("True"))
        self.lease = view(Lease, {"metadata": meta("n1", namespace="kube-node-lease")})
        self.caches: Any = self
        self.current, self.failure = True, ""
        self.now_s = 1000.0
        self.reachable = True

    @property
    def now(self) -> float:
        return NOW + self.now_s

    def __getitem__(self, _kind: object) -> "Ears":
        return self

    def __contains__(self, _kind: object) -> bool:
        return True

    def get(self, key: str) -> Any:
        return self.node if key == "n1" else self.lease

    def values(self) -> list[Any]:
        return [self.node]

    def by_index(self, _name: str, _value: str) -> list[Any]:
        return []

    async def fetch(self, kind: Any, _name: str, _namespace: str = "") -> Any:
        if not self.reachable:
            raise ConnectionError
        return self.lease if kind.kind == "Lease" else self.node

    async def fetch_all(self, _kind: object, _namespace: str) -> list[Any]:
        return []


async def passes(ears: Ears, controller: NodeLifecycleController, seconds: int) -> bool:
    """Look every 5 s; tell whether the node was given up."""
    for _ in range(seconds // 5):
        ears.now_s += 5
        try:
            result = await controller.reconcile("n1", ears)
        except ConnectionError:
            continue
        if result.actions:
            return True
    return False


def test_a_gap_in_our_own_contact_is_nobodys_silence() -> None:
    async def main() -> None:
        ears = Ears()
        controller = NodeLifecycleController(grace_s=40.0, monotonic=lambda: ears.now_s)
        assert not await passes(ears, controller, 20)
        ears.reachable = False  # all masters are dead
        assert not await passes(ears, controller, 300)
        ears.reachable = True
        assert not await passes(ears, controller, 35)  # a whole grace period for everybody
        assert await passes(ears, controller, 15)

    virtual_loop.run(main())


def test_the_server_is_asked_before_a_node_is_given_up() -> None:
    async def main() -> None:
        ears = Ears()
        controller = NodeLifecycleController(grace_s=40.0, monotonic=lambda: ears.now_s)
        assert not await passes(ears, controller, 35)
        cached = ears.lease
        live = replace(cached, metadata=replace(cached.metadata, resource_version="99"))

        async def fetch(kind: Any, _name: str, _namespace: str = "") -> Any:
            return live if kind.kind == "Lease" else ears.node

        ears.fetch = fetch  # type: ignore[method-assign]  # the watch lags behind the server
        assert not await passes(ears, controller, 120)

    virtual_loop.run(main())


# -- taint eviction ---------------------------------------------------------------------

NO_EXECUTE = Taint(key="k", effect="NoExecute", time_added=format_time(NOW - 100))


def tolerating(*tolerations: Json) -> Pod:
    base = pod("p")
    full = {"metadata": meta("p"), "spec": {"nodeName": "n1", "tolerations": list(tolerations)}}
    return replace(view(Pod, full), status=base.status)


@pytest.mark.parametrize(
    ("tolerations", "want"),
    [
        pytest.param([], -100, id="not tolerated"),
        pytest.param([{"key": "k", "operator": "Exists"}], None, id="for ever"),
        pytest.param(
            [{"key": "k", "operator": "Exists", "tolerationSeconds": 300}], 200, id="for a while"
        ),
        pytest.param(
            [{"key": "k", "operator": "Exists", "tolerationSeconds": 0}], -100, id="not at all"
        ),
        pytest.param(
            [
                {"key": "k", "operator": "Exists", "tolerationSeconds": 300},
                {"operator": "Exists", "tolerationSeconds": 150},
            ],
            50,
            id="the shortest of several",
        ),
        pytest.param(
            [{"key": "k", "operator": "Exists", "effect": "NoSchedule"}], -100, id="other effect"
        ),
    ],
)
def test_when_a_pod_must_go(tolerations: list[Json], want: float | None) -> None:
    date = taint_eviction.evict_at(tolerating(*tolerations), [NO_EXECUTE], {})
    assert (None if date is None else date - NOW) == want


def test_pods_are_evicted_when_their_time_has_come() -> None:
    patient = tolerating({"operator": "Exists", "tolerationSeconds": 130})
    result = taint_eviction.reconcile([patient, pod("q")], [NO_EXECUTE], {}, now=NOW)
    assert [a.name for a in result.actions if isinstance(a, Delete)] == ["q"]
    assert [a.message for a in result.actions if isinstance(a, Emit)] == [
        "Marking for deletion Pod default/q"
    ]
    assert result.again_s == 30


def test_a_taint_without_a_date_counts_from_when_it_was_seen() -> None:
    undated = replace(NO_EXECUTE, time_added=None)
    patient = tolerating({"operator": "Exists", "tolerationSeconds": 130})
    assert taint_eviction.evict_at(patient, [undated], {("k", ""): NOW - 5}) == NOW + 125


# -- pod garbage ------------------------------------------------------------------------

GOING: Json = {"deletionTimestamp": format_time(NOW)}


@pytest.mark.parametrize(
    ("given_pod", "removed"),
    [
        pytest.param(pod("a", node="n1"), False, id="well"),
        pytest.param(pod("a", node="gone"), True, id="its node is gone"),
        pytest.param(pod("a", node="", **GOING), True, id="never bound, deleted"),
        pytest.param(pod("a", node=""), False, id="never bound"),
        pytest.param(pod("a", node="n1", **GOING), False, id="its agent will finish it"),
        pytest.param(pod("a", node="out", **GOING), True, id="its node is out of service"),
        pytest.param(pod("a", node="out"), False, id="out of service, not deleted"),
    ],
)
def test_pod_garbage(given_pod: Pod, removed: bool) -> None:
    actions = podgc.reconcile(
        [given_pod], frozenset(["gone"]), frozenset(["out"]), terminated_threshold=1
    )
    assert [(a.name, a.grace_s) for a in actions if isinstance(a, Delete)] == (
        [("a", 0)] if removed else []
    )


def test_the_oldest_ended_pods_beyond_the_threshold_go() -> None:
    pods = [
        pod(f"p{n}", phase="Succeeded", creationTimestamp=format_time(NOW - 100 * n))
        for n in range(4)
    ]
    actions = podgc.reconcile(pods, frozenset(), frozenset(), terminated_threshold=2)
    assert [a.name for a in actions if isinstance(a, Delete)] == ["p3", "p2"]
