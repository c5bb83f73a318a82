"""Typed views of API objects: frozen, compared by content, safe to share between tasks.

A view names just the fields that somebody decides on; `decode` skips the rest. Objects
themselves travel and are stored as JSON bytes, so a view is never written back: what is
sent is built as a dict or a patch. camelCase exists only here, through `rename`.

A package that needs other fields of a kind declares its own view in the same way.
"""

from wherry.api.objects.meta import (
    Condition,
    LabelSelector,
    LabelSelectorRequirement,
    Meta,
    ObjectMeta,
    ObjectReference,
    OwnerReference,
)
from wherry.api.objects.node import Lease, LeaseSpec, Node, NodeAddress, NodeSpec, NodeStatus
from wherry.api.objects.pod import (
    Affinity,
    Container,
    ContainerPort,
    ContainerState,
    ContainerStatus,
    NodeAffinity,
    NodeSelector,
    NodeSelectorTerm,
    Pod,
    PodIP,
    PodSpec,
    PodStatus,
    PreferredSchedulingTerm,
    ResourceRequirements,
)
from wherry.api.objects.service import (
    ClientIPConfig,
    Endpoint,
    EndpointConditions,
    EndpointPort,
    EndpointSlice,
    Service,
    ServicePort,
    ServiceSpec,
    SessionAffinityConfig,
)
from wherry.api.objects.taint import Taint, Toleration
from wherry.api.objects.view import Decoder, View, null_free

__all__ = [
    "Affinity",
    "ClientIPConfig",
    "Condition",
    "Container",
    "ContainerPort",
    "ContainerState",
    "ContainerStatus",
    "Decoder",
    "Endpoint",
    "EndpointConditions",
    "EndpointPort",
    "EndpointSlice",
    "LabelSelector",
    "LabelSelectorRequirement",
    "Lease",
    "LeaseSpec",
    "Meta",
    "Node",
    "NodeAddress",
    "NodeAffinity",
    "NodeSelector",
    "NodeSelectorTerm",
    "NodeSpec",
    "NodeStatus",
    "ObjectMeta",
    "ObjectReference",
    "OwnerReference",
    "Pod",
    "PodIP",
    "PodSpec",
    "PodStatus",
    "PreferredSchedulingTerm",
    "ResourceRequirements",
    "Service",
    "ServicePort",
    "ServiceSpec",
    "SessionAffinityConfig",
    "Taint",
    "Toleration",
    "View",
    "null_free",
]
