"""`wherry controller-manager`: flags to components."""

from pathlib import Path

import click

from wherry.client.grpc_api import GrpcApi
from wherry.controllers.component import ControllerManager, ControllerManagerConfig
from wherry.process.command import (
    ClientOptions,
    client_options,
    default_identity,
    process_command,
)
from wherry.process.run import ProcessOptions, Runtime, run


@process_command("controller-manager", health_port=10257)
@client_options
@click.option(
    "--leader-elect/--no-leader-elect",
    default=True,
    help="Be one of several, of which the elected one acts.",
)
@click.option(
    "--leader-elect-lease-duration",
    type=click.FloatRange(min=1),
    default=15.0,
    help="Silence, in seconds, after which another takes over.",
)
@click.option(
    "--leader-elect-renew-deadline",
    type=click.FloatRange(min=0.5),
    default=10.0,
    help="Seconds for which a leader tries to renew before it stops.",
)
@click.option(
    "--leader-elect-retry-period",
    type=click.FloatRange(min=0.1),
    default=2.0,
    help="Seconds between attempts.",
)
@click.option(
    "--node-monitor-grace-period",
    type=click.FloatRange(min=1),
    default=40.0,
    help="Silence of a node, in seconds, after which it counts as lost.",
)
@click.option(
    "--terminated-pod-gc-threshold",
    type=click.IntRange(min=0),
    default=12500,
    help="Ended pods that may stay; 0 for any number.",
)
@click.option(
    "--kube-root-ca-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Authority that every namespace gets as ConfigMap kube-root-ca.crt.",
)
def command(
    process: ProcessOptions,
    client: ClientOptions,
    *,
    leader_elect: bool,
    leader_elect_lease_duration: float,
    leader_elect_renew_deadline: float,
    leader_elect_retry_period: float,
    node_monitor_grace_period: float,
    terminated_pod_gc_threshold: int,
    kube_root_ca_file: Path | None,
) -> None:
    """Run the control loops."""
    if not leader_elect_retry_period < leader_elect_renew_deadline < leader_elect_lease_duration:
        raise click.UsageError(
            "--leader-elect-retry-period must be less than --leader-elect-renew-deadline, "
            "and that less than --leader-elect-lease-duration"
        )
    config = ControllerManagerConfig(
        identity=default_identity(),
        leader_elect=leader_elect,
        lease_s=leader_elect_lease_duration,
        renew_s=leader_elect_renew_deadline,
        retry_s=leader_elect_retry_period,
        node_grace_s=node_monitor_grace_period,
        terminated_pod_threshold=terminated_pod_gc_threshold,
        root_ca=_read(kube_root_ca_file),
    )

    async def main(runtime: Runtime) -> None:
        api = GrpcApi(
            client.endpoints, ca=client.ca, cert=client.cert, key=client.key, rng=runtime.rng
        )
        manager = ControllerManager(config, api, clock=runtime.clock, rng=runtime.rng)
        runtime.health.add_check("caches", manager.not_ready)
        try:
            await manager.run()
        finally:
            await api.close()

    run(main, process)


def _read(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        return path.read_text()
    except OSError as error:
        raise click.UsageError(f"--kube-root-ca-file: {path}: {error.strerror}") from error
