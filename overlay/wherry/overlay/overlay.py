r"""The overlay component: holds this node's lease, and keeps the host as the leases say.

    leases, config, node --informers--> what is wanted --plan--> kernel, iptables, CNI file
                        \--allocate--> own lease, renewed each hour

Two loops share one view of the world (`known.py`). `LeaseHolder` makes sure that the API server
has our lease; `_program` makes sure that the host has what the leases say: after every change,
when the kernel reports one, and every `resync_s`, reading the actual tables back each time. What
was known last is kept in a file: a host that boots while every master is dead programs itself
from it, and nothing is taken away until an API server has answered.
"""

import asyncio
import logging
from dataclasses import dataclass
from ipaddress import IPv4Network
from random import Random

from wherry.api.clock import Clock
from wherry.api.errors import ConfigError
from wherry.client.api import Api
from wherry.client.backoff import Backoff
from wherry.host.file import File
from wherry.host.iptables import Iptables
from wherry.host.netlink import HostEvents
from wherry.host.ruleset import diff as rule_diff
from wherry.host.thread import HostError
from wherry.overlay.diff import diff
from wherry.overlay.holder import LeaseHolder
from wherry.overlay.kernel import Kernel
from wherry.overlay.known import Memory, OverlayConfig, Views, network_of, wait
from wherry.overlay.plan import OWNED_CHAINS, Plan, plan

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class OverlayFiles:
    """`state`: our memory; `cni`: for containerd; `subnet_env`: for people and flannel's tools."""

    state: File
    cni: File
    subnet_env: File


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
        self._kernel = kernel
        self._iptables = iptables
        self._files = files
        self._events = events
        self._rng = rng
        self._applied: Plan | None = None
        self._refused: tuple[str, ...] = ()
        self._program_wake = asyncio.Event()
        self._views = Views(api, config.node, rng, self._changed)
        self._memory = Memory(files.state, self._program_wake.set)
        self._holder = LeaseHolder(config, api, kernel, self._views, self._memory, clock, rng)

    def not_ready(self) -> str | None:
        """Return why pods cannot be given addresses yet, None when they can."""
        return None if self._applied is not None else "no subnet lease programmed yet"

    async def run(self) -> None:
        """Hold the lease and keep the host programmed, until cancelled."""
        self._memory.recall()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._views.run(), name="overlay-views")
            tasks.create_task(self._holder.run(), name="overlay-hold")
            tasks.create_task(self._program(), name="overlay-program")
            tasks.create_task(self._watch_host(), name="overlay-host")

    def _changed(self) -> None:
        self._holder.wake()
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
            await wait(self._program_wake, wait_s)

    async def _program_once(self) -> bool:
        """Bring the host to what is known; return whether anything is known yet."""
        network = network_of(self._memory.known.config, self._config.backend)
        own = self._memory.known.own
        if network is None or not own:
            return False
        underlay = await self._kernel.underlay(self._config.interface, self._config.public_ip)
        wanted = plan(
            network,
            IPv4Network(own.replace("-", "/")),
            self._memory.leases(self._views),
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

    def _complain(self, refused: tuple[str, ...]) -> None:
        if refused != self._refused:
            for sentence in refused:
                log.error("%s", sentence)
            self._refused = refused


def _replace(file: File, data: bytes) -> None:
    if file.load() != data:
        file.save(data)
