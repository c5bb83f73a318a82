"""What a scheduler plugin is.

A plugin is a value with pure methods. "This node does not fit" is an answer, so it is
returned; an exception means that the plugin itself is broken. The extension points are
Kubernetes', in the form that is cheapest to call a hundred times a pod:

    PreFilter + Filter   pre_filter(pod, cluster) looks at the pod once and returns the
                         filter for each node; None if the plugin has nothing to say
    Score + Normalize    score(pod, nodes, cluster) ranks all remaining nodes in one call
    Reserve              reserve(pod, node) before, unreserve after a binding that failed
    Bind                 the effect (`wherry.scheduler.binder`)
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Flag, auto
from typing import Final, Protocol

from wherry.api.objects import Pod, Service
from wherry.scheduler.node_info import Group, NodeInfo, PodInfo

MAX_NODE_SCORE: Final = 100
"""Best normalised score; the worst is 0."""


class ClusterEvent(Flag):
    """What may make a pod schedulable that was not."""

    NODE_ADDED = auto()
    NODE_ALLOCATABLE = auto()
    NODE_LABEL = auto()
    NODE_TAINT = auto()
    POD_GONE = auto()
    POD_CHANGED = auto()


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a node cannot take a pod.

    A plugin may have several reasons at once (`Insufficient cpu`, `Insufficient memory`).
    `resolvable` is False when evicting other pods would not help, so that preemption can
    skip the node.
    """

    plugin: str
    reasons: tuple[str, ...]
    resolvable: bool = True


class Cluster(Protocol):
    """What plugins may ask beyond one node; it does not change during a decision."""

    @property
    def nodes(self) -> Sequence[NodeInfo]:
        """Every node."""
        ...

    def groups(self, namespace: str) -> Counter[Group]:
        """Return how many pods of each group are bound in a namespace."""
        ...

    def services(self, pod: Pod) -> Sequence[Service]:
        """Return the Services that select the pod."""
        ...


NodeFilter = Callable[[NodeInfo], Rejection | None]
"""Returns None when the node can take the pod."""


class FilterPlugin(Protocol):
    """Rules nodes out."""

    @property
    def name(self) -> str:
        """Name used in events and configuration."""
        ...

    @property
    def wakes(self) -> ClusterEvent:
        """Events after which a pod that this plugin rejected is worth another try."""
        ...

    def pre_filter(self, pod: PodInfo, cluster: Cluster) -> NodeFilter | None:
        """Prepare the filter for one pod; None skips the plugin."""
        ...


class ScorePlugin(Protocol):
    """Ranks the nodes that remain."""

    @property
    def name(self) -> str:
        """Name used in configuration."""
        ...

    def score(
        self, pod: PodInfo, nodes: Sequence[NodeInfo], cluster: Cluster
    ) -> Sequence[int] | None:
        """Return 0..MAX_NODE_SCORE for each of `nodes`, higher is better; None skips the plugin."""
        ...


class ReservePlugin(Protocol):
    """Keeps something for a pod from the decision until the binding."""

    @property
    def name(self) -> str:
        """Name used in events and configuration."""
        ...

    def reserve(self, pod: PodInfo, node: str) -> Rejection | None:
        """Reserve; a rejection calls the decision off."""
        ...

    def unreserve(self, pod: PodInfo, node: str) -> None:
        """Give back; called in any case after a failure, also where nothing was reserved."""
        ...


class BindPlugin(Protocol):
    """Makes a decision known."""

    async def bind(self, pod: PodInfo, node: str) -> None:
        """Bind the pod to the node.

        Raises:
            StatusError: the API server refused.
            UnavailableError: it may or may not have happened.
        """
        ...


@dataclass(frozen=True, slots=True)
class Profile:
    """The plugins of one scheduler, in order; weights multiply scores."""

    filters: Sequence[FilterPlugin]
    scores: Sequence[tuple[ScorePlugin, int]]
    reserves: Sequence[ReservePlugin] = ()

    def wakes(self, plugins: frozenset[str]) -> ClusterEvent:
        """Return the events that concern any of the plugins of those names."""
        events = ClusterEvent.POD_CHANGED
        for plugin in self.filters:
            if plugin.name in plugins:
                events |= plugin.wakes
        return events
