"""`wherry overlay`: wires the component to netlink, iptables and files."""

from pathlib import Path

import click

from wherry.api.errors import ConfigError
from wherry.client.grpc_api import GrpcApi
from wherry.host.file import DiskFile
from wherry.host.iptables import IptablesCommand
from wherry.host.netlink import NetlinkEvents
from wherry.host.thread import HostThread
from wherry.overlay.kernel import NetlinkKernel
from wherry.overlay.known import OverlayConfig
from wherry.overlay.lease import HOST_GW, VXLAN
from wherry.overlay.overlay import Overlay, OverlayFiles
from wherry.overlay.plan import CNI_FILE, CNI_PLUGINS
from wherry.process.command import ClientOptions, client_options, process_command
from wherry.process.run import ProcessOptions, Runtime, run

_DIRECTORY = click.Path(file_okay=False, path_type=Path)


@process_command("overlay", health_port=10254)
@client_options
@click.option("--node-name", required=True, help="Name of this node's Node object.")
@click.option("--iface", default="", help="Interface to the other hosts; default: by address.")
@click.option(
    "--public-ip",
    default="",
    help="Our address for the other hosts; without it and --iface that of the default route.",
)
@click.option(
    "--backend",
    type=click.Choice([VXLAN, HOST_GW]),
    help="Override the network configuration's backend; must be the same on all nodes.",
)
@click.option("--state-dir", type=_DIRECTORY, default=Path("/var/lib/wherry/overlay"))
@click.option("--cni-conf-dir", type=_DIRECTORY, default=Path("/etc/cni/net.d"))
@click.option("--cni-bin-dir", type=_DIRECTORY, default=Path("/usr/lib/cni"))
@click.option("--cni-data-dir", type=_DIRECTORY, default=Path("/var/lib/cni/networks"))
@click.option("--resync", type=click.FloatRange(min=1), default=30.0, help="Seconds.")
def command(
    process: ProcessOptions,
    client: ClientOptions,
    node_name: str,
    iface: str,
    public_ip: str,
    backend: str | None,
    state_dir: Path,
    cni_conf_dir: Path,
    cni_bin_dir: Path,
    cni_data_dir: Path,
    resync: float,
) -> None:
    """Lease a pod subnet for this node and route to every other node's."""
    config = OverlayConfig(
        node=node_name,
        interface=iface,
        public_ip=public_ip,
        backend=backend or "",
        cni_data_dir=str(cni_data_dir),
        resync_s=resync,
    )
    files = OverlayFiles(
        state=DiskFile(state_dir / "state.json"),
        cni=DiskFile(cni_conf_dir / CNI_FILE, mode=0o644),
        subnet_env=DiskFile(state_dir / "subnet.env", mode=0o644),
    )

    async def main(runtime: Runtime) -> None:
        _check_plugins(cni_bin_dir)
        api = GrpcApi(
            client.endpoints, ca=client.ca, cert=client.cert, key=client.key, rng=runtime.rng
        )
        host = HostThread()
        kernel = NetlinkKernel(host)
        events = NetlinkEvents(host)
        overlay = Overlay(
            config,
            api,
            kernel,
            IptablesCommand(host),
            files,
            events,
            runtime.clock,
            runtime.rng,
        )
        runtime.health.add_check("subnet", overlay.not_ready)
        try:
            await overlay.run()
        finally:
            events.close()
            await kernel.close()
            host.close()
            await api.close()

    run(main, process)


def _check_plugins(directory: Path) -> None:
    missing = [name for name in CNI_PLUGINS if not (directory / name).exists()]
    if missing:
        raise ConfigError(
            f"no CNI plugin {', '.join(missing)} in {directory}: install "
            "containernetworking-plugins, or name their directory by --cni-bin-dir"
        )
