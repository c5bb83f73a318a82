"""`wherry store member ...`: who belongs to the cluster, in the forms of `etcdctl member`.

Talks to one store over its Unix socket; changes are passed on to the leader.
"""

import asyncio
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from random import SystemRandom
from typing import Any

import click
import orjson

from wherry.api.errors import WherryError
from wherry.store import rpc
from wherry.store.client import StoreClient
from wherry.store.membership import (
    AddMember,
    Change,
    MemberError,
    MemberInfo,
    PromoteMember,
    RemoveMember,
    UpdateMember,
)
from wherry.store.net import Sockets, host_port

_TIMEOUT_S = 10.0
_file = click.Path(dir_okay=False, path_type=Path)
_options = [
    click.option(
        "--socket", type=_file, default=Path("/run/wherry/store.sock"), help="Of a store."
    ),
    click.option(
        "-w",
        "--write-out",
        type=click.Choice(["simple", "table", "json"]),
        default="simple",
        help="Form of the output.",
    ),
]


def _on_a_store(function: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(_options):
        function = option(function)
    return function


class _Number(click.ParamType):  # type: ignore[type-arg]  # generic in the stubs only
    """An id, in hexadecimal as it is shown."""

    name = "ID"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            return int(value, 16)
        except ValueError:
            self.fail(f"bad member ID arg ({value!r}), expecting ID in Hex", param, ctx)


@click.group("member")
def group() -> None:
    """List and change the members of the cluster."""


@group.command("list")
@click.option(
    "--consistency",
    type=click.Choice(["l", "s"]),
    default="l",
    help="l: as it is now, which needs a majority (the default); s: as this store knows it.",
)
@_on_a_store
def list_members(socket: Path, write_out: str, consistency: str) -> None:
    """Say who belongs to the cluster."""

    async def ask(client: StoreClient) -> tuple[rpc.Member, tuple[MemberInfo, ...]]:
        return await client.status(), await client.members(serializable=consistency == "s")

    status, members = _run(socket, ask)
    if write_out == "json":
        click.echo(_json(status, members))
    elif write_out == "table":
        click.echo(table(members))
    else:
        for row in rows(members):
            click.echo(", ".join(row))


@group.command()
@click.argument("name")
@click.option("--peer-addr", required=True, metavar="HOST:PORT", help="Where it will listen.")
@click.option("--learner", is_flag=True, help="It is given everything, and does not vote yet.")
@_on_a_store
def add(socket: Path, write_out: str, name: str, peer_addr: str, *, learner: bool) -> None:
    """Make a place for a member; then start it with what is printed."""
    host_port(peer_addr)

    async def ask(client: StoreClient) -> AddMember:
        voters = [one for one in await client.members() if not one.learner]
        alone = len(voters) == 1  # the second one takes part in agreeing to itself
        return AddMember(name if learner or alone else "", peer_addr, learner)

    status, members = _change(socket, _run(socket, ask))
    if write_out == "json":
        click.echo(_json(status, members))
        return
    (new,) = (one for one in members if one.peer == peer_addr)
    click.echo(f"Member {new.id:16x} added to cluster {status.cluster:>16}\n")
    named = [(one.name or (name if one is new else ""), one.peer) for one in members]
    known = ",".join(f"{one}={peer}" for one, peer in named if one)
    click.echo(
        f"wherry store --name {name} --listen-peer {peer_addr} "
        f"--initial-cluster-state existing --initial-cluster {known}"
    )


@group.command()
@click.argument("number", type=_Number(), metavar="ID")
@_on_a_store
def promote(socket: Path, write_out: str, number: int) -> None:
    """Let a learner vote; it must have nearly all that the leader has."""
    _say(socket, write_out, PromoteMember(number), "promoted in cluster")


@group.command()
@click.argument("number", type=_Number(), metavar="ID")
@_on_a_store
def remove(socket: Path, write_out: str, number: int) -> None:
    """Remove a member for good; its data directory is of no use afterwards."""
    _say(socket, write_out, RemoveMember(number), "removed from cluster")


@group.command()
@click.argument("number", type=_Number(), metavar="ID")
@click.option("--peer-addr", required=True, metavar="HOST:PORT", help="Where it listens now.")
@_on_a_store
def update(socket: Path, write_out: str, number: int, peer_addr: str) -> None:
    """Tell the others another address of a member."""
    host_port(peer_addr)
    _say(socket, write_out, UpdateMember(number, peer_addr), "updated in cluster")


def _say(socket: Path, write_out: str, change: Change, done: str) -> None:
    status, members = _change(socket, change)
    if write_out == "json":
        click.echo(_json(status, members))
    else:
        number = 0 if isinstance(change, AddMember) else change.id
        click.echo(f"Member {number:16x} {done} {status.cluster:>16}")


def _change(socket: Path, change: Change) -> tuple[rpc.Member, tuple[MemberInfo, ...]]:
    async def ask(
        client: StoreClient,
    ) -> tuple[rpc.Member, tuple[MemberInfo, ...] | MemberError]:
        return await client.status(), await client.change_members(change)

    status, got = _run(socket, ask)
    if isinstance(got, MemberError):
        click.echo(f"Error: {got.message}", err=True)
        sys.exit(1)
    return status, got


def _run(socket: Path, ask: Callable[[StoreClient], Coroutine[Any, Any, Any]]) -> Any:
    async def main() -> Any:
        client = StoreClient([f"unix://{socket}"], Sockets(), SystemRandom(), timeout_s=_TIMEOUT_S)
        try:
            return await ask(client)
        finally:
            await client.close()

    try:
        return asyncio.run(main())
    except (WherryError, ValueError) as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)


def rows(members: tuple[MemberInfo, ...]) -> list[tuple[str, ...]]:
    """Return the columns that etcdctl shows, but for addresses of clients: theirs is a socket."""
    return [
        (
            f"{one.id:x}",
            "started" if one.name else "unstarted",
            one.name,
            one.peer,
            str(one.learner).lower(),
        )
        for one in members
    ]


def table(members: tuple[MemberInfo, ...]) -> str:
    """Return what `-w table` shows."""
    head = ("ID", "STATUS", "NAME", "PEER ADDRS", "IS LEARNER")
    body = rows(members)
    widths = [max(len(row[i]) for row in (head, *body)) for i in range(len(head))]
    line = "+".join(["", *("-" * (width + 2) for width in widths), ""])

    def show(row: tuple[str, ...], *, middle: bool = False) -> str:
        cells = (
            f" {text.center(width) if middle else text.rjust(width)} "
            for text, width in zip(row, widths, strict=True)
        )
        return "|".join(["", *cells, ""])

    return "\n".join([line, show(head, middle=True), line, *map(show, body), line])


def _json(status: rpc.Member, members: tuple[MemberInfo, ...]) -> str:
    """Return etcdctl's JSON; a field that is empty is left out there."""
    shown = []
    for one in members:
        member: dict[str, Any] = {"ID": one.id, "peerURLs": [one.peer]}
        if one.name:
            member["name"] = one.name
        if one.learner:
            member["isLearner"] = True
        shown.append(member)
    header = {"cluster_id": int(status.cluster, 16), "raft_term": status.term}
    return orjson.dumps({"header": header, "members": shown}).decode()
