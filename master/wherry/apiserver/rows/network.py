"""Rows of the network."""

from wherry.api import kinds
from wherry.apiserver.resource import STATUS, Resource, stored

ROWS: tuple[Resource, ...] = (
    stored(kinds.INGRESS, ("ing",), (), (STATUS,), prefix="/registry/ingress/"),
    stored(kinds.INGRESS_CLASS),
    stored(kinds.IP_ADDRESS, ("ip",)),
    stored(kinds.NETWORK_POLICY, ("netpol",)),
    stored(kinds.SERVICE_CIDR, (), (), (STATUS,)),
    stored(kinds.ENDPOINT_SLICE),
    stored(kinds.SUBNET_LEASE, prefix="/coreos.com/network/subnets/"),
    stored(kinds.NETWORK_CONFIG, prefix="/coreos.com/network/"),
)
