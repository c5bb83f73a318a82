"""Pods: what is filled in, and what is refused in which words."""

import copy
from typing import Any

import pytest

from wherry.api import kinds
from wherry.apiserver.patch import merge_patch
from wherry.apiserver.strategy import strategy_for
from wherry.apiserver.strategy.pod.defaults import pull_policy
from wherry.apiserver.strategy.pod.quality import qos_class

POD = strategy_for(kinds.POD)
DNS_LABEL = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and "
    "must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used "
    "for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)

SUBDOMAIN = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "
    "'.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used "
    "for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
NAME_PART = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end "
    "with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for "
    "validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)


def pod(**spec: Any) -> dict[str, Any]:
    obj = {"spec": {"containers": [{"name": "c", "image": "i"}], **copy.deepcopy(spec)}}
    POD.default(obj)
    return obj


def one(**container: Any) -> dict[str, Any]:
    return pod(containers=[{"name": "c", "image": "i", **container}])


def said(obj: dict[str, Any]) -> list[str]:
    return [f"{c.field}: {c.message}" for c in POD.validate(obj)]


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
    assert said(obj) == []


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
    assert said(obj) == []


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
def test_quality_of_service(resources: list[dict[str, Any]], expected: str) -> None:
    containers = [{"resources": r} for r in resources]
    assert qos_class({"containers": containers}) == expected


C = "spec.containers[0]"


@pytest.mark.parametrize(
    ("obj", "expected"),
    [
        (pod(containers=[]), ["spec.containers: Required value"]),
        (
            pod(containers=[{}]),
            [f"{C}.name: Required value", f"{C}.image: Required value"],
        ),
        (
            pod(containers=[{"name": "A_b", "image": "i"}]),
            [f'{C}.name: Invalid value: "A_b": {DNS_LABEL}'],
        ),
        (
            pod(containers=[{"name": "a", "image": "i"}, {"name": "a", "image": "i"}]),
            ['spec.containers[1].name: Duplicate value: "a"'],
        ),
        (
            one(ports=[{"containerPort": 80}, {"containerPort": 70000}]),
            [
                f"{C}.ports[1].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive"
            ],
        ),
        (
            one(ports=[{"containerPort": 80, "protocol": "tcp"}]),
            [
                f'{C}.ports[0].protocol: Unsupported value: "tcp": supported values: '
                '"SCTP", "TCP", "UDP"'
            ],
        ),
        (
            one(ports=[{"containerPort": 1, "name": "a"}, {"containerPort": 2, "name": "a"}]),
            [f'{C}.ports[1].name: Duplicate value: "a"'],
        ),
        (
            one(ports=[{"containerPort": 1, "name": "a--b"}]),
            [f'{C}.ports[0].name: Invalid value: "a--b": must not contain consecutive hyphens'],
        ),
        (
            one(imagePullPolicy="Sometimes"),
            [
                f'{C}.imagePullPolicy: Unsupported value: "Sometimes": supported values: '
                '"Always", "IfNotPresent", "Never"'
            ],
        ),
        (one(env=[{"value": "x"}]), [f"{C}.env[0].name: Required value"]),
        (
            one(
                env=[
                    {
                        "name": "A",
                        "value": "x",
                        "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}},
                    }
                ]
            ),
            [
                f'{C}.env[0].valueFrom: Invalid value: "": may not be specified when `value` is not empty'
            ],
        ),
        (
            one(env=[{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "s"}}}]),
            [f"{C}.env[0].valueFrom.configMapKeyRef.key: Required value"],
        ),
        (
            one(env=[{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.color"}}}]),
            [
                f'{C}.env[0].valueFrom.fieldRef.fieldPath: Invalid value: "spec.color": error '
                "converting fieldPath: field label not supported: spec.color"
            ],
        ),
        (
            one(env=[{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "status.phase"}}}]),
            [
                f'{C}.env[0].valueFrom.fieldRef.fieldPath: Unsupported value: "status.phase": '
                'supported values: "metadata.name", "metadata.namespace", "metadata.uid", '
                '"spec.nodeName", "spec.serviceAccountName", "status.hostIP", "status.hostIPs", '
                '"status.podIP", "status.podIPs"'
            ],
        ),
        (
            one(
                env=[
                    {
                        "name": "A",
                        "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['a/b']"}},
                    }
                ]
            ),
            [],
        ),
        (one(envFrom=[{"secretRef": {}}]), [f"{C}.envFrom[0].secretRef.name: Required value"]),
        (
            one(volumeMounts=[{"name": "v", "mountPath": "/x"}]),
            [f'{C}.volumeMounts[0].name: Not found: "v"'],
        ),
        (
            pod(
                containers=[
                    {
                        "name": "c",
                        "image": "i",
                        "volumeMounts": [
                            {"name": "v", "mountPath": "/x"},
                            {"name": "v", "mountPath": "/x", "subPath": "../y"},
                        ],
                    }
                ],
                volumes=[{"name": "v"}],
            ),
            [
                f'{C}.volumeMounts[1].mountPath: Invalid value: "/x": must be unique',
                f"{C}.volumeMounts.subPath: Invalid value: \"../y\": must not contain '..'",
            ],
        ),
        (
            one(resources={"limits": {"cpu": "1"}, "requests": {"cpu": "2"}}),
            [
                f'{C}.resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1'
            ],
        ),
        (
            one(resources={"requests": {"memory": "-1"}}),
            [
                f'{C}.resources.requests[memory]: Invalid value: "-1": must be greater than or equal to 0'
            ],
        ),
        (
            one(livenessProbe={}),
            [f"{C}.livenessProbe: Required value: must specify a handler type"],
        ),
        (
            one(
                livenessProbe={
                    "exec": {"command": ["x"]},
                    "tcpSocket": {"port": 1},
                    "successThreshold": 2,
                }
            ),
            [
                f"{C}.livenessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type",
                f"{C}.livenessProbe.successThreshold: Invalid value: 2: must be 1",
            ],
        ),
        (
            one(restartPolicy="Sometimes"),
            [
                f'{C}.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", '
                '"Never", "OnFailure"'
            ],
        ),
        (
            pod(restartPolicy="Sometimes"),
            [
                'spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", '
                '"OnFailure", "Never"'
            ],
        ),
        (
            pod(volumes=[{"name": "a"}, {"name": "a"}]),
            ['spec.volumes[1].name: Duplicate value: "a"'],
        ),
        (
            pod(volumes=[{"name": "a", "emptyDir": {}, "hostPath": {"path": "/"}}]),
            ["spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type"],
        ),
        (
            pod(volumes=[{"name": "a", "configMap": {"items": [{"key": "k", "path": "/x"}]}}]),
            [
                "spec.volumes[0].configMap.name: Required value",
                'spec.volumes[0].configMap.items[0].path: Invalid value: "/x": must be a relative path',
            ],
        ),
        (
            pod(tolerations=[{"key": "a", "operator": "Exists", "value": "b"}]),
            [
                'spec.tolerations[0].operator: Invalid value: "b": value must be empty when '
                "`operator` is 'Exists'"
            ],
        ),
        (
            pod(tolerations=[{"key": "a", "tolerationSeconds": 5}]),
            [
                "spec.tolerations[0].effect: Invalid value: \"\": effect must be 'NoExecute' when "
                "`tolerationSeconds` is set"
            ],
        ),
        (
            pod(
                affinity={
                    "nodeAffinity": {
                        "requiredDuringSchedulingIgnoredDuringExecution": {
                            "nodeSelectorTerms": [
                                {"matchExpressions": [{"key": "a", "operator": "In"}]}
                            ]
                        }
                    }
                }
            ),
            [
                "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution."
                "nodeSelectorTerms[0].matchExpressions[0].values: Required value: must be specified "
                "when `operator` is 'In' or 'NotIn'"
            ],
        ),
        (
            pod(
                affinity={
                    "podAntiAffinity": {
                        "preferredDuringSchedulingIgnoredDuringExecution": [
                            {"weight": 0, "podAffinityTerm": {}}
                        ]
                    }
                }
            ),
            [
                "spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0]."
                "weight: Invalid value: 0: must be in the range 1-100",
                "spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0]."
                "podAffinityTerm.topologyKey: Required value: can not be empty",
                "spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0]."
                'podAffinityTerm.topologyKey: Invalid value: "": name part must be non-empty',
                "spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0]."
                f'podAffinityTerm.topologyKey: Invalid value: "": {NAME_PART}',
            ],
        ),
        (
            pod(terminationGracePeriodSeconds=-1),  # counts as 1
            [],
        ),
    ],
)
def test_refusals(obj: dict[str, Any], expected: list[str]) -> None:
    assert said(obj) == expected


IMMUTABLE = (
    "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"
    "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions "
    "to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it "
    "was previously negative)"
)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, []),
        ({"containers": [{"name": "c", "image": "other", "imagePullPolicy": "Always"}]}, []),
        ({"activeDeadlineSeconds": 5}, []),
        ({"tolerations": [{"key": "a"}, {"key": "b"}]}, []),
        ({"tolerations": [{"key": "a", "effect": "NoExecute", "tolerationSeconds": 5}]}, None),
        (
            {"tolerations": []},
            [
                "spec.tolerations: Forbidden: existing toleration can not be modified except its "
                "tolerationSeconds"
            ],
        ),
        ({"nodeName": "n1"}, [IMMUTABLE]),
        ({"restartPolicy": "Never"}, [IMMUTABLE]),
        ({"terminationGracePeriodSeconds": 5}, [IMMUTABLE]),
        (
            {"containers": [{"name": "c", "image": "i"}, {"name": "d", "image": "i"}]},
            ["spec.containers: Forbidden: pod updates may not add or remove containers"],
        ),
    ],
)
def test_what_may_change(change: dict[str, Any], expected: list[str] | None) -> None:
    old = pod(tolerations=[{"key": "a"}])
    new = merge_patch(old, {"spec": change})
    POD.default(new)
    wrong = [f"{c.field}: {c.message}" for c in POD.validate_update(new, old)]
    if expected is None:
        assert wrong
    else:
        assert wrong == expected


@pytest.mark.parametrize(
    ("obj", "expected"),
    [
        (
            pod(dnsPolicy="None"),
            ["spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"],
        ),
        (
            pod(
                dnsConfig={
                    "nameservers": ["1.1.1.1", "here", "::1", "8.8.8.8"],
                    "searches": ["_a.b."],
                }
            ),
            [
                'spec.dnsConfig.nameservers: Invalid value: ["1.1.1.1","here","::1","8.8.8.8"]: must '
                "not have more than 3 nameservers",
                'spec.dnsConfig.nameservers[1]: Invalid value: "here": must be a valid IP address, '
                "(e.g. 10.9.8.7 or 2001:db8::ffff)",
            ],
        ),
        (
            pod(securityContext={"runAsUser": -1, "supplementalGroups": [1 << 31], "fsGroup": 1}),
            [
                "spec.securityContext.runAsUser: Invalid value: -1: must be between 0 and "
                "2147483647, inclusive",
                "spec.securityContext.supplementalGroups[0]: Invalid value: 2147483648: must be "
                "between 0 and 2147483647, inclusive",
            ],
        ),
        (
            pod(securityContext={"seccompProfile": {"type": "Localhost"}}),
            [
                "spec.securityContext.seccompProfile.localhostProfile: Required value: must be set "
                "when seccomp type is Localhost"
            ],
        ),
        (
            one(securityContext={"privileged": True, "allowPrivilegeEscalation": False}),
            [
                f'{C}.securityContext: Invalid value: {{"privileged":true,'
                '"allowPrivilegeEscalation":false}: cannot set `allowPrivilegeEscalation` to false '
                "and `privileged` to true"
            ],
        ),
        (
            one(resources={"requests": {"gpu": "1"}}),
            [
                f'{C}.resources.requests[gpu]: Invalid value: "gpu": must be a standard resource '
                "type or fully qualified",
                f'{C}.resources.requests[gpu]: Invalid value: "gpu": must be a standard resource '
                "for containers",
            ],
        ),
        (
            one(resources={"limits": {"x.y/gpu": "1"}, "requests": {"x.y/gpu": "2"}}),
            [
                f'{C}.resources.requests: Invalid value: "2": must be equal to x.y/gpu limit of 1',
            ],
        ),
        (
            one(resources={"limits": {"hugepages-2Mi": "4Mi"}}),
            [f"{C}.resources: Forbidden: HugePages require cpu or memory"],
        ),
        (
            one(lifecycle={"preStop": {"sleep": {"seconds": 31}}}),
            [
                f"{C}.lifecycle.preStop.sleep: Invalid value: 31: must be non-negative and "
                "less than terminationGracePeriodSeconds (30)"
            ],
        ),
        (
            one(readinessProbe={"httpGet": {"port": "web"}, "terminationGracePeriodSeconds": 5}),
            [
                f"{C}.readinessProbe.terminationGracePeriodSeconds: Invalid value: 5: must not be "
                "set for readinessProbes"
            ],
        ),
        (
            one(livenessProbe={"httpGet": {"port": 0, "httpHeaders": [{"name": "A B"}]}}),
            [
                f"{C}.livenessProbe.httpGet.port: Invalid value: 0: must be between 1 and 65535, "
                "inclusive",
                f'{C}.livenessProbe.httpGet.httpHeaders: Invalid value: "A B": a valid HTTP '
                "header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex "
                "used for validation is '[-A-Za-z0-9]+')",
            ],
        ),
        (
            pod(initContainers=[{"name": "d", "image": "i", "livenessProbe": {}}]),
            [
                "spec.initContainers[0].livenessProbe: Forbidden: may not be set for init "
                "containers without restartPolicy=Always"
            ],
        ),
        (
            pod(initContainers=[{"name": "c", "image": "i", "restartPolicy": "Never"}]),
            ['spec.initContainers[0].name: Duplicate value: "c"'],
        ),
        (
            one(
                env=[
                    {"name": "a=b"},
                    {"name": "1A"},
                    {
                        "name": "C",
                        "valueFrom": {
                            "resourceFieldRef": {"resource": "limits.cpu", "divisor": "2"}
                        },
                    },
                ]
            ),
            [
                f'{C}.env[0].name: Invalid value: "a=b": a valid environment variable name must '
                "consist only of printable ASCII characters other than '='",
                f'{C}.env[2].valueFrom.resourceFieldRef.divisor: Invalid value: "limits.cpu": only '
                "divisor's values 1m and 1 are supported with the cpu resource",
            ],
        ),
        (
            pod(
                containers=[
                    {
                        "name": "c",
                        "image": "i",
                        "volumeMounts": [
                            {"name": "v", "mountPath": "/x", "mountPropagation": "Bidirectional"}
                        ],
                        "volumeDevices": [{"name": "v", "devicePath": "/x"}],
                    }
                ],
                volumes=[{"name": "v"}],
            ),
            [
                f'{C}.volumeMounts[0].name: Invalid value: "v": must not already exist in '
                "volumeDevices",
                f'{C}.volumeMounts[0].mountPath: Invalid value: "/x": must not already exist as a '
                "path in volumeDevices",
                f"{C}.volumeMounts.mountPropagation: Forbidden: Bidirectional mount propagation "
                "is available only to privileged containers",
                f'{C}.volumeDevices[0].name: Invalid value: "v": can only use volume source type of '
                "PersistentVolumeClaim or Ephemeral for block mode",
                f'{C}.volumeDevices[0].name: Invalid value: "v": must not already exist in '
                "volumeMounts",
                f'{C}.volumeDevices[0].devicePath: Invalid value: "/x": must not already exist as a '
                "path in volumeMounts",
            ],
        ),
        (
            pod(
                volumes=[
                    {"name": "n", "nfs": {"path": "p"}},
                    {"name": "h", "hostPath": {"path": "/a/../b", "type": "Door"}},
                    {"name": "i", "iscsi": {"targetPortal": "p", "iqn": "x", "lun": 300}},
                    {"name": "e", "ephemeral": {}},
                    {"name": "c", "csi": {}},
                ]
            ),
            [
                "spec.volumes[0].nfs.server: Required value",
                'spec.volumes[0].nfs.path: Invalid value: "p": must be an absolute path',
                "spec.volumes[1].hostPath.path: Invalid value: \"/a/../b\": must not contain '..'",
                'spec.volumes[1].hostPath.type: Unsupported value: "Door": supported values: "", '
                '"BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", '
                '"FileOrCreate", "Socket"',
                'spec.volumes[2].iscsi.iqn: Invalid value: "x": must be valid format starting with '
                "iqn, eui, or naa",
                "spec.volumes[2].iscsi.lun: Invalid value: 300: must be between 0 and 255, inclusive",
                "spec.volumes[3].ephemeral.volumeClaimTemplate: Required value",
                "spec.volumes[4].csi.driver: Required value",
                f'spec.volumes[4].csi.driver: Invalid value: "": {SUBDOMAIN}',
            ],
        ),
        (
            pod(
                volumes=[
                    {
                        "name": "p",
                        "projected": {
                            "sources": [
                                {},
                                {"configMap": {"name": "a", "items": [{"key": "k", "path": "x"}]}},
                                {"serviceAccountToken": {"path": "x", "expirationSeconds": 5}},
                                {"secret": {"name": "b", "items": [{"key": "k", "path": "x"}]}},
                            ]
                        },
                    }
                ],
                serviceAccountName="a",
            ),
            [
                "spec.volumes[0].projected.sources[2].serviceAccountToken.expirationSeconds: Invalid "
                "value: 5: may not specify a duration less than 10 minutes",
                'spec.volumes[0].projected: Invalid value: "b": conflicting duplicate paths',
            ],
        ),
        (
            pod(
                topologySpreadConstraints=[
                    {
                        "maxSkew": 0,
                        "topologyKey": "z",
                        "whenUnsatisfiable": "ScheduleAnyway",
                        "minDomains": 2,
                    },
                    {"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "ScheduleAnyway"},
                ]
            ),
            [
                "spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than "
                "zero",
                "spec.topologySpreadConstraints[0].{topologyKey, whenUnsatisfiable}: Duplicate "
                'value: "{z, ScheduleAnyway}"',
                "spec.topologySpreadConstraints[0].minDomains: Invalid value: 2: can only use "
                "minDomains if whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway",
            ],
        ),
        (
            pod(hostAliases=[{"ip": "x", "hostnames": ["a_b"]}], readinessGates=[{}]),
            [
                'spec.readinessGates[0].conditionType: Invalid value: "": name part must be non-empty',
                f'spec.readinessGates[0].conditionType: Invalid value: "": {NAME_PART}',
                'spec.hostAliases[0].ip: Invalid value: "x": must be a valid IP address, (e.g. '
                "10.9.8.7 or 2001:db8::ffff)",
                f'spec.hostAliases[0].hostnames[0]: Invalid value: "a_b": {SUBDOMAIN}',
            ],
        ),
        (
            pod(hostPID=True, shareProcessNamespace=True, activeDeadlineSeconds=0),
            [
                "spec.securityContext.shareProcessNamespace: Invalid value: true: "
                "ShareProcessNamespace and HostPID cannot both be enabled",
                "spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, "
                "inclusive",
            ],
        ),
        (
            pod(ephemeralContainers=[{"name": "d", "image": "i", "ports": [{"containerPort": 1}]}]),
            [
                "spec.ephemeralContainers[0].ports: Forbidden: cannot be set for an Ephemeral "
                "Container",
                "spec.ephemeralContainers: Forbidden: cannot be set on create",
            ],
        ),
        (
            pod(nodeName="n", schedulingGates=[{"name": "a.b/c"}, {"name": "a.b/c"}]),
            [
                'spec.schedulingGates[1]: Duplicate value: "a.b/c"',
                "spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared",
            ],
        ),
    ],
)
def test_refusals_of_new_pods(obj: dict[str, Any], expected: list[str]) -> None:
    causes = POD.validate(obj) + POD.validate_create(obj)
    assert [f"{c.field}: {c.message}" for c in causes] == expected


def test_a_gated_pod_may_be_held_to_fewer_nodes_and_let_go() -> None:
    gates = [{"name": "a/b"}, {"name": "a/c"}]
    old = pod(schedulingGates=gates, nodeSelector={"a": "b"})

    def said_of(**change: Any) -> list[str]:
        new = merge_patch(old, {"spec": change})
        return [f"{c.field}: {c.message}" for c in POD.validate_update(new, old)]

    assert said_of(nodeSelector={"c": "d"}, schedulingGates=gates[:1]) == []
    assert said_of(nodeSelector={"a": "c"}) == [
        'spec.nodeSelector: Invalid value: {"a":"c"}: only additions to spec.nodeSelector are allowed '
        "(no mutations or deletions)"
    ]
    assert said_of(schedulingGates=[{"name": "a/d"}]) == [
        "spec.schedulingGates[0].name: Forbidden: only deletion is allowed, but found new scheduling gate "
        "'a/d'"
    ]


@pytest.mark.parametrize(
    ("policy", "code", "refused"),
    [
        ("Never", 0, True),
        ("Never", 1, True),
        ("OnFailure", 0, True),
        ("OnFailure", 1, False),
        ("Always", 0, False),
    ],
)
def test_what_has_ended_stays_ended(policy: str, code: int, refused: bool) -> None:
    ended = {"name": "c", "state": {"terminated": {"exitCode": code}}}
    old = {**pod(restartPolicy=policy), "status": {"containerStatuses": [ended]}}
    new = {**old, "status": {"containerStatuses": [{"name": "c", "state": {"running": {}}}]}}
    said_of = [f"{c.field}: {c.message}" for c in POD.validate_status(new, old)]
    text = (
        "status.containerStatuses[0].state: Forbidden: may not be transitioned to non-terminated "
        "state"
    )
    assert said_of == ([text] if refused else [])
