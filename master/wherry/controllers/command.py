"""`wherry controller-manager`: flags to components."""

import re
import ssl
from pathlib import Path
from typing import Final

import click

from wherry.client.grpc_api import GrpcApi
from wherry.controllers.component import ControllerManager, ControllerManagerConfig
from wherry.pki.subject import KeyPair
from wherry.process.command import (
    ClientOptions,
    ElectionOptions,
    client_options,
    default_identity,
    election_options,
    process_command,
)
from wherry.process.run import ProcessOptions, Runtime, run

_UNIT_S: Final = {"h": 3600.0, "m": 60.0, "s": 1.0}


def _duration(_context: click.Context, _param: click.Parameter, text: str) -> float:
    """Read `8760h0m0s`, or a number of seconds."""
    parts = re.findall(r"(\d+(?:\.\d+)?)([hms])", text)
    if parts and "".join(number + unit for number, unit in parts) == text:
        return sum(float(number) * _UNIT_S[unit] for number, unit in parts)
    try:
        return float(text)
    except ValueError as error:
        raise click.BadParameter(f"{text!r}: expected something like 8760h or 90s") from error


@process_command("controller-manager", health_port=10257)
@client_options
@election_options
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
@click.option(
    "--cluster-signing-cert-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Authority that signs approved certificate requests.",
)
@click.option(
    "--cluster-signing-key-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Its key.",
)
@click.option(
    "--cluster-signing-duration",
    default="8760h0m0s",
    callback=_duration,
    help="The longest life of a certificate that it signs.",
)
def command(
    process: ProcessOptions,
    client: ClientOptions,
    *,
    election: ElectionOptions,
    node_monitor_grace_period: float,
    terminated_pod_gc_threshold: int,
    kube_root_ca_file: Path | None,
    cluster_signing_cert_file: Path | None,
    cluster_signing_key_file: Path | None,
    cluster_signing_duration: float,
) -> None:
    """Run the control loops."""
    config = ControllerManagerConfig(
        identity=default_identity(),
        leader_elect=election.leader_elect,
        lease_s=election.lease_s,
        renew_s=election.renew_s,
        retry_s=election.retry_s,
        node_grace_s=node_monitor_grace_period,
        terminated_pod_threshold=terminated_pod_gc_threshold,
        root_ca=_read("--kube-root-ca-file", kube_root_ca_file),
        signing_ca=_authority(cluster_signing_cert_file, cluster_signing_key_file),
        signing_s=cluster_signing_duration,
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


def _authority(certificate: Path | None, key: Path | None) -> KeyPair | None:
    if (certificate is None) != (key is None):
        raise click.UsageError(
            "give both --cluster-signing-cert-file and --cluster-signing-key-file, or neither"
        )
    if certificate is None:
        return None
    pair = KeyPair(
        _read("--cluster-signing-cert-file", certificate).encode(),
        _read("--cluster-signing-key-file", key).encode(),
    )
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
    except ssl.SSLError as error:
        raise click.UsageError(f"{certificate} and {key} do not belong together") from error
    return pair


def _read(flag: str, path: Path | None) -> str:
    if path is None:
        return ""
    try:
        return path.read_text()
    except OSError as error:
        raise click.UsageError(f"{flag}: {path}: {error.strerror}") from error
