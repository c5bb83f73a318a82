"""What a run of probe results means: thresholds, and the words for it. Pure."""

from dataclasses import dataclass
from enum import StrEnum

from wherry.agent.views import Container, Pod, Probe


class ProbeKind(StrEnum):
    """Which question a probe answers."""

    LIVENESS = "Liveness"
    READINESS = "Readiness"
    STARTUP = "Startup"


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """One answer; the message is for the event when it is no."""

    success: bool
    message: str = ""


@dataclass(frozen=True, slots=True)
class ProbeCounter:
    """How often in a row the same answer came; thresholds decide when it counts."""

    success_threshold: int
    failure_threshold: int
    last: bool = False
    run: int = 0

    def step(self, success: bool) -> "tuple[ProbeCounter, bool | None]":  # noqa: FBT001
        """Count an answer; return the new counter and the verdict, None while undecided."""
        run = self.run + 1 if success == self.last else 1
        counter = ProbeCounter(self.success_threshold, self.failure_threshold, success, run)
        needed = self.success_threshold if success else self.failure_threshold
        return counter, success if run >= needed else None


def counter_of(probe: Probe) -> ProbeCounter:
    """Return a fresh counter for a probe."""
    return ProbeCounter(max(probe.success_threshold, 1), max(probe.failure_threshold, 1))


def probe_of(container: Container, kind: ProbeKind) -> Probe | None:
    """Return the container's probe of that kind."""
    match kind:
        case ProbeKind.LIVENESS:
            return container.liveness_probe
        case ProbeKind.READINESS:
            return container.readiness_probe
        case ProbeKind.STARTUP:
            return container.startup_probe


def port_number(port: int | str, container: Container) -> int | None:
    """Return the number of a port that is given by number or by name; None if it has none."""
    if isinstance(port, int):
        return port
    named = next((p.container_port for p in container.ports if p.name == port), None)
    if named is None and port.isdigit():
        return int(port)
    return named


def condemned(name: str, kind: ProbeKind) -> str:
    """Return the words with which a container is killed."""
    return f"Container {name} failed {kind.lower()} probe, will be restarted"


def all_probes(pod: Pod) -> list[tuple[Container, ProbeKind, Probe]]:
    """Return the probes of every container that may have some."""
    containers = (*(c for c in pod.spec.init_containers if c.sidecar), *pod.spec.containers)
    return [
        (container, kind, probe)
        for container in containers
        for kind in ProbeKind
        if (probe := probe_of(container, kind)) is not None
    ]
