"""`wherry scheduler`: flags to component."""

import click

from wherry.client.grpc_api import GrpcApi
from wherry.process.command import (
    ClientOptions,
    client_options,
    default_identity,
    process_command,
)
from wherry.process.run import ProcessOptions, Runtime, run
from wherry.scheduler.component import Scheduler, SchedulerConfig


@process_command("scheduler", health_port=10259)
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
    "--scheduler-name",
    default="default-scheduler",
    help="Schedule the pods that name this in spec.schedulerName.",
)
def command(
    process: ProcessOptions,
    client: ClientOptions,
    *,
    leader_elect: bool,
    leader_elect_lease_duration: float,
    leader_elect_renew_deadline: float,
    leader_elect_retry_period: float,
    scheduler_name: str,
) -> None:
    """Bind pods to nodes."""
    if not leader_elect_retry_period < leader_elect_renew_deadline < leader_elect_lease_duration:
        raise click.UsageError(
            "--leader-elect-retry-period must be less than --leader-elect-renew-deadline, "
            "and that less than --leader-elect-lease-duration"
        )
    config = SchedulerConfig(
        identity=default_identity(),
        scheduler_name=scheduler_name,
        leader_elect=leader_elect,
        lease_s=leader_elect_lease_duration,
        renew_s=leader_elect_renew_deadline,
        retry_s=leader_elect_retry_period,
    )

    async def main(runtime: Runtime) -> None:
        api = GrpcApi(
            client.endpoints, ca=client.ca, cert=client.cert, key=client.key, rng=runtime.rng
        )
        scheduler = Scheduler(config, api, clock=runtime.clock, rng=runtime.rng)
        runtime.health.add_check("caches", scheduler.not_ready)
        try:
            await scheduler.run()
        finally:
            await api.close()

    run(main, process)
