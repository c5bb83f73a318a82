"""Pods, case by case: what upstream takes and what it refuses, with the beginning of each cause.

A row is a change to a good pod's spec; `metadata` among it is the pod's.
"""

from typing import Any

import pytest
from strategy_cases import Object, cut
from strategy_pods import C, pod, refused


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
    spec = dict(change)
    obj = pod(spec.pop("metadata", None), **spec)
    assert cut(refused(obj), expected) == expected
