"""kopf: a small operator on ConfigMaps, with handlers and a finalizer, as its users write them."""

import contextlib
import importlib
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hollow_cluster import HollowCluster, until

pytestmark = pytest.mark.integration

kopf: Any = importlib.import_module("kopf")  # loosely typed: its annotations are not what is tested
LABELS = {"operated": "yes"}
MERGE = {"Content-Type": "application/merge-patch+json"}


class Operator:
    """Greets ConfigMaps of the label, and remembers what it was told."""

    def __init__(self, hollow: HollowCluster) -> None:
        self._hollow = hollow
        self.seen: list[str] = []
        self.registry = kopf.OperatorRegistry()
        kopf.on.login(registry=self.registry)(self.login)
        wanted = {"registry": self.registry, "labels": LABELS}
        kopf.on.create("configmaps", **wanted)(self.created)
        kopf.on.update("configmaps", field="data", **wanted)(self.updated)
        kopf.on.delete("configmaps", **wanted)(self.deleted)

    def login(self, **_: Any) -> Any:
        return kopf.ConnectionInfo(
            server=self._hollow.server,
            ca_path=str(self._hollow.pki("ca.crt")),
            certificate_path=str(self._hollow.pki("admin.crt")),
            private_key_path=str(self._hollow.pki("admin.key")),
        )

    async def created(self, name: str, patch: Any, **_: Any) -> None:
        patch.metadata.annotations["greeting"] = f"hello {name}"
        self.seen.append(f"create {name}")

    async def updated(self, name: str, new: Any, **_: Any) -> None:
        self.seen.append(f"update {name} {new}")

    async def deleted(self, name: str, **_: Any) -> None:
        self.seen.append(f"delete {name}")


@contextlib.contextmanager
def running(hollow: HollowCluster, namespace: str) -> Iterator[Operator]:
    """An operator in a thread, with its own event loop."""
    operator = Operator(hollow)
    ready, stop = threading.Event(), threading.Event()

    def work() -> None:
        kopf.run(
            registry=operator.registry,
            standalone=True,
            namespaces=[namespace],
            ready_flag=ready,
            stop_flag=stop,
        )

    thread = threading.Thread(target=work, name="kopf")
    thread.start()
    try:
        assert ready.wait(30), "kopf is ready"
        yield operator
    finally:
        stop.set()
        thread.join(30)
        assert not thread.is_alive()


def greeted(obj: Any) -> Any:
    return obj if "greeting" in obj["metadata"].get("annotations", {}) else None


def test_an_operator(hollow: HollowCluster, namespace: str) -> None:
    """Handlers run, what they write is kept, the finalizer holds the object until they have run."""
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    with running(hollow, namespace) as operator:
        body = {"metadata": {"name": "x", "labels": LABELS}, "data": {"a": "1"}}
        assert hollow.ask(path, method="POST", body=body)[0] == 201
        hollow.ask(path, method="POST", body={"metadata": {"name": "other"}})
        made = until(lambda: greeted(hollow.ask(f"{path}/x")[1]), "what the handler wrote")
        assert made["metadata"]["finalizers"] == ["kopf.zalando.org/KopfFinalizerMarker"]
        hollow.ask(f"{path}/x", method="PATCH", body={"data": {"a": "2"}}, headers=MERGE)
        until(lambda: "update x {'a': '2'}" in operator.seen, "the handler of the update")
        hollow.ask(f"{path}/x", method="DELETE")
        until(lambda: hollow.ask(f"{path}/x")[0] == 404, "the end of the object")
    assert operator.seen == ["create x", "update x {'a': '2'}", "delete x"]
    assert "greeting" not in str(hollow.ask(f"{path}/other")[1])
