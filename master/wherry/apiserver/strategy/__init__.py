"""Strategies: what is special about each kind. Pure; see `base.Strategy`."""

from wherry.api import kinds
from wherry.api.kinds import Kind
from wherry.apiserver.strategy.base import Strategy
from wherry.apiserver.strategy.certificate import CertificateSigningRequestStrategy
from wherry.apiserver.strategy.cluster import (
    EventStrategy,
    LeaseStrategy,
    NetworkConfigStrategy,
    SubnetLeaseStrategy,
)
from wherry.apiserver.strategy.config import ConfigMapStrategy, SecretStrategy
from wherry.apiserver.strategy.endpoints import EndpointSliceStrategy, EndpointsStrategy
from wherry.apiserver.strategy.namespace import NamespaceStrategy
from wherry.apiserver.strategy.node import NodeStrategy
from wherry.apiserver.strategy.pod import PodStrategy
from wherry.apiserver.strategy.service import ServiceStrategy
from wherry.apiserver.strategy.workload import (
    DeploymentStrategy,
    ReplicaSetStrategy,
    ReplicationControllerStrategy,
)

_PLAIN = Strategy()
STRATEGIES: dict[Kind, Strategy] = {
    kinds.NAMESPACE: NamespaceStrategy(),
    kinds.NODE: NodeStrategy(),
    kinds.POD: PodStrategy(),
    kinds.SERVICE: ServiceStrategy(),
    kinds.ENDPOINTS: EndpointsStrategy(),
    kinds.CONFIG_MAP: ConfigMapStrategy(),
    kinds.SECRET: SecretStrategy(),
    kinds.EVENT: EventStrategy(),
    kinds.REPLICATION_CONTROLLER: ReplicationControllerStrategy(),
    kinds.REPLICA_SET: ReplicaSetStrategy(),
    kinds.DEPLOYMENT: DeploymentStrategy(),
    kinds.ENDPOINT_SLICE: EndpointSliceStrategy(),
    kinds.CERTIFICATE_SIGNING_REQUEST: CertificateSigningRequestStrategy(),
    kinds.LEASE: LeaseStrategy(),
    kinds.SUBNET_LEASE: SubnetLeaseStrategy(),
    kinds.NETWORK_CONFIG: NetworkConfigStrategy(),
}


def strategy_for(kind: Kind) -> Strategy:
    """Return the strategy of a kind; ServiceAccounts have no rules of their own."""
    return STRATEGIES.get(kind, _PLAIN)
