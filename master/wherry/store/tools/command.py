"""`wherry store SUBCOMMAND`: what an operator does with a store."""

import asyncio
import sys
from pathlib import Path
from random import SystemRandom
from typing import Any, Final

import click
import orjson

from wherry.store.net import Sockets
from wherry.store.tools import archive
from wherry.store.tools.files import ReadOnly, in_use
from wherry.store.tools.inspection import Inspection, inspect, load
from wherry.store.tools.recover_command import recover_command, restore_command
from wherry.store.tools.rejoin_command import rejoin_command
from wherry.store.tools.words import describe_members, describe_segment, prefixes

_directory = click.Path(file_okay=False, path_type=Path)
_file = click.Path(dir_okay=False, path_type=Path)


class WithSubcommands(click.Group):
    """A process that runs when no subcommand is named."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "invoke_without_command": True})


@click.command()
@click.argument("directory", type=_directory)
def verify(directory: Path) -> None:
    """Read the log and the snapshots in DIRECTORY, and say what is good and what is damaged.

    Nothing is changed. Exit code 0: a member can start from it; 1: there is damage.
    """
    _say_if_in_use(directory)
    found = inspect(directory)
    for each in found.files:
        click.echo(
            f"{'DAMAGED' if each.damage else 'good':8} {each.name}: {each.good or 'nothing'}"
        )
    for line in _summary(found):
        click.echo(line)
    for why in found.damage:
        click.echo(f"damage: {why}", err=True)
    sys.exit(1 if found.damage else 0)


def _summary(found: Inspection) -> list[str]:
    lines = []
    if found.meta is not None:
        lines.append(f"member {found.meta.member} of cluster {found.meta.cluster}")
    if found.wal is not None:
        wal = found.wal
        held = f"{wal.entries[0][1]} to {wal.entries[-1][1]}" if wal.entries else "none"
        lines.append(
            f"log: entries {held}; term {wal.term}, vote for {wal.vote or 'nobody'}, known to be "
            f"committed to {wal.commit}; {'a new disk' if wal.fresh else 'a voter'}"
        )
    if found.newest is not None:
        lines.append(f"newest good snapshot: {found.newest.name}")
    return lines


def _say_if_in_use(directory: Path) -> None:
    if in_use(directory):
        click.echo(
            "note: a store is running on this directory; its newest record may be half written",
            err=True,
        )


@click.command()
@click.argument("directory", type=_directory)
@click.option("--entries", default="", metavar="FROM[:TO]", help="Only these entries of the log.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text")
def dump(directory: Path, entries: str, output: str) -> None:
    """Explain every record of the log and every snapshot in DIRECTORY, in words.

    With -o json: one object a line.
    """
    first, last = _span(entries)
    _say_if_in_use(directory)
    disk = ReadOnly(directory)
    for name in disk.names():
        if name.endswith(".wal"):
            for line in describe_segment(name, disk.read(name)):
                if not entries or max(first, 1) <= line.index <= last:
                    click.echo(orjson.dumps(line.json()) if output == "json" else str(line))
        elif name.endswith(".snap") and not entries:
            _dump_snapshot(disk, name, output)


def _dump_snapshot(disk: ReadOnly, name: str, output: str) -> None:
    header, state = load(disk, name)
    found = prefixes(state)
    if output == "json":
        about = {
            "file": name,
            "kind": "SNAPSHOT",
            "index": header.index,
            "term": header.term,
            "cluster": header.cluster,
            "revision": state.revision,
            "compactRevision": state.compact_revision,
            "leases": len(state.leases),
            "prefixes": {one.prefix: {"keys": one.keys, "bytes": one.bytes} for one in found},
        }
        click.echo(orjson.dumps(about))
        return
    click.echo(
        f"{name}: entry {header.index} of term {header.term}, cluster {header.cluster}, "
        f"revision {state.revision}, compacted to {state.compact_revision}, "
        f"{len(state.leases)} leases"
    )
    if header.members:
        click.echo(f"    members {describe_members(header.members)}")
    for one in found:
        click.echo(f"    {one.keys:8} keys {one.bytes:12} bytes  {one.prefix}")


def _span(text: str) -> tuple[int, int]:
    first, separator, last = text.partition(":")
    try:
        return (int(first or 0), int(last or sys.maxsize) if separator else int(first or 0))
    except ValueError as error:
        raise click.BadParameter(f"--entries {text}: expected FROM or FROM:TO") from error


@click.group()
def snapshot() -> None:
    """Save a snapshot of a running member, look at one, make members out of one."""


@snapshot.command()
@click.argument("file", type=_file)
@click.option(
    "--socket", type=_file, default=Path("/run/wherry/store.sock"), help="Of a running member."
)
def save(file: Path, socket: Path) -> None:
    """Save what a running member holds to FILE, while it goes on working."""

    async def main() -> None:
        endpoint, network = f"unix://{socket}", Sockets()
        if not await archive.is_current(endpoint, network, SystemRandom()):
            click.echo(
                "warning: no majority answers: the snapshot holds what this member has applied, "
                "and may lack what others acknowledged",
                err=True,
            )
        await archive.save(file, archive.fetch(endpoint, network))

    asyncio.run(main())
    click.echo(f"Snapshot saved at {file}")


@snapshot.command()
@click.argument("file", type=_file)
@click.option("-w", "--write-out", type=click.Choice(["simple", "table", "json"]), default="simple")
def status(file: Path, write_out: str) -> None:
    """Say what is in a snapshot file, as `etcdctl snapshot status` does."""
    found = archive.status(file)
    if write_out == "json":
        about = {
            "hash": int(found.hash, 16),
            "revision": found.revision,
            "totalKey": found.total_key,
            "totalSize": found.total_size,
            "index": found.index,
            "term": found.term,
            "cluster": found.cluster,
        }
        click.echo(orjson.dumps(about))
        return
    row = [found.hash, str(found.revision), str(found.total_key), _size(found.total_size)]
    if write_out == "simple":
        click.echo(", ".join(row))
    else:
        click.echo(_table(["HASH", "REVISION", "TOTAL KEYS", "TOTAL SIZE"], row))


def _size(count: int) -> str:
    size = float(count)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.{0 if unit == 'B' else 1}f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def _table(head: list[str], row: list[str]) -> str:
    widths = [max(len(a), len(b)) for a, b in zip(head, row, strict=True)]
    rule = "+" + "+".join("-" * (width + 2) for width in widths) + "+"

    def line(cells: list[str]) -> str:
        return "|" + "|".join(f" {c:>{w}} " for c, w in zip(cells, widths, strict=True)) + "|"

    return "\n".join([rule, line(head), rule, line(row), rule])


snapshot.add_command(restore_command)
SUBCOMMANDS: Final = (verify, dump, snapshot, recover_command, rejoin_command)
