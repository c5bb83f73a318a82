"""Each Python client where it is more than a caller: informers that start again after 410, leaders
elected by Leases, logs that are followed, streams, and controllers that apply."""

import asyncio
import importlib
import threading
from typing import Any

import pytest
from hollow_cluster import HollowCluster, until
from python_clients import (
    CLIENT_MARKS,
    asyncio_client,
    kr8s_api,
    kr8s_objects,
    kubernetes,
    kubernetes_asyncio,
    lightkube,
    lightkube_core,
    pod,
)

pytestmark = CLIENT_MARKS

kubernetes_informer: Any = importlib.import_module("kubernetes.informer")
kubernetes_stream: Any = importlib.import_module("kubernetes.stream")
election: Any = importlib.import_module("kubernetes.leaderelection.leaderelection")
election_config: Any = importlib.import_module("kubernetes.leaderelection.electionconfig")
leases: Any = importlib.import_module("kubernetes.leaderelection.resourcelock.leaselock")
asyncio_stream: Any = importlib.import_module("kubernetes_asyncio.stream")
asyncio_election: Any = importlib.import_module("kubernetes_asyncio.leaderelection.leaderelection")
asyncio_config: Any = importlib.import_module("kubernetes_asyncio.leaderelection.electionconfig")
asyncio_leases: Any = importlib.import_module(
    "kubernetes_asyncio.leaderelection.resourcelock.leaselock"
)

APPLY = "application/apply-patch+yaml"
TOO_OLD = "1"
"""A revision from before the API server's memory: a watch from there is answered with 410."""
TIMES = {"lease_duration": 3, "renew_deadline": 2, "retry_period": 1}


def settings(name: str, **data: str) -> dict[str, Any]:
    meta = {"name": name, "labels": {"told": "yes"}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}


# -- kubernetes ---------------------------------------------------------------------------------


def test_an_informer_lists_again_after_410(official: Any, namespace: str) -> None:
    core = kubernetes.client.CoreV1Api(official)
    core.create_namespaced_config_map(namespace, settings("before"))
    informer = kubernetes_informer.SharedInformer(
        core.list_namespaced_config_map, namespace=namespace, label_selector="told"
    )
    errors: list[Any] = []
    informer.add_event_handler("ERROR", errors.append)
    informer._resource_version = TOO_OLD  # it slept for longer than the server remembers
    informer.start()
    try:
        until(lambda: informer.cache.get_by_key(f"{namespace}/before"), "what was listed")
        assert errors[0].status == 410
        core.create_namespaced_config_map(namespace, settings("after", a="1"))
        until(lambda: informer.cache.get_by_key(f"{namespace}/after"), "what was watched")
        core.patch_namespaced_config_map("after", namespace, {"data": {"a": "2"}})

        def changed() -> bool:
            held = informer.cache.get_by_key(f"{namespace}/after")
            return bool(held.data == {"a": "2"})

        until(changed, "the change")
        core.delete_namespaced_config_map("before", namespace)
        until(lambda: informer.cache.list_keys() == [f"{namespace}/after"], "the deletion")
    finally:
        informer.stop()


def test_a_lease_elects_one_leader_after_the_other(official: Any, namespace: str) -> None:
    """Who leads works alone; when its work fails, the other one takes the lease that ran out."""
    led: list[str] = []
    ended: list[str] = []

    def candidate(name: str) -> threading.Thread:
        lock = leases.LeaseLock("lock", namespace, name)
        lock.api_instance = kubernetes.client.CoordinationV1Api(official)

        def lead() -> None:
            led.append(name)
            raise RuntimeError("the work is done")  # the library's way to stop leading

        config = election_config.Config(
            lock, **TIMES, onstarted_leading=lead, onstopped_leading=lambda: ended.append(name)
        )
        run = election.LeaderElection(config).run
        thread = threading.Thread(target=run, name=name, daemon=True)  # a failed one tries for ever
        thread.start()
        return thread

    first = candidate("a")
    until(lambda: led == ["a"], "the first leader")
    second = candidate("b")
    for thread in (first, second):
        thread.join(180)
        assert not thread.is_alive()
    assert led == ended == ["a", "b"]
    lease = kubernetes.client.CoordinationV1Api(official).read_namespaced_lease("lock", namespace)
    assert lease.spec.holder_identity == "b"


def test_a_log_is_followed_to_the_end_of_its_pod(official: Any, namespace: str) -> None:
    core = kubernetes.client.CoreV1Api(official)
    core.create_namespaced_pod(namespace, pod("p"))
    until(lambda: core.read_namespaced_pod("p", namespace).status.phase == "Running", "it runs")
    following = core.read_namespaced_pod_log("p", namespace, follow=True, _preload_content=False)
    lines = iter(following)
    assert next(lines) == f"hollow container c of pod {namespace}/p\n".encode()
    core.delete_namespaced_pod("p", namespace)
    assert list(lines) == []


def test_a_port_forward_is_answered(official: Any, namespace: str) -> None:
    """Hollow pods have no processes; what a real one sends is `tests/cluster`'s to show."""
    core = kubernetes.client.CoreV1Api(official)
    core.create_namespaced_pod(namespace, pod("p"))
    until(lambda: core.read_namespaced_pod("p", namespace).status.phase == "Running", "it runs")
    with pytest.raises(kubernetes.client.exceptions.ApiException, match="501"):
        kubernetes_stream.portforward(
            core.connect_get_namespaced_pod_portforward, "p", namespace, ports="80"
        )


def test_a_controller_applies_and_shares(official: Any, namespace: str) -> None:
    """Two managers own their own keys; what one no longer applies is gone; a foreign key needs force."""
    core = kubernetes.client.CoreV1Api(official)

    def apply(manager: str, *, force: bool = False, **data: str) -> Any:
        return core.patch_namespaced_config_map(
            "shared",
            namespace,
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "shared"}, "data": data},
            field_manager=manager,
            force=force,
            _content_type=APPLY,
        ).data

    assert apply("one", a="1", b="1") == {"a": "1", "b": "1"}
    assert apply("two", c="2") == {"a": "1", "b": "1", "c": "2"}
    with pytest.raises(kubernetes.client.exceptions.ApiException) as conflict:
        apply("two", a="2", c="2")
    assert conflict.value.status == 409
    assert 'conflict with \\"one\\"' in conflict.value.body
    assert apply("two", force=True, a="2", c="2") == {"a": "2", "b": "1", "c": "2"}
    assert apply("one", b="1") == {"a": "2", "b": "1", "c": "2"}
    assert apply("two", c="2") == {"b": "1", "c": "2"}


# -- kubernetes_asyncio -------------------------------------------------------------------------


def test_asyncio_leaders(hollow: HollowCluster, namespace: str) -> None:
    async def main() -> None:
        async with asyncio_client(hollow) as client:
            led: asyncio.Queue[str] = asyncio.Queue()

            async def run(name: str) -> None:
                lock = asyncio_leases.LeaseLock("lock", namespace, name, client)
                config = asyncio_config.Config(
                    lock, **TIMES, onstarted_leading=lambda: led.put(name), onstopped_leading=None
                )
                await asyncio_election.LeaderElection(config).run()

            async with asyncio.TaskGroup() as group:
                first = group.create_task(run("a"))
                assert await led.get() == "a"
                second = group.create_task(run("b"))
                first.cancel()
                assert await led.get() == "b"
                second.cancel()

    asyncio.run(main())


def test_asyncio_watches_follows_and_streams(hollow: HollowCluster, namespace: str) -> None:
    async def main() -> None:
        async with asyncio_client(hollow) as client:
            core = kubernetes_asyncio.client.CoreV1Api(client)
            async with kubernetes_asyncio.watch.Watch().stream(
                core.list_namespaced_pod, namespace, resource_version=TOO_OLD, timeout_seconds=90
            ) as events:
                with pytest.raises(kubernetes_asyncio.client.ApiException) as gone:
                    await anext(aiter(events))
            assert gone.value.status == 410
            made = await core.create_namespaced_pod(namespace, pod("p"))
            async with kubernetes_asyncio.watch.Watch().stream(
                core.list_namespaced_pod,
                namespace,
                resource_version=made.metadata.resource_version,
            ) as events:
                async for event in events:
                    if event["object"].status.phase == "Running":
                        break
            async with kubernetes_asyncio.watch.Watch().stream(
                core.read_namespaced_pod_log, "p", namespace, follow=True
            ) as lines:
                assert await anext(aiter(lines)) == f"hollow container c of pod {namespace}/p\n"
                await core.delete_namespaced_pod("p", namespace)

    asyncio.run(main())


def test_asyncio_exec_is_answered(hollow: HollowCluster, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/pods"
    hollow.ask(path, method="POST", body=pod("p"))
    until(lambda: hollow.ask(f"{path}/p")[1]["status"]["phase"] == "Running", "it runs")

    async def main() -> None:
        async with asyncio_client(hollow, asyncio_stream.WsApiClient) as client:
            core = kubernetes_asyncio.client.CoreV1Api(client)
            with pytest.raises(Exception, match="501"):
                await core.connect_get_namespaced_pod_exec(
                    "p", namespace, command="date", stdout=True
                )

    asyncio.run(main())


# -- lightkube ----------------------------------------------------------------------------------


def test_lightkube_watches_again_and_follows(hollow: HollowCluster, namespace: str) -> None:
    config = lightkube.KubeConfig.from_file(str(hollow.kubeconfig))
    errors: list[int] = []

    def on_error(error: Any, _count: int) -> Any:
        errors.append(error.status.code)
        return lightkube.types.OnErrorResult(lightkube.types.OnErrorAction.RETRY)

    with lightkube.Client(config=config, namespace=namespace) as client:
        client.create(lightkube_core.ConfigMap.from_dict(settings("x")))
        events = client.watch(
            lightkube_core.ConfigMap,
            labels={"told": "yes"},
            resource_version=TOO_OLD,
            on_error=on_error,
        )
        operation, found = next(iter(events))
        assert (operation, found.metadata.name, errors) == ("ADDED", "x", [410])
        client.create(lightkube_core.Pod.from_dict(pod("p")))
        client.wait(lightkube_core.Pod, "p", for_conditions=["Ready"])
        lines = client.log("p", follow=True)
        assert next(lines) == f"hollow container c of pod {namespace}/p\n"
        client.delete(lightkube_core.Pod, "p")
        assert list(lines) == []


# -- kr8s ---------------------------------------------------------------------------------------


def test_kr8s_watches_follows_and_streams(hollow: HollowCluster, namespace: str) -> None:
    async def main() -> None:
        async with kr8s_api(hollow, namespace) as api:
            single = await kr8s_objects.Pod(pod("p"), api=api)
            await single.create()
            async for _, seen in api.watch("pods", label_selector={"app": "p"}):
                if seen.status.get("phase") == "Running":
                    break
            await single.wait("condition=Ready")
            with pytest.raises(Exception, match="501"):
                await single.exec(["date"])
            lines = aiter(single.logs(follow=True))
            assert await anext(lines) == f"hollow container c of pod {namespace}/p"
            await single.delete()
            assert [line async for line in lines] == []

    asyncio.run(main())
