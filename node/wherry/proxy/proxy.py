"""The proxy component: keeps this host's rules as Services and EndpointSlices say.

    services, slices --informers--> portals --render--> rules --diff--> iptables-restore

A change costs one pass: only chains that differ from what was applied last are written.
Every `resync_s`, and after a failure, the rules are read back first, so that what others
changed or removed is repaired. Passes are at least `settle_s` apart, and as far apart as
the last one took: a thousand changes a second are a few passes a second.

Until both informers have listed, nothing is touched: the rules of this process's last life
stay in the kernel and go on working while every master is dead.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network
from random import Random

from wherry.api import kinds
from wherry.api.clock import Clock
from wherry.api.objects import EndpointSlice, Service
from wherry.client.api import Api
from wherry.client.backoff import Backoff
from wherry.client.informer import Informer
from wherry.host.iptables import Iptables
from wherry.host.netlink import HostEvents
from wherry.host.ruleset import Chain, Rule, after, diff
from wherry.host.thread import HostError
from wherry.proxy.conntrack import PROTOCOLS, Conntrack
from wherry.proxy.node_host import NodeHost
from wherry.proxy.portal import Portal, portals
from wherry.proxy.render import OWNED_CHAINS, Facts, render
from wherry.proxy.stale import stale_flows

log = logging.getLogger(__name__)
_SERVICE_CIDR = IPv4Network("10.96.0.0/12")


@dataclass(frozen=True, slots=True)
class ProxyConfig:
    """Flags of `wherry proxy`.

    Attributes:
        node: Our node's name.
        cluster_cidr: The pod network; traffic to cluster IPs from elsewhere is masqueraded.
        service_cidr: Where cluster IPs come from.
        cluster_dns: Addresses that the DNS process answers on this node itself.
        localnet: Node ports answer on 127.0.0.1 too.
        resync_s: How often rules are read back and repaired.
        settle_s: Least time between two passes.
    """

    node: str
    cluster_cidr: str = "10.244.0.0/16"
    service_cidr: IPv4Network = _SERVICE_CIDR
    cluster_dns: frozenset[str] = frozenset({"10.96.0.10"})
    localnet: bool = False
    resync_s: float = 30.0
    settle_s: float = 0.1


class Proxy:
    """One per node."""

    def __init__(
        self,
        config: ProxyConfig,
        api: Api,
        iptables: Iptables,
        conntrack: Conntrack,
        host: NodeHost,
        events: HostEvents,
        clock: Clock,
        rng: Random,
    ) -> None:
        self._config = config
        self._facts = Facts(config.cluster_cidr, config.localnet)
        self._iptables = iptables
        self._conntrack = conntrack
        self._host = host
        self._events = events
        self._clock = clock
        self._rng = rng
        self._services = Informer(api, kinds.SERVICE, Service, rng=rng)
        self._slices = Informer(api, kinds.ENDPOINT_SLICE, EndpointSlice, rng=rng)
        self._wake = asyncio.Event()
        self._applied: Mapping[Chain, Sequence[Rule]] | None = None
        self._cleaned_for: dict[str, Sequence[Portal]] = {}  # by protocol
        self._error = "rules not synced yet"
        for informer in (self._services, self._slices):
            informer.add_listener(self._changed)

    def not_ready(self) -> str | None:
        """Return why the rules may be out of date, None when they are not."""
        return self._error or None

    async def run(self) -> None:
        """Keep the rules current until cancelled; they stay when the proxy goes."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._services.run(), name="proxy-services")
            tasks.create_task(self._slices.run(), name="proxy-slices")
            tasks.create_task(self._watch_host(), name="proxy-host")
            tasks.create_task(self._loop(), name="proxy-sync")

    def _changed(self, _old: object, _new: object) -> None:
        self._wake.set()

    async def _watch_host(self) -> None:
        while True:
            await self._events.changed()
            try:
                await self._host.prepare(self._config.service_cidr, localnet=self._config.localnet)
            except HostError as error:
                log.warning("host not prepared: %s", error)
            await asyncio.sleep(self._config.settle_s)

    async def _loop(self) -> None:
        await self._services.synced.wait()
        await self._slices.synced.wait()
        backoff = Backoff(self._rng, first_s=1.0, most_s=self._config.resync_s)
        resync_at = self._clock.monotonic()
        while True:
            self._wake.clear()
            began = self._clock.monotonic()
            if began >= resync_at:
                self._applied = None
                resync_at = began + self._config.resync_s * (1 + 0.1 * self._rng.random())
            try:
                await self._sync()
                self._error = ""
                backoff.reset()
            except HostError as error:
                self._applied = None
                self._cleaned_for.clear()
                self._error = str(error)
                resync_at = self._clock.monotonic() + backoff.next_s()
                log.warning("rules not synced: %s", error)
            now = self._clock.monotonic()
            await asyncio.sleep(max(self._config.settle_s, now - began))
            await self._wait(resync_at - self._clock.monotonic())

    async def _wait(self, timeout_s: float) -> None:
        try:
            async with asyncio.timeout(max(0.0, timeout_s)):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _sync(self) -> None:
        wanted = portals(
            self._services.values(),
            self._slices.values(),
            node=self._config.node,
            skip=self._config.cluster_dns,
        )
        if self._applied is None:
            await self._host.prepare(self._config.service_cidr, localnet=self._config.localnet)
            self._applied = await self._iptables.save()
        actual, rules = self._applied, render(wanted, self._facts)
        inputs = diff(rules, actual, owned=OWNED_CHAINS)
        self._applied = None  # unknown until every input has been taken
        for text in inputs:
            await self._iptables.restore(text)
        self._applied = after(rules, actual, owned=OWNED_CHAINS)
        if inputs:
            log.debug("rules synced: %d portals, %d inputs", len(wanted), len(inputs))
        for protocol in PROTOCOLS:
            await self._forget_stale(protocol, [p for p in wanted if p.protocol == protocol])

    async def _forget_stale(self, protocol: str, wanted: Sequence[Portal]) -> None:
        """Delete entries that lead where no rule leads; after the rules, or they come back."""
        if wanted == self._cleaned_for.get(protocol):
            return
        stale = stale_flows(
            await self._conntrack.read(protocol),
            wanted,
            local_addresses=await self._host.local_addresses(),
            service_cidr=self._config.service_cidr,
        )
        if stale:
            log.info("deleting %d stale %s entries of conntrack", len(stale), protocol)
            await self._conntrack.delete(stale)
        self._cleaned_for[protocol] = wanted
