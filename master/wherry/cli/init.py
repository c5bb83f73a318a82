"""`wherry init`: make the authority, certificates, tokens and kubeconfig of a cluster.

Run again it keeps what is there and adds what is missing, so that a node can be added and a
run that was killed can be repeated. A certificate is issued anew when it no longer names
what it should (a master was added) or is about to expire; the authority and the tokens are
never overwritten.
"""

import base64
import ipaddress
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import click

from wherry.api.errors import ConfigError
from wherry.cli.join_token import ca_fingerprint
from wherry.cli.layout import Host, identities, kubeconfig
from wherry.pki.certificates import create_ca, create_signing_key, issue, names
from wherry.pki.subject import KeyPair, Subject
from wherry.process.clock import SystemClock
from wherry.process.files import atomic_write

PRIVATE = 0o600
SERVICE_CIDR = "10.96.0.0/12"
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


@dataclass(frozen=True, slots=True)
class Cluster:
    """What `init` is told."""

    directory: Path
    masters: tuple[Host, ...]
    nodes: tuple[Host, ...]
    service_cidr: str = SERVICE_CIDR
    port: int = 6443
    hollow: bool = False

    @property
    def service_ip(self) -> str:
        """Return the address of the `kubernetes` Service.

        Raises:
            ConfigError: the range of cluster IPs is none.
        """
        try:
            return str(ipaddress.ip_network(self.service_cidr)[1])
        except (ValueError, IndexError) as error:
            raise ConfigError(f"cannot use --service-cidr {self.service_cidr}: {error}") from error


def initialise(cluster: Cluster, *, now_s: float, renew: bool = False) -> list[str]:
    """Write all files and return the names of those that are new.

    Raises:
        ConfigError: the directory cannot be written.
    """
    pki = cluster.directory / "pki"
    try:
        pki.mkdir(parents=True, exist_ok=True, mode=0o700)
        writer = _Writer(cluster.directory, renew=renew)
        ca = _authority(writer, now_s)
        wanted = identities(
            cluster.masters,
            cluster.nodes,
            service_ip=cluster.service_ip,
            hollow=cluster.hollow,
        )
        _leaves(writer, ca, wanted, now_s)
        writer.once("pki/sa.key", create_signing_key, PRIVATE)
        _bootstrap_token(writer, ca)
        _kubeconfig(writer, cluster, ca, pki)
    except OSError as error:
        raise ConfigError(f"cannot write {cluster.directory}: {error.strerror}") from error
    return writer.written


class _Writer:
    """Writes a file only where it is missing, or where `renew` asks for a new one."""

    def __init__(self, directory: Path, *, renew: bool) -> None:
        self.directory = directory
        self.renew = renew
        self.written: list[str] = []

    def missing(self, name: str) -> bool:
        return not (self.directory / name).exists()

    def write(self, name: str, data: bytes, mode: int = 0o644) -> None:
        atomic_write(self.directory / name, data, mode=mode)
        self.written.append(name)

    def once(self, name: str, make: Callable[[], bytes], mode: int) -> None:
        if self.missing(name):
            self.write(name, make(), mode)

    def pair(self, name: str, pair: KeyPair) -> None:
        # The key goes first: a certificate without its key looks finished but is useless.
        self.write(f"pki/{name}.key", pair.key, PRIVATE)
        self.write(f"pki/{name}.crt", pair.certificate)


def _authority(writer: _Writer, now_s: float) -> KeyPair:
    if writer.missing("pki/ca.crt"):
        writer.pair("ca", create_ca("wherry-ca", now_s=now_s))
    pki = writer.directory / "pki"
    return KeyPair((pki / "ca.crt").read_bytes(), (pki / "ca.key").read_bytes())


def _leaves(writer: _Writer, ca: KeyPair, wanted: Mapping[str, Subject], now_s: float) -> None:
    for name, subject in wanted.items():
        path = writer.directory / "pki" / f"{name}.crt"
        if writer.renew or not path.exists() or not names(path.read_bytes(), subject, now_s=now_s):
            writer.pair(name, issue(ca, subject, now_s=now_s))


def _bootstrap_token(writer: _Writer, ca: KeyPair) -> None:
    """Make the token that `wherry join` shows, and the file by which API servers know it."""
    if not writer.missing("tokens.csv") and not writer.missing("join.token"):
        return
    token = f"{secrets.token_hex(3)}.{secrets.token_hex(8)}"
    user = f"system:bootstrap:{token.partition('.')[0]}"
    row = f'{token},{user},{user},"system:bootstrappers"\n'
    writer.write("tokens.csv", row.encode(), PRIVATE)
    writer.write("join.token", f"{token}.{ca_fingerprint(ca.certificate)}\n".encode(), PRIVATE)


def _kubeconfig(writer: _Writer, cluster: Cluster, ca: KeyPair, pki: Path) -> None:
    if "pki/admin.crt" not in writer.written and not writer.missing("admin.kubeconfig"):
        return  # it holds a copy of that
    server = cluster.masters[0].address if cluster.masters else "127.0.0.1"
    text = kubeconfig(
        server=f"https://{server}:{cluster.port}",
        ca=base64.b64encode(ca.certificate).decode(),
        cert=base64.b64encode((pki / "admin.crt").read_bytes()).decode(),
        key=base64.b64encode((pki / "admin.key").read_bytes()).decode(),
    )
    writer.write("admin.kubeconfig", text.encode(), PRIVATE)


def parse_host(text: str) -> Host:
    """Parse `NAME=ADDRESS`.

    Raises:
        ConfigError: it is not of that form, the address is not an IP address, or the name
            not a DNS subdomain (RFC 1123), as that of a Node must be.
    """
    name, _, address = text.partition("=")
    try:
        ipaddress.ip_address(address)
    except ValueError as error:
        raise ConfigError(f"cannot read {text!r}: expected NAME=IP-ADDRESS") from error
    if not _NAME.fullmatch(name) or len(name) > 253:
        raise ConfigError(
            f"{name!r} cannot be a node's name: it must consist of lower case letters, digits, '-' "
            "and '.', and begin and end with a letter or digit"
        )
    return Host(name, address)


@click.command("init", context_settings={"show_default": True})
@click.option(
    "--dir",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("/etc/wherry"),
    help="Where to write.",
)
@click.option("--master", multiple=True, metavar="NAME=IP", help="A master; repeat for each.")
@click.option("--node", multiple=True, metavar="NAME=IP", help="A node; repeat for each.")
@click.option("--service-cidr", default=SERVICE_CIDR, help="Range of cluster IPs.")
@click.option("--port", default=6443, help="The API servers' HTTPS port, for the kubeconfig.")
@click.option("--hollow", is_flag=True, help="Also a certificate for hollow nodes on --node.")
@click.option("--renew", is_flag=True, help="Issue all certificates anew (the authority stays).")
def command(
    directory: Path,
    master: tuple[str, ...],
    node: tuple[str, ...],
    service_cidr: str,
    port: int,
    hollow: bool,
    renew: bool,
) -> None:
    """Make the authority, certificates, tokens and kubeconfig of a cluster."""
    masters = tuple(map(parse_host, master or ("master-1=127.0.0.1",)))
    cluster = Cluster(directory, masters, tuple(map(parse_host, node)), service_cidr, port, hollow)
    written = initialise(cluster, now_s=SystemClock().now(), renew=renew)
    for name in written:
        click.echo(f"wrote {directory / name}")
    if not written:
        click.echo(f"{directory} is complete; nothing to do")
