"""The holder of this node's subnet lease: takes one, renews it each hour, says it to the Node.

A node whose Node object was there once and is gone has been removed on purpose: its lease
is not taken again before the Node is back.
"""

import asyncio
import logging
from ipaddress import IPv4Network
from random import Random
from typing import Any

import msgspec

from wherry.api import kinds
from wherry.api.clock import Clock
from wherry.api.errors import (
    AlreadyExistsError,
    ConfigError,
    ConflictError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    StatusError,
    UnavailableError,
)
from wherry.api.objects import Meta, Node
from wherry.client.api import Api
from wherry.client.backoff import Backoff
from wherry.host.thread import HostError
from wherry.overlay.kernel import Kernel
from wherry.overlay.known import CONFIG_NAME, Memory, OverlayConfig, Views, network_of, wait
from wherry.overlay.lease import (
    LIFETIME_S,
    RENEW_AFTER_S,
    VXLAN,
    Exhausted,
    Keep,
    Network,
    SubnetLease,
    Take,
    allocate,
    expires_at,
    lease_object,
    renewal_due,
    subnet_of,
    vtep_mac,
)
from wherry.overlay.plan import Underlay

log = logging.getLogger(__name__)


class LeaseHolder:
    """Makes sure that the API server has our lease.

    Args:
        config: Who we are.
        api: Where leases are taken.
        kernel: Knows our address on the underlay.
        views: What the API server says.
        memory: Where that is kept.
        clock: When a lease is to be renewed.
        rng: Jitter.
    """

    def __init__(
        self,
        config: OverlayConfig,
        api: Api,
        kernel: Kernel,
        views: Views,
        memory: Memory,
        clock: Clock,
        rng: Random,
    ) -> None:
        self._config = config
        self._api = api
        self._kernel = kernel
        self._views = views
        self._memory = memory
        self._clock = clock
        self._rng = rng
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Something changed: look again."""
        self._wake.set()

    async def run(self) -> None:
        """Take the lease, and keep it, until cancelled."""
        await self._views.synced()
        backoff = Backoff(self._rng, first_s=0.5, most_s=30.0)
        while True:
            self._wake.clear()
            try:
                wait_s = await self._once()
                backoff.reset()
                await asyncio.sleep(self._config.settle_s)
            except (AlreadyExistsError, ConflictError, NotFoundError) as error:
                log.info("lease moved while we looked: %s", error)
                wait_s = backoff.next_s()
            except (StatusError, UnavailableError, HostError, ConfigError) as error:
                wait_s = backoff.next_s()
                log.warning("subnet lease: %s; again in %.1f s", error, wait_s)
            await wait(self._wake, wait_s)

    async def _once(self) -> float:
        """Make the lease what it should be; return seconds until it must be looked at again."""
        network = network_of(self._views.configs.get(CONFIG_NAME), self._config.backend)
        if network is None:
            log.warning("no NetworkConfig %r yet", CONFIG_NAME)
            return 30.0
        node = self._views.nodes.get(self._config.node)
        underlay = await self._kernel.underlay(self._config.interface, self._config.public_ip)
        own = self._own_lease(network)
        if own is None:
            if node is None and self._memory.known.node_uid:
                log.warning("node %s was removed; waiting for its return", self._config.node)
                return 30.0
            own = await self._acquire(network, node, underlay)
        else:
            own = await self._refresh(own, network, node, underlay)
        self._memory.remember(self._views, own, node)
        await self._publish(own, node)
        return max(1.0, expires_at(own) - LIFETIME_S + RENEW_AFTER_S - self._clock.now())

    def _own_lease(self, network: Network) -> SubnetLease | None:
        mine = sorted(
            (subnet, lease.metadata.name)
            for lease in self._views.leases.values()
            if lease.node == self._config.node
            and (subnet := subnet_of(lease)) is not None
            and network.leases(subnet)
        )
        return self._views.leases.get(mine[0][1]) if mine else None

    async def _acquire(
        self, network: Network, node: Node | None, underlay: Underlay
    ) -> SubnetLease:
        """Take a lease, looking at what the API server has now and not at a cache."""
        leases = await self._all_leases()
        public_ip = str(underlay.address.ip)
        choice = allocate(
            network,
            leases,
            node=self._config.node,
            public_ip=public_ip,
            preferred=self._preferred(node),
            nodes=await self._node_names(),
            now=self._clock.now(),
        )
        match choice:
            case Keep(lease):
                return await self._refresh(lease, network, node, underlay)
            case Exhausted(subnets):
                raise ConfigError(f"all {subnets} subnets of {network.cidr} are leased")
            case Take(subnet, reclaim):
                if reclaim is not None:
                    meta = reclaim.metadata
                    await self._api.delete(kinds.SUBNET_LEASE, meta.name, uid=meta.uid)
                wanted = self._lease_object(subnet, network, node, public_ip)
                raw = await self._api.create(kinds.SUBNET_LEASE, msgspec.json.encode(wanted))
                log.info("leased %s", subnet, extra={"node": self._config.node})
                return msgspec.json.decode(raw, type=SubnetLease)

    def _preferred(self, node: Node | None) -> list[IPv4Network]:
        """Return the subnets that pods of this node may have addresses of."""
        names = [self._memory.known.own.replace("-", "/"), node.spec.pod_cidr if node else ""]
        return [IPv4Network(name) for name in names if name]

    async def _all_leases(self) -> list[SubnetLease]:
        page = await self._api.list(kinds.SUBNET_LEASE)
        return [msgspec.json.decode(raw, type=SubnetLease) for raw in page.items]

    async def _node_names(self) -> set[str]:
        page = await self._api.list(kinds.NODE)
        return {msgspec.json.decode(raw, type=Meta).metadata.name for raw in page.items}

    def _lease_object(
        self, subnet: IPv4Network, network: Network, node: Node | None, public_ip: str
    ) -> dict[str, Any]:
        return lease_object(
            subnet,
            network,
            node=self._config.node,
            owner=node,
            public_ip=public_ip,
            now=self._clock.now(),
        )

    async def _refresh(
        self, own: SubnetLease, network: Network, node: Node | None, underlay: Underlay
    ) -> SubnetLease:
        """Renew the lease when an hour has passed, or at once where it says something wrong."""
        if not self._outdated(own, network, node, underlay):
            return own
        subnet = IPv4Network(own.metadata.name.replace("-", "/"))
        patch = self._lease_object(subnet, network, node, str(underlay.address.ip))
        patch["metadata"]["resourceVersion"] = own.metadata.resource_version
        raw = await self._api.patch(
            kinds.SUBNET_LEASE, own.metadata.name, msgspec.json.encode(patch)
        )
        log.debug("renewed %s", subnet)
        return msgspec.json.decode(raw, type=SubnetLease)

    def _outdated(
        self, own: SubnetLease, network: Network, node: Node | None, underlay: Underlay
    ) -> bool:
        address, backend = underlay.address.ip, network.backend
        owners = {ref.uid for ref in own.metadata.owner_references}
        return (
            renewal_due(own, self._clock.now())
            or own.public_ip != str(address)
            or own.backend_type != backend.type
            or (backend.type == VXLAN and own.backend_data.vtep_mac != vtep_mac(address))
            or (backend.type == VXLAN and own.backend_data.vni != backend.vni)
            or (node is not None and node.metadata.uid not in owners)
        )

    async def _publish(self, own: SubnetLease, node: Node | None) -> None:
        """Write the subnet into the Node, where people and controllers look for it."""
        cidr = own.metadata.name.replace("-", "/")
        if node is None or node.spec.pod_cidr == cidr:
            return
        patch = {"spec": {"podCIDR": cidr, "podCIDRs": [cidr]}}
        try:
            await self._api.patch(kinds.NODE, node.metadata.name, msgspec.json.encode(patch))
        except (NotFoundError, InvalidError, ForbiddenError) as error:
            # Somebody else decides about it here; the lease is what counts.
            log.warning("podCIDR of node %s not set: %s", node.metadata.name, error)
