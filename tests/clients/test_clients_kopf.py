"""kopf: a small operator on ConfigMaps, with handlers and a finalizer, as its users write them."""

import contextlib
import importlib
import threading
from collections.abc import Iterator
from typing import Any

from hollow_cluster import HollowCluster, until
from python_clients import CLIENT_MARKS

pytestmark = CLIENT_MARKS

kopf: Any = importlib.import_module("kopf")  # loosely typed: its annotations are not what is tested
LABELS = {"operated": "yes"}
MERGE = {"Content-Type": "application/merge-patch+json"}


class Operator:
    """What operators have in common: who they are."""

    def __init__(self, hollow: HollowCluster) -> None:
        self._hollow = hollow
        self.seen: list[str] = []
        self.registry = kopf.OperatorRegistry()
        kopf.on.login(registry=self.registry)(self.login)

    def login(self, **_: Any) -> Any:
        return kopf.ConnectionInfo(
            server=self._hollow.server,
            ca_path=str(self._hollow.pki("ca.crt")),
            certificate_path=str(self._hollow.pki("admin.crt")),
            private_key_path=str(self._hollow.pki("admin.key")),
        )


class Greeter(Operator):
    """Greets ConfigMaps of the label, and remembers what it was told."""

    def __init__(self, hollow: HollowCluster) -> None:
        super().__init__(hollow)
        wanted = {"registry": self.registry, "labels": LABELS}
        kopf.on.create("configmaps", **wanted)(self.created)
        kopf.on.update("configmaps", field="data", **wanted)(self.updated)
        kopf.on.delete("configmaps", **wanted)(self.deleted)

    async def created(self, name: str, patch: Any, **_: Any) -> None:
        patch.metadata.annotations["greeting"] = f"hello {name}"
        self.seen.append(f"create {name}")

    async def updated(self, name: str, new: Any, **_: Any) -> None:
        self.seen.append(f"update {name} {new}")

    async def deleted(self, name: str, **_: Any) -> None:
        self.seen.append(f"delete {name}")


class Counter(Operator):
    """Keeps an index of colours, says again and again how many there are, and hears of each event."""

    def __init__(self, hollow: HollowCluster) -> None:
        super().__init__(hollow)
        wanted = {"registry": self.registry, "labels": LABELS}
        kopf.index("configmaps", id="colours", **wanted)(self.indexed)
        kopf.timer("configmaps", interval=0.2, **wanted)(self.counted)
        kopf.on.event("configmaps", **wanted)(self.told)

    async def indexed(self, name: str, body: Any, **_: Any) -> dict[str, str]:
        return {body["data"]["colour"]: name}

    async def counted(self, patch: Any, body: Any, colours: Any, **_: Any) -> None:
        alike = sorted(colours[body["data"]["colour"]])
        patch.metadata.annotations["alike"] = ",".join(alike)

    async def told(self, name: str, event: Any, **_: Any) -> None:
        self.seen.append(f"{event['type']} {name}")


@contextlib.contextmanager
def running(operator: Operator, namespace: str) -> Iterator[None]:
    """An operator in a thread, with its own event loop."""
    ready, stop = threading.Event(), threading.Event()

    # A handler is told once, however late its own change comes back by the watch.
    settings = kopf.OperatorSettings()
    settings.persistence.consistency_timeout = 120

    def work() -> None:
        kopf.run(
            registry=operator.registry,
            settings=settings,
            standalone=True,
            namespaces=[namespace],
            ready_flag=ready,
            stop_flag=stop,
        )

    thread = threading.Thread(target=work, name="kopf")
    thread.start()
    try:
        assert ready.wait(180), "kopf is ready"
        yield
    finally:
        stop.set()
        thread.join(180)
        assert not thread.is_alive()


def greeted(obj: Any) -> Any:
    return obj if "greeting" in obj["metadata"].get("annotations", {}) else None


def test_an_operator(hollow: HollowCluster, namespace: str) -> None:
    """Handlers run, what they write is kept, the finalizer holds the object until they have run."""
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    operator = Greeter(hollow)
    with running(operator, namespace):
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


def test_an_index_a_timer_and_events(hollow: HollowCluster, namespace: str) -> None:
    """What handlers keep in memory follows the cluster: a list first, then a watch."""
    path = f"/api/v1/namespaces/{namespace}/configmaps"

    def make(name: str, colour: str) -> None:
        body = {"metadata": {"name": name, "labels": LABELS}, "data": {"colour": colour}}
        assert hollow.ask(path, method="POST", body=body)[0] == 201

    def alike(name: str) -> Any:
        return hollow.ask(f"{path}/{name}")[1]["metadata"].get("annotations", {}).get("alike")

    make("a", "red")
    operator = Counter(hollow)
    with running(operator, namespace):
        until(lambda: alike("a") == "a", "what was listed")
        make("b", "red")
        make("c", "blue")
        until(lambda: alike("a") == alike("b") == "a,b" and alike("c") == "c", "the timers")
        hollow.ask(f"{path}/b", method="PATCH", body={"data": {"colour": "blue"}}, headers=MERGE)
        until(lambda: alike("a") == "a" and alike("b") == alike("c") == "b,c", "the index")
        hollow.ask(f"{path}/b", method="DELETE")
        until(lambda: alike("c") == "c", "the end of one")
        until(lambda: "DELETED b" in operator.seen, "the event")
        for name in "ac":
            hollow.ask(f"{path}/{name}", method="DELETE")
            until(lambda name=name: hollow.ask(f"{path}/{name}")[0] == 404, "the end of all")  # type: ignore[misc]
    assert "None a" in operator.seen  # it was listed
    assert "ADDED c" in operator.seen  # it was watched
