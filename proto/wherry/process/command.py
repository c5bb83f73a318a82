"""Flags: what every `wherry SUBCOMMAND` has, and those of every client of the API server.

A process package has a `command.py` with

    @process_command("scheduler", health_port=10259)
    @client_options
    @click.option(...)
    def command(process: ProcessOptions, client: ClientOptions, ...) -> None:
        run(main, process)

`--config FILE` reads the same flags from YAML (`log-level: debug`); the command line wins.
"""

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import yaml

from wherry.pki.tls import TlsFiles, client_context
from wherry.process.run import ProcessOptions

Function = Callable[..., None]


@dataclass(frozen=True, slots=True)
class ClientOptions:
    """How to reach the API servers: addresses of their gRPC doors and our certificate."""

    endpoints: tuple[str, ...]
    ca: Path
    cert: Path
    key: Path


@dataclass(frozen=True, slots=True)
class ElectionOptions:
    """Whether and how to compete for a Lease (`wherry.client.election`); the flags' values."""

    leader_elect: bool
    lease_s: float
    renew_s: float
    retry_s: float


def process_command(
    name: str, *, health_port: int = 0, cls: type[click.Command] = click.Command
) -> Callable[[Function], click.Command]:
    """Make a click command of a function whose first argument is `process: ProcessOptions`.

    `cls` is the command's class, where it is to be a group with subcommands.
    """

    def decorate(function: Function) -> click.Command:
        @functools.wraps(function)
        def call(log_level: str, log_format: str, health_port: int, **flags: Any) -> None:
            function(ProcessOptions(name, log_level, log_format, health_port), **flags)

        options = [
            click.option(
                "--config",
                type=click.Path(exists=True, dir_okay=False, path_type=Path),
                is_eager=True,
                expose_value=False,
                callback=_read_config,
                help="YAML file with the same flags as keys; the command line wins.",
            ),
            click.option(
                "--log-level",
                type=click.Choice(["debug", "info", "warning", "error"]),
                default="info",
                show_default=True,
            ),
            click.option(
                "--log-format",
                type=click.Choice(["text", "json"]),
                default="text",
                show_default=True,
            ),
            click.option(
                "--health-port",
                type=click.IntRange(0, 65535),
                default=health_port,
                show_default=True,
                help="Port of /healthz, /readyz and /metrics on 127.0.0.1; 0 for none.",
            ),
        ]
        wrapped: Any = call
        for option in reversed(options):
            wrapped = option(wrapped)
        return click.command(name, cls=cls, context_settings={"show_default": True})(wrapped)

    return decorate


def _read_config(context: click.Context, _param: click.Parameter, path: Path | None) -> None:
    if path is not None:
        context.default_map = {**(context.default_map or {}), **read_flags(context.command, path)}


def read_flags(command: click.Command, path: Path) -> dict[str, Any]:
    """Read a YAML file whose keys are flags of `command`; returns values by parameter name.

    Raises:
        click.BadParameter: it cannot be read, or holds what is no flag.
    """
    try:
        values = yaml.safe_load(path.read_text()) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise click.BadParameter(f"cannot read {path}: {_one_line(error)}") from error
    if not isinstance(values, dict):
        raise click.BadParameter(f"{path}: expected a mapping of flags to values")
    names = {
        spelling.lstrip("-").replace("_", "-"): parameter.name
        for parameter in command.params
        for spelling in (*parameter.opts, *parameter.secondary_opts)
        if parameter.name
    }
    given = {str(key).replace("_", "-"): value for key, value in values.items()}
    if unknown := sorted(set(given) - set(names)):
        raise click.BadParameter(f"{path}: no such flag: {', '.join(unknown)}")
    return {names[key]: value for key, value in given.items()}


def _one_line(error: Exception) -> str:
    """Return what is wrong, on one line where a YAML parser takes several."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"line {error.problem_mark.line + 1}: {error.problem}"
    return " ".join(str(error).split())


def _endpoints(
    _context: click.Context, _parameter: click.Parameter, given: tuple[str, ...]
) -> tuple[str, ...]:
    for endpoint in given:
        host, _, port = endpoint.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise click.BadParameter(f"{endpoint!r} is not of the form HOST:PORT")
    return given


def client_options(function: Function) -> Function:
    """Add --apiserver, --ca-file, --cert-file and --key-file, given as `client: ClientOptions`."""

    @functools.wraps(function)
    def call(
        *args: Any,
        apiserver: tuple[str, ...],
        ca_file: Path,
        cert_file: Path,
        key_file: Path,
        **flags: Any,
    ) -> None:
        # Here, where it is one line: gRPC would go on trying with a key that does not fit.
        client_context(TlsFiles(cert_file, key_file, ca_file))
        client = ClientOptions(tuple(apiserver), ca_file, cert_file, key_file)
        function(*args, client=client, **flags)

    file = click.Path(dir_okay=False, path_type=Path)
    options = [
        click.option(
            "--apiserver",
            multiple=True,
            default=("127.0.0.1:6444",),
            metavar="HOST:PORT",
            callback=_endpoints,
            help="gRPC door of an API server; repeat for each master.",
        ),
        click.option("--ca-file", type=file, required=True, help="The cluster's authority."),
        click.option("--cert-file", type=file, required=True, help="Our certificate."),
        click.option("--key-file", type=file, required=True, help="Our private key."),
    ]
    wrapped: Any = call
    for option in reversed(options):
        wrapped = option(wrapped)
    return wrapped  # type: ignore[no-any-return]  # click is untyped here


def election_options(function: Function) -> Function:
    """Add kube-scheduler's --leader-elect flags, given as `election: ElectionOptions`."""

    @functools.wraps(function)
    def call(
        *args: Any,
        leader_elect: bool,
        leader_elect_lease_duration: float,
        leader_elect_renew_deadline: float,
        leader_elect_retry_period: float,
        **flags: Any,
    ) -> None:
        lease_s, renew_s = leader_elect_lease_duration, leader_elect_renew_deadline
        if not leader_elect_retry_period < renew_s < lease_s:
            raise click.UsageError(
                "--leader-elect-retry-period must be less than --leader-elect-renew-deadline, "
                "and that less than --leader-elect-lease-duration"
            )
        election = ElectionOptions(leader_elect, lease_s, renew_s, leader_elect_retry_period)
        function(*args, election=election, **flags)

    options = [
        click.option(
            "--leader-elect/--no-leader-elect",
            default=True,
            help="Be one of several, of which the elected one acts.",
        ),
        click.option(
            "--leader-elect-lease-duration",
            type=click.FloatRange(min=1),
            default=15.0,
            help="Silence, in seconds, after which another takes over.",
        ),
        click.option(
            "--leader-elect-renew-deadline",
            type=click.FloatRange(min=0.5),
            default=10.0,
            help="Seconds for which a leader tries to renew before it stops.",
        ),
        click.option(
            "--leader-elect-retry-period",
            type=click.FloatRange(min=0.1),
            default=2.0,
            help="Seconds between attempts.",
        ),
    ]
    wrapped: Any = call
    for option in reversed(options):
        wrapped = option(wrapped)
    return wrapped  # type: ignore[no-any-return]  # click is untyped here


def default_identity() -> str:
    """Return `host_pid`, the identity of this incarnation in an election."""
    return f"{os.uname().nodename}_{os.getpid()}"
