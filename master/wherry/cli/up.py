"""`wherry up`: run and supervise all processes of this machine.

wherry up --runtime hollow --nodes 2             a real API with all controllers, no root
wherry up --runtime hollow --ephemeral           the same, nothing kept
wherry up --role master --role node --runtime cri --address 192.168.56.11
wherry up --data-dir /var/lib/wherry             a node, where `wherry join` has been
"""

import asyncio
import errno
import logging
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

import click

from wherry.api.clock import Clock
from wherry.api.errors import ConfigError
from wherry.cli.init import Cluster, initialise, parse_host
from wherry.cli.machine_file import FILE_NAME
from wherry.cli.pairs import Pairs
from wherry.cli.plan import (
    PORTS,
    Machine,
    Planned,
    agent_identity,
    listeners,
    plan,
    ports_from,
)
from wherry.cli.renewal import Renewal
from wherry.client.grpc_api import GrpcApi
from wherry.pki.node import node_pairs
from wherry.pki.subject import Subject
from wherry.process.command import process_command, read_flags
from wherry.process.run import ProcessOptions, Runtime, run
from wherry.process.supervisor import Child, Supervisor

log = logging.getLogger(__name__)
PROBE_S = 1.0
ISSUE_S: Final = 86_400.0
"""How often a lone master looks at its certificates; they are issued anew a month before their end."""
_OTHER_PORTS = "choose other ports with --ports-from"
_WAYS_OUT = {
    errno.EADDRINUSE: f"is another cluster running here? {_OTHER_PORTS}",
    errno.EADDRNOTAVAIL: "this machine does not have that address: choose another --address",
}


def _default_directory() -> Path:
    return Path("/var/lib/wherry") if os.geteuid() == 0 else Path.home() / ".wherry"


def _read_machine(
    context: click.Context, _param: click.Parameter, directory: Path | None
) -> Path | None:
    """Take what `wherry join` wrote as defaults; the command line and --config win."""
    if directory is not None and (path := directory / FILE_NAME).exists():
        context.default_map = {**read_flags(context.command, path), **(context.default_map or {})}
    return directory


@process_command("up")
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=None,
    is_eager=True,
    callback=_read_machine,
    help="Certificates, state and logs.  [default: ~/.wherry, /var/lib/wherry for root]",
)
@click.option(
    "--role",
    "roles",
    multiple=True,
    type=click.Choice(["master", "node"]),
    default=("master", "node"),
    help="What this machine is; repeat for both.",
)
@click.option("--runtime", type=click.Choice(["hollow", "cri"]), default="hollow")
@click.option("--nodes", type=click.IntRange(1, 5000), default=1, help="Hollow nodes to run.")
@click.option("--ephemeral", is_flag=True, help="Keep all state in memory; one master only.")
@click.option("--name", default="", help="This machine's name.  [default: the host name]")
@click.option("--address", default="127.0.0.1", help="The address others reach it at.")
@click.option(
    "--master",
    "masters",
    multiple=True,
    metavar="NAME=IP",
    help="All masters of the cluster, this one included.  [default: this machine]",
)
@click.option(
    "--apiserver",
    "apiservers",
    multiple=True,
    metavar="HOST:PORT",
    help="gRPC door of a master, for a node; instead of --master.  [default: as joined]",
)
@click.option(
    "--runtime-endpoint",
    default="unix:///run/containerd/containerd.sock",
    help="containerd's socket, for --runtime cri.",
)
@click.option("--service-cidr", default="10.96.0.0/12", help="Range of cluster IPs.")
@click.option(
    "--cluster-signing-duration",
    default="8760h0m0s",
    help="How long certificates of nodes that join last; nodes renew them in time.",
)
@click.option(
    "--ports-from",
    type=click.IntRange(1024, 65000),
    default=None,
    help="Use consecutive ports from here instead of the well-known ones.",
)
def command(
    process: ProcessOptions,
    data_dir: Path | None,
    roles: tuple[str, ...],
    runtime: str,
    nodes: int,
    ephemeral: bool,
    name: str,
    address: str,
    masters: tuple[str, ...],
    apiservers: tuple[str, ...],
    runtime_endpoint: str,
    service_cidr: str,
    cluster_signing_duration: str,
    ports_from: int | None,
) -> None:
    """Run and supervise all processes of this machine, until told to stop."""
    host = parse_host(f"{name or os.uname().nodename.lower()}={address}")
    cluster = tuple(map(parse_host, masters)) or (host,)
    scratch = ephemeral and data_dir is None
    if ephemeral and len(cluster) > 1:
        raise ConfigError("--ephemeral keeps state in one process: it cannot have several masters")
    directory = Path(tempfile.mkdtemp(prefix="wherry-")) if scratch else data_dir
    machine = Machine(
        host=host,
        directory=(directory or _default_directory()).absolute(),
        ports=_ports(ports_from),
        roles=frozenset(roles),
        runtime=runtime,
        nodes=nodes,
        ephemeral=ephemeral,
        masters=cluster,
        apiservers=() if masters or "master" in roles else apiservers,
        runtime_endpoint=runtime_endpoint,
        service_cidr=service_cidr,
        signing_duration=cluster_signing_duration,
    )
    try:
        run(lambda given: _up(machine, given), process)
    finally:
        if scratch:
            shutil.rmtree(machine.directory, ignore_errors=True)


def _ports(first: int | None) -> dict[str, int]:
    return dict(PORTS) if first is None else ports_from(first)


def check_ports(machine: Machine) -> None:
    """Refuse to start beside something that listens where our processes would.

    Raises:
        ConfigError: names the port, the process that would need it, and the way out.
    """
    for name, address, port in listeners(machine):
        with socket.socket() as attempt:
            attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                attempt.bind((address, port))
            except OSError as error:
                raise ConfigError(
                    f"cannot listen on {address}:{port} ({name}): {error.strerror}; "
                    f"{_WAYS_OUT.get(error.errno or 0, _OTHER_PORTS)}"
                ) from error


async def _up(machine: Machine, runtime: Runtime) -> None:
    check_ports(machine)
    cluster = None
    if "master" in machine.roles and machine.masters == (machine.host,):
        cluster = Cluster(
            machine.directory,
            machine.masters,
            (machine.host,),
            machine.service_cidr,
            machine.ports["secure"],
            hollow="node" in machine.roles and machine.runtime == "hollow",
        )
        initialise(cluster, now_s=runtime.clock.now())
    machine = replace(machine, signs=(machine.pki / "ca.key").exists())
    subjects = _settled(machine) if machine.is_worker else {}
    children = [_child(machine, p) for p in plan(machine)]
    supervisor = Supervisor(children, rng=runtime.rng)
    async with asyncio.TaskGroup() as group:
        group.create_task(supervisor.run())
        if cluster is not None:
            group.create_task(keep_issued(cluster, runtime.clock))
        if subjects:
            group.create_task(_renew(machine, subjects, runtime))
        await supervisor.ready()
        _greet(machine)


async def keep_issued(cluster: Cluster, clock: Clock) -> None:
    """Issue the certificates of a lone master anew before they end, as each start does.

    Its processes notice that the files changed.
    """
    while True:
        await asyncio.sleep(ISSUE_S)
        try:
            for name in initialise(cluster, now_s=clock.now()):
                log.info("wrote %s", cluster.directory / name)
        except ConfigError as error:
            log.warning("cannot keep the certificates valid: %s", error)


def _settled(machine: Machine) -> dict[str, Subject]:
    """Return the subjects of a node's certificates, once what a crash left of a renewal is finished.

    Raises:
        ConfigError: there are no certificates.
    """
    pairs, subjects = Pairs(machine.pki), node_pairs(machine.host.name, machine.host.address)
    for name in subjects:
        pairs.settle(name)
    missing = [pairs.path(name, "crt") for name in subjects if not pairs.read(name)]
    if missing:
        raise ConfigError(
            f"{missing[0]} is missing: this machine is no node of a cluster yet; "
            "run 'wherry join TOKEN --server https://MASTER:6443' first"
        )
    return subjects


async def _renew(machine: Machine, subjects: Mapping[str, Subject], runtime: Runtime) -> None:
    """Keep a node's certificates valid, as that node."""
    pairs, agent = Pairs(machine.pki), agent_identity(machine.host)
    api = GrpcApi(
        machine.doors,
        ca=pairs.path("ca", "crt"),
        cert=pairs.path(agent, "crt"),
        key=pairs.path(agent, "key"),
        rng=runtime.rng,
    )
    renewal = Renewal(
        pairs,
        subjects,
        api,
        requester=subjects[agent].user,
        clock=runtime.clock,
        rng=runtime.rng,
    )
    try:
        await renewal.run()
    finally:
        await api.close()


def _child(machine: Machine, planned: Planned) -> Child:
    async def ready() -> bool:
        return await probe(planned.health_port)

    return Child(
        planned.name,
        [sys.executable, "-m", "wherry.cli", *planned.arguments],
        machine.directory / "logs" / f"{planned.name}.log",
        ready,
        planned.after,
    )


async def probe(port: int) -> bool:
    """Tell whether `/readyz` on a loopback port answers 200."""
    try:
        async with asyncio.timeout(PROBE_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n")
                await writer.drain()
                status = await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False
    return b" 200 " in status


def _greet(machine: Machine) -> None:
    lines = [f"logs are in {machine.directory / 'logs'}"]
    if "master" in machine.roles:
        server = f"https://{machine.host.address}:{machine.ports['secure']}"
        lines.insert(0, f"the cluster is ready at {server}")
        lines.append(f"export KUBECONFIG={machine.directory / 'admin.kubeconfig'}")
    click.echo("\n".join(lines))
