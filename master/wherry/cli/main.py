"""`wherry SUBCOMMAND`: one program, many processes.

A subcommand's module is imported only when it is asked for: `wherry dns` does not pay for
the API server's imports.
"""

import importlib
import importlib.metadata
import os
import sys
from typing import Final

import click

from wherry.api.errors import WherryError

SUBCOMMANDS: Final = {
    "store": ("wherry.store.command", "The replicated key-value store (etcd's place)."),
    "apiserver": ("wherry.apiserver.command", "The Kubernetes API, REST and gRPC."),
    "scheduler": ("wherry.scheduler.command", "Binds pods to nodes."),
    "controller-manager": ("wherry.controllers.command", "The control loops."),
    "agent": ("wherry.agent.command", "The node agent (the kubelet's place)."),
    "overlay": ("wherry.overlay.command", "Subnet leases and routes (flannel's place)."),
    "proxy": ("wherry.proxy.command", "Services as iptables rules (kube-proxy's place)."),
    "dns": ("wherry.dns.command", "Cluster DNS on every node."),
    "init": ("wherry.cli.init", "Make a cluster's authority, certificates and kubeconfig."),
    "join": ("wherry.cli.join", "Make this machine a node of a running cluster."),
    "up": ("wherry.cli.up", "Run and supervise all processes of this machine."),
}


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return [*SUBCOMMANDS, *sorted(self.commands)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in SUBCOMMANDS:
            return super().get_command(ctx, cmd_name)
        command = importlib.import_module(SUBCOMMANDS[cmd_name][0]).command
        if not isinstance(command, click.Command):
            raise TypeError(f"{SUBCOMMANDS[cmd_name][0]}.command is no click command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        rows = [(name, about) for name, (_, about) in SUBCOMMANDS.items()]
        rows += [(name, c.get_short_help_str()) for name, c in sorted(self.commands.items())]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


@click.command(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
def wherry() -> None:
    """Wherry: a small, real Kubernetes-compatible cluster."""


@wherry.command()
def version() -> None:
    """Print Wherry's version."""
    click.echo(f"wherry {importlib.metadata.version('wherry')}")


def main() -> None:
    """Entry point: errors that are the user's become one line and exit code 2."""
    # gRPC reads this when it is imported, which only happens below: its fork handlers would
    # write a warning for every command that the proxy or the agent starts.
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    try:
        wherry()
    except WherryError as error:
        click.echo(f"wherry: {error}", err=True)
        sys.exit(2)
