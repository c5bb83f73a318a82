"""`wherry init`: whom the certificates name, and what a second run does."""

import asyncio
import base64
import ssl
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from virtual_loop import VirtualClock, run

from wherry.api.errors import ConfigError
from wherry.cli.init import Cluster, initialise, parse_host
from wherry.cli.layout import Host
from wherry.cli.up import keep_issued
from wherry.pki.certificates import LEAF_DAYS, RENEW_DAYS, identity
from wherry.pki.request import validity
from wherry.pki.tls import TlsFiles, client_context, server_context

NOW_S = 1_790_000_000.0
DAY_S = 86_400.0
ONE = Host("master-1", "10.0.0.1")
TWO = Host("master-2", "10.0.0.2")
NODE = Host("node-1", "10.0.0.11")


def cluster(directory: Path, *masters: Host) -> Cluster:
    return Cluster(directory, masters, (NODE,))


@pytest.mark.parametrize(
    ("name", "user", "groups"),
    [
        ("admin", "kubernetes-admin", ("system:masters",)),
        ("scheduler", "system:kube-scheduler", ()),
        ("controller-manager", "system:kube-controller-manager", ()),
        ("agent-node-1", "system:node:node-1", ("system:nodes",)),
        ("store-master-1", "system:store", ("system:store",)),
    ],
)
def test_identities(tmp_path: Path, name: str, user: str, groups: tuple[str, ...]) -> None:
    initialise(cluster(tmp_path, ONE), now_s=NOW_S)
    assert identity((tmp_path / "pki" / f"{name}.crt").read_bytes()) == (user, groups)


def test_hollow_nodes_have_a_certificate_to_serve_and_to_ask_with(tmp_path: Path) -> None:
    """The administrator's, by which they once asked, may not serve: kubectl logs failed on it."""
    initialise(cluster(tmp_path, ONE), now_s=NOW_S)
    path = tmp_path / "pki" / "hollow.crt"
    assert not path.exists()
    initialise(replace(cluster(tmp_path, ONE), hollow=True), now_s=NOW_S)
    assert identity(path.read_bytes()) == ("system:hollow-nodes", ("system:masters",))
    loaded = x509.load_pem_x509_certificate(path.read_bytes())
    uses = loaded.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH} == set(uses)


def test_keys_are_private_and_belong_to_their_certificates(tmp_path: Path) -> None:
    initialise(cluster(tmp_path, ONE), now_s=NOW_S)
    pki = tmp_path / "pki"
    for key in [*pki.glob("*.key"), tmp_path / "tokens.csv", tmp_path / "admin.kubeconfig"]:
        assert key.stat().st_mode & 0o077 == 0, key
    files = TlsFiles(pki / "apiserver.crt", pki / "apiserver.key", pki / "ca.crt")
    for context in (server_context(files), client_context(files)):
        assert context.minimum_version is ssl.TLSVersion.TLSv1_3
        assert context.verify_mode is ssl.CERT_REQUIRED


def test_a_second_run_changes_nothing(tmp_path: Path) -> None:
    initialise(cluster(tmp_path, ONE), now_s=NOW_S)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    assert initialise(cluster(tmp_path, ONE), now_s=NOW_S) == []
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def test_a_new_master_is_named_by_the_apiserver_certificate(tmp_path: Path) -> None:
    initialise(cluster(tmp_path, ONE), now_s=NOW_S)
    written = initialise(cluster(tmp_path, ONE, TWO), now_s=NOW_S)
    assert {"pki/apiserver.crt", "pki/store-master-2.crt"} <= set(written)
    assert "pki/ca.crt" not in written
    assert "pki/admin.crt" not in written
    loaded = x509.load_pem_x509_certificate((tmp_path / "pki/apiserver.crt").read_bytes())
    names = loaded.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    found = {str(n.value) for n in names}
    assert {"10.0.0.2", "10.96.0.1", "kubernetes.default.svc", "127.0.0.1"} <= found


def test_certificates_are_renewed_before_they_expire(tmp_path: Path) -> None:
    initialise(cluster(tmp_path, ONE), now_s=NOW_S)
    assert initialise(cluster(tmp_path, ONE), now_s=NOW_S + 300 * 86400) == []
    assert "pki/admin.crt" in initialise(cluster(tmp_path, ONE), now_s=NOW_S + 340 * 86400)


def test_an_interrupted_run_is_completed(tmp_path: Path) -> None:
    initialise(cluster(tmp_path, ONE), now_s=NOW_S)
    (tmp_path / "pki/admin.crt").unlink()
    assert "pki/admin.crt" in initialise(cluster(tmp_path, ONE), now_s=NOW_S)


def test_a_lone_master_issues_anew_while_it_runs(tmp_path: Path) -> None:
    made = cluster(tmp_path, ONE)
    pki, kubeconfig = tmp_path / "pki", tmp_path / "admin.kubeconfig"

    async def main() -> None:
        clock = VirtualClock()
        initialise(made, now_s=clock.now())
        first = {path: path.read_bytes() for path in [*pki.iterdir(), kubeconfig]}

        def changed() -> set[str]:
            return {path.name for path, was in first.items() if path.read_bytes() != was}

        keeping = asyncio.ensure_future(keep_issued(made, clock))
        clock.skew_s = (LEAF_DAYS - RENEW_DAYS - 3) * DAY_S
        await asyncio.sleep(2 * DAY_S)
        assert changed() == set()
        pki.rename(tmp_path / "away")  # a run that fails is tried again
        (tmp_path / "pki").touch()
        await asyncio.sleep(2 * DAY_S)
        (tmp_path / "pki").unlink()
        (tmp_path / "away").rename(pki)
        await asyncio.sleep(DAY_S)
        kept = {"ca.crt", "ca.key", "sa.key"}
        assert changed() == {path.name for path in first} - kept
        for certificate in pki.glob("*.crt"):
            assert validity(certificate.read_bytes())[1] > clock.now() + 300 * DAY_S
        admin = yaml.safe_load(kubeconfig.read_text())["users"][0]["user"]
        held = base64.b64decode(admin["client-certificate-data"])
        assert held == (pki / "admin.crt").read_bytes()
        keeping.cancel()

    run(main(), limit_s=30 * DAY_S)


def test_kubeconfig(tmp_path: Path) -> None:
    initialise(cluster(tmp_path, ONE), now_s=NOW_S)
    config = yaml.safe_load((tmp_path / "admin.kubeconfig").read_text())
    assert config["clusters"][0]["cluster"]["server"] == "https://10.0.0.1:6443"
    user = config["users"][0]["user"]
    certificate = base64.b64decode(user["client-certificate-data"])
    assert certificate == (tmp_path / "pki/admin.crt").read_bytes()


def test_the_join_token_is_known_to_the_api_servers(tmp_path: Path) -> None:
    initialise(cluster(tmp_path, ONE), now_s=NOW_S)
    ident, secret, fingerprint = (tmp_path / "join.token").read_text().strip().split(".")
    assert f"{ident}.{secret}," in (tmp_path / "tokens.csv").read_text()
    assert len(fingerprint) == 64


@pytest.mark.parametrize("text", ["x", "x=", "x=host", "x=1.2.3"])
def test_parse_host_refuses(text: str) -> None:
    with pytest.raises(ConfigError, match="NAME=IP-ADDRESS"):
        parse_host(text)


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("")
    with pytest.raises(ConfigError, match=str(blocker)):
        initialise(cluster(blocker / "x", ONE), now_s=NOW_S)
