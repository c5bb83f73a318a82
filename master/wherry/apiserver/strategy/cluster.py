"""Lease, and our own SubnetLease and NetworkConfig."""

import ipaddress
import re
from collections.abc import Sequence

from wherry.api.errors import Cause
from wherry.apiserver.strategy import fields
from wherry.apiserver.strategy.base import Object, Strategy
from wherry.apiserver.strategy.formats import is_ipv4

_SUBNET_NAME = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,3}){3})-([0-9]{1,2})")
_BACKENDS = ("host-gw", "vxlan")


class LeaseStrategy(Strategy):
    """A heartbeat, or a leader's claim. Needs a resourceVersion: claims must not overwrite claims."""

    create_on_update = True
    unconditional_update = False

    def validate(self, obj: Object) -> list[Cause]:
        """Check the numbers."""
        spec = obj.get("spec", {})
        wrong: list[Cause] = []
        duration = spec.get("leaseDurationSeconds")
        if duration is not None and duration <= 0:
            wrong.append(
                fields.invalid("spec.leaseDurationSeconds", duration, "must be greater than 0")
            )
        transitions = spec.get("leaseTransitions")
        if transitions is not None and transitions < 0:
            wrong.append(
                fields.invalid(
                    "spec.leaseTransitions", transitions, "must be greater than or equal to 0"
                )
            )
        return wrong


class SubnetLeaseStrategy(Strategy):
    """A node's pod subnet. Two nodes cannot have one: the subnet is the name."""

    unconditional_update = False

    def check_name(self, name: str) -> Sequence[str]:
        """Be the subnet, as flannel writes it in its keys."""
        found = _SUBNET_NAME.fullmatch(name)
        if found:
            try:
                ipaddress.IPv4Network(f"{found[1]}/{found[2]}")
            except ValueError:
                found = None
        if found:
            return ()
        return [
            "must be an IPv4 subnet with '-' for '/' and no host bits set (e.g. '10.244.1.0-24')"
        ]

    def validate(self, obj: Object) -> list[Cause]:
        """Check the node's address and backend."""
        wrong: list[Cause] = []
        address = obj.get("PublicIP", "")
        if not address:
            wrong.append(fields.required("PublicIP"))
        elif not is_ipv4(address):
            wrong.append(fields.invalid("PublicIP", address, "must be an IPv4 address"))
        backend = obj.get("BackendType", "vxlan")
        if backend not in _BACKENDS:
            wrong.append(fields.unsupported("BackendType", backend, _BACKENDS))
        return wrong


class NetworkConfigStrategy(Strategy):
    """flannel's net-conf.json. There is one: `config`."""

    def check_name(self, name: str) -> Sequence[str]:
        """Be `config`: the key is /coreos.com/network/config."""
        return () if name == "config" else ["must be 'config': a cluster has one network"]

    def default(self, obj: Object) -> None:
        """Fill in flannel's defaults."""
        obj.setdefault("SubnetLen", 24)
        backend = obj.setdefault("Backend", {"Type": "vxlan"})
        backend.setdefault("Type", "vxlan")
        if backend["Type"] == "vxlan":
            backend.setdefault("VNI", 1)
            backend.setdefault("Port", 8472)

    def validate(self, obj: Object) -> list[Cause]:
        """Check range, subnet length and backend."""
        wrong: list[Cause] = []
        network = obj.get("Network", "")
        try:
            prefix = ipaddress.IPv4Network(network).prefixlen if network else None
        except ValueError:
            prefix = None
            wrong.append(fields.invalid("Network", network, "must be an IPv4 network in CIDR form"))
        if not network:
            wrong.append(fields.required("Network"))
        length = obj["SubnetLen"]
        if prefix is not None and not prefix < length <= 30:
            detail = f"must be larger than the network's {prefix} and at most 30"
            wrong.append(fields.invalid("SubnetLen", length, detail))
        backend = obj["Backend"]["Type"]
        if backend not in _BACKENDS:
            wrong.append(fields.unsupported("Backend.Type", backend, _BACKENDS))
        return wrong
