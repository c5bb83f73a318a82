"""`--store` to a `Store`."""

from collections.abc import Sequence
from random import Random

from wherry.api.clock import Clock
from wherry.api.errors import ConfigError
from wherry.pki.tls import TlsFiles, client_context
from wherry.store.client import StoreClient
from wherry.store.kv import Store
from wherry.store.memory import MemoryStore
from wherry.store.net import Sockets

_MEMORY = "memory://"


def open_store(endpoints: Sequence[str], tls: TlsFiles, *, clock: Clock, rng: Random) -> Store:
    """Return the store that the endpoints name; it connects when it is first used.

    Args:
        endpoints: `memory://` alone, or `unix:///PATH` and `HOST:PORT` of Wherry's stores,
            the nearest first.
        tls: Who we are to stores on other hosts.
        clock: Of a store in memory.
        rng: Jitter of retries.

    Raises:
        ConfigError: the list makes no sense.
    """
    if not endpoints:
        raise ConfigError("--store is empty: give unix:///PATH, HOST:PORT or memory://")
    if list(endpoints) == [_MEMORY]:
        return MemoryStore(clock)
    for endpoint in endpoints:
        scheme, found, _ = endpoint.partition("://")
        host, colon, port = endpoint.rpartition(":")
        if found and scheme != "unix":
            raise ConfigError(f"--store {endpoint}: expected unix:///PATH, HOST:PORT or memory://")
        if not found and not (host and colon and port.isdigit()):
            raise ConfigError(f"--store {endpoint}: expected HOST:PORT")
    remote = any("://" not in endpoint for endpoint in endpoints)
    context = client_context(tls) if remote else None
    return StoreClient(list(endpoints), Sockets(client_tls=context), rng)
