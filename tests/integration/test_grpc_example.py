"""The example of the README against the whole API server; the test plays controllers and agents."""

import asyncio
import sys
from pathlib import Path
from random import Random

import orjson
import pytest
import uvloop
from apiserver_pki import TestPki
from apiserver_world import Running, running_apiserver

from wherry.api.kinds import DEPLOYMENT, NAMESPACE, POD
from wherry.client.grpc_api import GrpcApi

pytestmark = pytest.mark.integration

EXAMPLE = Path(__file__).parents[2] / "examples" / "grpc_client.py"
READY = {
    "status": {
        "phase": "Running",
        "podIP": "10.244.0.9",
        "conditions": [{"type": "Ready", "status": "True"}],
    }
}


async def example(running: Running, *arguments: str) -> "asyncio.subprocess.Process":
    admin = running.admin
    return await asyncio.create_subprocess_exec(
        sys.executable,
        str(EXAMPLE),
        *("--endpoint", running.grpc_address, "--ca", str(admin.ca)),
        *("--cert", str(admin.cert), "--key", str(admin.key), *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def play_the_cluster(api: GrpcApi, replicas: int) -> None:
    """Make the pods of the Deployment once it is there, and make them ready."""
    async for batch in api.watch(DEPLOYMENT, "default", revision=1):
        if any(orjson.loads(e.object)["metadata"].get("name") == "hello-grpc" for e in batch):
            break
    for number in range(replicas):
        pod = {
            "metadata": {"name": f"hello-grpc-{number}", "labels": {"app": "hello-grpc"}},
            "spec": {"containers": [{"name": "c", "image": "nginx"}]},
        }
        await api.create(POD, orjson.dumps(pod), "default")
        name = f"hello-grpc-{number}"
        await api.patch(POD, name, orjson.dumps(READY), "default", subresource="status")


def test_the_example_sees_its_pods_become_ready(tmp_path: Path) -> None:
    async def main() -> None:
        async with asyncio.timeout(120), running_apiserver(TestPki(tmp_path)) as running:
            admin = running.admin
            api = GrpcApi(
                [running.grpc_address], ca=admin.ca, cert=admin.cert, key=admin.key, rng=Random(0)
            )
            await api.create(NAMESPACE, b'{"metadata":{"name":"default"}}')
            process = await example(running, "--replicas", "2", "--delete")
            await play_the_cluster(api, 2)
            out, err = await process.communicate()
            assert process.returncode == 0, err
            assert b"hello-grpc: 2 pods are ready" in out
            await api.create(
                DEPLOYMENT,
                orjson.dumps(
                    {
                        "metadata": {"name": "hello-grpc"},
                        "spec": {
                            "selector": {"matchLabels": {"a": "b"}},
                            "template": {
                                "metadata": {"labels": {"a": "b"}},
                                "spec": {"containers": [{"name": "c", "image": "i"}]},
                            },
                        },
                    }
                ),
                "default",
            )
            again = await example(running)
            _, err = await again.communicate()
            assert again.returncode == 1
            assert b'deployments.apps "hello-grpc" already exists' in err
            await api.close()

    uvloop.run(main())
