"""`--store` to a `Store`."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from wherry.api.clock import Clock
from wherry.api.errors import ConfigError
from wherry.pki.tls import TlsFiles, client_context
from wherry.process.reload import CertificateReload
from wherry.store.client import StoreClient
from wherry.store.etcd_client import EtcdStore
from wherry.store.kv import Store
from wherry.store.memory import MemoryStore
from wherry.store.net import Sockets

_MEMORY = "memory://"
_ETCD = "etcd://"
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


@dataclass(frozen=True, slots=True)
class Opened:
    """A store, and what has to run beside it where our certificate for it may be renewed."""

    store: Store
    reload: CertificateReload | None = None


def open_store(endpoints: Sequence[str], tls: TlsFiles, *, clock: Clock, rng: Random) -> Opened:
    """Return the store that the endpoints name; it connects when it is first used.

    Args:
        endpoints: `memory://` alone; or `unix:///PATH` and `HOST:PORT` of Wherry's stores, the
            nearest first; or `etcd://HOST:PORT` of a real etcd's members. On loopback an etcd
            may be without TLS (`etcd://127.0.0.1:2379`), elsewhere it is not.
        tls: Who we are to stores on other hosts.
        clock: Of a store in memory.
        rng: Jitter of retries.

    Raises:
        ConfigError: the list makes no sense.
    """
    if not endpoints:
        raise ConfigError("--store is empty: give unix:///PATH, HOST:PORT or memory://")
    if list(endpoints) == [_MEMORY]:
        return Opened(MemoryStore(clock))
    if all(endpoint.startswith(_ETCD) for endpoint in endpoints):
        addresses = [endpoint.removeprefix(_ETCD) for endpoint in endpoints]
        for address in addresses:
            _host(address)
        local = all(_host(address) in _LOOPBACK for address in addresses)
        return Opened(EtcdStore(addresses, rng, tls=None if local else tls))
    for endpoint in endpoints:
        scheme, found, _ = endpoint.partition("://")
        if found and scheme != "unix":
            raise ConfigError(
                f"--store {endpoint}: expected unix:///PATH, HOST:PORT, etcd://HOST:PORT or "
                "memory://, and not kinds mixed"
            )
        if not found:
            _host(endpoint)
    remote = any("://" not in endpoint for endpoint in endpoints)
    if not remote:
        return Opened(StoreClient(list(endpoints), Sockets(), rng))
    context = client_context(tls)
    store = StoreClient(list(endpoints), Sockets(client_tls=context), rng)
    return Opened(store, CertificateReload(context, tls))


def _host(endpoint: str) -> str:
    """Return the host of `HOST:PORT`.

    Raises:
        ConfigError: it is not of that form.
    """
    host, colon, port = endpoint.rpartition(":")
    if not (host and colon and port.isdigit()):
        raise ConfigError(f"--store {endpoint}: expected HOST:PORT")
    return host
