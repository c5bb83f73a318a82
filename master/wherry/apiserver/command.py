"""`wherry apiserver`: flags, named as kube-apiserver's where it has them, and wiring."""

import asyncio
import gc
import ipaddress
import logging
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from ssl import TLSVersion
from typing import Any

import click

from wherry.api.errors import ConfigError
from wherry.apiserver.access import Access, node_of_pod, requester_of
from wherry.apiserver.authn import Authenticator, read_token_file
from wherry.apiserver.authz import FixedPolicy
from wherry.apiserver.bootstrap import Bootstrap, BootstrapConfig
from wherry.apiserver.cors import parse_origins
from wherry.apiserver.duration import parse_duration
from wherry.apiserver.http.message import DEFAULT_LIMITS, Limits
from wherry.apiserver.registry import Registry, RegistryConfig
from wherry.apiserver.server import ApiServer, ServerConfig
from wherry.apiserver.stores import open_store
from wherry.apiserver.tokens import DEFAULT_ISSUER, TokenConfig
from wherry.apiserver.workers import SIBLING, siblings
from wherry.pki.tls import TlsFiles
from wherry.pki.trust import Authorities
from wherry.process.command import process_command
from wherry.process.memory import keep_freed
from wherry.process.reload import Reload
from wherry.process.run import ProcessOptions, Runtime, run

log = logging.getLogger(__name__)


class _Duration(click.ParamType):  # type: ignore[type-arg]  # generic in the stubs only
    """Seconds, more than none; written as Go does."""

    name = "DURATION"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        try:
            seconds = parse_duration(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if seconds <= 0:
            self.fail(f"{value} is not more than 0s", param, ctx)
        return seconds


_FILE = click.Path(dir_okay=False, path_type=Path)
_PORT = click.IntRange(0, 65535)
_COUNT = click.IntRange(0)
_TLS_VERSIONS = {"VersionTLS12": TLSVersion.TLSv1_2, "VersionTLS13": TLSVersion.TLSv1_3}
_KEPT_BYTES = 32 << 20  # freed memory: a list of 5,000 pods and what was copied of it
_GC_THRESHOLDS = (50_000, 20, 50)  # requests leave few circles behind
_DNS_ADDRESS = 10
"""Which address of the service range is the cluster DNS, by convention."""
_NO_TOKENS = (
    "no --service-account-signing-key-file: ServiceAccount tokens are neither issued nor accepted, "
    "and pods stay in ContainerCreating (FailedMount) on real nodes unless they say "
    "automountServiceAccountToken: false; give the same EC P-256 key to every API server "
    "(pki/sa.key of 'wherry init')"
)


@dataclass(frozen=True, slots=True)
class Flags:
    """What the command line says, under kube-apiserver's names."""

    advertise_address: str
    bind_address: str
    secure_port: int
    grpc_port: int
    store: tuple[str, ...]
    service_cluster_ip_range: str
    service_node_port_range: str
    cluster_cidr: str
    tls_cert_file: Path
    tls_private_key_file: Path
    tls_min_version: str
    client_ca_file: Path
    cors_allowed_origins: str
    kubelet_client_certificate: Path | None
    kubelet_client_key: Path | None
    token_auth_file: Path | None
    service_account_signing_key_file: Path | None
    service_account_issuer: str
    max_connections: int
    max_requests_inflight: int
    max_mutating_requests_inflight: int
    request_timeout: float
    min_request_timeout: int
    workers: int
    sibling: bool


@process_command("apiserver")
@click.option("--advertise-address", metavar="IP", required=True, help="Where others reach us.")
@click.option("--bind-address", metavar="IP", default="0.0.0.0", help="Address of both doors.")  # noqa: S104
@click.option("--secure-port", type=_PORT, default=6443, help="Kubernetes REST over HTTPS.")
@click.option("--grpc-port", type=_PORT, default=6444, help="The native gRPC door.")
@click.option(
    "--store",
    multiple=True,
    required=True,
    metavar="URL[,URL...]",
    help="unix:///PATH and HOST:PORT of Wherry's stores, the nearest first; etcd://HOST:PORT of "
    "a real etcd; memory:// keeps everything in this process.",
)
@click.option("--service-cluster-ip-range", metavar="CIDR", default="10.96.0.0/12")
@click.option("--service-node-port-range", metavar="FIRST-LAST", default="30000-32767")
@click.option("--cluster-cidr", metavar="CIDR", default="10.244.0.0/16", help="Pod addresses.")
@click.option("--tls-cert-file", type=_FILE, required=True, help="Serving certificate.")
@click.option("--tls-private-key-file", type=_FILE, required=True, help="Its key.")
@click.option(
    "--tls-min-version",
    type=click.Choice(list(_TLS_VERSIONS)),
    default="VersionTLS13",
    help="Of the REST door; the other one speaks TLS 1.3.",
)
@click.option("--client-ca-file", type=_FILE, required=True, help="Authority of clients.")
@click.option(
    "--cors-allowed-origins",
    metavar="REGEX[,REGEX...]",
    default="",
    show_default=False,
    help="Origins of web pages that may ask, as '//example.com(:|$)'; each pins the whole host. "
    "None: no page may.",
)
@click.option(
    "--kubelet-client-certificate",
    type=_FILE,
    help="Who we are to agents.  [default: the serving certificate]",
)
@click.option("--kubelet-client-key", type=_FILE, help="Its key.")
@click.option("--token-auth-file", type=_FILE, help='CSV: token,user,uid,"group1,group2".')
@click.option(
    "--service-account-signing-key-file",
    type=_FILE,
    help="EC P-256 key that signs ServiceAccount tokens. Without one there are none, and a pod "
    "that mounts its account's token, as pods do unless told otherwise, never starts on a real "
    "node (FailedMount).",
)
@click.option("--service-account-issuer", default=DEFAULT_ISSUER)
@click.option(
    "--max-connections",
    type=click.IntRange(1),
    default=DEFAULT_LIMITS.connections,
    help="Open connections; then the one that has been idle for longest makes room.",
)
@click.option(
    "--max-requests-inflight",
    type=_COUNT,
    default=DEFAULT_LIMITS.in_flight,
    help="Reads answered at once; then 429. Watches, logs and exec are not counted. 0: no limit.",
)
@click.option(
    "--max-mutating-requests-inflight",
    type=_COUNT,
    default=DEFAULT_LIMITS.mutating_in_flight,
    help="Writes answered at once; then 429. 0: no limit.",
)
@click.option(
    "--request-timeout",
    type=_Duration(),
    default="1m0s",
    show_default=True,
    help="How long a request may take that is no watch, log, exec or port-forward; then 504 "
    "Timeout. A client's ?timeout= may only be shorter.",
)
@click.option(
    "--min-request-timeout",
    type=_COUNT,
    default=1800,
    help="Seconds that a watch lasts at least whose client does not say; up to twice as long, "
    "to spread their ends out. 0: no limit.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    default=1,
    help="Processes that share the two ports, to use more cores.",
)
@click.option(SIBLING, is_flag=True, hidden=True, help="Be one of the others of --workers.")
def command(process: ProcessOptions, **flags: Any) -> None:
    """Serve the Kubernetes API (REST and gRPC) over a store."""
    given = Flags(**flags)

    if given.workers > 1 and 0 in (given.secure_port, given.grpc_port):
        raise click.UsageError("--workers needs ports that are known: none of them may be 0")

    keep_freed(_KEPT_BYTES)
    gc.set_threshold(*_GC_THRESHOLDS)

    async def main(runtime: Runtime) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(serve(given, runtime))
            if given.workers > 1 and not given.sibling:
                others = siblings(sys.argv[1:], given.workers - 1, rng=runtime.rng)
                tasks.create_task(others.run())

    run(main, process)


async def serve(flags: Flags, runtime: Runtime) -> None:
    """Build an API server from flags and run it.

    Raises:
        ConfigError: a flag or a file cannot work.
    """
    tls = TlsFiles(flags.tls_cert_file, flags.tls_private_key_file, flags.client_ca_file)
    tls.check()
    config = registry_config(flags)
    bootstrap_config = BootstrapConfig(
        advertise_address=_address(flags.advertise_address, "--advertise-address"),
        secure_port=flags.secure_port,
        service_cidr=config.service_cidr,
        dns_ip=config.dns_ip,
        network=_network(flags.cluster_cidr),
        ca=_text(flags.client_ca_file),
        grpc_port=flags.grpc_port,
    )
    static = read_token_file(_text(flags.token_auth_file)) if flags.token_auth_file else {}
    if config.tokens.signing_key is None and not flags.sibling:
        log.warning(_NO_TOKENS)
    clock, rng = runtime.clock, runtime.rng
    ca_file = flags.client_ca_file
    trusting = Reload([ca_file], lambda: who.trust(Authorities(ca_file.read_bytes())))
    endpoints = [url for value in flags.store for url in value.split(",") if url]
    opened = open_store(endpoints, tls, clock=clock, rng=rng)
    store = opened.store
    registry = Registry(store, clock=clock, rng=rng, config=config)
    try:
        authorities = Authorities(ca_file.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot use --client-ca-file {ca_file}: {error}") from error
    who = Authenticator(
        registry, clock=clock, tokens=config.tokens, static=static, authorities=authorities
    )
    gate = Access(who, FixedPolicy(node_of_pod(registry), requester_of(registry)))
    server = ApiServer(
        ServerConfig(
            tls=tls,
            agent_tls=_agent_tls(flags, tls),
            bind_address=_address(flags.bind_address, "--bind-address"),
            secure_port=flags.secure_port,
            grpc_port=flags.grpc_port,
            advertise_address=flags.advertise_address,
            reuse_port=flags.workers > 1,
            limits=Limits(
                connections=flags.max_connections,
                in_flight=flags.max_requests_inflight,
                mutating_in_flight=flags.max_mutating_requests_inflight,
                request_s=flags.request_timeout,
            ),
            min_request_timeout_s=float(flags.min_request_timeout),
            tls_min_version=_TLS_VERSIONS[flags.tls_min_version],
            origins=parse_origins(flags.cors_allowed_origins),
        ),
        store,
        registry,
        gate,
        clock=clock,
        bootstrap=Bootstrap(registry, store, bootstrap_config, rng=rng).run,
        rng=rng,
    )
    for name in server.checks():
        runtime.health.add_check(name, partial(_check, server, name))
    try:
        async with asyncio.TaskGroup() as tasks:
            beside = [tasks.create_task(_settle(registry)), tasks.create_task(trusting.run())]
            if opened.reload is not None:
                beside.append(tasks.create_task(opened.reload.run()))
            try:
                await server.run()
            finally:
                for task in beside:
                    task.cancel()
    finally:
        await store.close()


async def _settle(registry: Registry) -> None:
    """Keep the garbage collector from walking through tables, schemas and caches again and again.

    A walk through all of them took 40 ms and more, in which every client waited (ADR 14).
    """
    await registry.synced.wait()
    gc.collect()
    gc.freeze()


def _check(server: ApiServer, name: str) -> str | None:
    return server.checks()[name] or None


def registry_config(flags: Flags) -> RegistryConfig:
    """Return the registry's part of the flags.

    Raises:
        ConfigError: a range cannot be read.
    """
    network = _cidr(flags.service_cluster_ip_range, "--service-cluster-ip-range")
    if network.num_addresses <= _DNS_ADDRESS:
        raise ConfigError(f"--service-cluster-ip-range {network} is too small: use /24 or larger")
    first, dash, last = flags.service_node_port_range.partition("-")
    if not (dash and first.isdigit() and last.isdigit() and 0 < int(first) <= int(last) < 65536):
        raise ConfigError(
            f"--service-node-port-range {flags.service_node_port_range!r}: expected FIRST-LAST"
        )
    key_file = flags.service_account_signing_key_file
    return RegistryConfig(
        service_cidr=str(network),
        node_ports=(int(first), int(last)),
        dns_ip=str(network[_DNS_ADDRESS]),
        root_ca=_text(flags.client_ca_file),
        tokens=TokenConfig(
            signing_key=_text(key_file).encode() if key_file else None,
            issuer=flags.service_account_issuer,
            audiences=(flags.service_account_issuer,),
        ),
    )


def _agent_tls(flags: Flags, tls: TlsFiles) -> TlsFiles:
    certificate, key = flags.kubelet_client_certificate, flags.kubelet_client_key
    if certificate is None and key is None:
        return tls
    if certificate is None or key is None:
        raise ConfigError("give both --kubelet-client-certificate and --kubelet-client-key")
    files = TlsFiles(certificate, key, flags.client_ca_file)
    files.check()
    return files


def _network(pod_cidr: str) -> dict[str, Any]:
    network = _cidr(pod_cidr, "--cluster-cidr")
    default = BootstrapConfig(advertise_address="127.0.0.1").network
    return {**default, "Network": str(network)}


def _cidr(text: str, flag: str) -> ipaddress.IPv4Network:
    try:
        return ipaddress.IPv4Network(text)
    except ValueError as error:
        raise ConfigError(f"{flag}: {error}") from error


def _address(text: str, flag: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError as error:
        raise ConfigError(f"{flag}: {error}") from error


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
