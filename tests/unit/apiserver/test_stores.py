"""`--store`: which store a list of endpoints names."""

import random
from pathlib import Path

import pytest
from virtual_loop import VirtualClock, run

from wherry.api.errors import ConfigError
from wherry.apiserver.stores import open_store
from wherry.pki.tls import TlsFiles
from wherry.store.client import StoreClient
from wherry.store.etcd_client import EtcdStore
from wherry.store.memory import MemoryStore

NO_FILES = TlsFiles(Path("/none"), Path("/none"), Path("/none"))


@pytest.mark.parametrize(
    ("endpoints", "kind"),
    [
        (["memory://"], MemoryStore),
        (["unix:///run/store.sock"], StoreClient),
        (["etcd://127.0.0.1:2379"], EtcdStore),
        (["etcd://127.0.0.1:2379", "etcd://localhost:22379"], EtcdStore),
    ],
)
def test_kind(endpoints: list[str], kind: type) -> None:
    async def main() -> None:
        store = open_store(endpoints, NO_FILES, clock=VirtualClock(), rng=random.Random(1))
        assert isinstance(store, kind)
        await store.close()

    run(main())


@pytest.mark.parametrize(
    ("endpoints", "message"),
    [
        ([], "--store is empty"),
        (["http://x:1"], "expected unix:///PATH"),
        (["x"], "expected HOST:PORT"),
        (["etcd://x"], "expected HOST:PORT"),
        (["etcd://127.0.0.1:1", "unix:///s"], "not kinds mixed"),
        (["memory://", "unix:///s"], "not kinds mixed"),
        (["etcd://192.0.2.1:2379"], "cannot read /none"),
        (["192.0.2.1:2381"], "cannot read /none"),
    ],
)
def test_refused(endpoints: list[str], message: str) -> None:
    async def main() -> None:
        with pytest.raises(ConfigError, match=message):
            open_store(endpoints, NO_FILES, clock=VirtualClock(), rng=random.Random(1))

    run(main())
