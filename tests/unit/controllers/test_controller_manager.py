"""All controllers together, in virtual time: transcripts of a small cluster.

Every story is told twice: on the fake API server, and on the real registry over a store in
memory, which defaults, validates, admits and finalizes.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import orjson
import pytest
from api_mirror import Mirror
from registry_world import world
from virtual_loop import VirtualClock, run, until
from workload_objects import Json, template

from wherry.api import kinds
from wherry.api.kinds import Kind
from wherry.api.times import format_micro_time, format_time
from wherry.client.fake import FakeApi
from wherry.controllers.component import ControllerManager, ControllerManagerConfig

Story = Callable[["Cluster"], Awaitable[None]]


NAMESPACES = ("default", "kube-system", "kube-node-lease")


class Recorder:
    """Passes all calls on, and remembers what was created and deleted: (verb, kind, name)."""

    def __init__(self, api: Any) -> None:
        self._api = api
        self.calls: list[tuple[str, str, str]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._api, name)

    async def create(self, kind: Kind, body: bytes, *args: Any, **named: Any) -> bytes:
        raw: bytes = await self._api.create(kind, body, *args, **named)
        if "subresource" not in named:
            self.calls.append(("create", kind.kind, orjson.loads(raw)["metadata"]["name"]))
        return raw

    async def delete(self, kind: Kind, name: str, *args: Any, **named: Any) -> bytes:
        self.calls.append(("delete", kind.kind, name))
        raw: bytes = await self._api.delete(kind, name, *args, **named)
        return raw


class Cluster:
    """An API server with the controllers on it, and hands to play scheduler, agents and users."""

    def __init__(self, api: Any, clock: VirtualClock) -> None:
        self.clock = clock
        self.api = Recorder(api)
        self.mirror = Mirror(api)

    async def create(self, kind: Kind, obj: Json, namespace: str = "default") -> Json:
        raw = await self.api.create(kind, orjson.dumps(obj), namespace if kind.namespaced else "")
        made: Json = orjson.loads(raw)
        return made

    async def patch(self, kind: Kind, name: str, body: Json, sub: str = "") -> None:
        namespace = "default" if kind.namespaced else ""
        await self.api.patch(kind, name, orjson.dumps(body), namespace, subresource=sub)

    def all(self, kind: Kind, namespace: str = "default") -> list[Json]:
        return self.mirror.objects(kind, namespace if kind.namespaced else "")

    def one(self, kind: Kind, name: str) -> Json | None:
        return next((o for o in self.all(kind) if o["metadata"]["name"] == name), None)

    def reasons(self) -> list[str]:
        return [e["reason"] for e in self.all(kinds.EVENT)]

    def running(self, image: str | None = None) -> list[Json]:
        return [
            p
            for p in self.all(kinds.POD)
            if "deletionTimestamp" not in p["metadata"]
            and p.get("status", {}).get("phase") == "Running"
            and image in (None, p["spec"]["containers"][0]["image"])
        ]

    async def agent(self, nodes: tuple[str, ...] = ("n1", "n2")) -> None:
        """Bind pods in turn and make them run; finish deletions."""
        turn = 0
        while True:
            for pod in self.all(kinds.POD, ""):
                name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
                if "deletionTimestamp" in pod["metadata"]:
                    await self.api.delete(kinds.POD, name, namespace, grace_s=0)
                elif "nodeName" not in pod["spec"]:
                    target = {"target": {"name": nodes[turn % len(nodes)]}}
                    turn += 1
                    await self.api.create(
                        kinds.POD,
                        orjson.dumps(target),
                        namespace,
                        name=name,
                        subresource="binding",
                    )
                elif pod.get("status", {}).get("phase", "Pending") == "Pending":
                    status = {
                        "phase": "Running",
                        "podIP": f"10.244.0.{turn % 250 + 1}",
                        "podIPs": [{"ip": f"10.244.0.{turn % 250 + 1}"}],
                        "conditions": [self.ready("True")],
                    }
                    turn += 1
                    await self.api.patch(
                        kinds.POD,
                        name,
                        orjson.dumps({"status": status}),
                        namespace,
                        subresource="status",
                    )
            await asyncio.sleep(0.3)

    def ready(self, status: str) -> Json:
        return {
            "type": "Ready",
            "status": status,
            "lastTransitionTime": format_time(self.clock.now()),
            "lastHeartbeatTime": format_time(self.clock.now()),
        }

    async def add_node(self, name: str) -> None:
        await self.create(kinds.NODE, {"metadata": {"name": name}})
        await self.patch(
            kinds.NODE, name, {"status": {"conditions": [self.ready("True")]}}, "status"
        )
        await self.create(kinds.LEASE, self.lease(name), "kube-node-lease")

    def lease(self, name: str) -> Json:
        return {
            "metadata": {"name": name},
            "spec": {"holderIdentity": name, "renewTime": format_micro_time(self.clock.now())},
        }

    async def heartbeats(self, names: set[str]) -> None:
        while True:
            for name in sorted(names):
                body = orjson.dumps(self.lease(name))
                await self.api.patch(kinds.LEASE, name, body, "kube-node-lease")
            await asyncio.sleep(10)


@asynccontextmanager
async def fake() -> AsyncIterator[tuple[Any, VirtualClock]]:
    clock = VirtualClock()
    yield FakeApi(clock), clock


@asynccontextmanager
async def registry() -> AsyncIterator[tuple[Any, VirtualClock]]:
    async with world(namespace="") as here:
        yield here.api, here.clock


@pytest.fixture(params=[fake, registry], ids=lambda server: server.__name__)
def server(request: pytest.FixtureRequest) -> Any:
    return request.param


def play(server: Any, story: Story, *, agent: bool = True, **config: Any) -> None:
    """Run a story against a fresh cluster."""

    async def main() -> None:
        async with server() as (api, clock), asyncio.TaskGroup() as group:
            cluster = Cluster(api, clock)
            for name in NAMESPACES:
                await cluster.create(kinds.NAMESPACE, {"metadata": {"name": name}})
            if agent:
                config.setdefault("node_grace_s", 1e6)
                for name in ("n1", "n2"):
                    await cluster.add_node(name)
            manager = ControllerManager(
                ControllerManagerConfig(identity="test", **config),
                cluster.api,
                clock=clock,
                rng=Random(1),
            )
            tasks = [group.create_task(cluster.mirror.run()), group.create_task(manager.run())]
            await until(lambda: manager.not_ready() is None)
            if agent:
                tasks.append(group.create_task(cluster.agent()))
            await story(cluster)
            for task in tasks:
                task.cancel()

    run(main())


def deployment(replicas: int = 3, image: str = "nginx:1", **spec: Any) -> Json:
    return {
        "metadata": {"name": "web"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": template(image),
            **spec,
        },
    }


def settled(cluster: Cluster, replicas: int, image: str) -> bool:
    d = cluster.one(kinds.DEPLOYMENT, "web")
    if d is None:
        return False
    status = d.get("status", {})
    return bool(
        status.get("observedGeneration") == d["metadata"]["generation"]
        and status.get("updatedReplicas", 0) == replicas == status.get("availableReplicas", 0)
        and status.get("replicas", 0) == replicas == len(cluster.running(image))
    )


def sizes(cluster: Cluster) -> dict[str, tuple[str, int]]:
    """Return (revision, replicas) of each ReplicaSet by image."""
    return {
        rs["spec"]["template"]["spec"]["containers"][0]["image"]: (
            rs["metadata"]["annotations"]["deployment.kubernetes.io/revision"],
            rs["spec"]["replicas"],
        )
        for rs in cluster.all(kinds.REPLICA_SET)
    }


def condition(obj: Json | None, type_: str) -> Json:
    assert obj is not None
    return next(c for c in obj["status"]["conditions"] if c["type"] == type_)


def test_a_deployment_rolls_out_updates_and_is_undone(server: Any) -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.create(kinds.DEPLOYMENT, deployment())
        await until(lambda: settled(cluster, 3, "nginx:1"))
        await until(lambda: sizes(cluster) == {"nginx:1": ("1", 3)})

        await cluster.patch(kinds.DEPLOYMENT, "web", {"spec": {"template": template("nginx:2")}})
        await until(lambda: settled(cluster, 3, "nginx:2"))
        assert sizes(cluster) == {"nginx:1": ("1", 0), "nginx:2": ("2", 3)}
        await until(
            lambda: (
                condition(cluster.one(kinds.DEPLOYMENT, "web"), "Progressing")["reason"]
                == "NewReplicaSetAvailable"
            )
        )

        await cluster.patch(kinds.DEPLOYMENT, "web", {"spec": {"template": template("nginx:1")}})
        await until(lambda: settled(cluster, 3, "nginx:1"))
        assert sizes(cluster) == {"nginx:1": ("3", 3), "nginx:2": ("2", 0)}
        web = cluster.one(kinds.DEPLOYMENT, "web")
        assert web is not None
        assert web["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "3"
        [history] = [
            rs["metadata"]["annotations"].get("deployment.kubernetes.io/revision-history")
            for rs in cluster.all(kinds.REPLICA_SET)
            if rs["spec"]["replicas"]
        ]
        assert history == "1"
        assert {"ScalingReplicaSet", "SuccessfulCreate", "SuccessfulDelete"} <= set(
            cluster.reasons()
        )

    play(server, story)


def test_scaling_and_deleting_a_deployment(server: Any) -> None:
    async def story(cluster: Cluster) -> None:
        made = await cluster.create(kinds.DEPLOYMENT, deployment(2))
        await until(lambda: settled(cluster, 2, "nginx:1"))
        await cluster.patch(kinds.DEPLOYMENT, "web", {"spec": {"replicas": 50}})
        await until(lambda: settled(cluster, 50, "nginx:1"))
        assert len(cluster.all(kinds.POD)) == 50  # never too many: expectations hold
        assert sum(v == "create" and k == "Pod" for v, k, _ in cluster.api.calls) == 50
        await cluster.api.delete(kinds.DEPLOYMENT, "web", "default", uid=made["metadata"]["uid"])
        await until(lambda: not cluster.all(kinds.REPLICA_SET) and not cluster.all(kinds.POD))

    play(server, story)


def test_foreground_deletion_takes_the_dependents_first(server: Any) -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.create(kinds.DEPLOYMENT, deployment(2))
        await until(lambda: settled(cluster, 2, "nginx:1"))
        await cluster.api.delete(kinds.DEPLOYMENT, "web", "default", propagation="Foreground")
        await until(lambda: cluster.one(kinds.DEPLOYMENT, "web") is None)
        assert cluster.all(kinds.REPLICA_SET) == cluster.all(kinds.POD) == []
        deleted = [kind for verb, kind, _ in cluster.api.calls if verb == "delete"]
        assert deleted.index("ReplicaSet") < deleted.index("Pod")

    play(server, story)


def test_orphaned_pods_stay_and_are_adopted_by_a_new_owner(server: Any) -> None:
    async def story(cluster: Cluster) -> None:
        rs = {
            "metadata": {"name": "web"},
            "spec": {
                "replicas": 2,
                "selector": {"matchLabels": {"app": "web"}},
                "template": template(),
            },
        }
        await cluster.create(kinds.REPLICA_SET, rs)
        await until(lambda: len(cluster.running()) == 2)
        before = {p["metadata"]["uid"] for p in cluster.running()}
        await cluster.api.delete(kinds.REPLICA_SET, "web", "default", propagation="Orphan")
        await until(lambda: cluster.one(kinds.REPLICA_SET, "web") is None)
        await asyncio.sleep(30)
        assert {p["metadata"]["uid"] for p in cluster.running()} == before
        assert all(not p["metadata"].get("ownerReferences") for p in cluster.running())

        made = await cluster.create(kinds.REPLICA_SET, rs)
        await until(
            lambda: all(
                p["metadata"].get("ownerReferences", [{}])[0].get("uid") == made["metadata"]["uid"]
                for p in cluster.running()
            )
        )
        await asyncio.sleep(30)
        assert {p["metadata"]["uid"] for p in cluster.running()} == before

    play(server, story)


def test_endpoints_follow_the_pods(server: Any) -> None:
    def ready(cluster: Cluster) -> list[int]:
        return sorted(
            sum(e["conditions"]["ready"] for e in s["endpoints"])
            for s in cluster.all(kinds.ENDPOINT_SLICE)
        )

    async def story(cluster: Cluster) -> None:
        service = {
            "metadata": {"name": "web"},
            "spec": {
                "selector": {"app": "web"},
                "clusterIP": "10.96.0.9",
                "clusterIPs": ["10.96.0.9"],
                "ports": [{"port": 80, "targetPort": 8080, "protocol": "TCP"}],
            },
        }
        await cluster.create(kinds.SERVICE, service)
        await until(lambda: ready(cluster) == [0])
        await cluster.create(kinds.DEPLOYMENT, deployment(150))
        await until(lambda: ready(cluster) == [50, 100])
        [endpoints] = cluster.all(kinds.ENDPOINTS)
        await until(lambda: len(cluster.all(kinds.ENDPOINTS)[0]["subsets"][0]["addresses"]) == 150)
        assert endpoints["metadata"]["name"] == "web"
        await cluster.patch(kinds.DEPLOYMENT, "web", {"spec": {"replicas": 3}})
        await until(lambda: sum(ready(cluster)) == 3)
        await cluster.api.delete(kinds.SERVICE, "web", "default")
        await until(
            lambda: not cluster.all(kinds.ENDPOINT_SLICE) and not cluster.all(kinds.ENDPOINTS)
        )

    play(server, story)


def test_a_namespace_gets_its_account_and_goes_with_everything_in_it(server: Any) -> None:
    async def story(cluster: Cluster) -> None:
        made = await cluster.create(
            kinds.NAMESPACE, {"metadata": {"name": "shop"}, "spec": {"finalizers": ["kubernetes"]}}
        )
        await until(lambda: len(cluster.all(kinds.CONFIG_MAP, "shop")) == 1)
        assert [a["metadata"]["name"] for a in cluster.all(kinds.SERVICE_ACCOUNT, "shop")] == [
            "default"
        ]
        [ca] = cluster.all(kinds.CONFIG_MAP, "shop")
        assert (ca["metadata"]["name"], ca["data"]) == ("kube-root-ca.crt", {"ca.crt": "PEM"})
        await cluster.create(kinds.DEPLOYMENT, deployment(2), "shop")
        await until(lambda: len(cluster.all(kinds.POD, "shop")) == 2)
        # FakeApi has no spec.finalizers; a metadata finalizer keeps the namespace as they would
        await cluster.patch(kinds.NAMESPACE, "shop", {"metadata": {"finalizers": ["test/hold"]}})
        await cluster.api.delete(kinds.NAMESPACE, "shop", uid=made["metadata"]["uid"])

        def finalized() -> bool:
            shop = cluster.one(kinds.NAMESPACE, "shop")
            return shop is not None and not shop["spec"].get("finalizers")

        await until(finalized, within_s=120)
        for kind in kinds.KINDS:
            if kind.namespaced:
                assert cluster.all(kind, "shop") == [], kind
        assert ("delete", "Deployment", "web") in cluster.api.calls

    play(server, story, root_ca="PEM")


def test_a_silent_node_is_marked_tainted_and_emptied_and_comes_back(server: Any) -> None:
    async def story(cluster: Cluster) -> None:
        alive = {"n1", "n2"}
        for name in sorted(alive):
            await cluster.add_node(name)

        def node() -> Json:
            found = cluster.one(kinds.NODE, "n2")
            assert found is not None
            return found

        def on_n2() -> list[Json]:
            return [p for p in cluster.all(kinds.POD) if p["spec"].get("nodeName") == "n2"]

        tolerant = template()
        tolerant["spec"]["tolerations"] = [
            {
                "key": "node.kubernetes.io/unreachable",
                "operator": "Exists",
                "effect": "NoExecute",
                "tolerationSeconds": 300,
            }
        ]
        async with asyncio.TaskGroup() as group:
            beat = group.create_task(cluster.heartbeats(alive))
            agent = group.create_task(cluster.agent())
            await cluster.create(kinds.DEPLOYMENT, deployment(4, template=tolerant))
            await until(lambda: settled(cluster, 4, "nginx:1"))
            assert len(on_n2()) == 2
            agent.cancel()
            alive.remove("n2")
            silent_since = cluster.clock.now()
            await until(lambda: condition(node(), "Ready")["status"] == "Unknown")
            waited_s = cluster.clock.now() - silent_since
            assert 30 <= waited_s <= 46
            ready = condition(node(), "Ready")
            assert ready["reason"] == "NodeStatusUnknown"
            assert ready["message"] == "Kubelet stopped posting node status."
            await until(lambda: len(node()["spec"]["taints"]) == 2)
            assert {(t["key"], t["effect"]) for t in node()["spec"]["taints"]} == {
                ("node.kubernetes.io/unreachable", "NoSchedule"),
                ("node.kubernetes.io/unreachable", "NoExecute"),
            }
            await until(lambda: all(condition(p, "Ready")["status"] == "False" for p in on_n2()))
            assert not any("deletionTimestamp" in p["metadata"] for p in on_n2())
            await asyncio.sleep(290)
            assert not any("deletionTimestamp" in p["metadata"] for p in on_n2())
            await until(
                lambda: all("deletionTimestamp" in p["metadata"] for p in on_n2()), within_s=20
            )
            alive.add("n2")
            await cluster.patch(
                kinds.NODE, "n2", {"status": {"conditions": [cluster.ready("True")]}}, "status"
            )
            await until(lambda: not node()["spec"].get("taints"), within_s=20)
            beat.cancel()

    play(server, story, agent=False)


def test_pods_of_a_deleted_node_are_removed(server: Any) -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.add_node("n1")
        spec = {**template()["spec"], "nodeName": "n1"}
        await cluster.create(kinds.POD, {"metadata": {"name": "p"}, "spec": spec})
        await asyncio.sleep(5)
        await cluster.api.delete(kinds.NODE, "n1")
        await asyncio.sleep(30)
        assert cluster.all(kinds.POD)
        await until(lambda: not cluster.all(kinds.POD), within_s=60)

    play(server, story, agent=False)


def test_a_share_of_a_stateful_set_is_of_what_it_wants(server: Any) -> None:
    """Nobody here makes its pods, but others may: a budget counts on what the set says."""

    async def story(cluster: Cluster) -> None:
        selector = {"matchLabels": {"app": "web"}}
        spec = {
            "replicas": 4,
            "serviceName": "web",
            "selector": selector,
            "template": template("nginx:1"),
        }
        made = await cluster.create(kinds.STATEFUL_SET, {"metadata": {"name": "web"}, "spec": spec})
        owner = {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "name": "web",
            "uid": made["metadata"]["uid"],
            "controller": True,
        }
        for n in range(3):
            meta = {"name": f"web-{n}", "labels": {"app": "web"}, "ownerReferences": [owner]}
            await cluster.create(kinds.POD, {"metadata": meta, "spec": template("nginx:1")["spec"]})
        budget = {"metadata": {"name": "b"}, "spec": {"minAvailable": "50%", "selector": selector}}
        await cluster.create(kinds.POD_DISRUPTION_BUDGET, budget)

        def counts() -> tuple[int, ...]:
            found = cluster.one(kinds.POD_DISRUPTION_BUDGET, "b") or {}
            names = ("expectedPods", "desiredHealthy", "currentHealthy", "disruptionsAllowed")
            return tuple(found.get("status", {}).get(name, 0) for name in names)

        await until(lambda: counts() == (4, 2, 3, 1))
        await cluster.patch(kinds.STATEFUL_SET, "web", {"spec": {"replicas": 6}})
        await until(lambda: counts() == (6, 3, 3, 0))

    play(server, story)


@pytest.mark.parametrize("elect", [True, False])
def test_it_is_ready_when_its_caches_are(elect: bool) -> None:
    async def main() -> None:
        clock = VirtualClock()
        config = ControllerManagerConfig(identity="test", leader_elect=elect)
        manager = ControllerManager(config, FakeApi(clock), clock=clock, rng=Random(1))
        assert manager.not_ready()
        async with asyncio.TaskGroup() as group:
            task = group.create_task(manager.run())
            await until(lambda: manager.not_ready() is None)
            task.cancel()

    run(main())
