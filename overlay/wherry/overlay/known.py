"""What a node knows of the overlay: what the API server tells, and what is remembered of it."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

import msgspec

from wherry.api import kinds
from wherry.api.objects import Node
from wherry.client.api import Api
from wherry.client.informer import Informer
from wherry.host.file import File
from wherry.host.thread import HostError
from wherry.overlay.lease import Network, NetworkConfig, SubnetLease, parse_network

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


class Views:
    """The informers of one node's overlay; `changed` is called after each change of any."""

    def __init__(self, api: Api, node: str, rng: Random, changed: Callable[[], None]) -> None:
        self.configs = Informer(
            api,
            kinds.NETWORK_CONFIG,
            NetworkConfig,
            fields=f"metadata.name={CONFIG_NAME}",
            rng=rng,
        )
        self.leases = Informer(api, kinds.SUBNET_LEASE, SubnetLease, rng=rng)
        self.nodes = Informer(api, kinds.NODE, Node, fields=f"metadata.name={node}", rng=rng)
        self._all = (self.configs, self.leases, self.nodes)
        for informer in self._all:
            informer.add_listener(lambda _old, _new: changed())

    async def run(self) -> None:
        """Follow the API server until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for informer in self._all:
                tasks.create_task(informer.run(), name=f"overlay-{informer.kind.plural}")

    async def synced(self) -> None:
        """Wait until an API server has answered."""
        for informer in self._all:
            await informer.synced.wait()


class LastKnown(msgspec.Struct, frozen=True):
    """What is kept over restarts; `node_uid` is "" while the Node was never seen."""

    config: NetworkConfig | None = None
    own: str = ""
    node_uid: str = ""
    leases: list[SubnetLease] = []


class Memory:
    """What was known last, kept in a file over restarts: a host boots from it without masters.

    Args:
        file: Where.
        changed: Called when there is something new to know.
    """

    def __init__(self, file: File, changed: Callable[[], None]) -> None:
        self.known = self._saved = LastKnown()
        self._file = file
        self._changed = changed

    def recall(self) -> None:
        """Read the file; what cannot be read was never known."""
        raw = self._file.load()
        if raw is None:
            return
        try:
            self.known = self._saved = msgspec.json.decode(raw, type=LastKnown)
        except msgspec.DecodeError as error:
            log.warning("last known state cannot be read: %s", error)
            return
        log.info("recalled %d leases; ours is %s", len(self.known.leases), self.known.own)
        self._changed()

    def remember(self, views: Views, own: SubnetLease, node: Node | None) -> None:
        """Keep which lease is ours, and the network that it is of."""
        self._keep(
            msgspec.structs.replace(
                self.known,
                config=views.configs.get(CONFIG_NAME),
                own=own.metadata.name,
                node_uid=node.metadata.uid if node else self.known.node_uid,
            )
        )

    def leases(self, views: Views) -> Sequence[SubnetLease]:
        """Return the leases as the API server last told them, else as they were remembered.

        What it told is kept before anybody acts on it.
        """
        if views.leases.synced.is_set():
            told = sorted(views.leases.values(), key=lambda lease: lease.metadata.name)
            self._keep(msgspec.structs.replace(self.known, leases=told))
        return self.known.leases

    def _keep(self, known: LastKnown) -> None:
        if known != self.known:
            self.known = known
            self._changed()
        if known != self._saved:
            try:
                self._file.save(msgspec.json.encode(known))
                self._saved = known
            except HostError as error:  # the host is programmed nevertheless
                log.warning("what is known is not kept: %s", error)


def network_of(config: NetworkConfig | None, backend: str) -> Network | None:
    """Return the network, of the configuration's backend unless another is given.

    Raises:
        ConfigError: the configuration cannot be used.
    """
    if config is None:
        return None
    if backend:
        chosen = msgspec.structs.replace(config.backend, type=backend)
        config = msgspec.structs.replace(config, backend=chosen)
    return parse_network(config)


async def wait(event: asyncio.Event, timeout_s: float) -> None:
    """Wait for the event, at most so long."""
    try:
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        return
