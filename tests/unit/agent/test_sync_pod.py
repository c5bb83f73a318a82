"""sync_pod: what to do next, as tables, and as a random walk that must keep its promises."""

import dataclasses
from typing import Any

import msgspec
import pytest
from agent_objects import REF, exited, has, pod, running, sandbox
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wherry.agent.plan import (
    Action,
    Failure,
    KillContainer,
    Plan,
    Rejection,
    RemoveContainer,
    RemoveSandbox,
    ResizeContainer,
    RunSandbox,
    Snapshot,
    StartContainer,
    StopSandbox,
)
from wherry.agent.runtime import ContainerRecord, ContainerState, RuntimePod, Sandbox
from wherry.agent.runtime_config import BACKOFF_ANNOTATION
from wherry.agent.standing import initialized
from wherry.agent.sync import (
    sync_pod,
)
from wherry.agent.views import Pod

NOW = 200.0
INIT = [{"name": "i1", "image": "i:1"}, {"name": "i2", "image": "i:1"}]
SIDECAR = [{"name": "side", "image": "i:1", "restartPolicy": "Always"}]
TWO = [{"name": "a", "image": "i:1"}, {"name": "b", "image": "i:1"}]
DELETED = {"deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": 7}


def plan(of: Pod | None, runtime: RuntimePod, started: tuple[str, ...] = (), **more: Any) -> Plan:
    now = more.pop("now", NOW)
    return sync_pod(Snapshot(of, runtime, now, started=frozenset(started), **more))


def stop(name: str) -> str:
    return f"Stopping container {name}"


@pytest.mark.parametrize(
    ("spec", "parts", "actions"),
    [
        pytest.param({}, [], [RunSandbox(0)], id="new pod"),
        pytest.param({}, [sandbox()], [StartContainer("c", 0, 0.0)], id="sandbox is up"),
        pytest.param({}, [sandbox(), running()], [], id="running"),
        pytest.param({}, [sandbox(ready=False)], [RunSandbox(1)], id="sandbox died early"),
        pytest.param(
            {},
            [sandbox(ready=False), running()],
            [
                KillContainer(
                    "c0", "c", 30.0, "Pod sandbox changed, it will be killed and re-created."
                )
            ],
            id="sandbox died under a container",
        ),
        pytest.param(
            {},
            [sandbox(ready=False), sandbox(1), exited(code=255)],
            [StartContainer("c", 1, 10.0)],
            id="again in the next sandbox",
        ),
        pytest.param(
            {}, [sandbox(), exited()], [StartContainer("c", 1, 10.0)], id="first crash: at once"
        ),
        pytest.param(
            {"restartPolicy": "Never"}, [sandbox(), exited()], [StopSandbox("s0")], id="Never"
        ),
        pytest.param(
            {"restartPolicy": "OnFailure"},
            [sandbox(), exited()],
            [StartContainer("c", 1, 10.0)],
            id="OnFailure, failed",
        ),
        pytest.param(
            {"restartPolicy": "OnFailure"},
            [sandbox(), exited(code=0)],
            [StopSandbox("s0")],
            id="OnFailure, done",
        ),
        pytest.param(
            {"containers": TWO},
            [sandbox(), running("a")],
            [StartContainer("b", 0, 0.0)],
            id="one of two",
        ),
        pytest.param(
            {"containers": TWO, "restartPolicy": "Never"},
            [sandbox(), running("a"), exited("b")],
            [],
            id="Never: the other goes on",
        ),
        pytest.param(
            {"initContainers": INIT},
            [sandbox()],
            [StartContainer("i1", 0, 0.0, init=True)],
            id="first init",
        ),
        pytest.param({"initContainers": INIT}, [sandbox(), running("i1")], [], id="init runs"),
        pytest.param(
            {"initContainers": INIT},
            [sandbox(), exited("i1", code=0)],
            [StartContainer("i2", 0, 0.0, init=True)],
            id="second init",
        ),
        pytest.param(
            {"initContainers": INIT},
            [sandbox(), exited("i1", code=0), exited("i2", code=0)],
            [StartContainer("c", 0, 0.0)],
            id="after init",
        ),
        pytest.param(
            {"initContainers": INIT},
            [sandbox(), exited("i1", code=9)],
            [StartContainer("i1", 1, 10.0, init=True)],
            id="init failed",
        ),
        pytest.param(
            {"initContainers": INIT, "restartPolicy": "Never"},
            [sandbox(), exited("i1", code=9)],
            [StopSandbox("s0")],
            id="init failed for good",
        ),
        pytest.param(
            {"initContainers": INIT},
            [sandbox(), exited("i2", code=0), running()],
            [],
            id="an app container proves that init was through",
        ),
        pytest.param(
            {},
            [sandbox(), dataclasses.replace(running(), state=ContainerState.CREATED)],
            [RemoveContainer("c0", "c", 0), StartContainer("c", 0, 0.0)],
            id="an agent died between create and start",
        ),
        pytest.param(
            {},
            [
                sandbox(),
                running(attempt=3),
                exited(attempt=2),
                exited(attempt=1),
                exited(attempt=0),
            ],
            [RemoveContainer("c1", "c", 1), RemoveContainer("c0", "c", 0)],
            id="garbage: one dead container is kept",
        ),
        pytest.param(
            {},
            [
                sandbox(ready=False),
                sandbox(1),
                running(attempt=2, home=1),
                exited(attempt=1, home=1),
            ],
            [RemoveSandbox("s0")],
            id="garbage: an empty old sandbox",
        ),
    ],
)
def test_actions(spec: dict[str, Any], parts: list[Any], actions: list[Any]) -> None:
    assert list(plan(pod(spec), has(*parts)).actions) == actions


@pytest.mark.parametrize(
    ("backoff_s", "ran_s", "wait_s", "next_s"),
    [
        (0, 1, 0, 10),
        (10, 1, 10, 20),
        (20, 1, 20, 40),
        (160, 1, 160, 300),
        (300, 1, 300, 300),
        (300, 599, 300, 300),
        (300, 601, 0, 10),
    ],
)
def test_crash_loop_back_off(backoff_s: float, ran_s: float, wait_s: float, next_s: float) -> None:
    dead = has(sandbox(), exited(at=100.0, after_s=ran_s, backoff_s=backoff_s))
    due = 100.0 + ran_s + wait_s
    if wait_s:
        assert plan(pod(), dead, now=due - 0.5) == Plan((), wake_at=due)
    assert plan(pod(), dead, now=due).actions == (StartContainer("c", 1, next_s),)


def test_a_side_car_comes_first_and_is_restarted_but_does_not_hold_up_the_end() -> None:
    of = pod({"initContainers": SIDECAR, "restartPolicy": "Never"})
    assert plan(of, has(sandbox())).actions == (StartContainer("side", 0, 0.0, init=True),)
    up = (sandbox(), running("side"))
    assert plan(of, has(*up)).actions == ()
    assert plan(of, has(*up), ("side0",)).actions == (StartContainer("c", 0, 0.0),)
    died = (sandbox(), exited("side", code=0), running())
    assert plan(of, has(*died)).actions == (StartContainer("side", 1, 10.0, init=True),)
    done = (sandbox(), running("side"), exited(code=0))
    assert plan(of, has(*done), ("side0",)).actions == (
        KillContainer("side0", "side", 30.0, stop("side")),
    )


@pytest.mark.parametrize(
    ("parts", "actions", "settled"),
    [
        pytest.param(
            [sandbox(), running()], [KillContainer("c0", "c", 7.0, stop("c"))], False, id="running"
        ),
        pytest.param([sandbox(), exited()], [StopSandbox("s0")], False, id="all have ended"),
        pytest.param([sandbox(ready=False), exited()], [], True, id="stopped"),
        pytest.param([], [], True, id="never started"),
    ],
)
def test_a_deleted_pod_is_stopped_and_kept(
    parts: list[Any], actions: list[Any], settled: bool
) -> None:
    made = plan(pod(metadata=DELETED), has(*parts))
    assert (list(made.actions), made.settled) == (actions, settled)


@pytest.mark.parametrize(
    ("parts", "actions", "settled"),
    [
        ([sandbox(), running()], [KillContainer("c0", "c", 30.0, stop("c"))], False),
        ([sandbox(), exited()], [StopSandbox("s0"), RemoveSandbox("s0")], False),
        ([exited()], [RemoveContainer("c0", "c", 0)], False),
        ([], [], True),
    ],
)
def test_a_pod_that_is_gone_is_removed(parts: list[Any], actions: list[Any], settled: bool) -> None:
    made = plan(None, has(*parts))
    assert (list(made.actions), made.settled) == (actions, settled)


def test_the_deadline_ends_a_pod() -> None:
    status = {"startTime": "1970-01-01T00:01:40Z"}
    of = pod({"activeDeadlineSeconds": 60}, status=status)
    assert plan(of, has(sandbox(), running()), now=159.0) == Plan((), wake_at=160.0)
    killed = plan(of, has(sandbox(), running()), now=160.0)
    assert killed.actions == (KillContainer("c0", "c", 30.0, stop("c")),)


def test_a_rejected_pod_starts_nothing() -> None:
    assert plan(pod(), has(), rejection=Rejection("OutOfpods", "full")).settled


def test_a_failure_is_waited_out_by_its_container_alone() -> None:
    failures = {"a": Failure("ErrImagePull", "no", retry_at=250.0)}
    made = plan(pod({"containers": TWO}), has(sandbox()), failures=failures)
    assert made == Plan((StartContainer("b", 0, 0.0),), wake_at=250.0)


def test_an_unhealthy_container_is_killed() -> None:
    made = plan(pod(), has(sandbox(), running()), unhealthy={"c0": "failed"})
    assert made.actions == (KillContainer("c0", "c", 30.0, "failed"),)


def test_a_container_that_the_runtime_has_lost_counts_on() -> None:
    status = {"containerStatuses": [{"name": "c", "restartCount": 4, "containerID": "x://1"}]}
    assert plan(pod(status=status), has(sandbox())).actions == (StartContainer("c", 5, 0.0),)


# -- a random walk ----------------------------------------------------------------------------


class Node:
    """The simplest runtime that can be: performs plans, and checks each action."""

    def __init__(self, of: Pod) -> None:
        self.pod: Pod | None = of
        self.spec = of.spec
        self.now = 1000.0
        self.sandboxes: dict[str, Sandbox] = {}
        self.containers: dict[str, ContainerRecord] = {}
        self.attempts: dict[str, int] = {}

    @property
    def runtime(self) -> RuntimePod:
        return has(*self.sandboxes.values(), *self.containers.values())

    @property
    def started(self) -> frozenset[str]:
        return frozenset(self.containers)

    def settle(self) -> Plan:
        """Perform plans until there is nothing to do now."""
        for _ in range(60):
            snapshot = Snapshot(self.pod, self.runtime, self.now, started=self.started)
            made = sync_pod(snapshot)
            assert made == sync_pod(snapshot)
            if not made.actions:
                return made
            for action in made.actions:
                self.perform(action)
        raise AssertionError("no end of actions")

    def perform(self, action: Action) -> None:
        match action:
            case RunSandbox(attempt):
                assert not any(s.ready for s in self.sandboxes.values())
                assert all(s.attempt < attempt for s in self.sandboxes.values())
                self.sandboxes[f"s{attempt}"] = Sandbox(
                    f"s{attempt}", REF, attempt, True, self.now, "10.0.0.9"
                )
            case StopSandbox(name):
                self.sandboxes[name] = dataclasses.replace(self.sandboxes[name], ready=False, ip="")
            case RemoveSandbox(name):
                del self.sandboxes[name]
                self.containers = {k: c for k, c in self.containers.items() if c.sandbox_id != name}
            case RemoveContainer(name):
                del self.containers[name]
            case KillContainer(name):
                self.end(name, 137)
            case StartContainer():
                self.start(action)
            case ResizeContainer():
                raise AssertionError("nobody has asked for other resources")

    def start(self, action: StartContainer) -> None:
        name = action.name
        assert self.pod is not None
        assert not self.pod.metadata.deleting
        assert action.attempt > self.attempts.get(name, -1)
        same = [c for c in self.containers.values() if c.name == name]
        assert not any(c.state is ContainerState.RUNNING for c in same)
        if same and self.spec.restart_policy == "Never" and not action.init:
            raise AssertionError("restarted, though the policy is Never")
        if not action.init:
            assert initialized(self.pod, self.runtime, self.started)
        home = self.runtime.sandbox
        assert home is not None
        assert home.ready
        self.attempts[name] = action.attempt
        record = running(name, action.attempt, home.attempt, self.now)
        self.containers[record.id] = dataclasses.replace(
            record, annotations={BACKOFF_ANNOTATION: f"{action.backoff_s:g}"}
        )

    def end(self, container_id: str, code: int) -> None:
        record = self.containers[container_id]
        if record.state is ContainerState.RUNNING:
            self.containers[container_id] = dataclasses.replace(
                record, state=ContainerState.EXITED, finished_at=self.now, exit_code=code
            )

    def live(self) -> list[str]:
        return sorted(k for k, c in self.containers.items() if c.state is ContainerState.RUNNING)


PODS = st.builds(
    lambda policy, apps, inits, side: pod(
        {
            "restartPolicy": policy,
            "containers": [{"name": f"a{i}", "image": "i:1"} for i in range(apps)],
            "initContainers": [
                *(SIDECAR if side else []),
                *({"name": f"i{i}", "image": "i:1"} for i in range(inits)),
            ],
        }
    ),
    st.sampled_from(["Always", "OnFailure", "Never"]),
    st.integers(1, 3),
    st.integers(0, 2),
    st.booleans(),
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("exit"), st.integers(0, 9), st.sampled_from([0, 1])),
        st.tuples(st.just("wait"), st.sampled_from([1, 30, 700]), st.just(0)),
        st.tuples(st.just("lose"), st.just(0), st.just(0)),
    ),
    max_size=12,
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(PODS, STEPS)
def test_a_random_life_keeps_its_promises(of: Pod, steps: list[tuple[str, int, int]]) -> None:
    node = Node(of)
    node.settle()
    for step, number, code in steps:
        if step == "exit" and (live := node.live()):
            node.end(live[number % len(live)], code)
        elif step == "lose" and (current := node.runtime.sandbox) is not None:
            for container_id in node.live():
                node.end(container_id, 255)
            node.sandboxes[current.id] = dataclasses.replace(current, ready=False, ip="")
        node.now += number if step == "wait" else 1
        node.settle()
    # However it was, time heals: with patience everything that shall run, runs.
    node.now += 1000
    node.settle()
    meta = msgspec.structs.replace(
        of.metadata, deletion_timestamp="2026-01-01T00:00:00Z", deletion_grace_period_seconds=0
    )
    node.pod = msgspec.structs.replace(of, metadata=meta)
    assert node.settle().settled
    assert not node.live()
    node.pod = None
    assert node.settle().settled
    assert not node.sandboxes
    assert not node.containers


@settings(max_examples=60)
@given(st.integers(1, 3), STEPS)
def test_always_means_always(apps: int, steps: list[tuple[str, int, int]]) -> None:
    of = pod({"containers": [{"name": f"a{i}", "image": "i:1"} for i in range(apps)]})
    node = Node(of)
    node.settle()
    for step, number, code in steps:
        if step == "exit" and (live := node.live()):
            node.end(live[number % len(live)], code)
        node.now += 1000
        node.settle()
        assert len(node.live()) == apps
