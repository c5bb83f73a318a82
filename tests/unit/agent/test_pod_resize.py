"""Other resources for running containers, and containers for debugging: decision and status."""

import dataclasses
from typing import Any

import pytest
from agent_objects import exited, has, pod, running, sandbox

from wherry.agent.plan import (
    Failure,
    KillContainer,
    Plan,
    RemoveContainer,
    ResizeContainer,
    Snapshot,
    StartContainer,
)
from wherry.agent.resize import RESOURCES_ANNOTATION, NodeSize, promised, written
from wherry.agent.runtime import ContainerRecord, ContainerState, ContainerStats
from wherry.agent.runtime_config import PodRef
from wherry.agent.status import Observed, render_status
from wherry.agent.sync import DEFERRED_S, resize_key, sync_pod
from wherry.agent.usage import Sample, usage
from wherry.agent.views import Container, Pod

SMALL = {"requests": {"cpu": "100m", "memory": "32Mi"}, "limits": {"memory": "64Mi"}}
BIG = {"requests": {"cpu": "200m", "memory": "32Mi"}, "limits": {"memory": "64Mi"}}
SIZE = NodeSize(1000, 1 << 30)
NOW = 200.0
DEBUGGER = {"name": "d", "image": "busybox"}


def resized(asked: dict[str, Any], **container: Any) -> Pod:
    return pod({"containers": [{"name": "c", "image": "i:1", "resources": asked, **container}]})


def made_with(resources: dict[str, Any]) -> ContainerRecord:
    before = resized(resources).spec.containers[0]
    return dataclasses.replace(running(), annotations={RESOURCES_ANNOTATION: written(before)})


def seen(of: Pod, *records: ContainerRecord, **more: Any) -> Snapshot:
    return Snapshot(of, has(sandbox(), *records), NOW, started=frozenset({"c0"}), size=SIZE, **more)


def status(snapshot: Snapshot) -> dict[str, Any]:
    assert snapshot.pod is not None
    observed = Observed("192.0.2.1", "containerd", ready=frozenset({"c0"}))
    return render_status(snapshot.pod, snapshot, observed)


def resizing(rendered: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        (c["type"], c.get("reason", ""))
        for c in rendered["conditions"]
        if c["type"].startswith("PodResize")
    ]


RESTART = [{"resourceName": "cpu", "restartPolicy": "RestartContainer"}]
RESTART_MEMORY = [{"resourceName": "memory", "restartPolicy": "RestartContainer"}]
RESIZE = ResizeContainer("c0", "c")
KILL = KillContainer("c0", "c", 30.0, "Container c resize requires restart")


@pytest.mark.parametrize(
    ("before", "asked", "container", "actions"),
    [
        pytest.param(SMALL, SMALL, {}, (), id="as it is"),
        pytest.param(SMALL, BIG, {}, (RESIZE,), id="another amount"),
        pytest.param(
            SMALL, {**SMALL, "requests": {"cpu": "0.1", "memory": "32768Ki"}}, {}, (), id="same"
        ),
        pytest.param(SMALL, BIG, {"resizePolicy": RESTART}, (KILL,), id="restarted for it"),
        pytest.param(SMALL, BIG, {"resizePolicy": RESTART_MEMORY}, (RESIZE,), id="for the other"),
        pytest.param(SMALL, {"requests": {"cpu": "2"}}, {}, (), id="more than the node has"),
    ],
)
def test_what_is_done(
    before: dict[str, Any],
    asked: dict[str, Any],
    container: dict[str, Any],
    actions: tuple[Any, ...],
) -> None:
    assert sync_pod(seen(resized(asked, **container), made_with(before))) == Plan(actions)


def test_a_container_of_an_older_agent_is_left_alone() -> None:
    assert sync_pod(seen(resized(BIG), running())) == Plan()


def test_what_the_runtime_was_told_counts_before_all_else() -> None:
    of = resized(BIG)
    told = {"c0": of.spec.containers[0].resources}
    assert sync_pod(seen(of, made_with(SMALL), applied=told)) == Plan()
    said = {"containerStatuses": [{"name": "c", "containerID": "x://c0", "resources": BIG}]}
    again = pod({"containers": [{"name": "c", "image": "i:1", "resources": BIG}]}, status=said)
    assert sync_pod(seen(again, made_with(SMALL))) == Plan()


def test_the_status_tells_what_a_container_has_and_what_goes_on() -> None:
    before = status(seen(resized(SMALL), made_with(SMALL)))
    assert resizing(before) == []
    assert before["containerStatuses"][0]["resources"] == SMALL
    during = status(seen(resized(BIG), made_with(SMALL)))
    assert resizing(during) == [("PodResizeInProgress", "")]
    assert during["containerStatuses"][0]["resources"] == SMALL
    assert during["containerStatuses"][0]["allocatedResources"] == BIG["requests"]
    failures = {resize_key("c0"): Failure("Error", "no", NOW + 9)}
    failed = seen(resized(BIG), made_with(SMALL), failures=failures)
    assert resizing(status(failed)) == [("PodResizeInProgress", "Error")]
    assert sync_pod(failed).actions == ()
    huge = status(seen(resized({**BIG, "requests": {"cpu": "2"}}), made_with(SMALL)))
    assert resizing(huge) == [("PodResizePending", "Infeasible")]
    assert huge["containerStatuses"][0]["allocatedResources"] == SMALL["requests"]


MORE_CPU = {**SMALL, "requests": {"cpu": "600m", "memory": "32Mi"}}
LESS_CPU = {**SMALL, "requests": {"cpu": "50m", "memory": "32Mi"}}


@pytest.mark.parametrize(
    ("asked", "others", "said"),
    [
        (MORE_CPU, NodeSize(400), ""),
        (
            MORE_CPU,
            NodeSize(401),
            "Node didn't have enough resource: cpu, requested: 600, used: 401, capacity: 1000",
        ),
        # Who asks for less gets it, be the node as full as it may.
        (LESS_CPU, NodeSize(5000, 1 << 40), ""),
        (
            {"requests": {"cpu": "100m", "memory": "1000Mi"}, "limits": {"memory": "1000Mi"}},
            NodeSize(0, 100 << 20),
            "Node didn't have enough resource: memory, requested: 1048576000, used: 104857600, "
            "capacity: 1073741824",
        ),
    ],
)
def test_a_resize_waits_for_room(asked: dict[str, Any], others: NodeSize, said: str) -> None:
    snapshot = seen(resized(asked), made_with(SMALL), others=others)
    told = [c for c in status(snapshot)["conditions"] if c["type"].startswith("PodResize")]
    if not said:
        assert sync_pod(snapshot).actions == (RESIZE,)
        assert [c["type"] for c in told] == ["PodResizeInProgress"]
        return
    assert sync_pod(snapshot) == Plan((), NOW + DEFERRED_S)
    assert [(c["type"], c["reason"], c["message"]) for c in told] == [
        ("PodResizePending", "Deferred", said)
    ]
    [container] = status(snapshot)["containerStatuses"]
    assert container["allocatedResources"] == SMALL["requests"]
    room = dataclasses.replace(snapshot, others=NodeSize())
    assert sync_pod(room).actions == (RESIZE,)


def test_what_a_pod_was_promised_is_what_it_has_not_what_it_asks_for() -> None:
    of = resized(MORE_CPU)
    assert promised(of, has(sandbox()), {}) == NodeSize(600, 32 << 20)
    assert promised(of, has(sandbox(), made_with(SMALL)), {}) == NodeSize(100, 32 << 20)
    told = {"c0": of.spec.containers[0].resources}
    assert promised(of, has(sandbox(), made_with(SMALL)), told) == NodeSize(600, 32 << 20)


@pytest.mark.parametrize(
    ("debugger", "records", "actions"),
    [
        pytest.param(DEBUGGER, [running()], (StartContainer("d", 0, 0.0),), id="started"),
        pytest.param(
            {**DEBUGGER, "targetContainerName": "c"},
            [running()],
            (StartContainer("d", 0, 0.0, target_id="c0"),),
            id="beside its target",
        ),
        pytest.param(DEBUGGER, [running(), running("d")], (), id="runs"),
        pytest.param(DEBUGGER, [running(), exited("d")], (), id="is not restarted"),
        pytest.param(
            DEBUGGER,
            [running(), dataclasses.replace(running("d"), state=ContainerState.CREATED)],
            (RemoveContainer("d0", "d", 0), StartContainer("d", 0, 0.0)),
            id="the agent died before its start",
        ),
    ],
)
def test_containers_for_debugging(
    debugger: dict[str, Any], records: list[ContainerRecord], actions: tuple[Any, ...]
) -> None:
    assert sync_pod(seen(pod({"ephemeralContainers": [debugger]}), *records)) == Plan(actions)


def test_a_container_for_debugging_changes_nothing_about_the_pod() -> None:
    of = pod({"ephemeralContainers": [DEBUGGER], "restartPolicy": "Never"})
    plain = status(seen(pod({"restartPolicy": "Never"}), running()))
    rendered = status(seen(of, running(), exited("d", code=3)))
    (said,) = rendered.pop("ephemeralContainerStatuses")
    assert rendered == plain
    assert said["state"]["terminated"]["exitCode"] == 3
    assert (said["ready"], "started" in said) == (False, False)
    waiting = {"containers": [{"name": "c", "image": "i"}], "ephemeralContainers": [DEBUGGER]}
    (said,) = status(seen(pod(waiting), running()))["ephemeralContainerStatuses"]
    assert "waiting" in said["state"]


def test_rates_are_over_the_time_between_two_samples() -> None:
    def stats(name: str, ns: int) -> ContainerStats:
        return ContainerStats(name, name, PodRef("ns", "p", "u"), 0.0, ns, 0, 0)

    before = Sample(100.0, (stats("a", 1_000_000_000), stats("gone", 5)), 10)
    after = Sample(104.0, (stats("a", 3_000_000_000), stats("new", 7)), 8_000_000_010)
    used = usage(before, after)
    assert used.nanocores == {"a": 500_000_000}
    assert (used.window_s, used.machine_nanocores) == (4.0, 2_000_000_000)


def test_what_stands_on_a_container_is_cpu_and_memory() -> None:
    made: Container = resized(
        {**SMALL, "limits": {"memory": "64Mi", "hugepages-2Mi": "4Mi"}}
    ).spec.containers[0]
    assert "hugepages" not in written(made)
