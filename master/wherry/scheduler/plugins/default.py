"""The default profile: upstream's order and weights, as far as the plugins exist here."""

from typing import Final

from wherry.scheduler.framework import Profile
from wherry.scheduler.plugins.node_affinity import NodeAffinity
from wherry.scheduler.plugins.node_name import NodeName, NodeUnschedulable
from wherry.scheduler.plugins.node_ports import NodePorts
from wherry.scheduler.plugins.node_resources import (
    NodeResourcesBalancedAllocation,
    NodeResourcesFit,
)
from wherry.scheduler.plugins.selector_spread import SelectorSpread
from wherry.scheduler.plugins.taint_toleration import TaintToleration

DEFAULT_PROFILE: Final = Profile(
    filters=(
        NodeUnschedulable(),
        NodeName(),
        TaintToleration(),
        NodeAffinity(),
        NodePorts(),
        NodeResourcesFit(),
    ),
    scores=(
        (TaintToleration(), 3),
        (NodeAffinity(), 2),
        (SelectorSpread(), 3),
        (NodeResourcesFit(), 1),
        (NodeResourcesBalancedAllocation(), 1),
    ),
)
