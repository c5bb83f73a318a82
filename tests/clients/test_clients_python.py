"""The Python clients' hello-world, each as its users write it: what a typed model, a chunked list
or a watch that must not hang is picky about shows here and not with kubectl."""

import asyncio
import functools
from typing import Any

import pytest
from hollow_cluster import HollowCluster, until
from python_clients import (
    CLIENT_MARKS,
    asyncio_client,
    kr8s,
    kr8s_api,
    kr8s_objects,
    kubernetes,
    kubernetes_asyncio,
    lightkube,
    lightkube_apps,
    lightkube_core,
    pod,
)

pytestmark = CLIENT_MARKS


def deployment(name: str, replicas: int = 2) -> dict[str, Any]:
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "c", "image": "nginx:1"}]},
            },
        },
    }


# -- kubernetes ---------------------------------------------------------------------------------


def test_kubernetes_objects(official: Any, namespace: str) -> None:
    core = kubernetes.client.CoreV1Api(official)
    apps = kubernetes.client.AppsV1Api(official)
    assert kubernetes.client.VersionApi(official).get_code().minor == "33"
    assert all(
        c.status == "True"
        for n in core.list_node().items
        for c in n.status.conditions
        if c.type == "Ready"
    )
    made = apps.create_namespaced_deployment(namespace, deployment("web"))
    assert made.metadata.uid
    until(
        lambda: apps.read_namespaced_deployment_status("web", namespace).status.ready_replicas == 2,
        "two ready replicas",
    )
    scale = apps.read_namespaced_deployment_scale("web", namespace)
    scale.spec.replicas = 3
    assert apps.replace_namespaced_deployment_scale("web", namespace, scale).spec.replicas == 3
    body = {"spec": {"replicas": 1}}
    assert apps.patch_namespaced_deployment_scale("web", namespace, body).spec.replicas == 1
    patched = apps.patch_namespaced_deployment(
        "web", namespace, [{"op": "add", "path": "/metadata/labels/x", "value": "y"}]
    )
    assert patched.metadata.labels == {"app": "web", "x": "y"}
    pods = functools.partial(core.list_namespaced_pod, namespace, label_selector="app=web")
    until(lambda: len(pods().items) == 1, "only one pod, which nobody ends")
    page = pods(limit=1)
    assert len(page.items) == 1
    assert core.read_namespaced_pod_log(page.items[0].metadata.name, namespace).startswith("hollow")
    with pytest.raises(kubernetes.client.exceptions.ApiException) as conflict:
        apps.create_namespaced_deployment(namespace, deployment("web"))
    assert (conflict.value.status, conflict.value.reason) == (409, "Conflict")
    assert '"reason":"AlreadyExists"' in conflict.value.body
    assert apps.delete_namespaced_deployment("web", namespace)["status"] == "Success"


def test_kubernetes_reads_what_a_delete_returns(official: Any, namespace: str) -> None:
    """Its models refuse a Status for these kinds, and an object for the others."""
    core = kubernetes.client.CoreV1Api(official)
    meta = {"metadata": {"name": "x"}}
    core.create_namespaced_pod(namespace, pod("x"))
    core.create_namespaced_service(namespace, {**meta, "spec": {"ports": [{"port": 80}]}})
    core.create_namespaced_service_account(namespace, meta)
    core.create_namespaced_config_map(namespace, meta)
    core.create_namespaced_secret(namespace, meta)
    assert core.delete_namespaced_pod("x", namespace).metadata.name == "x"
    assert core.delete_namespaced_service("x", namespace).metadata.name == "x"
    assert core.delete_namespaced_service_account("x", namespace).metadata.name == "x"
    assert core.delete_namespaced_config_map("x", namespace)["details"]["name"] == "x"
    assert core.delete_namespaced_secret("x", namespace)["status"] == "Success"
    core.create_namespaced_config_map(namespace, meta)
    core.delete_collection_namespaced_config_map(namespace)
    assert core.list_namespaced_config_map(namespace, label_selector="none").items == []
    with pytest.raises(kubernetes.client.exceptions.NotFoundException):
        core.delete_namespaced_pod("none", namespace)


def test_kubernetes_watches_as_an_informer_does(official: Any, namespace: str) -> None:
    """List, watch from there, nothing missed and nothing twice; and again from the same place."""
    core = kubernetes.client.CoreV1Api(official)
    core.create_namespaced_config_map(namespace, {"metadata": {"name": "a"}})
    listed = core.list_namespaced_config_map(namespace, label_selector="!root")
    begin = listed.metadata.resource_version
    for name in ("b", "c"):
        core.create_namespaced_config_map(namespace, {"metadata": {"name": name}})
    core.patch_namespaced_config_map("b", namespace, {"data": {"k": "v"}})
    core.delete_namespaced_config_map("c", namespace)
    for _ in range(2):
        watch, seen = kubernetes.watch.Watch(), []
        for event in watch.stream(
            core.list_namespaced_config_map, namespace, resource_version=begin, timeout_seconds=90
        ):
            name = event["object"].metadata.name
            if name != "kube-root-ca.crt":
                seen.append((event["type"], name))
            if len(seen) == 4:
                watch.stop()
        assert seen == [("ADDED", "b"), ("ADDED", "c"), ("MODIFIED", "b"), ("DELETED", "c")]


def test_kubernetes_dynamic_client(official: Any, namespace: str) -> None:
    dynamic = kubernetes.dynamic.DynamicClient(official)
    deployments = dynamic.resources.get(api_version="apps/v1", kind="Deployment")
    deployments.create(body=deployment("web"), namespace=namespace)
    for event in deployments.watch(namespace=namespace, timeout=90):
        if event["object"].status.readyReplicas == 2:
            break
    merged = deployments.patch(
        name="web",
        namespace=namespace,
        body={"spec": {"replicas": 0}},
        content_type="application/merge-patch+json",
    )
    assert merged.spec.replicas == 0
    assert [d.metadata.name for d in deployments.get(namespace=namespace).items] == ["web"]
    assert deployments.delete(name="web", namespace=namespace).status == "Success"
    with pytest.raises(kubernetes.dynamic.exceptions.ResourceNotFoundError):
        dynamic.resources.get(api_version="batch/v1", kind="Widget")


# -- kubernetes_asyncio -------------------------------------------------------------------------


def test_kubernetes_asyncio(hollow: HollowCluster, namespace: str) -> None:
    async def main() -> None:
        async with asyncio_client(hollow) as client:
            core = kubernetes_asyncio.client.CoreV1Api(client)
            apps = kubernetes_asyncio.client.AppsV1Api(client)
            await apps.create_namespaced_deployment(namespace, deployment("web"))
            ready = set()
            async with kubernetes_asyncio.watch.Watch().stream(
                core.list_namespaced_pod, namespace, label_selector="app=web"
            ) as events:
                async for event in events:
                    status = event["object"].status
                    if any(
                        c.type == "Ready" and c.status == "True" for c in status.conditions or ()
                    ):
                        ready.add(event["object"].metadata.name)
                    if len(ready) == 2:
                        break
            log = await core.read_namespaced_pod_log(min(ready), namespace)
            assert log.startswith("hollow")
            with pytest.raises(kubernetes_asyncio.client.ApiException) as missing:
                await core.read_namespaced_pod("none", namespace)
            assert missing.value.status == 404
            gone = await apps.delete_namespaced_deployment("web", namespace)
            assert gone.status == "Success"

    asyncio.run(main())


# -- lightkube ----------------------------------------------------------------------------------


def test_lightkube(hollow: HollowCluster, namespace: str) -> None:
    config = lightkube.KubeConfig.from_file(str(hollow.kubeconfig))
    with lightkube.Client(config=config, namespace=namespace) as client:
        for number in range(7):
            meta = lightkube.models.meta_v1.ObjectMeta(name=f"c{number}", labels={"kind": "test"})
            client.create(lightkube_core.ConfigMap(metadata=meta, data={"n": str(number)}))
        in_chunks = client.list(lightkube_core.ConfigMap, labels={"kind": "test"}, chunk_size=3)
        assert [c.metadata.name for c in in_chunks] == [f"c{n}" for n in range(7)]
        client.create(lightkube_apps.Deployment.from_dict(deployment("web")))
        for _, watched in client.watch(lightkube_apps.Deployment, fields={"metadata.name": "web"}):
            if watched.status and watched.status.readyReplicas == 2:
                break
        scale = lightkube_apps.Deployment.Scale
        changed = client.patch(
            scale, "web", {"spec": {"replicas": 3}}, patch_type=lightkube.types.PatchType.MERGE
        )
        assert changed.spec.replicas == 3
        until(
            lambda: len(list(client.list(lightkube_core.Pod, labels={"app": "web"}))) == 3,
            "three pods",
        )
        client.delete(lightkube_apps.Deployment, "web")
        with pytest.raises(lightkube.ApiError) as missing:
            client.get(lightkube_apps.Deployment, "web")
        assert (missing.value.status.code, missing.value.status.reason) == (404, "NotFound")
        applied = lightkube_core.ConfigMap(
            metadata=lightkube.models.meta_v1.ObjectMeta(name="x"), data={"a": "1"}
        )
        made = client.apply(applied, field_manager="me")
        assert [(m.manager, m.operation) for m in made.metadata.managedFields] == [("me", "Apply")]


# -- kr8s ---------------------------------------------------------------------------------------


def test_kr8s(hollow: HollowCluster, namespace: str) -> None:
    async def main() -> None:
        async with kr8s_api(hollow, namespace) as api:
            version = await api.version()
            assert version["minor"] == "33"
            web = await kr8s_objects.Deployment(deployment("web"), api=api)
            await web.create()
            await web.wait("condition=Available")
            await web.scale(3)
            await web.label({"tier": "front"})
            await web.wait("jsonpath='{.status.readyReplicas}'=3")
            assert len([p async for p in api.get("pods", label_selector={"app": "web"})]) == 3
            single = await kr8s_objects.Pod(pod("alone"), api=api)
            await single.create()
            await single.wait("condition=Ready")
            lines = [line async for line in single.logs()]
            assert lines[0].startswith("hollow")
            settings = await kr8s_objects.ConfigMap(
                {"metadata": {"name": "settings"}, "data": {"a": "1"}}, api=api
            )
            await settings.create()
            await settings.patch({"data": {"b": "2"}})
            assert settings.raw["data"] == {"a": "1", "b": "2"}
            await web.delete()
            with pytest.raises(kr8s.NotFoundError):
                await kr8s_objects.Deployment.get("web", namespace=namespace, api=api)

    asyncio.run(main())
