"""`wherry store`: wires the store to this machine. No decision is made here."""

import asyncio
import gc
from pathlib import Path
from typing import Final

import click

from wherry.api.errors import ConfigError
from wherry.pki.tls import TlsFiles, client_context, server_context
from wherry.process.command import process_command
from wherry.process.memory import give_back
from wherry.process.run import ProcessOptions, Runtime, run
from wherry.store.client import StoreClient
from wherry.store.compaction import Compaction
from wherry.store.etcd import EtcdServer
from wherry.store.etcd_door import EtcdOptions
from wherry.store.join import join
from wherry.store.member_command import group
from wherry.store.membership import cluster_id
from wherry.store.metrics import register
from wherry.store.net import Sockets, parse_cluster
from wherry.store.page import RevisionPage, page_beside
from wherry.store.peer import NetworkLink
from wherry.store.raft.disk import Directory
from wherry.store.raft.machine import Joined, RaftConfig
from wherry.store.raft.record import identity
from wherry.store.renewal import keep_renewed
from wherry.store.replica import Replica
from wherry.store.server import StoreServer
from wherry.store.space import Quota
from wherry.store.tools.command import SUBCOMMANDS, WithSubcommands

_TIDY_S: Final = 2.0
_TIDY_AT_MOST: Final = 5  # of these it waits for the end of a sweep
_file = click.Path(dir_okay=False, path_type=Path)


@process_command("store", health_port=2382, cls=WithSubcommands)
@click.option("--name", default="master-1", help="This member; one of --initial-cluster.")
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("/var/lib/wherry/store"),
    help="Log and snapshots.",
)
@click.option(
    "--initial-cluster",
    default="",
    metavar="NAME=HOST:PORT,...",
    help="All members and their peer addresses; the same everywhere. Default: this one alone.",
)
@click.option(
    "--initial-cluster-state",
    type=click.Choice(["new", "existing"]),
    default="new",
    help="existing: this member was added (wherry store member add) to a cluster that runs.",
)
@click.option("--initial-cluster-token", default="wherry", help="Tells clusters apart.")
@click.option("--listen-peer", default="127.0.0.1:2380", help="For the other members (mTLS).")
@click.option(
    "--socket", type=_file, default=Path("/run/wherry/store.sock"), help="For the API server."
)
@click.option(
    "--listen-client-rpc", default="", help="For API servers of other masters (mTLS), as :2381."
)
@click.option("--listen-etcd", default="", help="etcd's v3 gRPC API (mTLS), as HOST:2379.")
@click.option(
    "--etcd-plaintext", is_flag=True, help="etcd's API without TLS; on a loopback address only."
)
@click.option("--ca-file", type=_file, help="The cluster's authority.")
@click.option("--cert-file", type=_file, help="Our certificate; it names --name.")
@click.option("--key-file", type=_file, help="Our private key.")
@click.option(
    "--snapshot-count", default=10_000, type=click.IntRange(min=10), help="Entries per snapshot."
)
@click.option("--heartbeat-interval", default=100, type=click.IntRange(min=5), help="In ms.")
@click.option(
    "--election-timeout",
    default=500,
    type=click.IntRange(min=20),
    help="In ms; chosen between this and its double.",
)
@click.option(
    "--quota-backend-bytes",
    default=Quota().backend_bytes,
    help="Keys and values, with history; beyond, alarm NOSPACE. Negative: no bound.",
)
@click.option("--compaction-interval", default=300.0, help="In s.")
@click.option("--compaction-retain", default=10_000, help="Revisions that are kept.")
def command(  # one argument for each flag
    process: ProcessOptions,
    name: str,
    data_dir: Path,
    initial_cluster: str,
    initial_cluster_state: str,
    initial_cluster_token: str,
    listen_peer: str,
    socket: Path,
    listen_client_rpc: str,
    listen_etcd: str,
    etcd_plaintext: bool,
    ca_file: Path | None,
    cert_file: Path | None,
    key_file: Path | None,
    snapshot_count: int,
    heartbeat_interval: int,
    election_timeout: int,
    quota_backend_bytes: int,
    compaction_interval: float,
    compaction_retain: int,
) -> None:
    """Run a member of the replicated key-value store; or, with a subcommand, look after one."""
    if click.get_current_context().invoked_subcommand is not None:
        return

    async def main(runtime: Runtime) -> None:
        gc.set_threshold(50_000, 20, 50)  # what is read from disk stays
        peers = parse_cluster(initial_cluster or f"{name}={listen_peer}")
        tls = _tls_files(ca_file, cert_file, key_file)
        disk = Directory(data_dir)
        network, peer_network = _networks(tls)
        others = {member: address for member, address in peers.items() if member != name}
        address = peers.get(name, listen_peer)
        if initial_cluster_state == "existing" and identity(disk) is None:
            asked = list(others.values())
            welcome = await join(peer_network, asked, name, address, runtime.rng)
            written: tuple[str, Joined | None] = (
                welcome.cluster,
                Joined(welcome.id, welcome.base),
            )
        else:
            written = _written(disk)
        cluster, joined = written
        names = tuple(sorted(peers))
        config = RaftConfig(
            name=name,
            members=names,
            peers=tuple(peers[each] for each in names),
            joined=joined,
            cluster=cluster or cluster_id(tuple(peers), initial_cluster_token),
            heartbeat_s=heartbeat_interval / 1000,
            election_min_s=election_timeout / 1000,
            election_max_s=2 * election_timeout / 1000,
            snapshot_count=snapshot_count,
        )
        config.check()
        link = NetworkLink(
            name, config.cluster, others, peer_network, listen_peer, runtime.rng, address
        )
        compaction = Compaction(compaction_interval, compaction_retain)
        socket.parent.mkdir(parents=True, exist_ok=True)
        page = RevisionPage(page_beside(socket))
        replica = Replica(
            config,
            disk,
            link,
            runtime.clock,
            runtime.rng,
            compaction,
            Quota(quota_backend_bytes or Quota().backend_bytes),  # 0: the default, as in etcd
            disk.free_bytes,
            page.publish,
        )
        local = f"unix://{socket}"
        listen = [local, listen_client_rpc] if listen_client_rpc else [local]
        server = StoreServer(replica, network, listen)
        register(replica)
        runtime.health.add_check("raft", replica.why_not_ready)
        store = StoreClient([local], network, runtime.rng)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(server.run())
                tasks.create_task(_settle(replica))
                tasks.create_task(_tidy(replica))
                if tls is not None:
                    tasks.create_task(keep_renewed(tls, network, peer_network))
                if listen_etcd:
                    options = EtcdOptions(listen_etcd, None if etcd_plaintext else tls, peers)
                    tasks.create_task(EtcdServer(replica, store, options).run())
        finally:
            await store.close()
            page.close()
            disk.close()

    run(main, process)


def _written(disk: Directory) -> tuple[str, Joined | None]:
    """Return the cluster that the data directory belongs to, and what this member was told.

    It wins over the flags: a cluster that was restored or recovered has another identity than
    follows from them, and so has one that this member was added to.
    """
    meta = identity(disk)
    if meta is None:
        return "", None
    return meta.cluster, Joined(meta.id, meta.base) if meta.base else None


async def _settle(replica: Replica) -> None:
    """Keep the garbage collector from walking through the whole state again and again."""
    while not replica.ready:  # noqa: ASYNC110  # it may cease and begin to be
        await asyncio.sleep(0.1)
    gc.collect()
    gc.freeze()


async def _tidy(replica: Replica) -> None:
    """Give back what compaction freed, and what left the log: it lies between what stays.

    Only once it is swept, for nothing may follow: memory would stay until the next compaction.
    """
    given = kept = since = 0
    shrunk = False
    while True:
        await asyncio.sleep(_TIDY_S)
        state, length = replica.state, replica.node.log_length
        shrunk, kept, since = shrunk or length < kept, length, since + 1
        late = since >= _TIDY_AT_MOST
        if (state.compact_revision != given and (state.swept or late)) or (shrunk and late):
            given = state.compact_revision if state.swept else given
            shrunk, since = False, 0
            await asyncio.to_thread(give_back)


def _tls_files(ca: Path | None, cert: Path | None, key: Path | None) -> TlsFiles | None:
    if ca is None and cert is None and key is None:
        return None
    if ca is None or cert is None or key is None:
        raise ConfigError("--ca-file, --cert-file and --key-file belong together")
    return TlsFiles(cert, key, ca)


def _networks(tls: TlsFiles | None) -> tuple[Sockets, Sockets]:
    """Return how clients are served, and how members reach each other.

    A member's certificate must name the member, whatever address it is reached at: the link
    checks that, so the host name is not checked below it.
    """
    if tls is None:
        return Sockets(), Sockets()
    server = server_context(tls)
    return (
        Sockets(server, client_context(tls)),
        Sockets(server, client_context(tls, check_hostname=False)),
    )


if isinstance(command, click.Group):  # for the type checker: it is one
    for subcommand in (*SUBCOMMANDS, group):
        command.add_command(subcommand)
