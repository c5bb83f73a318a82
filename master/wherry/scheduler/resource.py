"""What pods ask for and what nodes have, in whole units.

cpu in millicores, memory and ephemeral-storage in bytes, everything else (GPUs, huge
pages) as a count by name.
Source of the sums: kubernetes `component-helpers/resource.PodRequests`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from wherry.api import quantity
from wherry.api.objects import Container, PodSpec

CPU: Final = "cpu"
MEMORY: Final = "memory"
EPHEMERAL: Final = "ephemeral-storage"
PODS: Final = "pods"
_NATIVE: Final = frozenset((CPU, MEMORY, EPHEMERAL, PODS))

DEFAULT_MILLICORES: Final = 100
DEFAULT_MEMORY_BYTES: Final = 200 * 1024 * 1024
"""What a container without requests counts for in *scores*, so that such pods spread too."""

Quantities = Mapping[str, str | int | float]


@dataclass(frozen=True, slots=True)
class Resources:
    """Amounts; `pods` is only of nodes."""

    cpu_millicores: int = 0
    memory_bytes: int = 0
    ephemeral_bytes: int = 0
    pods: int = 0
    extended: Mapping[str, int] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        """Tell whether nothing is asked for."""
        asked = self.cpu_millicores or self.memory_bytes or self.ephemeral_bytes
        return not asked and not self.extended


@lru_cache(maxsize=4096)
def amount(name: str, text: str) -> int:
    """Return a quantity in the unit of its resource; manifests repeat a few values for ever."""
    return quantity.cpu_millicores(text) if name == CPU else quantity.whole(text)


def resources_of(quantities: Quantities) -> Resources:
    """Read a list of quantities, such as a node's `.status.allocatable`."""
    return _resources({name: amount(name, str(value)) for name, value in quantities.items()})


def _resources(amounts: Mapping[str, int]) -> Resources:
    return Resources(
        amounts.get(CPU, 0),
        amounts.get(MEMORY, 0),
        amounts.get(EPHEMERAL, 0),
        amounts.get(PODS, 0),
        {k: v for k, v in amounts.items() if k not in _NATIVE and v},
    )


def requests_of(spec: PodSpec) -> Resources:
    """Return what a pod needs on a node: the most that runs at any one time, and its overhead.

    Containers and sidecars (init containers that restart always) run together; each other
    init container runs with the sidecars that started before it.
    """
    total: dict[str, int] = {}
    for container in spec.containers:
        _add(total, _requested(container))
    peak: dict[str, int] = {}
    sidecars: dict[str, int] = {}
    for container in spec.init_containers:
        asked = _requested(container)
        if container.restart_policy == "Always":
            _add(total, asked)
            _add(sidecars, asked)
            asked = dict(sidecars)
        else:
            _add(asked, sidecars)
        _raise(peak, asked)
    _raise(total, peak)
    _add(total, {name: amount(name, str(value)) for name, value in spec.overhead.items()})
    return _resources(total)


def _requested(container: Container) -> dict[str, int]:
    """Return a container's requests; a limit without a request is the request."""
    resources = container.resources
    if not resources.limits:
        return {name: amount(name, str(v)) for name, v in resources.requests.items()}
    merged = {**resources.limits, **resources.requests}
    return {name: amount(name, str(v)) for name, v in merged.items()}


def _add(total: dict[str, int], more: Mapping[str, int]) -> None:
    for name, value in more.items():
        total[name] = total.get(name, 0) + value


def _raise(total: dict[str, int], least: Mapping[str, int]) -> None:
    for name, value in least.items():
        total[name] = max(total.get(name, 0), value)


def scored_requests(spec: PodSpec) -> tuple[int, int]:
    """Return (millicores, bytes) for scoring, with defaults for containers that ask for nothing."""
    return (
        _with_default(spec.containers, CPU, DEFAULT_MILLICORES),
        _with_default(spec.containers, MEMORY, DEFAULT_MEMORY_BYTES),
    )


def _with_default(containers: Iterable[Container], name: str, default: int) -> int:
    return sum(_requested(container).get(name, default) for container in containers)
