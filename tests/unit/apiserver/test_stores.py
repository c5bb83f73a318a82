"""`--store`: which store a list of endpoints names."""

import random
from pathlib import Path

import pytest
from apiserver_pki import TestPki
from virtual_loop import VirtualClock, run

from wherry.api.errors import ConfigError
from wherry.apiserver.stores import open_store
from wherry.pki.tls import TlsFiles
from wherry.process.reload import CertificateReload
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
        opened = open_store(endpoints, NO_FILES, clock=VirtualClock(), rng=random.Random(1))
        assert isinstance(opened.store, kind)
        assert opened.reload is None  # nobody asks for our certificate there
        await opened.store.close()

    run(main())


def test_a_store_elsewhere_is_shown_a_certificate_that_may_be_renewed(tmp_path: Path) -> None:
    async def main() -> None:
        files = TestPki(tmp_path).files("system:apiserver")
        endpoints = ["unix:///run/store.sock", "192.0.2.1:2381"]
        opened = open_store(endpoints, files, clock=VirtualClock(), rng=random.Random(1))
        assert isinstance(opened.reload, CertificateReload)
        await opened.store.close()

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
