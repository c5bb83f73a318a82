"""In a pod: what the agent puts into its token volume is all that a client library needs.

The agent's own parts make the volume, with a node's certificate; Kubernetes' Python client reads it
as it does in a pod, but for the address: nothing routes 10.96.0.1 here.
"""

import asyncio
import contextlib
import json
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hollow_cluster import HollowCluster, until
from kubernetes import client as kubernetes
from kubernetes.config import incluster_config

from wherry.agent.checkpoint import DiskCheckpoint
from wherry.agent.configure import PodSettings
from wherry.agent.environment import NodeFacts
from wherry.agent.pod_host import LinuxPodHost
from wherry.agent.references import ReferenceCache
from wherry.agent.resources import PodCgroup
from wherry.agent.tokens import TokenSource
from wherry.agent.views import Pod
from wherry.agent.volumes import Volumes
from wherry.api.objects import Decoder
from wherry.client.grpc_api import GrpcApi
from wherry.pki.certificates import issue
from wherry.pki.subject import KeyPair, Subject
from wherry.process.clock import SystemClock

pytestmark = pytest.mark.integration

CONFIG_LOADER: Any = incluster_config.InClusterConfigLoader
NODE = "in-cluster"
MOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"


class PlainDirectories:
    """No tmpfs, which would need root."""

    def tmpfs(self, path: Path, size_bytes: int = 0) -> None:
        path.mkdir(parents=True, exist_ok=True)

    def unmount(self, path: Path) -> None:
        """Nothing is mounted."""


class NoCgroups:
    def ensure(self, cgroup: PodCgroup) -> None:
        """There is nothing to bound."""

    def remove(self, path: str) -> None:
        """There is nothing to remove."""


def certificate(hollow: HollowCluster, into: Path) -> tuple[Path, Path]:
    """Return certificate and key of a node of the cluster."""
    ca = KeyPair(hollow.pki("ca.crt").read_bytes(), hollow.pki("ca.key").read_bytes())
    subject = Subject(f"system:node:{NODE}", ("system:nodes",))
    pair = issue(ca, subject, now_s=SystemClock().now())
    cert, key = into / "node.crt", into / "node.key"
    cert.write_bytes(pair.certificate)
    key.write_bytes(pair.key)
    return cert, key


async def token_volume(hollow: HollowCluster, made: Any, root: Path) -> Path:
    """Make the pod's volumes as its node does; return the directory that is mounted for the token."""
    clock, rng = SystemClock(), Random(1)
    cert, key = certificate(hollow, root)
    api = GrpcApi([hollow.grpc], ca=hollow.pki("ca.crt"), cert=cert, key=key, rng=rng)
    mounter = PlainDirectories()
    volumes = Volumes(root, mounter)
    references = ReferenceCache(api, DiskCheckpoint(root, mounter), rng, lambda uid: None, list)
    settings = PodSettings(log_root=str(root / "logs"))
    tokens = TokenSource(api, clock)
    host = LinuxPodHost(
        volumes, NoCgroups(), references, tokens, settings, NodeFacts(NODE, "127.0.0.1")
    )
    pod = Decoder(Pod)(json.dumps(made).encode())
    running = asyncio.create_task(references.run())
    try:
        async with asyncio.timeout(60):
            await asyncio.sleep(0)  # the watches' owner begins
            await host.prepare(pod, "127.0.0.1")
            given = await host.container(pod, pod.spec.containers[0], 0, "127.0.0.1")
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        await api.close()
    [place] = [m.host_path for m in given.mounts if m.container_path == MOUNT]
    return Path(place)


def test_a_pod_finds_the_api_server_and_is_somebody(
    hollow: HollowCluster, namespace: str, tmp_path: Path
) -> None:
    spec = {"nodeName": NODE, "containers": [{"name": "c", "image": "nginx"}]}
    path = f"/api/v1/namespaces/{namespace}/pods"
    code, made = hollow.ask(path, method="POST", body={"metadata": {"name": "p"}, "spec": spec})
    assert code == 201, made
    volume = asyncio.run(token_volume(hollow, made, tmp_path))
    assert (volume / "namespace").read_text() == namespace
    assert (volume / "ca.crt").read_bytes() == hollow.pki("ca.crt").read_bytes()

    config = kubernetes.Configuration()
    address = {
        "KUBERNETES_SERVICE_HOST": "127.0.0.1",
        "KUBERNETES_SERVICE_PORT": str(hollow.ports["secure"]),
    }
    loader = CONFIG_LOADER(
        token_filename=str(volume / "token"),
        cert_filename=str(volume / "ca.crt"),
        environ=address,
    )
    loader.load_and_set(config)
    with kubernetes.ApiClient(config) as api:
        review = kubernetes.AuthenticationV1Api(api).create_self_subject_review(
            kubernetes.V1SelfSubjectReview()
        )
        me = review.to_dict()["status"]["user_info"]
        assert me["username"] == f"system:serviceaccount:{namespace}:default"
        extra = me["extra"]
        assert extra["authentication.kubernetes.io/pod-name"] == ["p"]
        assert extra["authentication.kubernetes.io/node-name"] == [NODE]
        core = kubernetes.CoreV1Api(api)
        with pytest.raises(kubernetes.ApiException) as refused:
            core.list_namespaced_pod(namespace)
        assert refused.value.status == 403
        # The token dies with its pod.
        assert hollow.ask(f"{path}/p?gracePeriodSeconds=0", method="DELETE")[0] == 200

        def unauthorized() -> bool:
            try:
                core.list_namespaced_pod(namespace)
            except kubernetes.ApiException as error:
                return bool(error.status == 401)
            return False

        until(unauthorized, "the token's end")


def test_no_other_node_gets_the_token(
    hollow: HollowCluster, namespace: str, tmp_path: Path
) -> None:
    accounts = f"/api/v1/namespaces/{namespace}/serviceaccounts/default/token"
    cert, _ = certificate(hollow, tmp_path)
    spec = {"nodeName": "elsewhere", "containers": [{"name": "c", "image": "nginx"}]}
    path = f"/api/v1/namespaces/{namespace}/pods"
    _, made = hollow.ask(path, method="POST", body={"metadata": {"name": "p"}, "spec": spec})
    uid = made["metadata"]["uid"]
    ref = {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": uid}
    code, status = hollow.ask(
        accounts,
        method="POST",
        body={"spec": {"boundObjectRef": ref}},
        user=str(cert.with_suffix("")),
    )
    assert (code, status["reason"]) == (403, "Forbidden")
    assert status["message"] == (
        'serviceaccounts "default" is forbidden: node requested token bound to a pod scheduled on a '
        "different node"
    )
