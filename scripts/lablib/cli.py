"""The command line of scripts/lab."""

import os
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from lablib import bringup, network, state, status, teardown
from lablib import demo as demo_of
from lablib.chaos.cli import chaos
from lablib.errors import LabError
from lablib.etcdctl import etcdctl_command
from lablib.kubectl import Kubectl
from lablib.layout import Layout
from lablib.names import Host, Role, Runtime, validate_lab
from lablib.processes import Processes
from lablib.shell import in_netns
from lablib.steps import Steps, consoles, explain

Function = Callable[..., None]


def _name(function: Function) -> Function:
    return click.option(
        "--name",
        "lab",
        default="lab",
        show_default=True,
        callback=lambda _context, _parameter, value: validate_lab(value),
        help="Which lab; several stand side by side.",
    )(function)


def _layout(function: Function) -> Function:
    """Give the command the layout of a lab that is up."""

    @_name
    @wraps(function)
    def call(*args: Any, lab: str, **kwargs: Any) -> None:
        function(*args, layout=state.running(lab), **kwargs)

    return call


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """A whole cluster on this machine: every host is a network namespace."""


cli.add_command(chaos)


@cli.command()
@_name
@click.option("--masters", type=int, default=3, show_default=True, help="1, 3 or 5.")
@click.option("--nodes", type=int, default=2, show_default=True)
@click.option(
    "--runtime",
    type=click.Choice([str(r) for r in Runtime]),
    default=str(Runtime.CRI),
    show_default=True,
    help="cri: containers; hollow: pods that exist in the API only.",
)
@click.option("--demo/--no-demo", default=True, help="End with the proof that it works.")
def up(lab: str, masters: int, nodes: int, runtime: str, *, demo: bool) -> None:
    """Start a lab; clears away a half-dead one of that name first."""
    out, _ = consoles()
    steps = Steps(out)
    layout = bringup.up(lab, masters, nodes, Runtime(runtime), steps)
    steps.note(f"ready after {steps.elapsed_s:.1f} s")
    if demo and nodes and layout.runtime is Runtime.CRI:
        demo_of.run(layout, steps)
    steps.note(f"export KUBECONFIG={layout.kubeconfig}")


@cli.command()
@_name
def down(lab: str) -> None:
    """Stop a lab and remove everything of it."""
    out, _ = consoles()
    if not teardown.leftovers(lab):
        out.print(f"no lab {lab!r}; nothing to do", highlight=False)
        return
    with state.exclusive(f"lab-{lab}"), Steps(out).step(f"remove lab {lab!r}"):
        teardown.destroy(lab)


@cli.command("status")
@_layout
def show_status(layout: Layout) -> None:
    """Print HOST PROCESS PID STATE of every process; fails when no lab is up."""
    found = list(status.rows(layout))
    click.echo(status.render(found))
    if not status.is_running(found):
        raise LabError(
            f"lab {layout.lab!r} is dead: nothing of it runs",
            f"start it again: scripts/lab up --name {layout.lab}",
        )


@cli.command()
@_layout
def kubeconfig(layout: Layout) -> None:
    """Print the path of the administrator's kubeconfig."""
    click.echo(layout.kubeconfig)


@cli.command(context_settings={"ignore_unknown_options": True})
@_layout
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def kubectl(layout: Layout, arguments: tuple[str, ...]) -> None:
    """Run Debian's kubectl against the lab: scripts/lab kubectl -- get nodes."""
    _become(Kubectl.of(layout).command(*arguments))


@cli.command("exec", context_settings={"ignore_unknown_options": True})
@_layout
@click.argument("host")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def exec_(layout: Layout, host: str, command: tuple[str, ...]) -> None:
    """Run a command on a host: scripts/lab exec node-1 -- ip route."""
    at = layout.host(host)
    environment = {"KUBECONFIG": str(layout.kubeconfig)}
    if at.role is Role.NODE:
        environment["CONTAINERD_ADDRESS"] = str(layout.containerd_socket(at))
    _become(in_netns(layout.netns(at), command), environment)


@cli.command()
@_layout
@click.argument("host")
@click.argument("process")
def kill(layout: Layout, host: str, process: str) -> None:
    """SIGKILL a process; it stays dead until `start`."""
    at = _process_of(layout, host, process)
    pid = Processes(layout).kill(at, process)
    click.echo(f"killed {process} on {host} (pid {pid})")


@cli.command()
@_layout
@click.argument("host")
@click.argument("process")
def start(layout: Layout, host: str, process: str) -> None:
    """Start a process that is dead."""
    at = _process_of(layout, host, process)
    processes = Processes(layout)
    bringup.launch(layout, processes, [at], process)
    click.echo(f"started {process} on {host} (pid {processes.state(at, process)[0]})")


@cli.command()
@_layout
@click.argument("host")
def cut(layout: Layout, host: str) -> None:
    """Pull a host's network cable."""
    network.cut(layout, layout.host(host))
    click.echo(f"cut {host}: nobody reaches {layout.address(layout.host(host))}")


@cli.command()
@_layout
@click.argument("host")
def heal(layout: Layout, host: str) -> None:
    """Plug a host's network cable in again."""
    network.heal(layout, layout.host(host))
    click.echo(f"healed {host}")


@cli.command(context_settings={"ignore_unknown_options": True})
@_layout
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def etcdctl(layout: Layout, arguments: tuple[str, ...]) -> None:
    """Run etcdctl against the stores: scripts/lab etcdctl -- get --prefix --keys-only /."""
    _become(etcdctl_command(layout, arguments), {"ETCDCTL_API": "3"})


def _process_of(layout: Layout, host: str, process: str) -> Host:
    found = layout.host(host)
    layout.check_process(found, process)
    return found


def _become(command: list[str], environment: dict[str, str] | None = None) -> None:
    sys.stdout.flush()
    try:
        os.execvpe(command[0], command, {**os.environ, **(environment or {})})  # noqa: S606
    except FileNotFoundError as missing:
        raise LabError(
            f"the program {command[0]!r} is missing", "run scripts/packages lab"
        ) from missing


def main() -> None:
    """Run the command; a failure is explained and exits 1."""
    _, errors = consoles()
    try:
        cli(prog_name="scripts/lab")
    except LabError as error:
        explain(error, errors)
        sys.exit(1)
    except KeyboardInterrupt:
        errors.print("\nlab: interrupted; `scripts/lab down` removes what there is")
        sys.exit(130)
