"""`wherry scheduler`: flags to component."""

import click

from wherry.client.grpc_api import GrpcApi
from wherry.process.command import (
    ClientOptions,
    ElectionOptions,
    client_options,
    default_identity,
    election_options,
    process_command,
)
from wherry.process.run import ProcessOptions, Runtime, run
from wherry.scheduler.component import Scheduler, SchedulerConfig


@process_command("scheduler", health_port=10259)
@client_options
@election_options
@click.option(
    "--scheduler-name",
    default="default-scheduler",
    help="Schedule the pods that name this in spec.schedulerName.",
)
def command(
    process: ProcessOptions,
    client: ClientOptions,
    *,
    election: ElectionOptions,
    scheduler_name: str,
) -> None:
    """Bind pods to nodes."""
    config = SchedulerConfig(
        identity=default_identity(),
        scheduler_name=scheduler_name,
        leader_elect=election.leader_elect,
        lease_s=election.lease_s,
        renew_s=election.renew_s,
        retry_s=election.retry_s,
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
