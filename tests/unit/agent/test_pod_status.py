"""render_status: what is said of a pod."""

from typing import Any

import msgspec
import pytest
from agent_objects import exited, has, pod, running, sandbox

from wherry.agent.plan import Failure, Rejection, Snapshot
from wherry.agent.runtime import RuntimePod
from wherry.agent.status import Observed, render_status
from wherry.agent.views import Pod, PodStatus

NOW = 1_790_000_000.0
INIT = [{"name": "i", "image": "i:1"}]


def status(of: Pod, runtime: RuntimePod, **more: Any) -> dict[str, Any]:
    seen = {k: more.pop(k) for k in ("ready", "settled", "messages") if k in more}
    started = frozenset(more.pop("started", [c.id for c in runtime.containers]))
    seen.setdefault("ready", started)
    snapshot = Snapshot(of, runtime, more.pop("now", NOW), started=started, **more)
    observed = Observed("192.0.2.1", "containerd", **{**seen, "ready": frozenset(seen["ready"])})
    return render_status(of, snapshot, observed)


def state(rendered: dict[str, Any], index: int = 0) -> tuple[str, str]:
    ((kind, detail),) = rendered["containerStatuses"][index]["state"].items()
    return kind, detail.get("reason", "")


def conditions(rendered: dict[str, Any]) -> dict[str, str]:
    return {c["type"]: c["status"] + c.get("reason", "") for c in rendered["conditions"]}


RECENT = NOW - 2
CASES = [
    pytest.param({}, [], "Pending", ("waiting", "ContainerCreating"), id="nothing yet"),
    pytest.param({}, [sandbox()], "Pending", ("waiting", "ContainerCreating"), id="sandbox"),
    pytest.param({}, [sandbox(), running()], "Running", ("running", ""), id="running"),
    pytest.param(
        {"initContainers": INIT},
        [sandbox(), running("i")],
        "Pending",
        ("waiting", "PodInitializing"),
        id="initializing",
    ),
    pytest.param(
        {},
        [sandbox(), exited(at=RECENT, backoff_s=20)],
        "Running",
        ("waiting", "CrashLoopBackOff"),
        id="crash loop",
    ),
    pytest.param(
        {}, [sandbox(), exited()], "Running", ("terminated", "Error"), id="restart is due"
    ),
    pytest.param(
        {"restartPolicy": "OnFailure"},
        [sandbox(), exited(code=0)],
        "Running",
        ("terminated", "Completed"),
        id="done, the sandbox is still there",
    ),
    pytest.param(
        {"restartPolicy": "Never"},
        [sandbox(), exited(code=137, reason="OOMKilled")],
        "Running",
        ("terminated", "OOMKilled"),
        id="out of memory",
    ),
]


@pytest.mark.parametrize(("spec", "parts", "phase", "first"), CASES)
def test_phase_and_state(
    spec: dict[str, Any], parts: list[Any], phase: str, first: tuple[str, str]
) -> None:
    rendered = status(pod(spec), has(*parts))
    assert (rendered["phase"], state(rendered)) == (phase, first)


@pytest.mark.parametrize(
    ("policy", "code", "phase"),
    [("Never", 0, "Succeeded"), ("Never", 1, "Failed"), ("OnFailure", 0, "Succeeded")],
)
def test_the_end(policy: str, code: int, phase: str) -> None:
    rendered = status(
        pod({"restartPolicy": policy}), has(sandbox(ready=False), exited(code=code)), settled=True
    )
    assert rendered["phase"] == phase
    reason = "PodCompleted" if code == 0 else "PodFailed"
    assert conditions(rendered)["Ready"] == f"False{reason}"


def test_a_running_pod_in_full() -> None:
    rendered = status(pod(), has(sandbox(), running(attempt=1, at=NOW), exited(code=3)))
    assert rendered["podIP"] == "10.0.0.9"
    assert rendered["podIPs"] == [{"ip": "10.0.0.9"}]
    assert rendered["hostIP"] == "192.0.2.1"
    assert rendered["startTime"] == "2026-09-21T14:13:20Z"
    assert set(conditions(rendered).values()) == {"True"}
    (container,) = rendered["containerStatuses"]
    assert container == {
        "name": "c",
        "state": {"running": {"startedAt": "2026-09-21T14:13:20Z"}},
        "lastState": {
            "terminated": {
                "exitCode": 3,
                "reason": "Error",
                "startedAt": "1970-01-01T00:01:40Z",
                "finishedAt": "1970-01-01T00:01:41Z",
                "containerID": "containerd://c0",
            }
        },
        "ready": True,
        "started": True,
        "restartCount": 1,
        "image": "docker.io/library/i:1",
        "imageID": "sha256:1",
        "containerID": "containerd://c1",
    }


def test_crash_loop_message() -> None:
    rendered = status(pod(), has(sandbox(), exited(at=RECENT, backoff_s=160)))
    waiting = rendered["containerStatuses"][0]["state"]["waiting"]
    assert waiting["message"] == "back-off 2m40s restarting failed container=c pod=p_ns(u)"
    assert "terminated" in rendered["containerStatuses"][0]["lastState"]


def test_a_failure_to_start_is_what_the_container_waits_for() -> None:
    failures = {"c": Failure("ErrImagePull", "rpc error", NOW + 10)}
    rendered = status(pod(), has(sandbox()), failures=failures)
    assert rendered["containerStatuses"][0]["state"] == {
        "waiting": {"reason": "ErrImagePull", "message": "rpc error"}
    }
    assert rendered["phase"] == "Pending"


def test_unready_containers_are_named() -> None:
    of = pod({"containers": [{"name": "a", "image": "i:1"}, {"name": "b", "image": "i:1"}]})
    rendered = status(of, has(sandbox(), running("a"), running("b")), ready=["a0"])
    (ready,) = [c for c in rendered["conditions"] if c["type"] == "Ready"]
    assert ready["reason"] == "ContainersNotReady"
    assert ready["message"] == "containers with unready status: [b]"


def test_incomplete_init_containers_are_named() -> None:
    rendered = status(pod({"initContainers": INIT}), has(sandbox(), running("i")))
    (first, *_) = [c for c in rendered["conditions"] if c["type"] == "Initialized"]
    assert first["message"] == "containers with incomplete status: [i]"


@pytest.mark.parametrize(
    ("given", "value"), [([], "False"), ([{"type": "gate", "status": "True"}], "True")]
)
def test_readiness_gates_hold_ready_back(given: list[Any], value: str) -> None:
    of = pod({"readinessGates": [{"conditionType": "gate"}]}, status={"conditions": given})
    rendered = status(of, has(sandbox(), running()))
    assert conditions(rendered)["Ready"].startswith(value)
    assert conditions(rendered)["ContainersReady"] == "True"
    assert ("gate" in conditions(rendered)) is bool(given)


def test_times_of_conditions_stay_while_their_value_does() -> None:
    runtime = has(sandbox(), running())
    first = status(pod(), runtime)
    of = msgspec.structs.replace(pod(), status=msgspec.convert(first, PodStatus))
    assert status(of, runtime, now=NOW + 500) == first
    later = status(of, runtime, now=NOW + 500, ready=[])
    times = {c["type"]: c["lastTransitionTime"] for c in later["conditions"]}
    assert times["Ready"] == "2026-09-21T14:21:40Z"
    assert times["Initialized"] == "2026-09-21T14:13:20Z"


def test_a_rejected_pod_says_why() -> None:
    rendered = status(
        pod(), has(), rejection=Rejection("OutOfpods", "full"), settled=True, started=[]
    )
    assert (rendered["phase"], rendered["reason"], rendered["message"]) == (
        "Failed",
        "OutOfpods",
        "full",
    )


def test_what_was_never_found_does_not_wait_for_ever() -> None:
    of = pod(metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"})
    rendered = status(of, has(), settled=True)
    assert state(rendered) == ("terminated", "ContainerStatusUnknown")


def test_an_end_is_an_end() -> None:
    of = pod(status={"phase": "Failed", "reason": "Evicted", "message": "m"})
    rendered = status(of, has(), settled=True)
    assert (rendered["phase"], rendered["reason"]) == ("Failed", "Evicted")


def test_last_words() -> None:
    rendered = status(
        pod({"restartPolicy": "Never"}), has(sandbox(), exited()), messages={"c0": "bye"}
    )
    assert rendered["containerStatuses"][0]["state"]["terminated"]["message"] == "bye"
