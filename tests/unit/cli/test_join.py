"""`wherry join` against a cluster in memory: what it writes, what it refuses, and every crash."""

from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
import virtual_loop
from join_world import Disk, JoinCluster, JoinServer, SwitchedOff
from virtual_loop import VirtualClock

from wherry.api.errors import ConfigError, UnavailableError
from wherry.cli.join import Join, read_cluster_info
from wherry.cli.join_token import JoinToken, ca_fingerprint, parse_token, pinned
from wherry.cli.layout import Host
from wherry.cli.machine_file import (
    JoinedMachine,
    doors,
    format_machine,
    parse_machine,
)
from wherry.cli.pairs import Pairs
from wherry.cli.rest import Address, parse_address
from wherry.pki.certificates import create_ca, identity
from wherry.pki.node import node_pairs
from wherry.pki.request import belongs, signed_by

N1 = Host("n1", "10.0.0.11")
DAY_S = 86_400.0


def joining(
    cluster: JoinCluster,
    directory: Path,
    *,
    token: JoinToken | None = None,
    disk: Disk | None = None,
    timeout_s: float = 30,
) -> Join:
    disk = disk or Disk()
    return Join(
        directory,
        JoinServer(cluster),
        token or cluster.token,
        clock=cluster.clock,
        rng=Random(1),
        pairs=Pairs(directory / "pki", write=disk.write, rename=disk.rename),
        write=disk.write,
        timeout_s=timeout_s,
    )


def files(directory: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(directory)): p.read_bytes() for p in directory.rglob("*") if p.is_file()
    }


def check_joined(cluster: JoinCluster, directory: Path, host: Host = N1) -> None:
    pki, ca = directory / "pki", cluster.ca.certificate
    assert (pki / "ca.crt").read_bytes() == ca
    for name, subject in node_pairs(host.name, host.address).items():
        certificate, key = (pki / f"{name}.{end}" for end in ("crt", "key"))
        assert identity(certificate.read_bytes()) == (subject.user, subject.groups)
        assert belongs(certificate.read_bytes(), key.read_bytes())
        assert signed_by(certificate.read_bytes(), ca, now_s=cluster.clock.now())
        assert key.stat().st_mode & 0o777 == 0o600
    assert not list(directory.rglob("*.next"))
    assert not list(directory.rglob("*.tmp"))
    machine = parse_machine((directory / "machine.yaml").read_bytes())
    assert machine == JoinedMachine(host, ("10.0.0.1:7444", "10.0.0.2:7444"))


def test_a_machine_gets_all_it_needs_and_a_second_run_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        cluster = JoinCluster(VirtualClock())
        join = joining(cluster, tmp_path)
        assert not join.complete("n1", "")
        await join.run("n1")
        check_joined(cluster, tmp_path)
        assert cluster.made == 4
        before = files(tmp_path)
        assert join.complete("n1", "10.0.0.11")
        assert join.complete("", "")
        await join.run("n1")
        assert (files(tmp_path), cluster.made) == (before, 4)

    virtual_loop.run(main())


def test_what_makes_a_directory_incomplete(tmp_path: Path) -> None:
    async def main() -> None:
        cluster = JoinCluster(VirtualClock())
        join = joining(cluster, tmp_path)
        await join.run("n1")
        assert not join.complete("n2", "")
        assert not join.complete("n1", "10.0.0.12")
        foreign = replace(cluster.token, ca_hash="0" * 64)
        assert not joining(cluster, tmp_path, token=foreign).complete("n1", "")
        for name in ("machine.yaml", "pki/ca.crt", "pki/dns.crt", "pki/dns.key"):
            moved = (tmp_path / name).rename(tmp_path / "moved")
            assert not join.complete("n1", ""), name
            moved.rename(tmp_path / name)
        assert join.complete("n1", "")

    virtual_loop.run(main())


def test_another_name_or_address_makes_other_certificates(tmp_path: Path) -> None:
    async def main() -> None:
        cluster = JoinCluster(VirtualClock())
        await joining(cluster, tmp_path).run("n1")
        await joining(cluster, tmp_path).run("n1", "10.0.0.12")
        check_joined(cluster, tmp_path, Host("n1", "10.0.0.12"))
        assert cluster.made == 5
        await joining(cluster, tmp_path).run("n2", "10.0.0.12")
        check_joined(cluster, tmp_path, Host("n2", "10.0.0.12"))

    virtual_loop.run(main())


def test_a_machine_that_was_off_too_long_joins_again(tmp_path: Path) -> None:
    async def main() -> None:
        clock = VirtualClock()
        cluster = JoinCluster(clock, most_s=DAY_S)
        await joining(cluster, tmp_path).run("n1")
        clock.skew_s = 2 * DAY_S
        cluster.requests.clear()  # a day old: the cluster has cleaned them away
        join = joining(cluster, tmp_path)
        assert not join.complete("n1", "")
        await join.run("n1")
        check_joined(cluster, tmp_path)

    virtual_loop.run(main())


def test_switched_off_at_every_line_the_next_run_completes_it(tmp_path: Path) -> None:
    async def main() -> None:
        for steps in range(1000):
            cluster = JoinCluster(VirtualClock())
            directory = tmp_path / str(steps)
            try:
                await joining(cluster, directory, disk=Disk(steps)).run("n1")
            except SwitchedOff:
                keys = [p for p in directory.rglob("*.key*") if not p.name.endswith(".tmp")]
                assert all(p.stat().st_mode & 0o077 == 0 for p in keys)
                await joining(cluster, directory).run("n1")
                check_joined(cluster, directory)
                assert cluster.made == 4, "the second run finds the requests of the first"
            else:
                assert steps > 30, "each file is a moment to be switched off at"
                return

    virtual_loop.run(main())


def test_another_cluster_than_the_tokens_writes_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        cluster = JoinCluster(VirtualClock())
        wrong = replace(cluster.token, ca_hash="0" * 64)
        directory = tmp_path / "d"
        with pytest.raises(ConfigError, match="not the cluster that the token is for") as refused:
            await joining(cluster, directory, token=wrong).run("n1")
        assert cluster.token.ca_hash in str(refused.value)
        assert not directory.exists()

    virtual_loop.run(main())


def test_a_directory_of_another_cluster_is_left_alone(tmp_path: Path) -> None:
    async def main() -> None:
        await joining(JoinCluster(VirtualClock()), tmp_path).run("n1")
        before = files(tmp_path)
        other = JoinCluster(VirtualClock())
        with pytest.raises(ConfigError, match="belongs to another cluster"):
            await joining(other, tmp_path).run("n1")
        assert files(tmp_path) == before

    virtual_loop.run(main())


def test_a_token_that_is_not_known_any_more(tmp_path: Path) -> None:
    async def main() -> None:
        cluster = JoinCluster(VirtualClock())
        old = replace(cluster.token, secret="f" * 16)
        with pytest.raises(ConfigError, match="does not accept the token abcdef: invalid bearer"):
            await joining(cluster, tmp_path, token=old).run("n1")
        assert cluster.made == 0
        await joining(cluster, tmp_path).run("n1")
        check_joined(cluster, tmp_path)

    virtual_loop.run(main())


@pytest.mark.parametrize(
    ("name", "address", "said"),
    [
        ("N1", "", "'N1' is no node name"),
        ("kubernetes", "", "expect an API server there"),
        ("x" * 60, "", "more than"),
        ("n1", "10.0.0.2", "may not serve at 10.0.0.2"),
    ],
)
def test_names_and_addresses_that_are_not_to_be_had(
    tmp_path: Path, name: str, address: str, said: str
) -> None:
    async def main() -> None:
        with pytest.raises(ConfigError, match=said):
            await joining(JoinCluster(VirtualClock()), tmp_path).run(name, address)

    virtual_loop.run(main())


def test_masters_that_are_away_for_a_while_are_asked_again(tmp_path: Path) -> None:
    async def main() -> None:
        cluster = JoinCluster(VirtualClock())
        cluster.away = range(2, 9)
        await joining(cluster, tmp_path).run("n1")
        check_joined(cluster, tmp_path)

    virtual_loop.run(main())


def test_a_master_that_cannot_be_reached_is_no_reason_to_wait(tmp_path: Path) -> None:
    async def main() -> None:
        cluster = JoinCluster(VirtualClock())
        cluster.away = range(1, 2)
        with pytest.raises(UnavailableError, match="connection refused"):
            await joining(cluster, tmp_path / "d").run("n1")
        assert cluster.clock.monotonic() == 0
        assert not (tmp_path / "d").exists()

    virtual_loop.run(main())


def test_who_waits_in_vain_is_told_for_what(tmp_path: Path) -> None:
    async def main() -> None:
        cluster = JoinCluster(VirtualClock())
        cluster.silent = True
        with pytest.raises(UnavailableError, match="does the controller manager run") as error:
            await joining(cluster, tmp_path).run("n1")
        assert "kubectl certificate approve node-csr-" in str(error.value)
        assert cluster.made == 1
        [given] = cluster.requests.values()
        given["status"] = {"conditions": [{"type": "Approved", "status": "True"}]}
        with pytest.raises(UnavailableError, match="approved but not signed"):
            await joining(cluster, tmp_path).run("n1")
        given["status"] = cluster._decide(given)
        cluster.silent = False
        await joining(cluster, tmp_path).run("n1")
        check_joined(cluster, tmp_path)
        assert cluster.made == 4

    virtual_loop.run(main())


# -- values -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["", "a.b.c", f"abcdef.0123456789abcdef.{'0' * 63}", f"abcdef.0123456789abcde.{'0' * 64}"],
)
def test_what_is_no_token(text: str) -> None:
    with pytest.raises(ConfigError, match=r"expected ID\.SECRET\.CAHASH") as refused:
        parse_token(text)
    assert not text or text not in str(refused.value)


def test_a_token_may_end_with_a_line(tmp_path: Path) -> None:
    token = parse_token(f"abcdef.0123456789abcdef.{'0' * 64}\n")
    assert (token.bearer, token.user) == ("abcdef.0123456789abcdef", "system:bootstrap:abcdef")


def test_of_a_bundle_only_the_tokens_authority_is_taken() -> None:
    old, new = (create_ca(name, now_s=0).certificate for name in ("old", "new"))
    assert pinned(old + new, ca_fingerprint(new)) == new
    with pytest.raises(ConfigError, match="cannot be read"):
        pinned(b"x", ca_fingerprint(new))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://10.0.0.1:7443", Address("10.0.0.1", 7443)),
        ("https://master.example.org", Address("master.example.org", 6443)),
        ("https://10.0.0.1:6443/", Address("10.0.0.1", 6443)),
        ("10.0.0.1", Address("10.0.0.1", 6443)),
        ("10.0.0.1:7443", Address("10.0.0.1", 7443)),
        ("fd00::1", Address("fd00::1", 6443)),
        ("https://[fd00::1]:7443", Address("fd00::1", 7443)),
    ],
)
def test_servers(text: str, expected: Address) -> None:
    assert parse_address(text) == expected
    assert parse_address(expected.url) == expected


@pytest.mark.parametrize("text", ["", "http://x", "https://", "https://x/api", "x:y", "ftp://x"])
def test_what_is_no_server(text: str) -> None:
    with pytest.raises(ConfigError, match="cannot read server"):
        parse_address(text)


@pytest.mark.parametrize(
    "info",
    [
        {},
        {"data": {}},
        {"data": {"kubeconfig": "x"}},
        {"data": {"kubeconfig": "{"}},
        {"data": {"kubeconfig": "clusters: []"}},
        {
            "data": {
                "kubeconfig": "clusters: [{cluster: {certificate-authority-data: '?'}}]",
            },
            "metadata": {},
        },
    ],
)
def test_a_cluster_info_that_is_none(info: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        read_cluster_info(info)


def test_doors() -> None:
    assert doors(["10.0.0.2", "10.0.0.1"], 6444, first="10.0.0.2") == (
        "10.0.0.2:6444",
        "10.0.0.1:6444",
    )
    assert doors([], 6444, first="127.0.0.1") == ("127.0.0.1:6444",)
    assert doors(["fd00::1"], 6444, first="vip.example.org") == ("[fd00::1]:6444",)


def test_the_machine_file() -> None:
    machine = JoinedMachine(Host("1", "10.0.0.11"), ("10.0.0.1:6444",))
    assert parse_machine(format_machine(machine)) == machine
    for data in (b"", b"{", b"x", b"name: a", b"{name: a, address: b, apiserver: x}"):
        assert parse_machine(data) is None
