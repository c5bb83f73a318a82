"""Containers of pods: what is refused, word for word."""

import pytest
from strategy_cases import DNS_LABEL, Object
from strategy_pods import C, one, pod, refused


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
            pod(ephemeralContainers=[{"name": "d", "image": "i", "ports": [{"containerPort": 1}]}]),
            [
                "spec.ephemeralContainers[0].ports: Forbidden: cannot be set for an Ephemeral "
                "Container",
                "spec.ephemeralContainers: Forbidden: cannot be set on create",
            ],
        ),
    ],
)
def test_containers_that_are_refused(obj: Object, expected: list[str]) -> None:
    assert refused(obj) == expected
