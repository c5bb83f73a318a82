"""Pods, case by case: which upstream takes and which it refuses, with the beginning of each cause.

`POD` rows change a good pod's spec, `CONTAINER` rows its one container; the volumes `v` (an empty
directory), `c` (a claim) and `i` (an image) can be mounted.
"""

import copy
from typing import Any

import pytest

from wherry.api import kinds
from wherry.apiserver.strategy import strategy_for

Object = dict[str, Any]
STRATEGY = strategy_for(kinds.POD)
C = "spec.containers[0]"
LONG_LABEL = "a" * 64
VOLUMES = [
    {"name": "v", "emptyDir": {}},
    {"name": "c", "persistentVolumeClaim": {"claimName": "pvc"}},
    {"name": "i", "image": {"reference": "quay.io/a:1"}},
]


def pod(**spec: Any) -> Object:
    obj = {
        "metadata": {"name": "p", "namespace": "default", **spec.pop("metadata", {})},
        "spec": {
            "containers": [{"name": "c", "image": "i"}],
            "volumes": VOLUMES,
            "serviceAccountName": "default",
            **spec,
        },
    }
    made: Object = copy.deepcopy(obj)
    STRATEGY.default(made)
    return made


def said(obj: Object) -> list[str]:
    causes = STRATEGY.validate(obj) + STRATEGY.validate_create(obj)
    return [f"{cause.field}: {cause.message}" for cause in causes]


def check(found: list[str], expected: list[str]) -> None:
    assert len(found) == len(expected), found
    for text, beginning in zip(found, expected, strict=True):
        assert text.startswith(beginning), (text, beginning)


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
        [f'{C}.resources.limits[a.b/c]: Invalid value: "500m": must be an integer'] * 1
        + [f'{C}.resources.requests[a.b/c]: Invalid value: "500m": must be an integer'],
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
    check(said(pod(containers=[{"name": "c", "image": "i", **change}])), expected)


def spread(**more: Any) -> Object:
    row = {"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule", **more}
    return {"topologySpreadConstraints": [row]}


def node_terms(*terms: Object, kind: str = "required") -> Object:
    if kind == "required":
        wish: Object = {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": list(terms)}
        }
    else:
        wish = {
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {"weight": 1, "preference": term} for term in terms
            ]
        }
    return {"affinity": {"nodeAffinity": wish}}


def pods_near(**term: Any) -> Object:
    terms = [{"topologyKey": "z", **term}]
    return {"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}}


NODES = (
    "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms"
)
NEAR = "spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0]"
S = "spec.topologySpreadConstraints[0]"
INIT = {"name": "d", "image": "i"}
COST = "controller.kubernetes.io/pod-deletion-cost"
ARMOR = "container.apparmor.security.beta.kubernetes.io/"

POD: list[tuple[Object, list[str]]] = [
    # lists of containers
    ({"initContainers": [{**INIT, "restartPolicy": "Always", "livenessProbe": {"tcpSocket": {"port": 1}}}]}, []),
    ({"initContainers": [{**INIT, "restartPolicy": "OnFailure"}]}, []),
    ({"initContainers": [{**INIT, "lifecycle": {"preStop": {}}}]}, ["spec.initContainers[0].lifecycle: Forbidden: may not be set for init containers without"]),
    ({"initContainers": [INIT, INIT]}, ['spec.initContainers[1].name: Duplicate value: "d"']),
    ({"initContainers": [{"name": "c", "image": "i"}]}, ['spec.initContainers[0].name: Duplicate value: "c"']),
    ({"initContainers": [{**INIT, "image": "i "}]}, ['spec.initContainers[0].image: Invalid value: "i "']),
    ({"initContainers": [{**INIT, "ports": [{"containerPort": 1, "hostPort": 5}, {"containerPort": 2, "hostPort": 5}]}]}, ['spec.initContainers[0].ports[1].hostPort: Duplicate value: "TCP//5"']),
    ({"containers": []}, ["spec.containers: Required value"]),
    # names and numbers
    ({"hostname": "a.b"}, ['spec.hostname: Invalid value: "a.b": ']),
    ({"subdomain": "A"}, ['spec.subdomain: Invalid value: "A"']),
    ({"nodeName": "N"}, ['spec.nodeName: Invalid value: "N"']),
    ({"schedulerName": "Any Thing"}, []),
    ({"priorityClassName": "A"}, ['spec.priorityClassName: Invalid value: "A"']),
    ({"runtimeClassName": ""}, ['spec.runtimeClassName: Invalid value: ""']),
    ({"serviceAccountName": "a_b", "serviceAccount": "a_b"}, ['spec.serviceAccountName: Invalid value: "a_b"']),
    ({"restartPolicy": "Sometimes"}, ['spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "OnFailure", "Never"']),
    ({"preemptionPolicy": "Maybe"}, ['spec.preemptionPolicy: Unsupported value: "Maybe"']),
    ({"activeDeadlineSeconds": 1 << 31}, ["spec.activeDeadlineSeconds: Invalid value: 2147483648: must be between 1 and 2147483647"]),
    ({"terminationGracePeriodSeconds": -5}, []),
    ({"imagePullSecrets": [{"name": ""}, {"name": "a"}, {"name": "a"}]}, []),
    # the host
    ({"hostNetwork": True, "containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 80}]}]}, []),
    ({"hostNetwork": True, "containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 80, "hostPort": 81}]}]}, [f"{C}.ports[0].hostPort: Invalid value: 81: must match `containerPort` when `hostNetwork` is true"]),
    ({"hostUsers": False, "hostNetwork": True, "hostPID": True, "hostIPC": True}, ["spec.hostNetwork: Forbidden: when `pod.Spec.HostUsers` is false", "spec.HostPID: Forb", "spec.HostIPC: Forb"]),
    ({"hostUsers": False, "containers": [{"name": "c", "image": "i", "securityContext": {"procMount": "Unmasked"}}]}, []),
    ({"shareProcessNamespace": True, "hostPID": False}, []),
    ({"hostAliases": [{"ip": "::1", "hostnames": ["a.b", "c"]}]}, []),
    ({"hostAliases": [{}]}, ['spec.hostAliases[0].ip: Invalid value: "": must be a valid IP address']),
    # DNS
    ({"dnsPolicy": "None", "dnsConfig": {"nameservers": ["1.1.1.1"], "searches": [".", "a.b.", "_x.y"], "options": [{"name": "ndots", "value": "5"}]}}, []),
    ({"dnsPolicy": "Some"}, ['spec.dnsPolicy: Unsupported value: "Some": supported values: "ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"']),
    ({"dnsPolicy": "None", "dnsConfig": {"searches": ["A"]}}, ["spec.dnsConfig.nameservers: Required value: must provide at least one DNS nameserver"]),
    ({"dnsConfig": {"searches": ["A"], "options": [{}]}}, ['spec.dnsConfig.searches[0]: Invalid value: "A": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, \'_\', \'-\' or', "spec.dnsConfig.options[0]: Required value: must not be empty"]),
    ({"dnsConfig": {"searches": ["a"] * 33}}, ["spec.dnsConfig.searches: Invalid value: ["]),
    # security contexts and sysctls
    ({"securityContext": {"fsGroup": -1}}, ["spec.securityContext.fsGroup: Invalid value: -1"]),
    ({"securityContext": {"fsGroupChangePolicy": "Never"}}, ['spec.securityContext.fsGroupChangePolicy: Unsupported value: "Never": supported values: "Always", "OnRootMismatch"']),
    ({"securityContext": {"supplementalGroupsPolicy": "Loose"}}, ['spec.securityContext.supplementalGroupsPolicy: Unsupported value: "Loose": supported values: "Merge", "Strict"']),
    ({"securityContext": {"sysctls": [{"name": "net.ipv4.ip_forward", "value": "1"}, {"name": "kernel/shm_rmid_forced", "value": "0"}]}}, []),
    ({"securityContext": {"sysctls": [{"name": ""}, {"name": "A"}, {"name": "a"}, {"name": "a"}]}}, ["spec.securityContext.sysctls[0].name: Required", 'spec.securityContext.sysctls[1].name: Invalid value: "A": must have at most 253', 'spec.securityContext.sysctls[3].name: Duplicate value: "a"']),
    ({"hostNetwork": True, "securityContext": {"sysctls": [{"name": "net/ipv4/ip_forward"}]}}, ["spec.securityContext.sysctls[0].name: Invalid value: \"net/ipv4/ip_forward\": may not be specified when 'hostNetwork'"]),
    # tolerations
    ({"tolerations": [{"operator": "Exists"}, {"key": "a", "value": "b"}, {"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": -1}]}, []),
    ({"tolerations": [{"key": "a", "value": "b c"}]}, ['spec.tolerations[0].operator: Invalid value: "b c": a valid label must be']),
    ({"tolerations": [{"value": "b"}]}, ['spec.tolerations[0].operator: Invalid value: "": operator must be Exists when `key` is empty']),
    ({"tolerations": [{"key": "a b", "operator": "In", "effect": "Never"}]}, ['spec.tolerations[0].key: Invalid value: "a b"', 'spec.tolerations[0].operator: Unsupported value: "In"', 'spec.tolerations[0].effect: Unsupported value: "Never": supported values: "NoSchedule", "PreferNoSchedule", "NoExecute"']),
    # affinity
    (node_terms({"matchExpressions": [{"key": "a", "operator": "Gt", "values": ["1"]}], "matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}]}), []),
    (node_terms({"matchExpressions": [{"key": "a", "operator": "In", "values": ["a b"]}]}), [f'{NODES}[0].matchExpressions[0].values[0]: Invalid value: "a b"']),
    (node_terms({"matchExpressions": [{"key": "a", "operator": "In", "values": ["a b"]}]}, kind="preferred"), []),
    (node_terms(), [f"{NODES}: Required value: must have at least one node selector term"]),
    (node_terms({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["N"]}]}), [f'{NODES}[0].matchFields[0].values[0]: Invalid value: "N"']),
    (node_terms({"matchFields": [{"key": "spec.x", "operator": "Exists"}]}), [f'{NODES}[0].matchFields[0].operator: Invalid value: "Exists": not a valid selector operator', f'{NODES}[0].matchFields[0].key: Invalid value: "spec.x": not a valid field selector key']),
    (pods_near(labelSelector={"matchLabels": {"a": "b"}}, namespaces=["n"], namespaceSelector={}), []),
    (pods_near(labelSelector={"matchLabels": {"a b": "c"}}), [f'{NEAR}.labelSelector.matchLabels: Invalid value: "a b"']),
    (pods_near(labelSelector={}, namespaces=["N"]), [f'{NEAR}.namespace: Invalid value: "N"']),
    (pods_near(topologyKey=""), [f"{NEAR}.topologyKey: Required value: can not be empty", f'{NEAR}.topologyKey: Invalid value: "": name part must be non-empty', f"{NEAR}.topologyKey: Inv"]),
    (pods_near(matchLabelKeys=["a"]), [f"{NEAR}.matchLabelKeys: Forbidden: must not be specified when labelSelector is not set"]),
    (pods_near(labelSelector={}, matchLabelKeys=["a", "b"], mismatchLabelKeys=["b"]), [f'{NEAR}.matchLabelKeys[1]: Invalid value: "b": exists in both matchLabelKeys and mismatchLabelKeys']),
    # spreading
    (spread(labelSelector={"matchLabels": {"a": "b"}}, minDomains=2, nodeTaintsPolicy="Honor"), []),
    (spread(topologyKey=""), [f"{S}.topologyKey: Required value: can not be empty"]),
    (spread(whenUnsatisfiable="Later"), [f'{S}.whenUnsatisfiable: Unsupported value: "Later": supported values: "DoNotSchedule", "ScheduleAnyway"']),
    (spread(minDomains=0), [f"{S}.minDomains: Invalid value: 0: must be greater than zero"]),
    (spread(nodeAffinityPolicy="Maybe"), [f'{S}.nodeAffinityPolicy: Unsupported value: "Maybe": supported values: "Honor", "Ignore"']),
    (spread(matchLabelKeys=["a"]), [f"{S}.matchLabelKeys: Forbidden: must not be specified when labelSelector is not set"]),
    (spread(labelSelector={"matchExpressions": [{"key": "a", "operator": "In"}]}), [f"{S}.labelSelector.matchExpressions[0].values: Required value: must be specified when `operator`"]),
    # gates and systems
    ({"schedulingGates": [{"name": "a/b"}]}, []),
    ({"schedulingGates": [{"name": ""}]}, ['spec.schedulingGates[0]: Invalid value: "": name part must be non-empty', "spec.schedulingGates[0]: Inv"]),
    ({"readinessGates": [{"conditionType": "a.b/C"}]}, []),
    ({"os": {"name": "linux"}}, []),
    ({"os": {}}, ["spec.os.name: Required value: cannot be empty"]),
    ({"os": {"name": "plan9"}}, ['spec.os: Unsupported value: "plan9": supported values: "linux", "windows"']),
    ({"os": {"name": "windows"}, "hostIPC": True, "securityContext": {"runAsUser": 1}}, ["spec.hostIPC: Forbidden: cannot be set for a windows pod", "spec.securityContext.runAsUser: Forbidden: cannot"]),
    ({"os": {"name": "linux"}, "securityContext": {"windowsOptions": {}}}, ["spec.securityContext.windowsOptions: Forbidden: windows options cannot be set for a linux pod"]),
    ({"overhead": {"gpu": "1"}}, ['spec.overhead.limits[gpu]: Invalid value: "gpu": must be a standard resource type', "spec.overhead.limits[gpu]: Inv"]),
    # resource claims
    ({"resourceClaims": [{"name": "a", "resourceClaimName": "x"}, {"name": "b", "resourceClaimTemplateName": "x"}]}, []),
    ({"resourceClaims": [{"name": "a"}, {"name": "a", "resourceClaimName": "X"}]}, ["spec.resourceClaims[0]: Invalid value: {", 'spec.resourceClaims[1].name: Duplicate value: "a"', 'spec.resourceClaims[1].resourceClaimName: Invalid value: "X"']),
    # resources of the pod
    ({"resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "500m"}}}, []),
    ({"resources": {"limits": {"ephemeral-storage": "1"}}}, ['spec.resources.limits[ephemeral-storage]: Unsupported value: "ephemeral-storage": supported values: "cpu", "hugepages-", "memory"']),
    ({"resources": {"requests": {"memory": "64Mi"}}, "containers": [{"name": n, "image": "i", "resources": {"requests": {"memory": "64Mi"}}} for n in "ab"]}, ['spec.resources.requests[memory]: Invalid value: "64Mi": must be greater than or equal to aggregate container requests of 128Mi']),
    ({"resources": {"limits": {"cpu": "1"}}, "containers": [{"name": "a", "image": "i", "resources": {"limits": {"cpu": "2"}, "requests": {"cpu": "1"}}}]}, ['spec.resources.containers[0][cpu].limits: Invalid value: "2": must be less than or equal to pod limits of 1']),
    # annotations
    ({"metadata": {"annotations": {COST: "-2147483648"}}}, []),
    ({"metadata": {"annotations": {COST: "01"}}}, [f'metadata.annotations[{COST}]: Invalid value: "01": must be a 32bit integer']),
    ({"metadata": {"annotations": {COST: "2147483648"}}}, [f"metadata.annotations[{COST}]: Inv"]),
    ({"metadata": {"annotations": {f"{ARMOR}c": "runtime/default"}}}, []),
    ({"metadata": {"annotations": {f"{ARMOR}x": "other"}}}, [f'metadata.annotations[{ARMOR}x]: Invalid value: "x": container not found', f'metadata.annotations[{ARMOR}x]: Invalid value: "other": invalid AppArmor profile name: "other"']),
    ({"metadata": {"annotations": {"kubernetes.io/config.mirror": "x"}}}, ["metadata.annotations[kubernetes.io/config.mirror]: Invalid value: \"x\": must set spec.nodeName if mirror pod annotation"]),
]  # fmt: skip


@pytest.mark.parametrize(("change", "expected"), POD)
def test_pods(change: Object, expected: list[str]) -> None:
    check(said(pod(**copy.deepcopy(change))), expected)
