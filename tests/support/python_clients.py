"""The Python clients that are tested, and what every test of them needs.

They are loosely typed here: what they ask of a server is tested, not their annotations.
"""

import asyncio
import contextlib
import gc
import importlib
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

import pytest
from hollow_cluster import HollowCluster

kubernetes: Any = importlib.import_module("kubernetes")
kubernetes_asyncio: Any = importlib.import_module("kubernetes_asyncio")
kr8s: Any = importlib.import_module("kr8s")
kr8s_objects: Any = importlib.import_module("kr8s.asyncio.objects")
lightkube: Any = importlib.import_module("lightkube")
lightkube_apps: Any = importlib.import_module("lightkube.resources.apps_v1")
lightkube_core: Any = importlib.import_module("lightkube.resources.core_v1")

CLIENT_MARKS: Final = [
    pytest.mark.integration,
    # Some of these libraries leave connections open at the end (kr8s keeps its client for ever).
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.usefixtures("leave_nothing_to_the_next_test"),
]


def pod(name: str) -> dict[str, Any]:
    """Return a pod that ends at once when it is deleted."""
    spec = {"terminationGracePeriodSeconds": 0, "containers": [{"name": "c", "image": "nginx:1"}]}
    meta = {"name": name, "labels": {"app": name}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}


@pytest.fixture
def leave_nothing_to_the_next_test() -> Iterator[None]:
    """What a library leaves open is collected here, where that is no error."""
    yield
    gc.collect()


@pytest.fixture
def official(hollow: HollowCluster) -> Iterator[Any]:
    """A client of the package `kubernetes`."""
    with kubernetes.config.new_client_from_config(str(hollow.kubeconfig)) as client:
        yield client


@contextlib.asynccontextmanager
async def asyncio_client(hollow: HollowCluster, factory: Any = None) -> AsyncIterator[Any]:
    """A client of `kubernetes_asyncio`; `factory` makes another than its ApiClient."""
    configuration = kubernetes_asyncio.client.Configuration()
    await kubernetes_asyncio.config.load_kube_config(
        str(hollow.kubeconfig), client_configuration=configuration
    )
    make = factory or kubernetes_asyncio.client.ApiClient
    async with asyncio.timeout(300), make(configuration) as client:
        yield client


@contextlib.asynccontextmanager
async def kr8s_api(hollow: HollowCluster, namespace: str) -> AsyncIterator[Any]:
    """kr8s's API, closed in the end: it has no way to do so itself, and would warn later."""
    api = await kr8s.asyncio.api(kubeconfig=str(hollow.kubeconfig), namespace=namespace)
    async with asyncio.timeout(300):
        yield api
    await api._session.aclose()
