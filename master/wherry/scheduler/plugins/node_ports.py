"""NodePorts: host ports are taken once."""

from dataclasses import dataclass

from wherry.scheduler.framework import Cluster, ClusterEvent, NodeFilter, Rejection
from wherry.scheduler.node_info import HostPort, NodeInfo, PodInfo


@dataclass(frozen=True, slots=True)
class NodePorts:
    """Filter on `hostPort`, and on all ports of pods in the host's network."""

    name: str = "NodePorts"
    wakes: ClusterEvent = ClusterEvent.NODE_ADDED | ClusterEvent.POD_GONE

    def pre_filter(self, pod: PodInfo, cluster: Cluster) -> NodeFilter | None:  # noqa: ARG002
        """Reject nodes on which one of the ports is taken."""
        wanted = pod.ports
        if not wanted:
            return None
        reason = ("node(s) didn't have free ports for the requested pod ports",)
        rejection = Rejection(self.name, reason)

        def fits(info: NodeInfo) -> Rejection | None:
            taken = any(_conflicts(port, info) for port in wanted)
            return rejection if taken else None

        return fits


def _conflicts(port: HostPort, info: NodeInfo) -> bool:
    """Tell whether the port is taken at its address; every address conflicts with each one."""
    if port.address:
        return port in info.ports or port._replace(address="") in info.ports
    return any((p.protocol, p.port) == (port.protocol, port.port) for p in info.ports)
