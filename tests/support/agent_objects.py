"""Short ways to write pods and what a runtime has of them, for tests of the agent."""

import dataclasses
from typing import Any

import msgspec

from wherry.agent.runtime import ContainerRecord, ContainerState, RuntimePod, Sandbox, runtime_pod
from wherry.agent.runtime_config import BACKOFF_ANNOTATION, PodRef
from wherry.agent.views import Pod

REF = PodRef("ns", "p", "u")


def phase(pod: dict[str, Any]) -> str:
    return str(pod.get("status", {}).get("phase", ""))


def ready(pod: dict[str, Any]) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def pod(spec: dict[str, Any] | None = None, **top: Any) -> Pod:
    """A pod `ns/p` (uid u) of one container `c`, unless `spec` says otherwise."""
    body = {
        "metadata": {"name": "p", "namespace": "ns", "uid": "u", **top.pop("metadata", {})},
        "spec": {"containers": [{"name": "c", "image": "i:1"}], **(spec or {})},
        **top,
    }
    return msgspec.convert(body, Pod)


def sandbox(attempt: int = 0, *, ready: bool = True) -> Sandbox:
    return Sandbox(f"s{attempt}", REF, attempt, ready, 100.0 + attempt, "10.0.0.9" if ready else "")


def running(name: str = "c", attempt: int = 0, home: int = 0, at: float = 100.0) -> ContainerRecord:
    return ContainerRecord(
        id=f"{name}{attempt}",
        sandbox_id=f"s{home}",
        name=name,
        attempt=attempt,
        state=ContainerState.RUNNING,
        image="docker.io/library/i:1",
        image_ref="sha256:1",
        created_at=at,
        started_at=at,
    )


def exited(
    name: str = "c",
    attempt: int = 0,
    home: int = 0,
    *,
    code: int = 1,
    at: float = 100.0,
    after_s: float = 1.0,
    backoff_s: float = 0.0,
    reason: str = "",
) -> ContainerRecord:
    return dataclasses.replace(
        running(name, attempt, home, at),
        state=ContainerState.EXITED,
        finished_at=at + after_s,
        exit_code=code,
        reason=reason,
        annotations={BACKOFF_ANNOTATION: f"{backoff_s:g}"},
    )


def has(*parts: Sandbox | ContainerRecord) -> RuntimePod:
    """What the runtime has."""
    return runtime_pod(
        REF,
        [p for p in parts if isinstance(p, Sandbox)],
        [p for p in parts if isinstance(p, ContainerRecord)],
    )
