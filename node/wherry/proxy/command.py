"""`wherry proxy`: wires the component to iptables, connection tracking and netlink."""

from ipaddress import AddressValueError, IPv4Address, IPv4Network

import click

from wherry.api.errors import ConfigError
from wherry.client.grpc_api import GrpcApi
from wherry.host.iptables import IptablesCommand
from wherry.host.netlink import NetlinkEvents
from wherry.host.thread import HostThread
from wherry.process.command import ClientOptions, client_options, process_command
from wherry.process.run import ProcessOptions, Runtime, run
from wherry.proxy.conntrack import NetlinkConntrack
from wherry.proxy.node_host import NetlinkNodeHost
from wherry.proxy.proxy import Proxy, ProxyConfig


@process_command("proxy", health_port=10256)
@client_options
@click.option("--node-name", required=True, help="Name of this node's Node object.")
@click.option("--cluster-cidr", default="10.244.0.0/16", help="The pod network.")
@click.option("--service-cidr", default="10.96.0.0/12", help="Where cluster IPs come from.")
@click.option(
    "--cluster-dns",
    multiple=True,
    default=("10.96.0.10",),
    help="Address that `wherry dns` answers on this node itself: no rules are made for it.",
)
@click.option("--iface", default="", help="Interface to the other hosts; default: the first.")
@click.option(
    "--iptables",
    "variant",
    type=click.Choice(["auto", "nft", "legacy"]),
    default="auto",
    help="Which iptables programs; auto takes what the host calls `iptables`.",
)
@click.option(
    "--route-localnet/--no-route-localnet",
    default=False,
    help="Let node ports answer on 127.0.0.1 too.",
)
@click.option("--resync", type=click.FloatRange(min=1), default=30.0, help="Seconds.")
def command(
    process: ProcessOptions,
    client: ClientOptions,
    node_name: str,
    cluster_cidr: str,
    service_cidr: str,
    cluster_dns: tuple[str, ...],
    iface: str,
    variant: str,
    route_localnet: bool,
    resync: float,
) -> None:
    """Make Services reachable from this node, by iptables rules."""

    async def main(runtime: Runtime) -> None:
        config = ProxyConfig(
            node=node_name,
            cluster_cidr=str(_network("--cluster-cidr", cluster_cidr)),
            service_cidr=_network("--service-cidr", service_cidr),
            cluster_dns=frozenset(_address("--cluster-dns", a) for a in cluster_dns),
            localnet=route_localnet,
            resync_s=resync,
        )
        api = GrpcApi(
            client.endpoints, ca=client.ca, cert=client.cert, key=client.key, rng=runtime.rng
        )
        host = HostThread()
        events = NetlinkEvents(host)
        proxy = Proxy(
            config,
            api,
            IptablesCommand(host, "" if variant == "auto" else variant),
            NetlinkConntrack(host),
            NetlinkNodeHost(host, iface),
            events,
            runtime.clock,
            runtime.rng,
        )
        runtime.health.add_check("rules", proxy.not_ready)
        try:
            await proxy.run()
        finally:
            events.close()
            host.close()
            await api.close()

    run(main, process)


def _network(flag: str, text: str) -> IPv4Network:
    try:
        return IPv4Network(text)
    except ValueError as error:
        raise ConfigError(f"{flag}: {error}") from error


def _address(flag: str, text: str) -> str:
    try:
        return str(IPv4Address(text))
    except AddressValueError as error:
        raise ConfigError(f"{flag}: {error}") from error
