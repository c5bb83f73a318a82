"""Nodes, and the leases that they and leaders renew."""

import msgspec

from wherry.api.objects.meta import Condition, ObjectMeta
from wherry.api.objects.taint import Taint
from wherry.api.objects.view import View


class NodeSpec(View, frozen=True, kw_only=True):
    """`.spec` of a Node."""

    pod_cidr: str = msgspec.field(name="podCIDR", default="")
    unschedulable: bool = False
    taints: list[Taint] = []
    provider_id: str = msgspec.field(name="providerID", default="")


class NodeAddress(View, frozen=True, kw_only=True):
    """Entry of `.status.addresses`."""

    type: str = ""
    address: str = ""


class NodeStatus(View, frozen=True, kw_only=True):
    """`.status` of a Node."""

    capacity: dict[str, str] = {}
    allocatable: dict[str, str] = {}
    conditions: list[Condition] = []
    addresses: list[NodeAddress] = []


class Node(View, frozen=True, kw_only=True):
    """A Node as scheduler, controllers, overlay and proxy see it."""

    metadata: ObjectMeta = ObjectMeta()
    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()

    @property
    def internal_ip(self) -> str:
        """Return the first InternalIP, "" where none is known yet."""
        return next((a.address for a in self.status.addresses if a.type == "InternalIP"), "")


class LeaseSpec(View, frozen=True, kw_only=True):
    """`.spec` of a coordination Lease."""

    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    acquire_time: str | None = None
    renew_time: str | None = None
    lease_transitions: int | None = None


class Lease(View, frozen=True, kw_only=True):
    """A coordination Lease: a node's heartbeat, or a leader's claim."""

    metadata: ObjectMeta = ObjectMeta()
    spec: LeaseSpec = LeaseSpec()
