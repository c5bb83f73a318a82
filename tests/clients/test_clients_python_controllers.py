"""What controllers written in Python need: pages at one revision, a lock, a watch that resumes, exec."""

import importlib
from typing import Any

import pytest
from hollow_cluster import until
from python_clients import CLIENT_MARKS, kubernetes

pytestmark = CLIENT_MARKS

stream: Any = importlib.import_module("kubernetes.stream")


def test_pages_are_of_one_revision(official: Any, namespace: str) -> None:
    """What is written while somebody pages is not seen, what is deleted still is."""
    core = kubernetes.client.CoreV1Api(official)
    for number in range(10):
        body = {"metadata": {"name": f"c{number}", "labels": {"paged": "yes"}}}
        core.create_namespaced_config_map(namespace, body)
    page = core.list_namespaced_config_map(namespace, label_selector="paged", limit=4)
    revision, seen = page.metadata.resource_version, [c.metadata.name for c in page.items]
    late = {"metadata": {"name": "c99", "labels": {"paged": "yes"}}}
    core.create_namespaced_config_map(namespace, late)
    core.delete_namespaced_config_map("c7", namespace)
    while page.metadata._continue:
        page = core.list_namespaced_config_map(
            namespace, label_selector="paged", limit=4, _continue=page.metadata._continue
        )
        assert page.metadata.resource_version == revision
        seen += [c.metadata.name for c in page.items]
    assert seen == [f"c{number}" for number in range(10)]


def test_one_of_two_leads(official: Any, namespace: str) -> None:
    """A lock is a Lease that is replaced at the revision that was read: the second loses."""
    api = kubernetes.client.CoordinationV1Api(official)
    body = {"metadata": {"name": "lock"}, "spec": {"holderIdentity": "a", "leaseTransitions": 0}}
    mine = api.create_namespaced_lease(namespace, body)
    with pytest.raises(kubernetes.client.exceptions.ApiException) as second:
        api.create_namespaced_lease(namespace, body)
    assert second.value.status == 409
    theirs = api.read_namespaced_lease("lock", namespace)
    mine.spec.lease_duration_seconds = 15
    renewed = api.replace_namespaced_lease("lock", namespace, mine)
    theirs.spec.holder_identity = "b"
    with pytest.raises(kubernetes.client.exceptions.ApiException) as stale:
        api.replace_namespaced_lease("lock", namespace, theirs)
    assert stale.value.status == 409
    assert '"reason":"Conflict"' in stale.value.body
    renewed.spec.holder_identity, renewed.spec.lease_transitions = "b", 1
    assert api.replace_namespaced_lease("lock", namespace, renewed).spec.holder_identity == "b"


def test_a_watch_goes_on_where_it_stopped(official: Any, namespace: str) -> None:
    """Each watch sees what came after the last event of the one before; nothing twice."""
    core = kubernetes.client.CoreV1Api(official)
    listed = core.list_namespaced_config_map(namespace, label_selector="told")
    revision, seen = listed.metadata.resource_version, []
    for number in range(3):
        body = {"metadata": {"name": f"c{number}", "labels": {"told": "yes"}}}
        core.create_namespaced_config_map(namespace, body)
        watch = kubernetes.watch.Watch()
        for event in watch.stream(
            core.list_namespaced_config_map,
            namespace,
            label_selector="told",
            resource_version=revision,
            timeout_seconds=90,
        ):
            seen.append((event["type"], event["object"].metadata.name))
            revision = event["object"].metadata.resource_version
            watch.stop()
    assert seen == [("ADDED", f"c{number}") for number in range(3)]


def test_exec_over_websocket_is_answered(official: Any, namespace: str) -> None:
    """Hollow pods have no processes; what a real one prints is `tests/cluster`'s to show."""
    core = kubernetes.client.CoreV1Api(official)
    spec = {"containers": [{"name": "c", "image": "nginx:1"}]}
    core.create_namespaced_pod(namespace, {"metadata": {"name": "p"}, "spec": spec})
    until(lambda: core.read_namespaced_pod("p", namespace).status.phase == "Running", "it runs")
    with pytest.raises(kubernetes.client.exceptions.ApiException, match="501"):
        stream.stream(
            core.connect_get_namespaced_pod_exec, "p", namespace, command=["date"], stdout=True
        )
