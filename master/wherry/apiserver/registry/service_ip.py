"""The address of the kubernetes Service."""

import ipaddress


def first_address(cidr: str) -> str:
    """Return the first usable address of the Service range: Service default/kubernetes has it."""
    return str(ipaddress.ip_network(cidr)[1])
