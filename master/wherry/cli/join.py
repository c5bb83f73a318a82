"""`wherry join TOKEN`: make this machine a node of a running cluster.

    1  cluster-info, read without trust; its authority must have the hash in the token
    2  keys, made here; certificates for the agent, overlay, proxy and DNS by certificate
       requests, asked for with the token over connections that the authority vouches for
    3  the masters' addresses, read as the new node: its certificate works
    4  machine.yaml, by which `wherry up --data-dir DIR` knows everything

Nothing is written before 1 has succeeded. Every step looks at what is there, so a run that
was killed is completed by the next one, and a complete directory is left alone.
"""

import asyncio
import base64
import ipaddress
import os
from dataclasses import dataclass
from pathlib import Path
from random import Random, SystemRandom
from typing import Any, Final, Protocol

import click
import orjson
import yaml

from wherry.api.clock import Clock
from wherry.api.errors import (
    ConfigError,
    ForbiddenError,
    NotFoundError,
    StatusError,
    UnauthorizedError,
)
from wherry.api.kinds import CONFIG_MAP, ENDPOINTS
from wherry.cli.join_token import JoinToken, parse_token, pinned
from wherry.cli.layout import Host
from wherry.cli.machine_file import (
    FILE_NAME,
    JoinedMachine,
    doors,
    format_machine,
    parse_machine,
)
from wherry.cli.obtain import TIMEOUT_S, obtain
from wherry.cli.pairs import Pairs, Write
from wherry.cli.rest import Address, Objects, RestServer, parse_address
from wherry.pki.node import node_pairs, why_no_node_name
from wherry.process.clock import SystemClock
from wherry.process.files import atomic_write

GRPC_PORT_KEY: Final = "wherry.io/grpc-port"
_GRPC_PORT: Final = 6444


class Server(Protocol):
    """`wherry.cli.rest.RestServer`."""

    address: Address
    local_address: str

    def unverified(self) -> Objects:
        """See `RestServer`."""
        ...

    def by_token(self, ca: bytes, token: str) -> Objects:
        """See `RestServer`."""
        ...

    def by_certificate(self, ca: bytes, certificate: Path, key: Path) -> Objects:
        """See `RestServer`."""
        ...


@dataclass(frozen=True, slots=True)
class ClusterInfo:
    """What a cluster says to everybody: its authority (PEM, maybe several) and its gRPC port."""

    ca: bytes
    grpc_port: int


class Join:
    """One machine's way into a cluster.

    Args:
        directory: Where everything is written.
        server: A master.
        token: Who we are until we have certificates.
        clock: Whether a certificate is valid.
        rng: Jitter.
        pairs: The certificates; default: those below `directory`.
        write: Writes a file.
        timeout_s: How long to wait for each certificate.
    """

    def __init__(
        self,
        directory: Path,
        server: Server,
        token: JoinToken,
        *,
        clock: Clock,
        rng: Random,
        pairs: Pairs | None = None,
        write: Write = atomic_write,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._directory = directory
        self._server = server
        self._token = token
        self._clock = clock
        self._rng = rng
        self._pairs = pairs or Pairs(directory / "pki", write=write)
        self._write = write
        self._timeout_s = timeout_s

    def complete(self, name: str, address: str) -> bool:
        """Tell whether there is nothing to do; "" stands for the name or address that it has."""
        machine = parse_machine(_read(self._directory / FILE_NAME))
        if machine is None or (machine.host.name, machine.host.address) != (
            name or machine.host.name,
            address or machine.host.address,
        ):
            return False
        ca = _read(self._ca_path)
        now_s = self._clock.now()
        return self._is_pinned(ca) and all(
            self._pairs.good(file, subject, ca, now_s=now_s)
            for file, subject in node_pairs(machine.host.name, machine.host.address).items()
        )

    async def run(self, name: str, address: str = "") -> JoinedMachine:
        """Join as `name`, reached by others at `address` (default: where we reach the master from).

        Raises:
            ConfigError: another cluster, a token that is not good (any more), a request denied.
            UnavailableError: no answer.
        """
        if why := why_no_node_name(name):
            raise ConfigError(why)
        info = await self._info()
        ca = pinned(info.ca, self._token.ca_hash)
        self._keep_authority(ca)
        host = Host(name, address or self._server.local_address)
        await self._certificates(ca, host)
        machine = JoinedMachine(host, await self._doors(ca, host, info.grpc_port))
        self._write(self._directory / FILE_NAME, format_machine(machine))
        return machine

    @property
    def _ca_path(self) -> Path:
        return self._pairs.path("ca", "crt")

    def _is_pinned(self, ca: bytes) -> bool:
        try:
            return bool(ca) and bool(pinned(ca, self._token.ca_hash))
        except ConfigError:
            return False

    async def _info(self) -> ClusterInfo:
        url = self._server.address.url
        try:
            raw = await self._server.unverified().get(CONFIG_MAP, "cluster-info", "kube-public")
        except (NotFoundError, ForbiddenError, UnauthorizedError) as error:
            raise ConfigError(
                f"{url} does not say which cluster it is (ConfigMap kube-public/cluster-info): "
                f"{error}"
            ) from error
        try:
            return read_cluster_info(orjson.loads(raw))
        except ValueError as error:
            raise ConfigError(f"{url}: cannot read kube-public/cluster-info: {error}") from error

    def _keep_authority(self, ca: bytes) -> None:
        have = _read(self._ca_path)
        if have and not self._is_pinned(have):
            raise ConfigError(
                f"{self._directory} belongs to another cluster: remove it, or choose another --dir"
            )
        if not have:
            self._pairs.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._write(self._ca_path, ca)

    async def _certificates(self, ca: bytes, host: Host) -> None:
        api = self._server.by_token(ca, self._token.bearer)
        for file, subject in node_pairs(host.name, host.address).items():
            self._pairs.settle(file)
            if self._pairs.good(file, subject, ca, now_s=self._clock.now()):
                continue
            try:
                certificate = await obtain(
                    api,
                    subject,
                    self._pairs.next_key(file),
                    requester=self._token.user,
                    rng=self._rng,
                    timeout_s=self._timeout_s,
                )
            except UnauthorizedError as error:
                raise ConfigError(
                    f"the cluster does not accept the token {self._token.ident}: {error} "
                    "(a master's current one is in its join.token)"
                ) from error
            except StatusError as error:
                raise ConfigError(f"cannot ask for a certificate: {error}") from error
            self._pairs.install(file, certificate)

    async def _doors(self, ca: bytes, host: Host, port: int) -> tuple[str, ...]:
        """Ask, as the node that we are now, where the masters are."""
        file = f"agent-{host.name}"
        certificate, key = self._pairs.path(file, "crt"), self._pairs.path(file, "key")
        api = self._server.by_certificate(ca, certificate, key)
        try:
            found = orjson.loads(await api.get(ENDPOINTS, "kubernetes", "default"))
        except StatusError as error:
            raise ConfigError(f"cannot ask for the masters' addresses: {error}") from error
        addresses = [
            entry["ip"]
            for subset in found.get("subsets") or ()
            for entry in subset.get("addresses") or ()
        ]
        return doors(addresses, port, first=self._server.address.host)


def read_cluster_info(info: dict[str, Any]) -> ClusterInfo:
    """Read ConfigMap kube-public/cluster-info, ours or kubeadm's.

    Raises:
        ValueError: it is not as it should be.
    """
    try:
        kubeconfig = yaml.safe_load(info["data"]["kubeconfig"])
        [entry] = kubeconfig["clusters"]
        ca = base64.b64decode(entry["cluster"]["certificate-authority-data"], validate=True)
        annotations = info["metadata"].get("annotations") or {}
        return ClusterInfo(ca, int(annotations.get(GRPC_PORT_KEY, _GRPC_PORT)))
    except (KeyError, TypeError, AttributeError, yaml.YAMLError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


@click.command("join", context_settings={"show_default": True})
@click.argument("token")
@click.option(
    "--server",
    required=True,
    metavar="https://HOST[:6443]",
    help="A master.",
)
@click.option(
    "--dir",
    "--data-dir",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("/var/lib/wherry"),
    help="Where to write; the --data-dir of 'wherry up'.",
)
@click.option("--name", default="", help="The node's name.  [default: the host name]")
@click.option(
    "--address",
    default="",
    metavar="IP",
    help="Where others reach it.  [default: our address on the way to the server]",
)
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=1),
    default=TIMEOUT_S,
    help="Seconds to wait for each certificate.",
)
def command(
    token: str, server: str, directory: Path, name: str, address: str, timeout_s: float
) -> None:
    """Make this machine a node of the cluster that wrote TOKEN (its join.token)."""
    if address:
        try:
            ipaddress.ip_address(address)
        except ValueError as error:
            raise ConfigError(f"--address: {error}") from error
    join = Join(
        directory,
        RestServer(parse_address(server)),
        parse_token(token),
        clock=SystemClock(),
        rng=SystemRandom(),
        timeout_s=timeout_s,
    )
    if join.complete(name, address):
        click.echo(f"{directory} is complete; nothing to do")
        return
    have = parse_machine(_read(directory / FILE_NAME))
    if have is not None and name in ("", have.host.name):
        name, address = have.host.name, address or have.host.address
    try:
        machine = asyncio.run(join.run(name or os.uname().nodename.lower(), address))
    except OSError as error:
        raise ConfigError(f"cannot write {directory}: {error.strerror}") from error
    click.echo(f"{machine.host.name} is a node now; start it: wherry up --data-dir {directory}")
