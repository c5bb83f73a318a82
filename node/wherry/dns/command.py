"""`wherry dns`: wires the component to sockets, upstream servers and its file."""

import logging
from ipaddress import IPv4Address
from pathlib import Path

import click

from wherry.api.errors import ConfigError
from wherry.client.grpc_api import GrpcApi
from wherry.dns.dns import Dns, DnsConfig
from wherry.dns.listener import SocketListener
from wherry.dns.upstream import Server, SocketUpstream, parse_resolv_conf, without_loops
from wherry.host.file import DiskFile
from wherry.host.thread import HostThread
from wherry.process.command import ClientOptions, client_options, process_command
from wherry.process.run import ProcessOptions, Runtime, run

log = logging.getLogger(__name__)


@process_command("dns", health_port=10258)
@client_options
@click.option(
    "--listen",
    multiple=True,
    default=("10.96.0.10",),
    metavar="ADDRESS[:PORT]",
    help="Where to answer, UDP and TCP; an address that the host lacks is added to --interface.",
)
@click.option("--interface", default="lo", help="Interface that gets the --listen addresses.")
@click.option("--cluster-domain", default="cluster.local")
@click.option(
    "--upstream",
    multiple=True,
    metavar="ADDRESS[:PORT]",
    help="Server for names outside of the cluster; default: those of --resolv-conf.",
)
@click.option(
    "--resolv-conf",
    type=click.Path(path_type=Path),
    default=Path("/etc/resolv.conf"),
    help="Where the host's own servers stand.",
)
@click.option(
    "--state-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("/var/lib/wherry/dns"),
)
def command(
    process: ProcessOptions,
    client: ClientOptions,
    listen: tuple[str, ...],
    interface: str,
    cluster_domain: str,
    upstream: tuple[str, ...],
    resolv_conf: Path,
    state_dir: Path,
) -> None:
    """Answer the cluster's names on this node, also while every master is dead."""

    async def main(runtime: Runtime) -> None:
        listening = [_server("--listen", text) for text in listen]
        wanted = [_server("--upstream", text) for text in upstream] or _host_servers(resolv_conf)
        servers = without_loops(wanted, listening, log.warning)
        api = GrpcApi(
            client.endpoints, ca=client.ca, cert=client.cert, key=client.key, rng=runtime.rng
        )
        host = HostThread()
        listener = SocketListener(host, listening, interface=interface)
        dns = Dns(
            DnsConfig(cluster_domain, tuple(address for address, _ in listening)),
            api,
            listener,
            SocketUpstream(host, servers, runtime.rng),
            DiskFile(state_dir / "services.json"),
            runtime.rng,
        )
        runtime.health.add_check("services", dns.not_ready)
        runtime.health.add_check("listening", lambda: None if listener.serving else "not yet")
        try:
            await dns.run()
        finally:
            host.close()
            await api.close()

    run(main, process)


def _host_servers(path: Path) -> list[Server]:
    try:
        text = path.read_text()
    except OSError as error:
        log.warning("no upstream servers: %s: %s", path, error.strerror)
        return []
    return [(address, 53) for address in parse_resolv_conf(text)]


def _server(flag: str, text: str) -> Server:
    address, _, port = text.partition(":")
    try:
        number = int(port or "53")
        IPv4Address(address)
    except ValueError as error:
        raise ConfigError(f"{flag}: {text!r} is not ADDRESS[:PORT] with an IPv4 address") from error
    if not 0 <= number <= 65535:
        raise ConfigError(f"{flag}: {text!r}: no such port")
    return address, number
