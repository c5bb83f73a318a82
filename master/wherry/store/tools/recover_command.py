"""`wherry store snapshot restore` and `wherry store recover`: members made out of what is left."""

import contextlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import SystemRandom
from typing import Final

import click
import msgspec

from wherry.api.errors import ConfigError
from wherry.api.times import format_time
from wherry.store.membership import cluster_id
from wherry.store.net import parse_cluster
from wherry.store.tools import recovery
from wherry.store.tools.files import held, in_use
from wherry.store.tools.rebuild import DEFAULT_BUMP, restore
from wherry.store.tools.recovery import Choice, Survivor

_directory = click.Path(file_okay=False, path_type=Path)
_file = click.Path(dir_okay=False, path_type=Path)
_COLUMNS: Final = ("member", "term", "last entry", "committed", "revision", "keys", "last write")

_bump = click.option(
    "--bump-revision",
    default=DEFAULT_BUMP,
    type=click.IntRange(0),
    show_default=True,
    help="How far the revision jumps, past all that anybody may have seen; what is before is "
    "compacted. 0: not at all.",
)


@click.command("restore")
@click.argument("file", type=_file)
@click.option("--data-dir", type=_directory, required=True, help="To be made; must be empty.")
@click.option("--name", required=True, help="This member; one of --initial-cluster.")
@click.option("--initial-cluster", required=True, metavar="NAME=HOST:PORT,...")
@click.option(
    "--initial-cluster-token",
    required=True,
    help="Another than the old cluster's, the same for every member of the new one.",
)
@_bump
def restore_command(
    *,
    file: Path,
    data_dir: Path,
    name: str,
    initial_cluster: str,
    initial_cluster_token: str,
    bump_revision: int,
) -> None:
    """Make a member of a new cluster out of a snapshot file.

    Run it on every member of the new cluster, with the same file and flags but for --name and
    --data-dir; then start them all with these flags.
    """
    peers = parse_cluster(initial_cluster)
    cluster = cluster_id(tuple(peers), initial_cluster_token)
    origin = restore(file, data_dir, name, peers, cluster, bump=bump_revision)
    click.echo(
        f"restored {origin.state.live_count} keys to {data_dir}: member {name} of cluster "
        f"{cluster}, revision {origin.state.revision + bump_revision}"
    )


@click.command("recover")
@click.option(
    "--data-dir", "directories", type=_directory, multiple=True, help="Of a survivor; may repeat."
)
@click.option(
    "--report",
    "reports",
    type=_file,
    multiple=True,
    help="What `recover --inspect -o json` wrote on another machine; may repeat.",
)
@click.option("--inspect", "look", is_flag=True, help="Only show what the survivors hold.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text")
@click.option(
    "--initial-cluster",
    default="",
    metavar="NAME=HOST:PORT,...",
    help="All members, for those who shall come back; default: whom the survivor knows.",
)
@click.option("--force", is_flag=True, help="Even if the survivors could elect a leader.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_bump
def recover_command(
    *,
    directories: Sequence[Path],
    reports: Sequence[Path],
    look: bool,
    output: str,
    initial_cluster: str,
    force: bool,
    yes: bool,
    bump_revision: int,
) -> None:
    """Make a cluster of one out of the best survivor, when a majority is lost for good.

    Stop the survivors first. Shows what each of them holds and what would be lost, asks, and
    puts a new directory in the place of the best one's; the old one is kept beside it. Run it
    again if it was killed. The others come back by `wherry store rejoin`.
    """
    if not directories:
        raise click.UsageError("--data-dir is needed: the directory of a stopped member")
    for path in directories:
        if not look and recovery.finish_killed(path):
            click.echo(f"finished the recovery of {path} that was killed; start the member")
            return
    with contextlib.ExitStack() as stack:
        survivors = [_survey(path, stack, look=look) for path in directories]
        survivors += [_read_report(path) for path in reports]
        if look:
            _show(survivors, output)
            return
        choice = recovery.choose(survivors)
        _show(survivors, "text")
        _explain(choice, force=force)
        best = next((p for p in directories if str(p) == choice.best.directory), None)
        if best is None:
            raise ConfigError(
                f"the best survivor is {choice.best.member}: run this on its machine, with the "
                "reports of the others"
            )
        if not yes:
            click.confirm(f"Make a cluster of one out of {best}?", abort=True)
        peers = parse_cluster(initial_cluster) if initial_cluster else choice.best.peers
        _recover(best, choice.best.member, peers, bump_revision)


def _survey(path: Path, stack: contextlib.ExitStack, *, look: bool) -> Survivor:
    if look and in_use(path):
        raise ConfigError(f"{path} is in use by a store process: stop it first")
    if not look and path.is_dir():
        stack.enter_context(held(path))
    return recovery.survey(path)


def _read_report(path: Path) -> Survivor:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Survivor)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except msgspec.MsgspecError as error:
        raise ConfigError(f"{path} is no report of a survivor: {error}") from error


def _show(survivors: Sequence[Survivor], output: str) -> None:
    if output == "json":
        for one in survivors:
            click.echo(msgspec.json.encode(one))
        return
    rows = [_COLUMNS, *(_row(one) for one in survivors if not one.damage)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(_COLUMNS))]
    for row in rows:
        click.echo("  ".join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True)).rstrip())
    for one in survivors:
        for why in one.damage:
            click.echo(f"{one.directory} cannot be used: {why}")


def _row(one: Survivor) -> tuple[str, ...]:
    return (
        one.member + (" (new disk)" if one.fresh else ""),
        str(one.term),
        f"{one.last_index} of term {one.last_term}",
        str(one.committed),
        str(one.revision),
        str(one.keys),
        format_time(one.written_at) + (" (of the file)" if one.of_file else ""),
    )


def _explain(choice: Choice, *, force: bool) -> None:
    click.echo(f"best: {choice.best.member}, {choice.best.directory}")
    for line in choice.warnings:
        click.echo(f"  - {line}")
    if choice.majority and not force:
        click.echo(
            "these are a majority: start them, and nothing is lost (--force to recover anyway)",
            err=True,
        )
        sys.exit(1)


def _recover(path: Path, member: str, peers: Mapping[str, str], bump: int) -> None:
    if member not in peers:
        raise ConfigError(
            f"say --initial-cluster, as when the members are started: {member} is not in {peers}"
        )
    cluster = f"{SystemRandom().getrandbits(64):016x}"
    aside = recovery.recover(path, recovery.founding_of(cluster, member, peers), bump=bump)
    click.echo(
        f"{path} is now member {member} of cluster {cluster}, alone; the old one is {aside}.\n"
        "Start it with the flags that it had."
    )
    others = sorted(set(peers) - {member})
    if others:
        click.echo(
            f"Then, where {' and '.join(others)} ran: stop the store, if it still runs, and\n"
            "  wherry store rejoin --name NAME --data-dir DIR --initial-cluster "
            f"{','.join(f'{name}={peers[name]}' for name in sorted(peers))} ...\n"
            "with its certificate flags; start it with the flags that it had."
        )
