r"""The overlay component: holds this node's lease, and keeps the host as the leases say.

    leases, config, node --informers--> what is wanted --plan--> kernel, iptables, CNI file
                        \--allocate--> own lease, renewed each hour

Two loops share one view of the world. `_hold` makes sure that the API server has our lease;
`_program` makes sure that the host has what the leases say: after every change, when the
kernel reports one, and every `resync_s`, reading the actual tables back each time. What was
known last is kept in a file: a host that boots while every master is dead programs itself
from it, and nothing is taken away until an API server has answered.

A node whose Node object was there once and is gone has been removed on purpose: its lease
is not taken again before the Node is back.
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
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
from wherry.client.informer import Informer
from wherry.host.file import File
from wherry.host.iptables import Iptables
from wherry.host.netlink import HostEvents
from wherry.host.ruleset import diff as rule_diff
from wherry.host.thread import HostError
from wherry.overlay.diff import diff
from wherry.overlay.kernel import Kernel
from wherry.overlay.lease import (
    LIFETIME_S,
    RENEW_AFTER_S,
    VXLAN,
    Exhausted,
    Keep,
    Network,
    NetworkConfig,
    SubnetLease,
    Take,
    allocate,
    expires_at,
    lease_object,
    parse_network,
    renewal_due,
    subnet_of,
    vtep_mac,
)
from wherry.overlay.plan import OWNED_CHAINS, Plan, Underlay, plan

log = logging.getLogger(__name__)
CONFIG_NAME = "config"


@dataclass(frozen=True, slots=True)
class OverlayConfig:
    """Flags of `wherry overlay`.

    Attributes:
        node: Our node's name.
        interface: The underlay; "" for the one with `public_ip`, or of the default route.
        public_ip: Our address on the underlay; "" for the interface's first.
        backend: Overrides the network configuration's Backend.Type; must be the same everywhere.
        cni_data_dir: Where the CNI address plugin keeps what it gave out.
        resync_s: How often the host is read back and repaired.
        settle_s: Least time between two passes over the host.
    """

    node: str
    interface: str = ""
    public_ip: str = ""
    backend: str = ""
    cni_data_dir: str = "/var/lib/cni/networks"
    resync_s: float = 30.0
    settle_s: float = 0.5


@dataclass(frozen=True, slots=True)
class OverlayFiles:
    """`state`: our memory; `cni`: for containerd; `subnet_env`: for people and flannel's tools."""

    state: File
    cni: File
    subnet_env: File


class LastKnown(msgspec.Struct, frozen=True):
    """What is kept over restarts; `node_uid` is "" while the Node was never seen."""

    config: NetworkConfig | None = None
    own: str = ""
    node_uid: str = ""
    leases: list[SubnetLease] = []


class Overlay:
    """One per node."""

    def __init__(
        self,
        config: OverlayConfig,
        api: Api,
        kernel: Kernel,
        iptables: Iptables,
        files: OverlayFiles,
        events: HostEvents,
        clock: Clock,
        rng: Random,
    ) -> None:
        self._config = config
        self._api = api
        self._kernel = kernel
        self._iptables = iptables
        self._files = files
        self._events = events
        self._clock = clock
        self._rng = rng
        self._known = LastKnown()
        self._applied: Plan | None = None
        self._refused: tuple[str, ...] = ()
        self._hold_wake = asyncio.Event()
        self._program_wake = asyncio.Event()
        self._configs = Informer(
            api,
            kinds.NETWORK_CONFIG,
            NetworkConfig,
            fields=f"metadata.name={CONFIG_NAME}",
            rng=rng,
        )
        self._leases = Informer(api, kinds.SUBNET_LEASE, SubnetLease, rng=rng)
        self._nodes = Informer(
            api, kinds.NODE, Node, fields=f"metadata.name={config.node}", rng=rng
        )
        for informer in (self._configs, self._leases, self._nodes):
            informer.add_listener(self._changed)

    def not_ready(self) -> str | None:
        """Return why pods cannot be given addresses yet, None when they can."""
        return None if self._applied is not None else "no subnet lease programmed yet"

    async def run(self) -> None:
        """Hold the lease and keep the host programmed, until cancelled."""
        self._recall()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._configs.run(), name="overlay-config")
            tasks.create_task(self._leases.run(), name="overlay-leases")
            tasks.create_task(self._nodes.run(), name="overlay-node")
            tasks.create_task(self._hold(), name="overlay-hold")
            tasks.create_task(self._program(), name="overlay-program")
            tasks.create_task(self._watch_host(), name="overlay-host")

    def _changed(self, _old: object, _new: object) -> None:
        self._hold_wake.set()
        self._program_wake.set()

    # -- the lease ---------------------------------------------------------------

    async def _hold(self) -> None:
        for informer in (self._configs, self._leases, self._nodes):
            await informer.synced.wait()
        backoff = Backoff(self._rng, first_s=0.5, most_s=30.0)
        while True:
            self._hold_wake.clear()
            try:
                wait_s = await self._hold_once()
                backoff.reset()
                await asyncio.sleep(self._config.settle_s)
            except (AlreadyExistsError, ConflictError, NotFoundError) as error:
                log.info("lease moved while we looked: %s", error)
                wait_s = backoff.next_s()
            except (StatusError, UnavailableError, HostError, ConfigError) as error:
                wait_s = backoff.next_s()
                log.warning("subnet lease: %s; again in %.1f s", error, wait_s)
            await _wait(self._hold_wake, wait_s)

    async def _hold_once(self) -> float:
        """Make the lease what it should be; return seconds until it must be looked at again."""
        network = self._network(self._configs.get(CONFIG_NAME))
        if network is None:
            log.warning("no NetworkConfig %r yet", CONFIG_NAME)
            return 30.0
        node = self._nodes.get(self._config.node)
        underlay = await self._kernel.underlay(self._config.interface, self._config.public_ip)
        own = self._own_lease(network)
        if own is None:
            if node is None and self._known.node_uid:
                log.warning("node %s was removed; waiting for its return", self._config.node)
                return 30.0
            own = await self._acquire(network, node, underlay)
        else:
            own = await self._refresh(own, network, node, underlay)
        self._remember(own, node)
        await self._publish(own, node)
        return max(1.0, expires_at(own) - LIFETIME_S + RENEW_AFTER_S - self._clock.now())

    def _network(self, config: NetworkConfig | None) -> Network | None:
        if config is None:
            return None
        if self._config.backend:
            backend = msgspec.structs.replace(config.backend, type=self._config.backend)
            config = msgspec.structs.replace(config, backend=backend)
        return parse_network(config)

    def _own_lease(self, network: Network) -> SubnetLease | None:
        mine = sorted(
            (subnet, lease.metadata.name)
            for lease in self._leases.values()
            if lease.node == self._config.node
            and (subnet := subnet_of(lease)) is not None
            and network.leases(subnet)
        )
        return self._leases.get(mine[0][1]) if mine else None

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
        names = [self._known.own.replace("-", "/"), node.spec.pod_cidr if node else ""]
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

    # -- last known state --------------------------------------------------------

    def _recall(self) -> None:
        raw = self._files.state.load()
        if raw is None:
            return
        try:
            self._known = msgspec.json.decode(raw, type=LastKnown)
        except msgspec.DecodeError as error:
            log.warning("last known state cannot be read: %s", error)
            return
        log.info("recalled %d leases; ours is %s", len(self._known.leases), self._known.own)
        self._program_wake.set()

    def _remember(self, own: SubnetLease, node: Node | None) -> None:
        leases = {lease.metadata.name: lease for lease in self._leases.values()}
        leases[own.metadata.name] = own
        self._update_known(
            LastKnown(
                config=self._configs.get(CONFIG_NAME),
                own=own.metadata.name,
                node_uid=node.metadata.uid if node else self._known.node_uid,
                leases=[leases[name] for name in sorted(leases)],
            )
        )

    def _update_known(self, known: LastKnown) -> None:
        if known == self._known:
            return
        self._known = known
        self._files.state.save(msgspec.json.encode(known))
        self._program_wake.set()

    # -- the host ----------------------------------------------------------------

    async def _watch_host(self) -> None:
        while True:
            await self._events.changed()
            self._program_wake.set()

    async def _program(self) -> None:
        backoff = Backoff(self._rng, first_s=1.0, most_s=self._config.resync_s)
        while True:
            wait_s = self._config.resync_s
            self._program_wake.clear()
            try:
                if await self._program_once():
                    await asyncio.sleep(self._config.settle_s)
                backoff.reset()
            except (HostError, ConfigError) as error:
                wait_s = backoff.next_s()
                log.warning("host not programmed: %s; again in %.1f s", error, wait_s)
            await _wait(self._program_wake, wait_s)

    async def _program_once(self) -> bool:
        """Bring the host to what is known; return whether anything is known yet."""
        network = self._network(self._known.config)
        own = self._known.own
        if network is None or not own:
            return False
        underlay = await self._kernel.underlay(self._config.interface, self._config.public_ip)
        wanted = plan(
            network,
            IPv4Network(own.replace("-", "/")),
            self._current_leases().values(),
            underlay,
            cni_data_dir=self._config.cni_data_dir,
        )
        self._complain(wanted.refused)
        await self._kernel.prepare()
        if wanted.vxlan is not None:
            await self._kernel.ensure_vxlan(wanted.vxlan)
        else:
            await self._kernel.remove_vxlan(f"flannel.{network.backend.vni}")
        actual = await self._kernel.read(underlay, wanted.vxlan)
        ops = diff(wanted.tables, actual)
        if ops:
            log.info("kernel entries: %d changes", len(ops))
            await self._kernel.apply(ops, underlay, wanted.vxlan)
        await self._kernel.ensure_bridge(wanted.bridge)
        saved = await self._iptables.save()
        for text in rule_diff(wanted.rules, saved, owned=OWNED_CHAINS):
            await self._iptables.restore(text)
        _replace(self._files.subnet_env, wanted.subnet_env)
        _replace(self._files.cni, wanted.cni)
        self._applied = wanted
        return True

    def _current_leases(self) -> Mapping[str, SubnetLease]:
        """Return the leases as the API server last told them, else as they were remembered."""
        if not self._leases.synced.is_set():
            return {lease.metadata.name: lease for lease in self._known.leases}
        return self._leases.items

    def _complain(self, refused: tuple[str, ...]) -> None:
        if refused != self._refused:
            for sentence in refused:
                log.error("%s", sentence)
            self._refused = refused


def _replace(file: File, data: bytes) -> None:
    if file.load() != data:
        file.save(data)


async def _wait(event: asyncio.Event, timeout_s: float) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        return
