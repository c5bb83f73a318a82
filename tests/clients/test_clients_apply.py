"""Server-side apply as its users meet it: kubectl of every age, the Python clients, plain HTTP."""

import asyncio
import importlib
import json
from typing import Any

import grpc
import pytest
from hollow_cluster import HollowCluster, until
from kubectl_session import WEB, Session, both_ends, every_build
from python_clients import CLIENT_MARKS, kr8s_api, kr8s_objects, lightkube, lightkube_core

from wherry.wire.v1 import cluster_pb2 as pb
from wherry.wire.v1.cluster_pb2_grpc import ClusterStub

pytestmark = CLIENT_MARKS

lightkube_meta: Any = importlib.import_module("lightkube.models.meta_v1")

APPLY = {"Content-Type": "application/apply-patch+yaml"}
FILES = {
    "web": WEB,
    "three": WEB.replace("replicas: 2", "replicas: 3"),
    "any": WEB.replace("  replicas: 2\n", ""),
    "changed": WEB.replace("nginx:1", "nginx:2"),
    "misspelt": WEB.replace("replicas:", "replica:"),
}


@every_build
def test_apply_conflicts_and_force(kubectl: Session) -> None:
    kubectl.play(
        """
        $ apply --server-side -f -                              # < web
        deployment.apps/web serverside-applied
        $ apply --server-side -f - --dry-run=server             # < three
        deployment.apps/web serverside-applied (server dry run)
        $ diff --server-side -f -                               # < changed, exit 1
        - - image: nginx:1
        + - image: nginx:2
        $ apply --server-side -f -                              # < web
        deployment.apps/web serverside-applied
        $ scale deployment/web --replicas=1
        deployment.apps/web scaled
        $ apply --server-side -f -                              # < three, exit 1
        ! *Apply failed with 1 conflict: conflict with "kubectl*" with subresource "scale" using apps/v1: .spec.replicas*
        $ apply --server-side --force-conflicts -f -            # < three
        deployment.apps/web serverside-applied
        $ get deployment web -o jsonpath={.spec.replicas}
        3
        $ apply --server-side --field-manager=other -f -        # < web, exit 1
        ! *Apply failed with 1 conflict: conflict with "kubectl": .spec.replicas*
        $ apply --server-side --field-manager=other -f -        # < any
        deployment.apps/web serverside-applied
        $ delete deployment web
        deployment.apps "web" deleted*
        """,
        FILES,
    )


@every_build
def test_from_client_side_apply_and_back(kubectl: Session) -> None:
    """The annotation hands over; newer builds also patch managedFields, by JSON patch."""
    kubectl.play(
        """
        $ apply -f -                                            # < web
        deployment.apps/web created
        $ apply --server-side -f -                              # < three
        deployment.apps/web serverside-applied
        $ get deployment web -o jsonpath={.spec.replicas}
        3
        $ apply --server-side -f -                              # < changed
        deployment.apps/web serverside-applied
        $ apply -f -                                            # < web
        deployment.apps/web *
        $ get deployment web -o jsonpath={.spec.template.spec.containers[0].image}
        nginx:1
        $ delete deployment web
        deployment.apps "web" deleted*
        """,
        FILES,
    )


@both_ends
def test_unknown_fields_are_named(kubectl: Session) -> None:
    kubectl.play(
        """
        $ apply --server-side --validate=false -f -             # < misspelt, exit 1
        ! *failed to create typed patch object ({namespace}/web; apps/v1, Kind=Deployment): .spec.replica: field not declared in schema*
        """,
        FILES,
    )


def test_managed_fields_show_who_set_what(hollow: HollowCluster, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    agent = {"User-Agent": "editor/1.2 (linux)"}
    body: dict[str, Any] = {"metadata": {"name": "c"}, "data": {"a": "1", "b": "1"}}
    status, made = hollow.ask(path, method="POST", body=body, headers=agent)
    assert status == 201, made
    (entry,) = made["metadata"]["managedFields"]
    assert entry.pop("time") == made["metadata"]["creationTimestamp"]
    assert entry == {
        "manager": "editor",
        "operation": "Update",
        "apiVersion": "v1",
        "fieldsType": "FieldsV1",
        "fieldsV1": {"f:data": {".": {}, "f:a": {}, "f:b": {}}},
    }
    applied = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "c"},
        "data": {"a": "2"},
    }
    one = f"{path}/c"
    status, refused = hollow.ask(
        f"{one}?fieldManager=me", method="PATCH", body=applied, headers=APPLY
    )
    assert (status, refused["reason"]) == (409, "Conflict")
    assert refused["details"]["causes"] == [
        {
            "reason": "FieldManagerConflict",
            "message": 'conflict with "editor" using v1',
            "field": ".data.a",
        }
    ]
    forced = f"{one}?fieldManager=me&force=true"
    status, mine = hollow.ask(forced, method="PATCH", body=applied, headers=APPLY)
    assert (status, mine["data"]) == (200, {"a": "2", "b": "1"})
    _, again = hollow.ask(forced, method="PATCH", body=applied, headers=APPLY)
    assert again["metadata"]["resourceVersion"] == mine["metadata"]["resourceVersion"]
    merge = {"Content-Type": "application/merge-patch+json"}
    reset: dict[str, Any] = {"metadata": {"managedFields": [{}]}}
    _, free = hollow.ask(one, method="PATCH", body=reset, headers=merge)
    assert "managedFields" not in free["metadata"]


@pytest.mark.parametrize(
    ("query", "body", "status", "message"),
    [
        ("", {}, 422, 'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch'),
        ("fieldManager=" + "x" * 129, {}, 422,
         'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Too long: may not be more than 128 bytes'),
        ("fieldManager=a%00b", {}, 422,
         'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Invalid value: "a\\u0000b": invalid character U+0000 (at position 1)'),
        ("fieldManager=m", {"apiVersion": "v2"}, 400,
         "invalid object type: /v2, Kind=ConfigMap"),
        ("fieldManager=m", {"metadata": {"name": "x", "managedFields": [{"manager": "m"}]}}, 400,
         "metadata.managedFields must be nil"),
        ("fieldManager=m", {"metadata": {"name": "y"}}, 400,
         "the name of the object (y) does not match the name on the URL (x)"),
        ("fieldManager=m", {"metadata": {"name": "x", "uid": "1-2"}}, 409,
         'Operation cannot be fulfilled on configmaps "x": uid mismatch: the provided object specified uid 1-2, '
         "and no existing object was found"),
        ("fieldManager=m", {"metadata": {"name": "x", "resourceVersion": "5"}}, 400,
         "resourceVersion should not be set on objects to be created"),
        ("fieldManager=m&fieldValidation=Strict", b"apiVersion: v1\nkind: ConfigMap\ndata: {a: x, a: y}\n", 400,
         'error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:\n  line 3: key "a" already set in map'),
    ],
)  # fmt: skip
def test_refusals(
    hollow: HollowCluster, namespace: str, query: str, body: Any, status: int, message: str
) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps/x?{query}"
    if isinstance(body, dict):
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, **body}
    code, answer = hollow.ask(path, method="PATCH", body=body, headers=APPLY)
    assert (code, answer["message"]) == (status, message)


def test_only_an_apply_can_be_forced(hollow: HollowCluster, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps/x?force=true"
    merge = {"Content-Type": "application/merge-patch+json"}
    code, answer = hollow.ask(path, method="PATCH", body={}, headers=merge)
    assert (code, answer["message"]) == (
        422,
        'PatchOptions.meta.k8s.io "" is invalid: force: Forbidden: may not be specified for non-apply patch',
    )


def test_a_status_has_managers_of_its_own(hollow: HollowCluster, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/pods/p"
    head: dict[str, Any] = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}}
    # Nobody else writes the status of a pod that no scheduler cares for.
    spec = {"schedulerName": "none", "containers": [{"name": "c", "image": "nginx:1"}]}
    query = "fieldManager=me"
    status, made = hollow.ask(
        f"{path}?{query}", method="PATCH", body={**head, "spec": spec}, headers=APPLY
    )
    assert status == 201, made
    condition = {"type": "Tested", "status": "True"}
    body = {**head, "spec": {"schedulerName": "x"}, "status": {"conditions": [condition]}}
    status, made = hollow.ask(f"{path}/status?{query}", method="PATCH", body=body, headers=APPLY)
    assert (status, made["spec"]["schedulerName"]) == (200, "none")
    assert condition in made["status"]["conditions"]
    fields = {e.get("subresource", ""): e["fieldsV1"] for e in made["metadata"]["managedFields"]}
    assert set(fields) == {"", "status"}
    tested: dict[str, Any] = {".": {}, "f:type": {}, "f:status": {}}
    assert fields["status"] == {"f:status": {"f:conditions": {'k:{"type":"Tested"}': tested}}}
    status, made = hollow.ask(f"{path}/status?{query}", method="PATCH", body=head, headers=APPLY)
    assert condition not in made["status"].get("conditions", [])


def test_a_scale_has_managers_of_its_own(hollow: HollowCluster, namespace: str) -> None:
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments/web"
    query = "fieldManager=me"
    status, _ = hollow.ask(f"{path}?{query}", method="PATCH", body=WEB.encode(), headers=APPLY)
    assert status == 201
    scale = {
        "apiVersion": "autoscaling/v1",
        "kind": "Scale",
        "metadata": {"name": "web"},
        "spec": {"replicas": 0},
    }
    one = f"{path}/scale?fieldManager=scaler"
    status, refused = hollow.ask(one, method="PATCH", body=scale, headers=APPLY)
    assert (status, refused["message"]) == (
        409,
        'Apply failed with 1 conflict: conflict with "me": .spec.replicas',
    )
    status, made = hollow.ask(f"{one}&force=true", method="PATCH", body=scale, headers=APPLY)
    assert (status, made["spec"].get("replicas", 0)) == (200, 0), made
    _, web = hollow.ask(path)
    mine = {
        (e["manager"], e.get("subresource", "")): e["fieldsV1"]
        for e in web["metadata"]["managedFields"]
        if e["operation"] == "Apply"
    }
    assert mine["scaler", "scale"] == {"f:spec": {"f:replicas": {}}}
    assert "f:replicas" not in mine["me", ""]["f:spec"]


def test_a_controller_that_applies(hollow: HollowCluster, namespace: str) -> None:
    """lightkube: two controllers keep their keys of one object, and nothing of the other's."""
    config = lightkube.KubeConfig.from_file(str(hollow.kubeconfig))

    def settings(**data: str) -> Any:
        meta = lightkube_meta.ObjectMeta(name="shared")
        return lightkube_core.ConfigMap(
            apiVersion="v1", kind="ConfigMap", metadata=meta, data=data or None
        )

    with lightkube.Client(config=config, namespace=namespace) as client:
        client.apply(settings(a="1", b="1"), field_manager="one")
        both = client.apply(settings(c="1"), field_manager="two")
        assert both.data == {"a": "1", "b": "1", "c": "1"}
        with pytest.raises(lightkube.ApiError, match=r'conflict with "one": \.data\.a'):
            client.apply(settings(a="2", c="1"), field_manager="two")
        less = client.apply(settings(a="1"), field_manager="one")
        assert less.data == {"a": "1", "c": "1"}
        client.apply(settings(a="2", c="1"), field_manager="two", force=True)
        last = client.apply(settings(), field_manager="one")
        assert last.data == {"a": "2", "c": "1"}


def test_kr8s_applies(hollow: HollowCluster, namespace: str) -> None:
    async def main() -> None:
        async with kr8s_api(hollow, namespace) as api:
            path = "configmaps/k?fieldManager=kr8s&force=true"
            body = '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"k"},"data":{"a":"1"}}'
            async with api.call_api(
                "PATCH",
                base="/api",
                version="v1",
                url=path,
                namespace=namespace,
                content=body,
                headers=APPLY,
            ) as answer:
                assert answer.status_code == 201
            found = await kr8s_objects.ConfigMap.get("k", namespace=namespace, api=api)
            assert found.raw["metadata"]["managedFields"][0]["manager"] == "kr8s"

    asyncio.run(main())


def test_apply_over_grpc(hollow: HollowCluster, namespace: str) -> None:
    ca, key, cert = (hollow.pki(name).read_bytes() for name in ("ca.crt", "admin.key", "admin.crt"))
    body = b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"g"},"data":{"a":"%d"}}'

    def request(manager: str, value: int, *, force: bool = False) -> pb.PatchRequest:
        return pb.PatchRequest(
            resource=pb.Resource(version="v1", plural="configmaps"),
            namespace=namespace,
            name="g",
            patch=body % value,
            patch_type="application/apply-patch+yaml",
            options=pb.WriteOptions(field_manager=manager, force=force),
        )

    credentials = grpc.ssl_channel_credentials(ca, key, cert)
    with grpc.secure_channel(hollow.grpc, credentials) as channel:
        patch = ClusterStub(channel).Patch
        made = json.loads(patch(request("one", 1)).object)
        assert [e["manager"] for e in made["metadata"]["managedFields"]] == ["one"]
        with pytest.raises(grpc.RpcError, match='conflict with "one"'):
            patch(request("two", 2))
        assert json.loads(patch(request("two", 2, force=True)).object)["data"] == {"a": "2"}
        with pytest.raises(grpc.RpcError, match="fieldManager: Required value"):
            patch(request("", 3))


def test_what_the_cluster_itself_writes_is_tracked(hollow: HollowCluster, namespace: str) -> None:
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    status, _ = hollow.ask(
        f"{path}/web?fieldManager=me", method="PATCH", body=WEB.encode(), headers=APPLY
    )
    assert status == 201

    def writers() -> set[tuple[str, str]]:
        _, web = hollow.ask(f"{path}/web")
        return {(e["manager"], e.get("subresource", "")) for e in web["metadata"]["managedFields"]}

    until(lambda: ("kube-controller-manager", "status") in writers(), "the controller's status")
    assert ("me", "") in writers()
