"""Discovery documents follow from the rows."""

import base64
import gzip
from typing import Any

import orjson
import pytest

from wherry.api import kinds
from wherry.apiserver.discovery import VIRTUAL, Discovery, aggregated_version, get_discovery
from wherry.apiserver.document import Document
from wherry.apiserver.metrics_kinds import ROWS as METRICS
from wherry.apiserver.resources import BY_KIND, SERVED


def read(document: Document | None) -> Any:
    assert document is not None
    assert gzip.decompress(document.gzipped) == document.body
    return orjson.loads(document.body)


def test_legacy_roots() -> None:
    core = read(get_discovery().core("192.0.2.1:6443"))
    assert core == {
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [
            {"clientCIDR": "0.0.0.0/0", "serverAddress": "192.0.2.1:6443"}
        ],
    }
    groups = read(get_discovery().groups())["groups"]
    assert [group["name"] for group in groups] == [
        "apps",
        "batch",
        "autoscaling",
        "policy",
        "scheduling.k8s.io",
        "node.k8s.io",
        "networking.k8s.io",
        "discovery.k8s.io",
        "wherry.io",
        "storage.k8s.io",
        "resource.k8s.io",
        "rbac.authorization.k8s.io",
        "certificates.k8s.io",
        "coordination.k8s.io",
        "flowcontrol.apiserver.k8s.io",
        "admissionregistration.k8s.io",
        "apiregistration.k8s.io",
        "events.k8s.io",
        "authentication.k8s.io",
        "authorization.k8s.io",
        "metrics.k8s.io",
    ]
    apps = {"groupVersion": "apps/v1", "version": "v1"}
    assert groups[0] == {"name": "apps", "versions": [apps], "preferredVersion": apps}
    assert read(get_discovery().group("apps"))["kind"] == "APIGroup"


def test_what_is_not_served_has_no_document() -> None:
    assert get_discovery().group("") is None
    assert get_discovery().group("extensions") is None
    assert get_discovery().resources("apps", "v2") is None
    assert get_discovery().resources("", "v2") is None


def entries(group: str = "", version: str = "v1") -> dict[str, Any]:
    document = read(get_discovery().resources(group, version))
    return {entry["name"]: entry for entry in document["resources"]}


def test_the_list_of_the_core_group() -> None:
    listed = entries()
    digest = listed["pods"].pop("storageVersionHash")
    assert len(base64.b64decode(digest)) == 8
    assert listed["pods"] == {
        "name": "pods",
        "singularName": "pod",
        "namespaced": True,
        "kind": "Pod",
        "verbs": [
            "create",
            "delete",
            "deletecollection",
            "get",
            "list",
            "patch",
            "update",
            "watch",
        ],
        "shortNames": ["po"],
        "categories": ["all"],
    }
    assert listed["pods/log"] == {
        "name": "pods/log",
        "singularName": "",
        "namespaced": True,
        "kind": "Pod",
        "verbs": ["get"],
    }


def test_subresources_with_bodies_of_other_groups_say_so() -> None:
    """`kubectl drain` looks for the group and version of pods/eviction here."""
    listed = entries()
    found = {name: [listed[name].get(k) for k in ("group", "version", "kind")] for name in listed}
    assert found["pods/eviction"] == ["policy", "v1", "Eviction"]
    assert found["pods/exec"] == [None, None, "PodExecOptions"]
    for name in ("Pod", "Service", "Node"):
        assert found[f"{name.lower()}s/proxy"] == [None, None, f"{name}ProxyOptions"]
        verbs = listed[f"{name.lower()}s/proxy"]["verbs"]
        assert verbs == ["create", "delete", "get", "patch", "update"]
    assert found["replicationcontrollers/scale"] == ["autoscaling", "v1", "Scale"]
    assert found["serviceaccounts/token"] == ["authentication.k8s.io", "v1", "TokenRequest"]
    scale = entries("apps")["deployments/scale"]
    assert (scale["group"], scale["kind"]) == ("autoscaling", "Scale")


def test_reviews_can_only_be_created() -> None:
    listed = entries("authorization.k8s.io")
    assert set(listed) == {
        "localsubjectaccessreviews",
        "subjectaccessreviews",
        "selfsubjectaccessreviews",
        "selfsubjectrulesreviews",
    }
    assert all(entry["verbs"] == ["create"] for entry in listed.values())
    namespaced = [name for name, entry in listed.items() if entry["namespaced"]]
    assert namespaced == ["localsubjectaccessreviews"]
    assert not any("storageVersionHash" in entry for entry in listed.values())


@pytest.mark.parametrize("version", ["v2", "v2beta1"])
def test_aggregated_says_the_same_as_legacy(version: str) -> None:
    discovery = get_discovery()
    seen = {}
    for core in (True, False):
        document = discovery.aggregated(version, core=core)
        assert document.content_type == (
            f"application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"
        )
        content = read(document)
        assert content["apiVersion"] == f"apidiscovery.k8s.io/{version}"
        for item in content["items"]:
            for served in item["versions"]:
                for row in served["resources"]:
                    key = (item["metadata"]["name"], served["version"], row["resource"])
                    seen[key] = {"": row["verbs"]} | {
                        sub["subresource"]: sub["verbs"] for sub in row.get("subresources", ())
                    }
    expected: dict[tuple[str, str, str], dict[str, list[str]]] = {}
    for group, served in {(r.kind.group, r.kind.version) for r in (*SERVED, *VIRTUAL, *METRICS)}:
        for name, entry in entries(group, served).items():
            plural, _, sub = name.partition("/")
            expected.setdefault((group, served, plural), {})[sub] = entry["verbs"]
    assert seen == expected


@pytest.mark.parametrize(
    ("accept", "version"),
    [
        (
            "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json",
            "v2",
        ),
        (
            "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,"
            "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
            "v2beta1",
        ),
        ("application/json; v=v2; g=apidiscovery.k8s.io; as=APIGroupDiscoveryList", "v2"),
        ("application/json;g=apidiscovery.k8s.io;v=v3;as=APIGroupDiscoveryList", None),
        (
            "application/json, application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
            None,
        ),
        ("*/*", None),
        ("", None),
    ],
)
def test_accept_headers(accept: str, version: str | None) -> None:
    assert aggregated_version(accept) == version


def test_documents_are_computed_once_and_follow_their_rows() -> None:
    discovery = Discovery([BY_KIND[kinds.POD]])
    assert discovery.core("a:1") is discovery.core("a:1")
    assert read(discovery.groups())["groups"] == []
    assert discovery.core("a:1").etag.strip('"') == discovery.core("a:1").hash


def test_resources_come_by_name_as_get_all_prints_them() -> None:
    """Deployments before their ReplicaSets, pods before services."""
    assert [name for name in entries("apps") if "/" not in name] == [
        "controllerrevisions",
        "daemonsets",
        "deployments",
        "replicasets",
        "statefulsets",
    ]
    for group in read(get_discovery().aggregated("v2", core=True))["items"]:
        names = [row["resource"] for row in group["versions"][0]["resources"]]
        assert names == sorted(names)
