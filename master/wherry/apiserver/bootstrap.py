"""What every cluster has from its first minute, and the addresses of the masters.

Everything is created where it is missing and otherwise left alone: what an administrator changed
stays changed, what was deleted by `kubectl delete svc --all` comes back. Any number of API
servers may do it at the same time.

The masters' addresses are kept as upstream's lease endpoint reconciler does: each API server
holds a key `/registry/masterleases/ADDRESS:PORT` on a store lease of 15 s, and each writes the
set of keys that there are into the Endpoints and EndpointSlice of Service default/kubernetes.
A master that dies vanishes with its lease, and the others take it out.
"""

import asyncio
import base64
import ipaddress
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
import yaml

from wherry.api import kinds
from wherry.api.errors import (
    AlreadyExistsError,
    NotFoundError,
    StatusError,
    UnavailableError,
)
from wherry.api.kinds import Kind
from wherry.apiserver.registry.service_ip import first_address
from wherry.apiserver.resources import BY_KIND
from wherry.apiserver.strategy.classes import SYSTEM_CLASSES
from wherry.apiserver.verbs import Context, DeleteOptions, ListOptions, User, Verbs
from wherry.client.backoff import Backoff
from wherry.store.kv import LeaseNotFoundError, Put, Range, Store, prefix_end

_LOG = logging.getLogger(__name__)
_SELF = User("system:apiserver", ("system:masters",))
MASTER_PREFIX: Final = b"/registry/masterleases/"
LEASE_S: Final = 15
RENEW_S: Final = 5.0
CLUSTER_INFO: Final = "cluster-info"
GRPC_PORT: Final = "wherry.io/grpc-port"
_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
_SERVICE_NAME = "kubernetes.io/service-name"

_WHAT_FOR = {
    "system-node-critical": "For pods that their node does not work without.",
    "system-cluster-critical": "For pods that the cluster does not work without, on whichever node.",
}

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class BootstrapConfig:
    """What the first objects say.

    Attributes:
        advertise_address: Where pods reach this API server; a loopback address is not published.
        secure_port: The port of its REST door.
        grpc_port: The port of its gRPC door.
        service_cidr: Where Services get their addresses from.
        dns_ip: The address of the cluster's DNS.
        network: flannel's configuration.
        ca: The cluster's authority, PEM, told to everybody (`cluster-info`); "" tells nobody.
    """

    advertise_address: str
    secure_port: int = 6443
    grpc_port: int = 6444
    service_cidr: str = "10.96.0.0/12"
    dns_ip: str = "10.96.0.10"
    network: Object = field(
        default_factory=lambda: {
            "Network": "10.244.0.0/16",
            "SubnetLen": 24,
            "Backend": {"Type": "vxlan", "VNI": 1, "Port": 8472},
        }
    )
    ca: str = ""


def first_objects(config: BootstrapConfig) -> list[tuple[Kind, str, Object]]:
    """Return (kind, namespace, object) of what every cluster has, in the order of creation."""
    objects: list[tuple[Kind, str, Object]] = [
        (kinds.NAMESPACE, "", {"metadata": {"name": name}}) for name in _NAMESPACES
    ]
    objects += [
        (
            kinds.PRIORITY_CLASS,
            "",
            {"metadata": {"name": name}, "value": value, "description": _WHAT_FOR[name]},
        )
        for name, value in SYSTEM_CLASSES.items()
    ]
    network = {"metadata": {"name": "config"}, **config.network}
    objects.append((kinds.NETWORK_CONFIG, "", network))
    kubernetes = {
        "metadata": {
            "name": "kubernetes",
            "labels": {"component": "apiserver", "provider": "kubernetes"},
        },
        "spec": {
            "clusterIP": first_address(config.service_cidr),
            "ports": [{"name": "https", "port": 443, "targetPort": config.secure_port}],
        },
    }
    objects.append((kinds.SERVICE, "default", kubernetes))
    dns = {
        "metadata": {
            "name": "kube-dns",
            "labels": {
                "k8s-app": "kube-dns",
                "kubernetes.io/cluster-service": "true",
                "kubernetes.io/name": "CoreDNS",
            },
        },
        "spec": {
            "clusterIP": config.dns_ip,
            "ports": [
                {"name": "dns", "port": 53, "protocol": "UDP"},
                {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
            ],
        },
    }
    objects.append((kinds.SERVICE, "kube-system", dns))
    if config.ca:
        objects.append((kinds.CONFIG_MAP, "kube-public", cluster_info(config)))
    return objects


def cluster_info(config: BootstrapConfig) -> Object:
    """Return the ConfigMap that tells anybody whom to trust, if they know the authority's hash.

    As kubeadm's: a kubeconfig without a user. The gRPC door's port stands in an annotation.
    """
    address = ipaddress.ip_address(config.advertise_address)
    host = f"[{address}]" if address.version == 6 else str(address)
    cluster = {
        "certificate-authority-data": base64.b64encode(config.ca.encode()).decode(),
        "server": f"https://{host}:{config.secure_port}",
    }
    kubeconfig: Object = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "", "cluster": cluster}],
        "contexts": None,
        "current-context": "",
        "preferences": {},
        "users": None,
    }
    return {
        "metadata": {"name": CLUSTER_INFO, "annotations": {GRPC_PORT: str(config.grpc_port)}},
        "data": {"kubeconfig": yaml.safe_dump(kubeconfig)},
    }


@dataclass(frozen=True, slots=True, order=True)
class Master:
    """Where one API server is reached."""

    address: str
    port: int

    @property
    def key(self) -> bytes:
        """Return the key that says it is there."""
        return MASTER_PREFIX + f"{self.address}:{self.port}".encode()


def parse_master(key: bytes) -> Master | None:
    """Read a master's key; None where somebody else wrote it."""
    address, colon, port = key[len(MASTER_PREFIX) :].decode(errors="replace").rpartition(":")
    return Master(address, int(port)) if colon and port.isdigit() else None


def endpoints_of(masters: Sequence[Master]) -> Object:
    """Return the Endpoints of the kubernetes Service: a subset for each port."""
    subsets = [
        {
            "addresses": [{"ip": address} for address in addresses],
            "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
        }
        for port, addresses in _by_port(masters)
    ]
    meta = {"name": "kubernetes", "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}}
    return {"metadata": meta, **({"subsets": subsets} if subsets else {})}


def slices_of(masters: Sequence[Master]) -> list[Object]:
    """Return the EndpointSlices: one for each port, the first named like the Service."""
    return [
        {
            "metadata": {
                "name": f"kubernetes-{port}" if index else "kubernetes",
                "labels": {_SERVICE_NAME: "kubernetes"},
            },
            "addressType": "IPv4",
            "endpoints": [{"addresses": [a], "conditions": {"ready": True}} for a in addresses],
            "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
        }
        for index, (port, addresses) in enumerate(_by_port(masters))
    ]


def _by_port(masters: Sequence[Master]) -> list[tuple[int, list[str]]]:
    ports = sorted({m.port for m in masters})
    return [(port, sorted(m.address for m in masters if m.port == port)) for port in ports]


class Bootstrap:
    """`run()` creates what is missing and keeps this master's address published."""

    def __init__(
        self, verbs: Verbs, store: Store, config: BootstrapConfig, *, rng: random.Random
    ) -> None:
        self._verbs = verbs
        self._store = store
        self._config = config
        self._backoff = Backoff(rng, first_s=0.1, most_s=RENEW_S)
        self._me = Master(config.advertise_address, config.secure_port)
        self._published = not ipaddress.ip_address(config.advertise_address).is_loopback
        self._lease = 0

    async def run(self) -> None:
        """Run until cancelled; then take this master's address out."""
        try:
            while True:
                await self._until_done(self._create_missing)
                await self._until_done(self.reconcile)
                await asyncio.sleep(RENEW_S)
        finally:
            await self._leave()

    async def _until_done(self, step: Callable[[], Awaitable[None]]) -> None:
        """Repeat a step while the store is away or another master interferes."""
        while True:
            try:
                await step()
            except (StatusError, UnavailableError, LeaseNotFoundError) as error:
                _LOG.warning("bootstrap: %s", error)
                await asyncio.sleep(self._backoff.next_s())
            else:
                self._backoff.reset()
                return

    async def _create_missing(self) -> None:
        for kind, namespace, obj in first_objects(self._config):
            try:
                name = obj["metadata"]["name"]
                await self._verbs.get(Context(_SELF), BY_KIND[kind], namespace, name)
            except NotFoundError:
                await self._create(kind, namespace, obj)

    async def _create(self, kind: Kind, namespace: str, obj: Object) -> None:
        try:
            await self._verbs.create(Context(_SELF), BY_KIND[kind], namespace, obj)
        except AlreadyExistsError:
            return

    # -- the masters ------------------------------------------------------------------------

    async def reconcile(self) -> None:
        """Renew this master's key, and write down who is there."""
        if self._published:
            await self._renew()
        await self._write(await self._masters())

    async def _renew(self) -> None:
        try:
            if self._lease:
                await self._store.lease_keepalive(self._lease)
        except LeaseNotFoundError:
            self._lease = 0
        if not self._lease:
            self._lease = await self._store.lease_grant(LEASE_S)
            await self._store.txn((), [Put(self._me.key, b"{}", self._lease)])

    async def _masters(self) -> list[Master]:
        found = await self._store.range(Range(MASTER_PREFIX, prefix_end(MASTER_PREFIX)))
        masters = (parse_master(kv.key) for kv in found.kvs)
        return sorted(m for m in masters if m is not None)

    async def _write(self, masters: Sequence[Master]) -> None:
        await self._put(kinds.ENDPOINTS, endpoints_of(masters))
        wanted = slices_of(masters)
        for obj in wanted:
            await self._put(kinds.ENDPOINT_SLICE, obj)
        names = {obj["metadata"]["name"] for obj in wanted}
        row = BY_KIND[kinds.ENDPOINT_SLICE]
        options = ListOptions(labels=f"{_SERVICE_NAME}=kubernetes")
        for raw in (await self._verbs.list(Context(_SELF), row, "default", options)).items:
            name = orjson.loads(raw)["metadata"]["name"]
            if name not in names:
                await self._delete_slice(name)

    async def _delete_slice(self, name: str) -> None:
        row = BY_KIND[kinds.ENDPOINT_SLICE]
        try:
            await self._verbs.delete(Context(_SELF), row, "default", name, DeleteOptions())
        except NotFoundError:
            return

    async def _put(self, kind: Kind, obj: Object) -> None:
        """Create or replace; an object that is right already is not written."""
        ctx, row, name = Context(_SELF), BY_KIND[kind], obj["metadata"]["name"]
        try:
            await self._verbs.update(ctx, row, "default", name, obj)
        except NotFoundError:
            await self._create(kind, "default", obj)

    async def _leave(self) -> None:
        """Give up the key now, so that nobody is sent here; without a store it ends by itself."""
        if not self._lease:
            return
        try:
            async with asyncio.timeout(1):
                await self._store.lease_revoke(self._lease)
        except (LeaseNotFoundError, UnavailableError, TimeoutError) as error:
            _LOG.info("this master's lease ends by itself: %s", error)
