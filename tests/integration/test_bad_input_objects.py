"""Bad input over REST: each a clear Status (reason, code, cause), and nothing half-done.

The table is read as: what is sent, what comes back. After each refusal nothing may have changed.
"""

import json
import urllib.error
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from hollow_cluster import HollowCluster

pytestmark = pytest.mark.integration

YAML = "application/yaml"
PROTOBUF = "application/vnd.kubernetes.protobuf"
MERGE = "application/merge-patch+json"
LONG = "a" * 254
REPEATED = "\n".join(
    [
        "a0: &a0 [x,x,x,x,x,x,x,x]",
        *(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 8)}]" for n in range(1, 9)),
    ]
)


def pod(name: str = "x", *, labels: Any = None, image: Any = "i", **spec: Any) -> dict[str, Any]:
    meta: dict[str, Any] = {"name": name, **({"labels": labels} if labels else {})}
    return {"metadata": meta, "spec": {"containers": [{"name": "c", "image": image}], **spec}}


def service(name: str = "x", **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}], **spec}}


def settings(name: str = "x", **more: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, **more.pop("metadata", {})}, **more}


@dataclass(frozen=True)
class Refusal:
    """One request and what is said about it; `{ns}` in the path is the test's namespace."""

    name: str
    path: str
    body: Any
    code: int
    reason: str
    message: str
    field: str = ""
    method: str = "POST"
    content_type: str = "application/json"
    accept: str = "application/json"


PODS, MAPS, SERVICES = "{ns}/pods", "{ns}/configmaps", "{ns}/services"

CREATES = [
    Refusal("unknown-kind", "{ns}/podz", pod(), 404, "NotFound", "the server could not find the requested resource"),
    Refusal("another-kind", PODS, {"kind": "ConfigMap", "apiVersion": "v1", **settings()},
            400, "BadRequest", 'ConfigMap in version "v1" cannot be handled as a Pod'),
    Refusal("kind-of-no-scheme", PODS, {"kind": "Podd", "apiVersion": "v1", **settings()},
            400, "BadRequest", 'no kind "Podd" is registered for version "v1"'),
    Refusal("wrong-type-string", PODS, pod(hostNetwork="yes"), 400, "BadRequest",
            "cannot unmarshal string into Go struct field PodSpec.spec.hostNetwork of type bool"),
    Refusal("wrong-type-bool", PODS, pod(image=True), 400, "BadRequest",
            "cannot unmarshal bool into Go struct field Container.spec.containers.image of type string"),
    Refusal("wrong-type-number", SERVICES, service(ports=[{"port": "eighty"}]), 400, "BadRequest",
            "cannot unmarshal string into Go struct field ServicePort.spec.ports.port of type int32"),
    Refusal("wrong-type-list", PODS, {"metadata": {"name": "x"}, "spec": {"containers": {}}}, 400, "BadRequest",
            "cannot unmarshal object into Go struct field PodSpec.spec.containers of type"),
    Refusal("name-too-long", PODS, pod(LONG), 422, "Invalid", "must be no more than 253 characters", "metadata.name"),
    Refusal("service-name-too-long", SERVICES, service("a" * 64), 422, "Invalid",
            "must be no more than 63 characters", "metadata.name"),
    Refusal("name-of-wrong-letters", PODS, pod("Bad_Name"), 422, "Invalid",
            "a lowercase RFC 1123 subdomain must consist of", "metadata.name"),
    Refusal("no-name", PODS, {"spec": pod()["spec"]}, 422, "Invalid",
            "Required value: name or generateName is required", "metadata.name"),
    Refusal("label-key", PODS, pod(labels={"a b": "c"}), 422, "Invalid",
            "name part must consist of alphanumeric characters", "metadata.labels"),
    Refusal("label-value", PODS, pod(labels={"a": "b c"}), 422, "Invalid",
            "a valid label must be an empty string or consist of", "metadata.labels"),
    Refusal("label-too-long", PODS, pod(labels={"a": "b" * 64}), 422, "Invalid",
            "must be no more than 63 characters", "metadata.labels"),
    Refusal("no-containers", PODS, {"metadata": {"name": "x"}, "spec": {"containers": []}}, 422, "Invalid",
            "spec.containers: Required value", "spec.containers"),
    Refusal("port-of-no-number", PODS, {**pod(), "spec": {"containers": [
            {"name": "c", "image": "i", "ports": [{"containerPort": 99999}]}]}}, 422, "Invalid",
            "must be between 1 and 65535, inclusive", "spec.containers[0].ports[0].containerPort"),
    Refusal("unsupported-value", PODS, pod(restartPolicy="Maybe"), 422, "Invalid",
            'Unsupported value: "Maybe": supported values:', "spec.restartPolicy"),
    Refusal("node-port-out-of-range", SERVICES, service(type="NodePort", ports=[{"port": 80, "nodePort": 80}]),
            422, "Invalid", "30000-32767", "spec.ports[0].nodePort"),
    Refusal("cluster-ip-taken", SERVICES, service(clusterIP="10.96.0.1"), 422, "Invalid",
            "failed to allocate IP 10.96.0.1: provided IP is already allocated", "spec.clusterIPs"),
    Refusal("cluster-ip-out-of-range", SERVICES, service(clusterIP="192.0.2.1"), 422, "Invalid",
            "is not in the valid range", "spec.clusterIPs"),
    Refusal("exists", MAPS, settings("there"), 409, "AlreadyExists", 'configmaps "there" already exists'),
    Refusal("another-namespace", MAPS, settings(metadata={"namespace": "kube-system"}), 400, "BadRequest",
            "the namespace of the provided object does not match the namespace sent on the request"),
    Refusal("no-such-namespace", "/api/v1/namespaces/none/configmaps", settings(), 404, "NotFound",
            'namespaces "none" not found'),
    Refusal("resource-version-of-something-new", MAPS, settings(metadata={"resourceVersion": "7"}), 400, "BadRequest",
            "resourceVersion should not be set on objects to be created"),
    Refusal("unknown-field", MAPS + "?fieldValidation=Strict", settings(dataa={}), 400, "BadRequest",
            'strict decoding error: unknown field "dataa"'),
    Refusal("duplicate-field", MAPS + "?fieldValidation=Strict", b'{"metadata":{"name":"x"},"data":{"a":"1","a":"2"}}',
            400, "BadRequest", 'strict decoding error: duplicate field "data.a"'),
    Refusal("no-such-validation", MAPS + "?fieldValidation=Never", settings(), 422, "Invalid",
            'CreateOptions.meta.k8s.io "" is invalid: fieldValidation: Unsupported value: "Never"', "fieldValidation"),
    Refusal("half-a-dry-run", MAPS + "?dryRun=Some", settings(), 422, "Invalid", 'Unsupported value: ["Some"]', "dryRun"),
    Refusal("too-much-data", MAPS, settings(data={"a": "x" * (1 << 20)} | {"b": "y"}), 422, "Invalid",
            "Too long: may not be more than 1048576 bytes"),
    Refusal("oversized-body", MAPS, b'{"data":"' + b"x" * (3 << 20) + b'"}', 413, "RequestEntityTooLarge",
            "Request entity too large: limit is 3145728 bytes"),
    Refusal("malformed-json", PODS, b'{"metadata": {', 400, "BadRequest", "unexpected end of JSON input"),
    Refusal("no-object", PODS, b"[1]", 400, "BadRequest", "cannot unmarshal array"),
    Refusal("nothing", PODS, b"", 400, "BadRequest", "couldn't get version/kind"),
    Refusal("malformed-yaml", PODS, b"a: [1", 400, "BadRequest",
            "yaml: line 2: did not find expected ',' or ']' (613a205b31)", content_type=YAML),
    Refusal("yaml-that-runs", PODS, b"!!python/object/apply:os.system [x]", 400, "BadRequest",
            "cannot decode", content_type=YAML),
    Refusal("yaml-that-grows", PODS, REPEATED.encode(), 400, "BadRequest",
            "document contains excessive aliasing", content_type=YAML),
    Refusal("malformed-protobuf", PODS, b"k8s\0\xff\xff\xff", 400, "BadRequest",
            "the object provided is unrecognized (must be of type Pod): unexpected EOF", content_type=PROTOBUF),
    Refusal("no-protobuf", PODS, b"{}", 400, "BadRequest",
            "provided data does not appear to be a protobuf message", content_type=PROTOBUF),
    Refusal("unknown-media", PODS, b"x", 415, "UnsupportedMediaType",
            "the body of the request was in an unknown format", content_type="text/plain"),
    Refusal("nothing-acceptable", PODS, pod(), 406, "NotAcceptable",
            "only the following media types are accepted", accept="text/html"),
    Refusal("eviction-of-nobody", "{ns}/pods/none/eviction", {"apiVersion": "policy/v1", "kind": "Eviction"},
            404, "NotFound", 'pods "none" not found'),
    Refusal("no-such-subresource", "{ns}/pods/none/nonsense", {}, 404, "NotFound",
            "the server could not find the requested resource"),
]  # fmt: skip

THERE = "{ns}/configmaps/there"
CHANGES = [
    Refusal("stale", THERE, settings("there", metadata={"resourceVersion": "1"}), 409, "Conflict",
            "the object has been modified; please apply your changes to the latest version and try again", method="PUT"),
    Refusal("another-name", THERE, settings("other"), 400, "BadRequest",
            "the name of the object (other) does not match the name on the URL (there)", method="PUT"),
    Refusal("another-incarnation", THERE, settings("there", metadata={"uid": "1-2-3"}), 409, "Conflict",
            "Precondition failed: UID in precondition: 1-2-3", method="PUT"),
    Refusal("absent", "{ns}/configmaps/none", settings("none"), 404, "NotFound",
            'configmaps "none" not found', method="PUT"),
    Refusal("patch-of-wrong-media-type", THERE, {"data": {}}, 415, "UnsupportedMediaType",
            "accepted media types include: application/json-patch+json", method="PATCH"),
    Refusal("apply-by-nobody", THERE, settings("there"), 422, "Invalid",
            "fieldManager: Required value: is required for apply patch", method="PATCH",
            content_type="application/apply-patch+yaml"),
    Refusal("patch-of-wrong-type", THERE, {"data": {"a": 1}}, 422, "Invalid",
            "cannot unmarshal number into Go struct field", "patch", method="PATCH", content_type=MERGE),
    Refusal("patch-with-unknown-field", THERE + "?fieldValidation=Strict", {"dataa": {}}, 422, "Invalid",
            "strict decoding error: unknown field \"dataa\"", "patch", method="PATCH", content_type=MERGE),
    Refusal("malformed-patch", THERE, b"{", 400, "BadRequest", "unexpected end of JSON input",
            method="PATCH", content_type=MERGE),
    Refusal("patch-that-does-not-apply", THERE, [{"op": "test", "path": "/data", "value": 1}], 422, "Invalid",
            "the server rejected our request", method="PATCH", content_type="application/json-patch+json"),
    Refusal("delete-of-another", THERE, {"preconditions": {"uid": "1-2-3"}}, 409, "Conflict",
            "the UID in the precondition (1-2-3) does not match the UID in record", method="DELETE"),
    Refusal("delete-as-nobody-does", THERE, {"propagationPolicy": "Sideways"}, 422, "Invalid",
            'Unsupported value: "Sideways"', "propagationPolicy", method="DELETE"),
    Refusal("verb-of-a-collection", MAPS, settings(), 405, "MethodNotAllowed",
            "the server does not allow this method on the requested resource", method="PUT"),
    Refusal("verb-of-an-object", THERE, settings(), 405, "MethodNotAllowed",
            "the server does not allow this method on the requested resource"),
    Refusal("no-verb", THERE, None, 405, "MethodNotAllowed", "method", method="BREW"),
]  # fmt: skip

READS = [
    Refusal("limit", MAPS + "?limit=many", None, 400, "BadRequest", 'parsing "many": invalid syntax', method="GET"),
    Refusal("continue", MAPS + "?continue=nonsense", None, 400, "BadRequest", "continue key is not valid", method="GET"),
    Refusal("continue-of-another-revision", MAPS + "?continue=x&resourceVersion=7", None, 400, "BadRequest",
            "specifying resource version is not allowed when using continue", method="GET"),
    Refusal("match-of-nothing", MAPS + "?resourceVersionMatch=Exact", None, 422, "Invalid",
            "resourceVersionMatch is forbidden unless resourceVersion is provided", "resourceVersionMatch", method="GET"),
    Refusal("revision", MAPS + "?resourceVersion=new", None, 400, "BadRequest", 'parsing "new": invalid syntax', method="GET"),
    Refusal("watch-of-no-revision", MAPS + "?watch=1&resourceVersion=new", None, 400, "BadRequest",
            'parsing "new": invalid syntax', method="GET"),
    Refusal("future", MAPS + "?resourceVersion=99999999", None, 504, "Timeout", "Too large resource version", method="GET"),
    Refusal("label-selector", MAPS + "?labelSelector=a%20in%20(", None, 400, "BadRequest", "unable to parse", method="GET"),
    Refusal("field-selector", MAPS + "?fieldSelector=data.x%3D1", None, 400, "BadRequest",
            '"data.x" is not a known field selector: only "metadata.name", "metadata.namespace"', method="GET"),
    Refusal("watch-by-an-unknown-field", MAPS + "?watch=1&fieldSelector=data.x%3D1", None, 400, "BadRequest",
            '"data.x" is not a known field selector: only "metadata.name", "metadata.namespace"', method="GET"),
    Refusal("name-with-a-slash", "{ns}/configmaps/a%2Fb", None, 400, "BadRequest", "may not contain '/'", method="GET"),
    Refusal("no-such-group", "/apis/example.com/v1/widgets", None, 404, "NotFound",
            "the server could not find the requested resource", method="GET"),
    Refusal("url-too-long", MAPS + "?labelSelector=" + "a" * 50000, None, 414, "BadRequest", "URL is too long", method="GET"),
]  # fmt: skip


@pytest.fixture
def there(hollow: HollowCluster, namespace: str) -> str:
    """The path of a namespace with one ConfigMap in it."""
    path = f"/api/v1/namespaces/{namespace}"
    assert hollow.ask(f"{path}/configmaps", method="POST", body=settings("there"))[0] == 201
    return path


def everything(hollow: HollowCluster, namespace: str) -> Any:
    """Return what is in the namespace, of the kinds of the tables, with its versions."""
    found = {}
    for plural in ("pods", "services", "configmaps"):
        items = hollow.ask(f"{namespace}/{plural}")[1]["items"]
        found[plural] = {i["metadata"]["name"]: i["metadata"]["resourceVersion"] for i in items}
    found["configmaps"].pop("kube-root-ca.crt", None)  # comes when it comes
    return found


def refused(
    hollow: HollowCluster, path: str, row: Refusal, headers: Mapping[str, str]
) -> tuple[int, Any]:
    """Send a row's request.

    Again if the connection broke off for what is too large: that is answered before all of it is
    sent, and the answer is lost where the machine pauses for a second meanwhile.
    """
    tries = 3 if row.code == 413 else 1
    while True:
        tries -= 1
        try:
            return hollow.ask(path, method=row.method, body=row.body, headers=headers)
        except (ConnectionError, urllib.error.URLError):
            if not tries:
                raise


@pytest.mark.parametrize("row", [*CREATES, *CHANGES, *READS], ids=lambda row: row.name)
def test_refusals(hollow: HollowCluster, there: str, row: Refusal) -> None:
    before = everything(hollow, there)
    path = row.path.replace("{ns}", there)
    headers = {"Content-Type": row.content_type, "Accept": row.accept}
    code, status = refused(hollow, path, row, headers)
    assert code == row.code, status
    assert (status["kind"], status["status"]) == ("Status", "Failure")
    assert (status["code"], status["reason"]) == (row.code, row.reason)
    assert row.message in status["message"]
    assert "Traceback" not in json.dumps(status)
    if row.field:
        assert row.field in [cause["field"] for cause in status["details"]["causes"]]
    assert everything(hollow, there) == before


def test_every_mistake_is_told_at_once(hollow: HollowCluster, namespace: str) -> None:
    body = pod("Bad_Name", labels={"a b": "c"}, restartPolicy="Maybe", image="")
    code, status = hollow.ask(f"/api/v1/namespaces/{namespace}/pods", method="POST", body=body)
    assert code == 422
    fields = [cause["field"] for cause in status["details"]["causes"]]
    assert fields == [
        "metadata.name", "metadata.labels", "spec.containers[0].image", "spec.restartPolicy",
    ]  # fmt: skip


def test_a_node_port_that_is_taken(hollow: HollowCluster, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/services"
    code, first = hollow.ask(path, method="POST", body=service("first", type="NodePort"))
    assert code == 201
    port = first["spec"]["ports"][0]["nodePort"]  # by chance: who names one may find it taken
    taken = {"type": "NodePort", "ports": [{"port": 80, "nodePort": port}]}
    code, status = hollow.ask(path, method="POST", body=service("second", **taken))
    assert (code, status["reason"]) == (422, "Invalid")
    assert status["message"] == (
        f'Service "second" is invalid: spec.ports[0].nodePort: Invalid value: {port}: provided '
        "port is already allocated"
    )
    assert hollow.ask(f"{path}/first", method="DELETE")[0] == 200
    assert hollow.ask(path, method="POST", body=service("second", **taken))[0] == 201


def test_a_warning_is_a_header_and_the_object_is_made_without_the_field(
    hollow: HollowCluster, namespace: str
) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps?fieldValidation=Warn"
    code, made = hollow.ask(path, method="POST", body=settings(data={"a": "b"}, dataa={}))
    assert code == 201
    assert "dataa" not in made


def test_a_watch_from_before_memory_ends_with_gone(hollow: HollowCluster, namespace: str) -> None:
    """200 first, as upstream: the error is the stream's only event."""
    path = f"/api/v1/namespaces/{namespace}/configmaps?watch=1&resourceVersion=1&timeoutSeconds=5"
    code, event = hollow.ask(path)
    assert code == 200
    assert event["type"] == "ERROR"
    assert (event["object"]["code"], event["object"]["reason"]) == (410, "Expired")
    assert event["object"]["message"].startswith("too old resource version: 1 (")


def test_nothing_is_made_in_a_namespace_that_is_going(hollow: HollowCluster, there: str) -> None:
    held = {"metadata": {"finalizers": ["example.com/hold"]}}
    merge = {"Content-Type": MERGE}
    kept, name = f"{there}/configmaps/there", there.rpartition("/")[2]
    assert hollow.ask(kept, method="PATCH", body=held, headers=merge)[0] == 200
    assert hollow.ask(there, method="DELETE")[1]["status"]["phase"] == "Terminating"
    code, status = hollow.ask(f"{there}/configmaps", method="POST", body=settings("late"))
    assert (code, status["reason"]) == (403, "Forbidden")
    assert status["message"] == (
        f'configmaps "late" is forbidden: unable to create new content in namespace {name} because '
        "it is being terminated"
    )
    assert status["details"]["causes"][0]["reason"] == "NamespaceTerminating"
    again, namespace = hollow.ask(there, method="DELETE")
    assert again in (200, 409)
    assert again == 409 or namespace["status"]["phase"] == "Terminating"
    free = {"metadata": {"finalizers": None}}
    assert hollow.ask(kept, method="PATCH", body=free, headers=merge)[0] == 200
