"""Pods: what is filled in."""

import copy
from typing import Any

import pytest
from strategy_cases import Object
from strategy_pods import POD, pod, refused

from wherry.apiserver.strategy import STRATEGIES
from wherry.apiserver.strategy.pod.defaults import pull_policy
from wherry.apiserver.strategy.pod.quality import qos_class

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def test_the_smallest_pod_gets_upstreams_defaults() -> None:
    obj = pod()
    assert obj["spec"] == {
        "containers": [
            {
                "name": "c",
                "image": "i",
                "resources": {},
                "terminationMessagePath": "/dev/termination-log",
                "terminationMessagePolicy": "File",
                "imagePullPolicy": "Always",
            }
        ],
        "restartPolicy": "Always",
        "dnsPolicy": "ClusterFirst",
        "terminationGracePeriodSeconds": 30,
        "securityContext": {},
        "schedulerName": "default-scheduler",
        "enableServiceLinks": True,
    }
    again = copy.deepcopy(obj)
    POD.default(again)
    assert again == obj
    assert refused(obj) == []


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("nginx:1.27", "IfNotPresent"),
        ("host:5000/nginx", "Always"),
        ("host:5000/nginx:1", "IfNotPresent"),
        ("nginx@sha256:" + "0" * 64, "IfNotPresent"),
    ],
)
def test_the_pull_policy_follows_the_tag(image: str, policy: str) -> None:
    assert pull_policy(image) == policy


def test_defaults_of_parts() -> None:
    obj = pod(
        hostNetwork=True,
        containers=[
            {
                "name": "c",
                "image": "i",
                "ports": [{"containerPort": 80}],
                "livenessProbe": {"httpGet": {"port": 80}},
                "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}},
                "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
            }
        ],
        volumes=[{"name": "v"}, {"name": "s", "secret": {"secretName": "x"}}],
        serviceAccount="old",
    )
    container = obj["spec"]["containers"][0]
    assert container["ports"] == [{"containerPort": 80, "hostPort": 80, "protocol": "TCP"}]
    assert container["livenessProbe"] == {
        "httpGet": {"port": 80, "path": "/", "scheme": "HTTP"},
        "timeoutSeconds": 1,
        "periodSeconds": 10,
        "successThreshold": 1,
        "failureThreshold": 3,
    }
    assert container["resources"]["requests"] == {"cpu": "500m", "memory": "1Gi"}
    assert container["env"][0]["valueFrom"]["fieldRef"]["apiVersion"] == "v1"
    assert obj["spec"]["volumes"] == [
        {"name": "v", "emptyDir": {}},
        {"name": "s", "secret": {"secretName": "x", "defaultMode": 420}},
    ]
    assert obj["spec"]["serviceAccountName"] == "old"
    assert refused(obj) == []


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ([{}], "BestEffort"),
        ([{"requests": {"cpu": "1"}}], "Burstable"),
        ([{"limits": {"cpu": "1", "memory": "1Gi"}}], "Guaranteed"),
        (
            [
                {
                    "limits": {"cpu": "1000m", "memory": "1Gi"},
                    "requests": {"cpu": "1", "memory": "1Gi"},
                }
            ],
            "Guaranteed",
        ),
        ([{"limits": {"cpu": "1", "memory": "1Gi"}}, {}], "Burstable"),
    ],
)
def test_quality_of_service(resources: list[Object], expected: str) -> None:
    containers = [{"resources": r} for r in resources]
    assert qos_class({"containers": containers}) == expected


def requesting(name: str, **more: Any) -> Object:
    return {"name": name, "image": "i", **more}


def asks(**requests: str) -> Object:
    return {"resources": {"requests": requests}}


# resources of the pod, its containers, its init containers, what the pod requests then
POD_LEVEL: list[tuple[Object, list[Object], list[Object], Object]] = [
    ({"limits": {"cpu": "2"}}, [requesting("a")], [], {"cpu": "2"}),
    ({"limits": {"cpu": "2"}}, [requesting("a", **asks(cpu="500m")), requesting("b", **asks(cpu="250m"))], [], {"cpu": "750m"}),
    ({"limits": {"cpu": "2"}}, [requesting("a", **asks(cpu="500m", memory="64Mi"))], [], {"cpu": "500m", "memory": "64Mi"}),
    ({"limits": {"cpu": "2"}, "requests": {"cpu": "1"}}, [requesting("a", **asks(cpu="500m"))], [], {"cpu": "1"}),
    ({"limits": {"memory": "1Gi"}}, [requesting("a", **asks(memory="64Mi"))], [requesting("i", **asks(memory="128Mi"))], {"memory": "128Mi"}),
    ({"limits": {"memory": "1Gi"}}, [requesting("a", **asks(memory="64Mi"))], [requesting("s", restartPolicy="Always", **asks(memory="64Mi")), requesting("i", **asks(memory="96Mi"))], {"memory": "160Mi"}),
    ({"requests": {"cpu": "1"}}, [requesting("a", **asks(memory="64Mi"))], [], {"cpu": "1"}),
]  # fmt: skip


@pytest.mark.parametrize(("resources", "containers", "inits", "expected"), POD_LEVEL)
def test_what_a_pod_requests(
    resources: Object, containers: list[Object], inits: list[Object], expected: Object
) -> None:
    obj = pod(resources=resources, containers=containers, initContainers=inits)
    assert obj["spec"]["resources"]["requests"] == expected


def test_a_new_pods_labels_reach_the_selectors_that_name_their_keys() -> None:
    near = {"topologyKey": "z", "labelSelector": {}, "matchLabelKeys": ["a"]}
    far = {"topologyKey": "z", "labelSelector": {}, "mismatchLabelKeys": ["b", "none"]}
    wish = {"weight": 1, "podAffinityTerm": {"topologyKey": "z", "matchLabelKeys": ["a"]}}
    spread = {"maxSkew": 1, "labelSelector": {"matchLabels": {"x": "y"}}, "matchLabelKeys": ["a"]}
    obj = pod(
        {"labels": {"a": "1", "b": "2"}},
        affinity={
            "podAffinity": {REQUIRED: [near]},
            "podAntiAffinity": {
                REQUIRED: [far],
                "preferredDuringSchedulingIgnoredDuringExecution": [wish],
            },
        },
        topologySpreadConstraints=[spread],
    )
    for _ in range(2):  # a name that was made up may be taken
        POD.prepare_create(obj)
    affinity = obj["spec"]["affinity"]
    is_one = {"key": "a", "operator": "In", "values": ["1"]}
    assert affinity["podAffinity"][REQUIRED][0]["labelSelector"] == {"matchExpressions": [is_one]}
    assert affinity["podAntiAffinity"][REQUIRED][0]["labelSelector"] == {
        "matchExpressions": [{"key": "b", "operator": "NotIn", "values": ["2"]}]
    }
    wished = affinity["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"][0]
    assert wished == wish
    assert obj["spec"]["topologySpreadConstraints"][0]["labelSelector"] == {
        "matchLabels": {"x": "y"},
        "matchExpressions": [is_one],
    }


def test_a_template_waits_with_the_ports_of_the_host() -> None:
    ports = [{"containerPort": 80}]
    spec: Object = {
        "hostNetwork": True,
        "containers": [{"name": "c", "image": "i:1", "ports": ports}],
    }
    strategy = STRATEGIES["v1", "PodTemplate"]
    template: Object = {"metadata": {"name": "t"}, "template": copy.deepcopy({"spec": spec})}
    strategy.default(template)
    assert "hostPort" not in template["template"]["spec"]["containers"][0]["ports"][0]
    assert strategy.validate(template) == []
    made = pod(**spec)
    assert made["spec"]["containers"][0]["ports"][0]["hostPort"] == 80
