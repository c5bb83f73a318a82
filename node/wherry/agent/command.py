"""`wherry agent`: wires a real node, or hollow ones."""

import asyncio
import ipaddress
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

import click

from wherry.agent.cri import CriRuntime
from wherry.agent.fleet import FleetConfig, HollowFleet
from wherry.agent.node_agent import ANY_ADDRESS, NodeAgent, NodeConfig
from wherry.agent.node_object import NodeIdentity
from wherry.api.errors import ConfigError
from wherry.client.grpc_api import GrpcApi
from wherry.pki.tls import TlsFiles, server_context
from wherry.process.command import ClientOptions, client_options, process_command
from wherry.process.reload import CertificateReload
from wherry.process.run import ProcessOptions, Runtime, run


@process_command("agent", health_port=10248)
@client_options
@click.option("--node-name", "--name", default="", help="Name of the Node object.")
@click.option("--node-ip", default="127.0.0.1", help="Address that the API server reaches us at.")
@click.option("--runtime", "kind", type=click.Choice(["cri", "hollow"]), default="cri")
@click.option("--runtime-endpoint", default="unix:///run/containerd/containerd.sock")
@click.option("--root-dir", type=click.Path(path_type=Path), default=Path("/var/lib/wherry/agent"))
@click.option(
    "--log-dir", type=click.Path(path_type=Path), default=None, help="Default: ROOT-DIR/logs."
)
@click.option("--cluster-dns", multiple=True, default=("10.96.0.10",))
@click.option("--cluster-domain", default="cluster.local")
@click.option("--cgroup-root", default="", help="Prefix of /kubepods, one for each host of a lab.")
@click.option("--seccomp-default", default="RuntimeDefault", help="Where the pod names no profile.")
@click.option("--address", default="", help="Where to listen; default: 0.0.0.0, hollow: NODE-IP.")
@click.option("--port", type=click.IntRange(0, 65535), default=10250, help="HTTPS; hollow 0: none.")
@click.option("--tls-cert-file", type=click.Path(path_type=Path), default=None)
@click.option("--tls-key-file", type=click.Path(path_type=Path), default=None)
@click.option("--node-label", multiple=True, metavar="KEY=VALUE", help="Labels of the Node.")
@click.option("--node-role", multiple=True, help="Adds node-role.kubernetes.io/ROLE.")
@click.option("--taint", multiple=True, metavar="KEY=VALUE:EFFECT", help="Taints at registration.")
@click.option("--max-pods", type=click.IntRange(min=1), default=110)
@click.option("--nodes", type=click.IntRange(min=1), default=1, help="Hollow: how many.")
@click.option("--name-prefix", default="", help="Hollow: names are PREFIX0, PREFIX1 ...")
@click.option("--quiet/--events", default=True, help="Hollow: write no Normal events of pods.")
def command(
    process: ProcessOptions,
    client: ClientOptions,
    node_name: str,
    node_ip: str,
    kind: str,
    runtime_endpoint: str,
    root_dir: Path,
    log_dir: Path | None,
    cluster_dns: tuple[str, ...],
    cluster_domain: str,
    cgroup_root: str,
    seccomp_default: str,
    address: str,
    port: int,
    tls_cert_file: Path | None,
    tls_key_file: Path | None,
    node_label: tuple[str, ...],
    node_role: tuple[str, ...],
    taint: tuple[str, ...],
    max_pods: int,
    nodes: int,
    name_prefix: str,
    quiet: bool,
) -> None:
    """Run the pods that are bound to this node."""
    labels = dict(_pair("--node-label", text) for text in node_label)
    labels |= {f"node-role.kubernetes.io/{role}": "" for role in node_role}

    taints = tuple(_taint(text) for text in taint)
    ip = _address(node_ip)

    def identity(name: str) -> NodeIdentity:
        return NodeIdentity(name, ip, port, max_pods, labels, taints)

    files = TlsFiles(tls_cert_file or client.cert, tls_key_file or client.key, client.ca)
    context = server_context(files) if port or kind == "cri" else None

    async def hollow(runtime: Runtime) -> None:
        fleet = HollowFleet(
            FleetConfig(
                nodes=tuple(identity(name) for name in _names(node_name, name_prefix, nodes)),
                quiet=quiet,
                host=address or node_ip,
                port=port,
                tls=context,
            ),
            _api(client, runtime),
            runtime.clock,
            runtime.rng,
        )
        await _reloading(fleet.run, context, files)

    async def real(runtime: Runtime) -> None:
        if not node_name:
            raise ConfigError("--node-name is needed")
        _make_root(root_dir)
        config = NodeConfig(
            identity=identity(node_name),
            root=root_dir,
            log_root=log_dir or root_dir / "logs",
            cluster_dns=cluster_dns,
            cluster_domain=cluster_domain,
            cgroup_root=cgroup_root,
            seccomp_default=seccomp_default,
            tls=context,
            host=address or ANY_ADDRESS,
        )
        async with CriRuntime(runtime_endpoint) as cri:
            agent = NodeAgent(config, _api(client, runtime), cri, runtime.clock, runtime.rng)
            runtime.health.add_check("pods", agent.unready)
            await _reloading(agent.run, context, files)

    run(real if kind == "cri" else hollow, process)


async def _reloading(
    run: Callable[[], Awaitable[None]], context: ssl.SSLContext | None, files: TlsFiles
) -> None:
    """Run, and take renewed certificates into use meanwhile."""
    async with asyncio.TaskGroup() as tasks:
        reload = None if context is None else CertificateReload(context, files)
        reloading = None if reload is None else tasks.create_task(reload.run())
        try:
            await run()
        finally:
            if reloading is not None:
                reloading.cancel()


def _api(client: ClientOptions, runtime: Runtime) -> GrpcApi:
    return GrpcApi(
        client.endpoints, ca=client.ca, cert=client.cert, key=client.key, rng=runtime.rng
    )


def _names(node_name: str, prefix: str, count: int) -> list[str]:
    """Return the names of hollow nodes: a prefix counts, a name alone is one node's."""
    if prefix:
        return [f"{prefix}{number}" for number in range(count)]
    if count == 1 and node_name:
        return [node_name]
    return [f"{node_name or 'hollow'}-{number}" for number in range(count)]


def _pair(flag: str, text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise click.BadParameter(f"{flag}: expected KEY=VALUE, got {text!r}")
    return key, value


def _taint(text: str) -> dict[str, str]:
    head, colon, effect = text.rpartition(":")
    key, _, value = head.partition("=")
    if not colon or not key or effect not in ("NoSchedule", "PreferNoSchedule", "NoExecute"):
        raise click.BadParameter(f"--taint: expected KEY=VALUE:EFFECT, got {text!r}")
    return {"key": key, "effect": effect, **({"value": value} if value else {})}


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError as error:
        raise click.BadParameter(f"--node-ip: {error}") from error


def _make_root(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"cannot make {path}: {error.strerror}; choose another --root-dir"
        ) from error
