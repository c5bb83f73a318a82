"""Which /24 of 172.30.0.0/16 a lab's underlay takes. Pure.

Labs stand side by side and share the root namespace's routing table, so each needs a
range that no route of the machine covers. A lab asks for the range its name hashes to,
so that it gets the same addresses every time, and takes the next free one otherwise.
"""

import zlib
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network
from typing import Final

from lablib.errors import LabError

POOL: Final = IPv4Network("172.30.0.0/16")
DEFAULT_ROUTE: Final = IPv4Network("0.0.0.0/0")

ROOT_HOST: Final = 1
REGISTRY_HOST: Final = 2
FIRST_MASTER_HOST: Final = 11
FIRST_NODE_HOST: Final = 101


def choose(lab: str, taken: Iterable[IPv4Network]) -> IPv4Network:
    """Return the range for `lab` that overlaps none of `taken` (the default route aside).

    Raises:
        LabError: every range of the pool is covered by a route.
    """
    routes = [network for network in taken if network != DEFAULT_ROUTE]
    ranges = list(POOL.subnets(new_prefix=24))
    first = zlib.crc32(lab.encode()) % len(ranges)
    for candidate in ranges[first:] + ranges[:first]:
        if not any(candidate.overlaps(route) for route in routes):
            return candidate
    raise LabError(
        f"no free /24 in {POOL}: routes of this machine cover it",
        "see `ip route`; `scripts/lab down --name NAME` frees the range of another lab",
    )


def address(network: IPv4Network, host: int) -> IPv4Address:
    """The `host`th address of a lab's range."""
    return network[host]
