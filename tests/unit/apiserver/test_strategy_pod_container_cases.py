"""Containers, case by case: what upstream takes and what it refuses, with the beginning of each cause.

A row is a change to a good container; the volumes `v` (an empty directory), `c` (a claim) and `i`
(an image) can be mounted.
"""

from typing import Any

import pytest
from strategy_cases import Object, cut
from strategy_pods import C, pod, refused

LONG_LABEL = "a" * 64


VOLUMES = [
    {"name": "v", "emptyDir": {}},
    {"name": "c", "persistentVolumeClaim": {"claimName": "pvc"}},
    {"name": "i", "image": {"reference": "quay.io/a:1"}},
]


def mount(name: str = "v", path: str = "/x", **more: Any) -> Object:
    return {"volumeMounts": [{"name": name, "mountPath": path, **more}]}


def value_from(**source: Any) -> Object:
    return {"env": [{"name": "A", "valueFrom": source}]}


CONTAINER: list[tuple[Object, list[str]]] = [
    # names, images, policies
    ({"name": "a" * 63}, []),
    ({"name": LONG_LABEL}, [f'{C}.name: Invalid value: "{LONG_LABEL}": must be no more than 63']),
    ({"name": "A"}, [f'{C}.name: Invalid value: "A": a lowercase RFC 1123 label']),
    ({"image": ""}, [f"{C}.image: Required value"]),
    ({"image": " i"}, [f'{C}.image: Invalid value: " i": must not have leading or trailing']),
    ({"imagePullPolicy": "Never"}, []),
    ({"imagePullPolicy": "never"}, [f'{C}.imagePullPolicy: Unsupported value: "never"']),
    ({"terminationMessagePolicy": "FallbackToLogsOnError"}, []),
    (
        {"terminationMessagePolicy": "Log"},
        [f'{C}.terminationMessagePolicy: Unsupported value: "Log": supported values: "File", "Fal'],
    ),
    # ports
    ({"ports": [{"containerPort": 80, "name": "abc-123"}]}, []),
    ({"ports": [{"containerPort": 80, "protocol": "SCTP", "hostPort": 80}]}, []),
    ({"ports": [{"containerPort": 80}, {"containerPort": 80}]}, []),
    ({"ports": [{}]}, [f"{C}.ports[0].containerPort: Required value"]),
    ({"ports": [{"containerPort": -1}]}, [f"{C}.ports[0].containerPort: Invalid value: -1"]),
    ({"ports": [{"containerPort": 65536}]}, [f"{C}.ports[0].containerPort: Invalid value: 65536"]),
    (
        {"ports": [{"containerPort": 1, "hostPort": 65536}]},
        [f"{C}.ports[0].hostPort: Invalid value: 65536: must be between 1 and 65535, inclusive"],
    ),
    (
        {"ports": [{"containerPort": 1, "name": "a" * 16}]},
        [f'{C}.ports[0].name: Invalid value: "{"a" * 16}": must be no more than 15 characters'],
    ),
    (
        {"ports": [{"containerPort": 1, "name": "123"}]},
        [f'{C}.ports[0].name: Invalid value: "123": must contain at least one letter (a-z)'],
    ),
    (
        {"ports": [{"containerPort": 1, "hostPort": 9}, {"containerPort": 2, "hostPort": 9}]},
        [f'{C}.ports[1].hostPort: Duplicate value: "TCP//9"'],
    ),
    (
        {
            "ports": [
                {"containerPort": 1, "hostPort": 9, "hostIP": "10.0.0.1"},
                {"containerPort": 2, "hostPort": 9, "hostIP": "10.0.0.2"},
                {"containerPort": 3, "hostPort": 9, "hostIP": "10.0.0.2", "protocol": "UDP"},
            ]
        },
        [],
    ),
    # environment
    ({"env": [{"name": "a.b-c d"}, {"name": "1"}, {"name": "A", "value": "x"}]}, []),
    ({"env": [{"name": "a="}]}, [f'{C}.env[0].name: Invalid value: "a="']),
    (value_from(fieldRef={"fieldPath": "metadata.annotations['A.b/c']"}), []),
    (value_from(fieldRef={"fieldPath": "spec.host"}), []),
    (value_from(fieldRef={"fieldPath": "status.podIPs"}), []),
    (value_from(resourceFieldRef={"resource": "limits.cpu", "divisor": "1m"}), []),
    (value_from(resourceFieldRef={"resource": "limits.hugepages-2Mi", "divisor": "1Ki"}), []),
    (value_from(), [f'{C}.env[0].valueFrom: Invalid value: "": must specify one of: `fieldRef`']),
    (
        value_from(fieldRef={"fieldPath": "metadata.name['a']"}),
        [
            f"{C}.env[0].valueFrom.fieldRef.fieldPath: Invalid value: \"metadata.name['a']\": error "
            "converting fieldPath: field label does not support subscript: metadata.name['a']"
        ],
    ),
    (
        value_from(fieldRef={"fieldPath": "metadata.labels"}),
        [f'{C}.env[0].valueFrom.fieldRef.fieldPath: Unsupported value: "metadata.labels"'],
    ),
    (
        value_from(fieldRef={"fieldPath": "metadata.labels['a b']"}),
        [f'{C}.env[0].valueFrom.fieldRef: Invalid value: "a b": name part must consist of'],
    ),
    (
        value_from(fieldRef={"fieldPath": "metadata.name", "apiVersion": "v2"}),
        [
            f'{C}.env[0].valueFrom.fieldRef.fieldPath: Invalid value: "metadata.name": error '
            "converting fieldPath: unsupported pod version: v2"
        ],
    ),
    (
        value_from(fieldRef={"fieldPath": "metadata.name"}, secretKeyRef={"name": "s", "key": "k"}),
        [f'{C}.env[0].valueFrom: Invalid value: "": may not have more than one field specified'],
    ),
    (
        value_from(configMapKeyRef={"key": "k"}),
        [f'{C}.env[0].valueFrom.configMapKeyRef.name: Invalid value: "": a lowercase RFC 1123 sub'],
    ),
    (
        value_from(secretKeyRef={"name": "s", "key": ".."}),
        [
            f"{C}.env[0].valueFrom.secretKeyRef.key: Invalid value: \"..\": must not be '..'",
        ],
    ),
    (
        value_from(resourceFieldRef={"resource": "limits.gpu"}),
        [
            f'{C}.env[0].valueFrom.resourceFieldRef.resource: Unsupported value: "limits.gpu": '
            'supported values: "limits.cpu", "limits.ephemeral-storage", "limits.memory", '
            '"requests.cpu", "requests.ephemeral-storage", "requests.memory"'
        ],
    ),
    (
        value_from(resourceFieldRef={"resource": "limits.memory", "divisor": "2"}),
        [
            f'{C}.env[0].valueFrom.resourceFieldRef.divisor: Invalid value: "limits.memory": only '
            "divisor's values 1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei are supported "
            "with the memory resource"
        ],
    ),
    (
        value_from(fileKeyRef={"path": "../a", "volumeName": "V", "key": "k"}),
        [
            f'{C}.env[0].valueFrom.fileKeyRef.volumeName: Invalid value: "V"',
            f"{C}.env[0].valueFrom.fileKeyRef.path: Invalid value: \"../a\": must not contain '..'",
        ],
    ),
    (
        {"envFrom": [{"prefix": "a.", "configMapRef": {"name": "a-"}}, {"secretRef": {"name": "s"}}]},
        [],
    ),
    ({"envFrom": [{"prefix": "A="}]}, [f'{C}.envFrom[0].prefix: Inv', f'{C}.envFrom: Invalid value: ""']),
    ({"envFrom": [{"configMapRef": {}}]}, [f"{C}.envFrom[0].configMapRef.name: Required value"]),
    (
        {"envFrom": [{"configMapRef": {"name": "a"}, "secretRef": {"name": "$"}}]},
        [
            f'{C}.envFrom[0].secretRef.name: Invalid value: "$"',
            f'{C}.envFrom: Invalid value: "": may not have more than one field specified at a time',
        ],
    ),
    # mounts and devices
    (mount(), []),
    (mount(subPath="a/..b"), []),
    (mount("i", subPath="a"), []),
    (mount(mountPropagation="HostToContainer"), []),
    (mount(readOnly=True, recursiveReadOnly="Enabled"), []),
    (mount("x"), [f'{C}.volumeMounts[0].name: Not found: "x"']),
    (mount(path=""), [f"{C}.volumeMounts[0].mountPath: Required value"]),
    (mount(subPath="/a"), [f'{C}.volumeMounts.subPath: Invalid value: "/a": must be a relative path']),
    (
        mount(subPath="a", subPathExpr="$(A)"),
        [f'{C}.volumeMounts[0].subPathExpr: Invalid value: "$(A)": subPathExpr and subPath are mut'],
    ),
    (mount(subPathExpr="a/.."), [f"{C}.volumeMounts.subPathExpr: Invalid value: \"a/..\": must not"]),
    (mount(mountPropagation="Both"), [f'{C}.volumeMounts.mountPropagation: Unsupported value: "Both"']),
    (
        mount(recursiveReadOnly="Enabled", mountPropagation="HostToContainer"),
        [
            f"{C}.volumeMounts.recursiveReadOnly: Forbidden: may only be specified when readOnly is",
            f"{C}.volumeMounts.recursiveReadOnly: Forbidden: may only be specified when mountPropaga",
        ],
    ),
    ({"volumeDevices": [{"name": "c", "devicePath": "/dev/x"}]}, []),
    (
        {"volumeDevices": [{"name": "c", "devicePath": "/dev/../x"}, {"name": "c"}]},
        [
            f'{C}.volumeDevices[0].devicePath: Invalid value: "/dev/../x": can not contain backsteps',
            f'{C}.volumeDevices[1].name: Invalid value: "c": must be unique',
            f"{C}.volumeDevices[1].devicePath: Required value",
        ],
    ),
    (
        {"volumeDevices": [{"name": "v", "devicePath": "/x"}, {"name": "n", "devicePath": "/x"}]},
        [
            f'{C}.volumeDevices[0].name: Invalid value: "v": can only use volume source type of Per',
            f'{C}.volumeDevices[1].name: Not found: "n"',
            f'{C}.volumeDevices[1].devicePath: Invalid value: "/x": must be unique',
        ],
    ),
    # resources
    ({"resources": {"limits": {"cpu": "10", "memory": "10G", "a.b/c": "2"}}}, []),
    ({"resources": {"limits": {"hugepages-2Mi": "4Mi", "cpu": "1"}}}, []),
    ({"resources": {"requests": {"ephemeral-storage": "0.5"}}}, []),
    (
        {"resources": {"limits": {"a.b/c": "500m"}}},
        [
            f'{C}.resources.limits[a.b/c]: Invalid value: "500m": must be an integer',
            f'{C}.resources.requests[a.b/c]: Invalid value: "500m": must be an integer',
        ],
    ),
    (
        {"resources": {"requests": {"a.b/c": "1"}}},
        [f"{C}.resources.limits: Required value: Limit must be set for non overcommitable resources"],
    ),
    (
        {"resources": {"limits": {"hugepages-2Mi": "3Mi", "cpu": "1"}}},
        [f'{C}.resources.limits[hugepages-2Mi]: Invalid value: "3Mi": 3Mi is not positive integer mu', f'{C}.resources.requests[hugepages-2Mi]: Invalid value: "3Mi": 3Mi is not positive integ'],
    ),
    (
        {"resources": {"limits": {"requests.a.b/c": "1"}}},
        [f'{C}.resources.limits[requests.a.b/c]: Invalid value: "requests.a.b/c": doesn\'t follow ext', f'{C}.resources.requests[requests.a.b/c]: Invalid value: "requests.a.b/c": doesn\'t follow'],
    ),
    (
        {"resources": {"limits": {"storage": "1"}}},
        [f'{C}.resources.limits[storage]: Invalid value: "storage": must be a standard resource for c', f'{C}.resources.requests[storage]: Invalid value: "storage": must be a standard resource f'],
    ),
    (
        {"resources": {"claims": [{"name": "a"}, {"name": ""}]}},
        [
            f'{C}.resources.claims[0]: Not found: "a": must be one of the names in '
            "pod.spec.resourceClaims which is empty",
            f"{C}.resources.claims[1]: Required value",
        ],
    ),
    ({"resizePolicy": [{"resourceName": "cpu", "restartPolicy": "RestartContainer"}]}, []),
    (
        {"resizePolicy": [{"resourceName": "gpu", "restartPolicy": "Maybe"}, {"resourceName": "gpu"}]},
        [
            f'{C}.resizePolicy: Unsupported value: "gpu": supported values: "cpu", "memory"',
            f'{C}.resizePolicy: Unsupported value: "Maybe": supported values: "NotRequired", "Restart',
            f'{C}.resizePolicy[1]: Duplicate value: "gpu"',
            f'{C}.resizePolicy: Unsupported value: "gpu"',
            f"{C}.resizePolicy: Required value",
        ],
    ),
    # restarts of one container
    ({"restartPolicy": "Never"}, []),
    (
        {
            "restartPolicy": "Never",
            "restartPolicyRules": [
                {"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}},
                {"action": "RestartAllContainers", "exitCodes": {"operator": "NotIn", "values": [0]}},
            ],
        },
        [],
    ),
    (
        {"restartPolicyRules": [{"action": "Stop", "exitCodes": {"operator": "Equals"}}, {}]},
        [
            f"{C}.restartPolicy: Required value: must specify restartPolicy when restart rules are u",
            f'{C}.restartPolicyRules[0].action: Unsupported value: "Stop": supported values: "Restart',
            f'{C}.restartPolicyRules[0].exitCodes.operator: Unsupported value: "Equals": supported',
            f'{C}.restartPolicyRules[1].action: Unsupported value: ""',
            f"{C}.restartPolicyRules[1].exitCodes: Required value: must be specified",
        ],
    ),
    (
        {"restartPolicy": "Never", "restartPolicyRules": [{"action": "Restart", "exitCodes": {"operator": "In", "values": list(range(256))}}]},
        [f"{C}.restartPolicyRules[0].exitCodes.values: Too many: 256: must have at most 255 items"],
    ),
    ({"restartPolicy": "Never", "restartPolicyRules": [{"action": "Restart", "exitCodes": {"operator": "In", "values": [1]}}] * 21}, [f"{C}.restartPolicyRules: Too many: 21: must have at most 20 items"]),
    # probes and hooks
    ({"livenessProbe": {"exec": {"command": ["x"]}, "terminationGracePeriodSeconds": 1}}, []),
    ({"readinessProbe": {"grpc": {"port": 1}, "successThreshold": 3}}, []),
    ({"startupProbe": {"tcpSocket": {"port": "web"}, "periodSeconds": -1}}, [f"{C}.startupProbe.periodSeconds: Invalid value: -1"]),
    ({"livenessProbe": {"exec": {}}}, [f"{C}.livenessProbe.exec.command: Required value"]),
    ({"livenessProbe": {"grpc": {"port": 70000}}}, [f"{C}.livenessProbe.grpc.port: Invalid value: 70000"]),
    ({"livenessProbe": {"httpGet": {"port": "a_b"}}}, [f'{C}.livenessProbe.httpGet.port: Invalid value: "a_b": must contain only']),
    ({"livenessProbe": {"httpGet": {"port": 1, "scheme": "FTP"}}}, [f'{C}.livenessProbe.httpGet.scheme: Unsupported value: "FTP": supported values: "HTTP", "HTTPS"']),
    ({"livenessProbe": {"tcpSocket": {"port": 1}, "terminationGracePeriodSeconds": 0}}, [f"{C}.livenessProbe.terminationGracePeriodSeconds: Invalid value: 0: must be greater than 0"]),
    ({"startupProbe": {"tcpSocket": {"port": 1}, "successThreshold": 2}}, [f"{C}.startupProbe.successThreshold: Invalid value: 2: must be 1"]),
    ({"lifecycle": {"preStop": {"sleep": {"seconds": 0}}}}, []),
    ({"lifecycle": {"preStop": {}}}, [f"{C}.lifecycle.preStop: Required value: must specify a handler type"]),
    ({"lifecycle": {"postStart": {"sleep": {"seconds": -1}}}}, [f"{C}.lifecycle.postStart.sleep: Invalid value: -1: must be non-negative"]),
    # security
    ({"securityContext": {"runAsUser": 0, "privileged": True}}, []),
    ({"securityContext": {"runAsGroup": 1 << 31}}, [f"{C}.securityContext.runAsGroup: Invalid value: 2147483648: must be between 0 and 2147483647, inclusive"]),
    ({"securityContext": {"procMount": "Unmasked"}}, [f'{C}.securityContext.procMount: Invalid value: "Unmasked": `hostUsers` must be false']),
    ({"securityContext": {"procMount": "Other"}}, [f'{C}.securityContext.procMount: Unsupported value: "Other": supported values: "Default", "Unmasked"']),
    ({"securityContext": {"seccompProfile": {}}}, [f"{C}.securityContext.seccompProfile.type: Required value: type is required when seccompProfile is set"]),
    ({"securityContext": {"seccompProfile": {"type": "Localhost", "localhostProfile": "/a"}}}, [f'{C}.securityContext.seccompProfile.localhostProfile: Invalid value: "/a": must be a relative path']),
    ({"securityContext": {"seccompProfile": {"type": "Other", "localhostProfile": "a"}}}, [f'{C}.securityContext.seccompProfile.type: Unsupported value: "Other"', f"{C}.securityContext.seccompProfile.localhostProfile: Invalid value: {{"]),
    ({"securityContext": {"appArmorProfile": {"type": "Localhost", "localhostProfile": "/a/../b"}}}, []),
    ({"securityContext": {"appArmorProfile": {"type": "Localhost", "localhostProfile": " a"}}}, [f'{C}.securityContext.appArmorProfile.localhostProfile: Invalid value: " a": must not be padded']),
    ({"securityContext": {"appArmorProfile": {"type": "Localhost"}}}, [f"{C}.securityContext.appArmorProfile.localhostProfile: Required value: must be set when AppArmor"]),
    ({"securityContext": {"appArmorProfile": {"type": "RuntimeDefault", "localhostProfile": "a"}}}, [f'{C}.securityContext.appArmorProfile.localhostProfile: Invalid value: "a": can only be set']),
    ({"securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"add": ["CAP_SYS_ADMIN"]}}}, [f"{C}.securityContext: Invalid value: {{"]),
]  # fmt: skip


@pytest.mark.parametrize(("change", "expected"), CONTAINER)
def test_containers(change: Object, expected: list[str]) -> None:
    container = {"name": "c", "image": "i", **change}
    assert cut(refused(pod(containers=[container], volumes=VOLUMES)), expected) == expected
