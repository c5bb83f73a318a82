"""`wherry store rejoin`: the one command on each machine that lost its cluster."""

import asyncio
import contextlib
from pathlib import Path

import click

from wherry.api.errors import ConfigError
from wherry.pki.tls import TlsFiles, client_context
from wherry.store.net import Sockets, parse_cluster
from wherry.store.tools import rejoin
from wherry.store.tools.files import held

_file = click.Path(dir_okay=False, path_type=Path)


@click.command("rejoin")
@click.option("--name", required=True, help="This member; one of --initial-cluster.")
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Begins anew; what is there is kept beside it.",
)
@click.option(
    "--initial-cluster",
    required=True,
    metavar="NAME=HOST:PORT,...",
    help="All members and their peer addresses, as when the store is started.",
)
@click.option("--ca-file", type=_file, help="The cluster's authority.")
@click.option("--cert-file", type=_file, help="Our certificate; it names --name.")
@click.option("--key-file", type=_file, help="Our private key.")
def rejoin_command(
    *,
    name: str,
    data_dir: Path,
    initial_cluster: str,
    ca_file: Path | None,
    cert_file: Path | None,
    key_file: Path | None,
) -> None:
    """Have this machine's store take its place in a cluster that was recovered elsewhere.

    Stop it first; run this while the recovered cluster runs; then start it with the flags that
    it always had. It is given everything and then votes again.
    """
    peers = parse_cluster(initial_cluster)
    if name not in peers:
        raise ConfigError(f"member {name!r} is not in the cluster {sorted(peers)}")
    network = Sockets()
    if ca_file is not None and cert_file is not None and key_file is not None:
        tls = TlsFiles(cert_file, key_file, ca_file)
        network = Sockets(client_tls=client_context(tls, check_hostname=False))
    with held(data_dir) if data_dir.is_dir() else contextlib.nullcontext():
        welcome = asyncio.run(rejoin.ask(network, name, peers))
        aside = rejoin.begin_anew(data_dir, name, welcome)
    kept = f"; what was there is {aside}" if aside is not None else ""
    click.echo(f"{data_dir} is now member {name} of cluster {welcome.cluster}{kept}")
    click.echo("Start it with the flags that it had.")
