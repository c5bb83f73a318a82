"""Every `wherry SUBCOMMAND` told something that cannot work: exit code 2, one sentence, no traceback."""

import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from apiserver_pki import TestPki
from hollow_cluster import HollowCluster, first_port, until

from wherry.cli.init import Cluster, initialise
from wherry.cli.layout import Host
from wherry.cli.main import SUBCOMMANDS
from wherry.process.clock import SystemClock

pytestmark = pytest.mark.integration

DEADLINE_S = 120
WITH_CONFIG = sorted(set(SUBCOMMANDS) - {"init", "join"})
CLIENTS = {
    "scheduler": [],
    "controller-manager": [],
    "agent": ["--runtime", "hollow"],
    "overlay": ["--node-name", "n", "--public-ip", "127.0.0.1"],
    "proxy": ["--node-name", "n"],
    "dns": [],
}


def said(*arguments: str | Path, code: int = 2) -> str:
    """Run `wherry`; it must refuse. Returns its last line."""
    done = subprocess.run(
        [sys.executable, "-m", "wherry.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    lines = done.stderr.strip().splitlines()
    # Before the sentence click says how to ask for help; gRPC's C core writes a line of its own.
    assert len(lines) <= 4, done.stderr
    return lines[-1]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that `wherry init` has filled."""
    path = tmp_path_factory.mktemp("init")
    here = (Host("m", "127.0.0.1"),)
    initialise(Cluster(path, here, here), now_s=SystemClock().now())
    return path


def identity(directory: Path, name: str = "admin", key: str = "") -> list[str | Path]:
    pki = directory / "pki"
    return [
        *("--ca-file", pki / "ca.crt"),
        *("--cert-file", pki / f"{name}.crt"),
        *("--key-file", pki / f"{key or name}.key"),
    ]


def apiserver(directory: Path, **changed: str) -> list[str]:
    """Return the arguments of an API server that would start, but for what is changed."""
    pki = directory / "pki"
    flags: Mapping[str, str | Path] = {
        "advertise-address": "127.0.0.1",
        "bind-address": "127.0.0.1",
        "secure-port": "0",
        "grpc-port": "0",
        "store": "memory://",
        "tls-cert-file": pki / "apiserver.crt",
        "tls-private-key-file": pki / "apiserver.key",
        "client-ca-file": pki / "ca.crt",
        "service-account-signing-key-file": pki / "sa.key",
        **{name.replace("_", "-"): value for name, value in changed.items()},
    }
    return ["apiserver", *(part for name, v in flags.items() for part in (f"--{name}", str(v)))]


@pytest.mark.parametrize("command", sorted(SUBCOMMANDS))
def test_flags_that_nobody_knows(command: str) -> None:
    assert "No such option '--nonsense'" in said(command, "--nonsense")


def test_commands_that_nobody_knows() -> None:
    assert said("fly") == "Error: No such command 'fly'."


@pytest.mark.parametrize("command", WITH_CONFIG)
def test_a_configuration_with_a_flag_that_nobody_knows(command: str, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("nonsense: 1\nlog-level: info\n")
    assert f"{file}: no such flag: nonsense" in said(command, "--config", file)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nodes: many\n", "'many' is not a valid integer range"),
        ("role: [cook]\n", "'cook' is not one of 'master', 'node'"),
        ("ephemeral: perhaps\n", "'perhaps' is not a valid boolean"),
        ("[1, 2]\n", "expected a mapping of flags to values"),
        ("nodes: [1\n", "line 2: expected ',' or ']', but got '<stream end>'"),
        ("\x00", "special characters are not allowed"),
    ],
)
def test_configurations_that_cannot_be_read(text: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(text)
    assert words in said("up", "--config", file)


def test_a_configuration_that_is_not_there(tmp_path: Path) -> None:
    assert "does not exist" in said("up", "--config", tmp_path / "none.yaml")


@pytest.mark.parametrize("command", CLIENTS)
def test_certificates_that_are_not_there(command: str, tmp_path: Path) -> None:
    words = said(command, *CLIENTS[command], *identity(tmp_path))
    assert words == (
        f"wherry: cannot read {tmp_path}/pki/admin.crt: No such file or directory; run 'wherry "
        "init' to make certificates"
    )


@pytest.mark.parametrize("command", CLIENTS)
def test_a_key_of_another_certificate(command: str, directory: Path) -> None:
    words = said(command, *CLIENTS[command], *identity(directory, key="scheduler"))
    assert "do not belong together" in words


@pytest.mark.parametrize("endpoint", ["nonsense", "host:", ":6444", "host:port", "host:99999"])
def test_addresses_of_api_servers(endpoint: str, directory: Path) -> None:
    words = said("scheduler", *identity(directory), "--apiserver", endpoint)
    assert f"'{endpoint}' is not of the form HOST:PORT" in words


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--taint", "x"], "--taint: expected KEY=VALUE:EFFECT, got 'x'"),
        (["--node-label", "x"], "--node-label: expected KEY=VALUE, got 'x'"),
        (["--node-ip", "x"], "--node-ip: 'x' does not appear to be an IPv4 or IPv6 address"),
        (["--nodes", "0"], "0 is not in the range x>=1"),
        (["--runtime", "docker"], "'docker' is not one of 'cri', 'hollow'"),
    ],
)
def test_flags_of_the_agent(flags: list[str], words: str, directory: Path) -> None:
    assert words in said("agent", "--runtime", "hollow", *flags, *identity(directory))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"advertise_address": "x"}, "--advertise-address: 'x' does not appear to be an IPv4"),
        ({"service_cluster_ip_range": "x"}, "--service-cluster-ip-range: "),
        ({"service_node_port_range": "9-1"}, "--service-node-port-range"),
        ({"store": "nonsense://"}, "expected unix:///PATH, HOST:PORT"),
        ({"token_auth_file": "/none"}, "cannot read /none: No such file or directory"),
        ({"tls_cert_file": "/none"}, "cannot read /none: No such file or directory"),
        ({"max_connections": "0"}, "'--max-connections': 0 is not in the range x>=1"),
        ({"max_requests_inflight": "-1"}, "-1 is not in the range x>=0"),
        ({"max_mutating_requests_inflight": "x"}, "'x' is not a valid integer range"),
        ({"min_request_timeout": "1m"}, "'1m' is not a valid integer range"),
    ],
)
def test_flags_of_the_api_server(changed: dict[str, str], words: str, directory: Path) -> None:
    assert words in said(*apiserver(directory, **changed))


def test_a_certificate_where_a_key_should_be(directory: Path) -> None:
    wrong = str(directory / "pki" / "ca.crt")
    words = said(*apiserver(directory, service_account_signing_key_file=wrong))
    assert "the key for ServiceAccount tokens is no unencrypted private key in PEM" in words


@pytest.mark.parametrize("flag", ["secure_port", "grpc_port", "health_port"])
def test_ports_of_the_api_server_that_are_taken(flag: str, directory: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        words = said(*apiserver(directory, **{flag: str(port)}))
    assert f"cannot listen on 127.0.0.1:{port}" in words


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--name", "b", "--initial-cluster", "a=127.0.0.1:1"], "member 'b' is not in the cluster"),
        (["--name", "a", "--initial-cluster", "x"], "cannot read 'x': expected NAME=HOST:PORT"),
        (
            ["--name", "a", "--initial-cluster", "a=127.0.0.1:1", "--data-dir", "/proc/none"],
            "cannot use /proc/none",
        ),
    ],
)
def test_flags_of_the_store(flags: list[str], words: str, directory: Path, tmp_path: Path) -> None:
    where: list[str | Path] = [] if "--data-dir" in flags else ["--data-dir", tmp_path]
    assert words in said("store", *where, *flags, *identity(directory))


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--dir", "/proc/none"], "cannot write /proc/none"),
        (["--master", "nonsense"], "cannot read 'nonsense': expected NAME=IP-ADDRESS"),
        (["--master", "Bad_Name=10.0.0.1"], "'Bad_Name' cannot be a node's name"),
        (["--service-cidr", "nonsense"], "cannot use --service-cidr nonsense"),
        (["--service-cidr", "10.0.0.1/8"], "10.0.0.1/8 has host bits set"),
    ],
)
def test_flags_of_init(flags: list[str], words: str, tmp_path: Path) -> None:
    where: list[str | Path] = [] if "--dir" in flags else ["--dir", tmp_path]
    assert words in said("init", *where, *flags)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--data-dir", "/proc/none"], "cannot write /proc/none"),
        (["--address", "x"], "expected NAME=IP-ADDRESS"),
        (["--address", "192.0.2.1"], "this machine does not have that address"),
        (["--name", "Bad_Name"], "'Bad_Name' cannot be a node's name"),
        (["--service-cidr", "x"], "cannot use --service-cidr x"),
        (["--nodes", "0"], "0 is not in the range"),
        (["--runtime", "docker"], "'docker' is not one of"),
        (["--log-level", "loud"], "'loud' is not one of"),
        (["--master", "a=10.0.0.1", "--master", "b=10.0.0.2"], "it cannot have several masters"),
    ],
)
def test_flags_of_up(flags: list[str], words: str, tmp_path: Path) -> None:
    ports = first_port()
    where: list[str | Path] = [] if "--data-dir" in flags else ["--data-dir", tmp_path / "data"]
    assert words in said("up", "--ephemeral", "--ports-from", str(ports), *where, *flags)


def test_a_second_cluster_on_the_same_ports(hollow: HollowCluster, tmp_path: Path) -> None:
    """The port, what wants it, and the way out; and the first cluster goes on."""
    data = tmp_path / "data"
    words = said("up", "--ephemeral", "--data-dir", data, "--ports-from", str(hollow.first_port))
    assert words == (
        f"wherry up: cannot listen on 127.0.0.1:{hollow.first_port} (secure): Address already in "
        "use; is another cluster running here? choose other ports with --ports-from"
    )
    assert not (data / "pki").exists(), "nothing half-done"
    assert hollow.ask("/readyz") == (200, "ok")


def test_a_token_to_join_with_that_is_none(tmp_path: Path) -> None:
    server = ["--server", "https://127.0.0.1:1"]
    assert "token" in said("join", "nonsense", *server, "--dir", tmp_path).lower()
    assert not any(tmp_path.iterdir())


def test_a_process_of_another_authority(hollow: HollowCluster, tmp_path: Path) -> None:
    """It cannot know that it never will be let in: it says why, and goes on trying."""
    pki, log = TestPki(tmp_path, "another-ca").admin(), tmp_path / "log"
    files = ["--ca-file", str(pki.ca), "--cert-file", str(pki.cert), "--key-file", str(pki.key)]
    command = [sys.executable, "-m", "wherry.cli", "scheduler", "--apiserver", hollow.grpc]
    with (
        log.open("wb") as output,
        subprocess.Popen([*command, *files], stdout=output, stderr=output) as process,
    ):
        try:
            until(lambda: "CERTIFICATE_VERIFY_FAILED" in log.read_text(), "the reason in the log")
            assert process.poll() is None
        finally:
            process.terminate()
