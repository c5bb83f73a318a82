"""Volumes, Services and the rest of the core kinds, case by case: what upstream takes and refuses.

A row is a change to a good object of its kind and the beginning of each cause; none is a yes.
"""

import copy
from typing import Any

import pytest
from strategy_cases import Object, cut, said, spec
from strategy_pods import pod, refused

from wherry.api import kinds
from wherry.api.kinds import Kind
from wherry.apiserver.patch import merge_patch
from wherry.apiserver.strategy import STRATEGIES, strategy_for

V = "spec.volumes[0]"
CLAIM = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
PORTS = [{"port": 80}]
IQN = "iqn.2015-02.example.com:test"


def projected(*sources: Object) -> Object:
    return {"projected": {"sources": list(sources)}}


VOLUMES: list[tuple[Object, list[str]]] = [
    ({}, []),
    ({"emptyDir": {"sizeLimit": "-1"}}, [f"{V}.emptyDir.sizeLimit: Forbidden: SizeLimit field must be"]),
    ({"name": "A"}, [f'{V}.name: Invalid value: "A": a lowercase RFC 1123 label']),
    ({"name": ""}, [f"{V}.name: Required value"]),
    ({"secret": {"secretName": "s"}, "emptyDir": {}, "configMap": {"name": "c"}}, [f"{V}.secret: Forbidden: may not specify more than 1 volume type", f"{V}.configMap: Forb"]),
    ({"hostPath": {"path": "/a", "type": "Socket"}}, []),
    ({"hostPath": {"path": ""}}, [f"{V}.hostPath.path: Required value"]),
    ({"secret": {"secretName": "s", "defaultMode": 0o777, "items": [{"key": "a", "path": "b/c"}]}}, []),
    ({"secret": {"defaultMode": 0o1000}}, [f"{V}.secret.secretName: Required", f"{V}.secret.defaultMode: Invalid value: 512: must be a number between 0 and 0777"]),
    ({"secret": {"secretName": "s", "items": [{}]}}, [f"{V}.secret.items[0].key: Required value", f"{V}.secret.items[0].path: Required value"]),
    ({"configMap": {"name": "c", "items": [{"key": "a", "path": "..b", "mode": -1}]}}, [f"{V}.configMap.items[0].path: Invalid value: \"..b\": must not start with '..'", f"{V}.configMap.items[0].mode: Invalid value: -1"]),
    ({"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}}, []),
    ({"downwardAPI": {"items": [{"path": "a"}]}}, [f"{V}.downwardAPI: Required value: one of fieldRef and resourceFieldRef is required"]),
    ({"downwardAPI": {"items": [{"path": "/a", "fieldRef": {"fieldPath": "spec.nodeName"}}]}}, [f'{V}.downwardAPI.path: Invalid value: "/a": must be a relative path', f'{V}.downwardAPI.fieldRef.fieldPath: Unsupported value: "spec.nodeName"']),
    ({"downwardAPI": {"items": [{"path": "a", "resourceFieldRef": {"resource": "limits.cpu"}}]}}, [f"{V}.downwardAPI.resourceFieldRef.containerName: Required value"]),
    (projected({"secret": {"name": "s"}}, {"serviceAccountToken": {"path": "t"}}), []),
    (projected({}), []),
    (projected({"secret": {"name": "s"}, "configMap": {"name": "c"}}), [f"{V}.projected.sources[0]: Forbidden: may not specify more than 1 volume type per source"]),
    (projected({"serviceAccountToken": {"expirationSeconds": 1 << 33}}), [f"{V}.projected.sources[0].serviceAccountToken.expirationSeconds: Invalid value: 8589934592: may not specify a duration larger", f"{V}.projected.path: Required value"]),
    (projected({"configMap": {"name": "c", "items": [{"key": "a", "path": "x"}]}}, {"downwardAPI": {"items": [{"path": "x", "fieldRef": {"fieldPath": "metadata.name"}}]}}), [f'{V}.projected: Invalid value: "x": conflicting duplicate paths']),
    ({"persistentVolumeClaim": {}}, [f"{V}.persistentVolumeClaim.claimName: Required value"]),
    ({"persistentVolumeClaim": {"claimName": "p-e"}}, []),
    ({"ephemeral": {"volumeClaimTemplate": {"metadata": {"labels": {"a": "b"}}, "spec": CLAIM}}}, []),
    ({"ephemeral": {"volumeClaimTemplate": {"metadata": {"name": "x"}, "spec": {}}}}, [f"{V}.ephemeral.volumeClaimTemplate.metadata.name: Forbidden: cannot be set", f"{V}.ephemeral.volumeClaimTemplate.spec.accessModes: Required value: at least 1", f"{V}.ephemeral.volumeClaimTemplate.spec.resources[storage]: Required value"]),
    ({"image": {"reference": "a", "pullPolicy": "Often"}}, [f'{V}.image.pullPolicy: Unsupported value: "Often": supported values: "Always", "IfNotPresent", "Never"']),
    ({"image": {}}, [f"{V}.image.reference: Required value"]),
    ({"csi": {"driver": "a.b", "nodePublishSecretRef": {}}}, [f"{V}.csi.nodePublishSecretRef.name: Required value"]),
    ({"csi": {"driver": "a" * 64}}, [f"{V}.csi.driver: Too long: may not be more than 63 bytes"]),
    ({"nfs": {"server": "s"}}, [f"{V}.nfs.path: Required value", f'{V}.nfs.path: Invalid value: "": must be an absolute path']),
    ({"gcePersistentDisk": {"partition": 256}}, [f"{V}.persistentDisk.pdName: Required value", f"{V}.persistentDisk.partition: Invalid value: 256: must be between 1 and 255, inclusive"]),
    ({"iscsi": {"targetPortal": "p", "iqn": IQN, "chapAuthSession": True}}, [f"{V}.iscsi.secretRef: Required value"]),
    ({"iscsi": {"targetPortal": "p", "iqn": "iqn.x", "initiatorName": "x"}}, [f'{V}.iscsi.iqn: Invalid value: "iqn.x": must be valid format', f'{V}.iscsi.initiatorname: Invalid value: "x": must be valid format starting']),
    ({"iscsi": {"targetPortal": "p" * 64, "iqn": IQN, "initiatorName": IQN}}, [f'{V}.name: Invalid value: "v": Total length of']),
    ({"fc": {"targetWWNs": ["a"]}}, [f"{V}.fc.lun: Required value: lun is required if targetWWNs is specified"]),
    ({"flexVolume": {"driver": "a/b", "options": {"x.k8s.io/y": "z"}}}, [f'{V}.flexVolume.options[x.k8s.io/y]: Invalid value: "x.k8s.io/y": kubernetes.io and k8s.io']),
    ({"azureDisk": {"diskName": "d", "diskURI": "x", "kind": "Managed"}}, [f'{V}.azureDisk.diskURI: Unsupported value: "x": supported values: "/subscriptions/']),
    ({"quobyte": {"registry": "a", "volume": "v"}}, [f'{V}.quobyte.registry: Invalid value: "a": must be a host:port pair']),
    ({"flocker": {}}, [f"{V}.flocker: Required value: one of datasetName and datasetUUID is required"]),
    ({"storageos": {"volumeName": "A", "secretRef": {}}}, [f'{V}.storageos.volumeName: Invalid value: "A"', f"{V}.storageos.secretRef.name: Required value"]),
    ({"gitRepo": {"repository": "r", "directory": "../x"}}, [f"{V}.gitRepo.directory: Invalid value: \"../x\": must not contain '..'"]),
]  # fmt: skip


@pytest.mark.parametrize(("volume", "expected"), VOLUMES)
def test_volumes(volume: Object, expected: list[str]) -> None:
    obj = pod(volumes=[{"name": "v", **volume}], serviceAccountName="a")
    assert cut(refused(obj), expected) == expected


def test_the_claim_of_an_ephemeral_volume_is_its_own() -> None:
    volumes = [
        {"name": "e", "ephemeral": {"volumeClaimTemplate": {"spec": CLAIM}}},
        {"name": "v", "persistentVolumeClaim": {"claimName": "p-e"}},
        {"name": "w", "emptyDir": {}, "secret": {}},
    ]
    mounts = [{"name": "w", "mountPath": "/w"}]
    container = {"name": "c", "image": "i", "volumeMounts": mounts}
    expected = [
        'spec.volumes[1].persistentVolumeClaim.claimName: Invalid value: "p-e": must not ref',
        "spec.volumes[2].secret: Forbidden: may not specify more than 1 volume type",
        'spec.containers[0].volumeMounts[0].name: Not found: "w"',
    ]
    assert cut(refused(pod(containers=[container], volumes=volumes)), expected) == expected


def service(**spec: Any) -> Object:
    return {"spec": {"ports": PORTS, **spec}}


def ports(*each: Object) -> Object:
    return {"spec": {"ports": list(each)}}


SERVICES: list[tuple[Object, list[str]]] = [
    (service(), []),
    (service(ports=[]), ["spec.ports: Required value"]),
    (service(ports=[], clusterIP="None"), []),
    (service(type="LoadBalancer", loadBalancerSourceRanges=[" 10.0.0.0/8 "]), []),
    (service(type="NodePort", clusterIP="None"), ["spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services"]),
    (service(type="ExternalName", externalName="a.b.", ports=[]), []),
    (service(type="ExternalName", externalName="A_b"), ['spec.externalName: Invalid value: "A_b"']),
    (service(type="ExternalName", externalName="a", clusterIP="10.96.0.9", clusterIPs=["10.96.0.9"], ipFamilies=["IPv4"]), ["spec.clusterIPs: Forbidden: may not be set for ExternalName services", "spec.ipFamilies: Forbidden: may not"]),
    (service(type="Other"), ['spec.type: Unsupported value: "Other": supported values: "ClusterIP", "ExternalName", "LoadBalancer", "NodePort"']),
    (ports({"port": 1, "name": "a"}, {"port": 2}), ["spec.ports[1].name: Required value"]),
    (ports({"port": 1, "name": "a"}, {"port": 2, "name": "a"}), ['spec.ports[1].name: Duplicate value: "a"']),
    (ports({"port": 1, "name": "a"}, {"port": 1, "name": "b"}), ['spec.ports[1]: Duplicate value: {"protocol":"TCP","port":1}']),
    (ports({"port": 1, "name": "a"}, {"port": 1, "name": "b", "protocol": "UDP"}), []),
    (ports({"port": 65536}), ["spec.ports[0].port: Invalid value: 65536", "spec.ports[0].targetPort: Invalid value: 65536"]),
    (ports({"port": 1, "protocol": "ICMP"}), ['spec.ports[0].protocol: Unsupported value: "ICMP"']),
    (ports({"port": 1, "targetPort": "a_b"}), ['spec.ports[0].targetPort: Invalid value: "a_b"']),
    (ports({"port": 1, "appProtocol": "kubernetes.io/h2c"}), []),
    (ports({"port": 1, "appProtocol": ""}), ['spec.ports[0].appProtocol: Invalid value: "": name part must be non-empty', "spec.ports[0].appProtocol: Inv"]),
    (ports({"port": 1, "nodePort": 30001}), ["spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"]),
    (service(type="NodePort", ports=[{"port": 1, "name": "a", "nodePort": 30001}, {"port": 2, "name": "b", "nodePort": 30001}]), ["spec.ports[1].nodePort: Duplicate value: 30001"]),
    (service(selector={"a b": "c"}), ['spec.selector: Invalid value: "a b"']),
    (service(sessionAffinity="Cookie"), ['spec.sessionAffinity: Unsupported value: "Cookie": supported values: "ClientIP", "None"']),
    (service(sessionAffinity="ClientIP", sessionAffinityConfig={"clientIP": {"timeoutSeconds": 0}}), ["spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 0: must be greater than 0 and less than 86400"]),
    # addresses
    (service(clusterIP="10.96.0.9"), []),
    (service(clusterIPs=["10.96.0.9"]), ['spec.clusterIPs: Invalid value: ["10.96.0.9"]: must be empty when `clusterIP` is not specified']),
    (service(clusterIP="10.96.0.9", clusterIPs=["10.96.0.8"]), ['spec.clusterIPs: Invalid value: ["10.96.0.8"]: first value must match `clusterIP`']),
    (service(clusterIP="None", clusterIPs=["None", "10.0.0.1"]), ["spec.clusterIPs: Invalid value: [\"None\",\"10.0.0.1\"]: 'None' must be the first and only value"]),
    (service(clusterIP="fd00::1"), ['spec.clusterIPs[0]: Invalid value: "fd00::1": expected an IPv4 value as indicated by `ipFamilies[0]`']),
    (service(ipFamilies=["IPv6"]), ['spec.ipFamilies[0]: Invalid value: "IPv6": not configured on this cluster']),
    (service(ipFamilies=["IPv4", "IPv6"]), ["spec.ipFamilyPolicy: Invalid value: \"SingleStack\": must be 'RequireDualStack' or 'PreferDualStack' when multiple IP"]),
    (service(ipFamilyPolicy="RequireDualStack"), ['spec.ipFamilyPolicy: Invalid value: "RequireDualStack": this cluster is not configured for dual-stack']),
    (service(ipFamilyPolicy="PreferDualStack"), []),
    (service(ipFamilyPolicy="Both"), ['spec.ipFamilyPolicy: Unsupported value: "Both": supported values: "PreferDualStack", "RequireDualStack", "SingleStack"']),
    (service(externalIPs=["127.0.0.1", "x", "203.0.113.7"]), ['spec.externalIPs[0]: Invalid value: "127.0.0.1": may not be in the loopback range', 'spec.externalIPs[1]: Invalid value: "x": must be a valid IP address']),
    # traffic
    (service(externalIPs=["203.0.113.7"], externalTrafficPolicy="Local"), []),
    (service(externalTrafficPolicy="Cluster"), ['spec.externalTrafficPolicy: Invalid value: "Cluster": may only be set for externally-accessible']),
    (service(type="NodePort", externalTrafficPolicy="Near"), ['spec.externalTrafficPolicy: Unsupported value: "Near": supported values: "Cluster", "Local"']),
    (service(internalTrafficPolicy="Near"), ['spec.internalTrafficPolicy: Unsupported value: "Near": supported values: "Cluster", "Local"']),
    (service(trafficDistribution="Far"), ['spec.trafficDistribution: Unsupported value: "Far": supported values: "PreferClose", "PreferSameNode", "PreferSameZone"']),
    (service(healthCheckNodePort=30002), ["spec.healthCheckNodePort: Invalid value: 30002: may only be set when `type` is 'LoadBalancer'"]),
    (service(allocateLoadBalancerNodePorts=True), ["spec.allocateLoadBalancerNodePorts: Forbidden: may only be used when `type` is 'LoadBalancer'"]),
    (service(loadBalancerClass="a/b"), ["spec.loadBalancerClass: Forbidden: may only be used when `type` is 'LoadBalancer'"]),
    (service(type="LoadBalancer", loadBalancerClass="a b"), ['spec.loadBalancerClass: Invalid value: "a b"']),
    ({"metadata": {"annotations": {"service.kubernetes.io/topology-mode": "Auto", "service.kubernetes.io/topology-aware-hints": "Off"}}, **service()}, ['metadata.annotations[service.kubernetes.io/topology-mode]: Invalid value: "Auto": must match annotations[']),
]  # fmt: skip


def ready(kind: Kind, obj: Object) -> Object:
    made: Object = {"metadata": {"name": "x"}, **copy.deepcopy(obj)}
    strategy_for(kind).default(made)
    return made


@pytest.mark.parametrize(("obj", "expected"), SERVICES)
def test_services(obj: Object, expected: list[str]) -> None:
    assert (
        cut(said(strategy_for(kinds.SERVICE).validate(ready(kinds.SERVICE, obj))), expected)
        == expected
    )


def test_a_service_of_nobody_may_have_both_families() -> None:
    spec = ready(kinds.SERVICE, service(clusterIP="None"))["spec"]
    assert (spec["ipFamilyPolicy"], spec["ipFamilies"]) == ("RequireDualStack", ["IPv4", "IPv6"])
    chosen = ready(kinds.SERVICE, service(clusterIP="None", selector={"a": "b"}))["spec"]
    assert (chosen["ipFamilyPolicy"], chosen["ipFamilies"]) == ("SingleStack", ["IPv4"])


IP = {"clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"]}
NODE_PORTS = [{"name": "a", "port": 80, "nodePort": 30001}, {"name": "b", "port": 81, "nodePort": 30002}]  # fmt: skip

# what it was, what is sent, what it becomes, what is wrong with the step
SERVICE_UPDATES: list[tuple[Object, Object, Object, list[str]]] = [
    (IP, {}, IP, []),
    (IP, {"clusterIP": "10.96.0.8"}, {"clusterIPs": ["10.96.0.8"]}, ['spec.clusterIPs[0]: Invalid value: ["10.96.0.8"]: may not change once set']),
    (IP, {"clusterIP": "None"}, {"clusterIPs": ["None"]}, ['spec.clusterIPs[0]: Invalid value: ["None"]: may not change once set']),
    (IP, {"type": "ExternalName", "externalName": "a"}, {"clusterIP": None, "clusterIPs": None, "ipFamilies": None}, []),
    ({"type": "ExternalName", "externalName": "a"}, {"type": "ClusterIP"}, {"ipFamilies": ["IPv4"]}, []),
    ({**IP, "type": "NodePort", "ports": NODE_PORTS}, {"type": "NodePort", "ports": [{"name": "b", "port": 90}]}, {"ports": [{"name": "b", "port": 90, "nodePort": 30002, "protocol": "TCP", "targetPort": 90}]}, []),
    ({**IP, "type": "NodePort", "ports": NODE_PORTS}, {"type": "NodePort", "ports": [{"name": "a", "port": 80}, {"name": "c", "port": 81, "nodePort": 30001}]}, {"ports": [{"name": "a", "port": 80, "protocol": "TCP", "targetPort": 80}, {"name": "c", "port": 81, "nodePort": 30001, "protocol": "TCP", "targetPort": 81}]}, []),
    ({**IP, "type": "NodePort", "ports": NODE_PORTS}, {"type": "ClusterIP", "ports": NODE_PORTS, "externalTrafficPolicy": "Cluster"}, {"externalTrafficPolicy": None}, []),
    ({**IP, "type": "LoadBalancer", "loadBalancerClass": "a/b"}, {"type": "ClusterIP", "loadBalancerClass": "a/b", "allocateLoadBalancerNodePorts": True}, {"loadBalancerClass": None, "allocateLoadBalancerNodePorts": None}, []),
    ({**IP, "type": "LoadBalancer"}, {"type": "LoadBalancer", "loadBalancerClass": "a/b"}, {}, ['spec.loadBalancerClass: Invalid value: "a/b": may not change once set']),
    ({**IP, "type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 30009}, {"type": "LoadBalancer", "externalTrafficPolicy": "Local"}, {"healthCheckNodePort": 30009}, []),
    ({**IP, "type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 30009}, {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 30010}, {}, ["spec.healthCheckNodePort: Forbidden: field is immutable"]),
]  # fmt: skip


@pytest.mark.parametrize(("was", "sent", "becomes", "expected"), SERVICE_UPDATES)
def test_updates_of_services(
    was: Object, sent: Object, becomes: Object, expected: list[str]
) -> None:
    strategy, old = strategy_for(kinds.SERVICE), ready(kinds.SERVICE, service(**was))
    new: Object = {"metadata": {"name": "x"}, **copy.deepcopy(service(**sent))}
    strategy.prepare_update(new, old)
    strategy.default(new)
    assert {field: new["spec"].get(field) for field in becomes} == becomes
    assert cut(said(strategy.validate_update(new, old)), expected) == expected
    if not expected:
        assert strategy.validate(new) == []


PV = {
    "capacity": {"storage": "1Gi"},
    "accessModes": ["ReadWriteOnce"],
    "csi": {"driver": "a.b", "volumeHandle": "h"},
}
ZONE = {"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["a"]}
OLD_ZONE = {**ZONE, "key": "failure-domain.beta.kubernetes.io/zone"}
QUOTA = {"hard": {"pods": "1"}}
LIMITS = {"limits": [{"type": "Container"}]}
GOOD: dict[str, Object] = {
    "PersistentVolumeClaim": {"spec": CLAIM},
    "PersistentVolume": {"spec": PV},
    "Node": {"spec": {}},
    "Namespace": {"spec": {}},
    "ConfigMap": {"data": {"a": "b"}},
    "Secret": {"data": {"a": "eA=="}},
    "ResourceQuota": {"spec": QUOTA},
    "LimitRange": {"spec": LIMITS},
}


def nodes(requirement: Object) -> Object:
    return {"required": {"nodeSelectorTerms": [{"matchExpressions": [requirement]}]}}


def limit(**item: Any) -> Object:
    return spec(limits=[{"type": "Container", **item}])


CORE: list[tuple[str, Object, list[str]]] = [
    ("PersistentVolumeClaim", spec(accessModes=[]), ["spec.accessModes: Required value: at least 1 access mode is required"]),
    ("PersistentVolumeClaim", spec(accessModes=["RWX"]), ['spec.accessModes: Unsupported value: "RWX": supported values: "ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"']),
    ("PersistentVolumeClaim", spec(accessModes=["ReadWriteOncePod", "ReadWriteOnce"]), ["spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes"]),
    ("PersistentVolumeClaim", spec(resources={"requests": {"storage": "0"}}), ['spec.resources[storage]: Invalid value: "0": must be greater than zero']),
    ("PersistentVolumeClaim", spec(resources={"requests": {"storage": "-1"}}), ['spec.resources[storage]: Invalid value: "-1": must be greater than zero']),
    ("PersistentVolumeClaim", spec(volumeMode="Tape"), ['spec.volumeMode: Unsupported value: "Tape": supported values: "Block", "Filesystem"']),
    ("PersistentVolumeClaim", spec(dataSource={"kind": "PersistentVolumeClaim", "name": "p"}), []),
    ("PersistentVolumeClaim", spec(dataSource={"kind": "Snapshot", "name": "p"}), ["spec.dataSource: Invalid value: \"Snapshot\": must be 'PersistentVolumeClaim' when referencing"]),
    ("PersistentVolumeClaim", spec(dataSource={"kind": "S", "name": "p", "apiGroup": "a_b"}), ['spec.dataSource.apiGroup: Invalid value: "a_b"']),
    ("PersistentVolumeClaim", spec(dataSource={"kind": "PersistentVolumeClaim", "name": "p"}, dataSourceRef={"kind": "PersistentVolumeClaim", "name": "q"}), ['spec: Invalid value: "spec.dataSource": must match dataSourceRef']),
    ("PersistentVolume", {}, []),
    ("PersistentVolume", spec(accessModes=[]), ["spec.accessModes: Required value"]),
    ("PersistentVolume", spec(capacity=None), ["spec.capacity: Required value", 'spec.capacity: Unsupported value: {}: supported values: "storage"']),
    ("PersistentVolume", spec(capacity={"storage": "0"}), ['spec.capacity[storage]: Invalid value: "0": must be greater than zero']),
    ("PersistentVolume", spec(csi=None), ["spec: Required value: must specify a volume type"]),
    ("PersistentVolume", spec(csi={"driver": ""}), ["spec.csi.driver: Required value", 'spec.csi.driver: Invalid value: ""']),
    ("PersistentVolume", spec(csi={"nodeExpandSecretRef": {"name": "A"}}), ['spec.csi.nodeExpandSecretRef.name: Invalid value: "A"', "spec.csi.nodeExpandSecretRef.namespace: Required value"]),
    ("PersistentVolume", spec(hostPath={"path": "/x"}), ["spec.csi: Forbidden: may not specify more than 1 volume type"]),
    ("PersistentVolume", spec(csi=None, hostPath={"path": "//"}, persistentVolumeReclaimPolicy="Recycle"), ["spec.persistentVolumeReclaimPolicy: Forbidden: may not be 'recycle' for a hostPath mount"]),
    ("PersistentVolume", spec(csi=None, local={"path": "/x"}), ["spec.nodeAffinity: Required value: Local volume requires node affinity"]),
    ("PersistentVolume", spec(nodeAffinity={}), ["spec.nodeAffinity.required: Required value: must specify required node constraints"]),
    ("PersistentVolume", spec(csi=None, nfs={"server": "s", "path": "/p"}, volumeAttributesClassName=""), ["spec.volumeAttributesClassName: Required value: an empty string is disallowed", "spec.csi: Required value: has to be specified when using volumeAttributesClassName"]),
    ("Node", spec(taints=[{"key": "a", "effect": "NoSchedule"}, {"key": "a", "effect": "NoExecute"}]), []),
    ("Node", spec(taints=[{"key": "", "value": "b c"}]), ['metadata.taints[0].key: Invalid value: "": name part must be non-empty', "metadata.taints[0].key: Inv", 'metadata.taints[0].value: Invalid value: "b c"', "metadata.taints[0].effect: Required value"]),
    ("Node", spec(podCIDR="10.0.0.0/24", podCIDRs=["10.0.0.0/24", "10.0.1.0/24"]), ["spec.podCIDRs: Invalid value: [\"10.0.0.0/24\",\"10.0.1.0/24\"]: may specify no more than one CIDR"]),
    ("Node", {"status": {"capacity": {"anything": "-1", "a.b/c": "1500m"}}}, ['status.capacity.anything: Invalid value: "-1": must be greater than or equal to 0', 'status.capacity.a.b/c: Invalid value: "1500m": must be an integer', "status.allocatable.anything: Inv", "status.allocatable.a.b/c: Inv"]),
    ("Namespace", spec(finalizers=["kubernetes", "a.b/c"]), []),
    ("Namespace", spec(finalizers=["mine"]), ['spec.finalizers: Invalid value: "mine": name is neither a standard finalizer name']),
    ("ConfigMap", {"data": {"a b": "", "..": ""}}, ['data[a b]: Invalid value: "a b": a valid config key', "data[..]: Invalid value: \"..\": must not be '..'"]),
    ("ConfigMap", {"binaryData": {"a": "eA=="}}, ['data[a]: Invalid value: "a": duplicate of key present in binaryData']),
    ("ConfigMap", {"data": {"a": "x" * (1 << 20)}, "binaryData": {"b": ""}}, []),
    ("ConfigMap", {"data": {"a": "x" * (1 << 20)}, "binaryData": {"b": "eA=="}}, [": Too long: may not be more than 1048576 bytes"]),
    ("Secret", {"type": "kubernetes.io/tls"}, ["data[tls.crt]: Required value", "data[tls.key]: Required value"]),
    ("Secret", {"type": "kubernetes.io/ssh-auth", "data": {"ssh-privatekey": ""}}, ["data[ssh-privatekey]: Required value"]),
    ("Secret", {"type": "kubernetes.io/basic-auth", "data": {"username": ""}}, []),
    ("Secret", {"type": "kubernetes.io/dockerconfigjson"}, ["data[.dockerconfigjson]: Required value"]),
    ("Secret", {"type": "kubernetes.io/dockercfg", "data": {".dockercfg": "W10="}}, ['data[.dockercfg]: Invalid value: "<secret contents redacted>": json: cannot unmarshal array']),
    ("Secret", {"type": "kubernetes.io/service-account-token"}, ["metadata.annotations[kubernetes.io/service-account.name]: Required value"]),
    ("Secret", {"type": "example.com/mine"}, []),
    ("ResourceQuota", spec(hard={"requests.cpu": "1", "a.b/c": "1", "count/pods": "3", "services.nodeports": "1"}), []),
    ("ResourceQuota", spec(hard={"pods": "1.5"}), ['spec.hard[pods]: Invalid value: "1.5": must be an integer']),
    ("ResourceQuota", spec(hard={"gpu": "1"}), ['spec.hard[gpu]: Invalid value: "gpu": must be a standard resource type', 'spec.hard[gpu]: Invalid value: "gpu": must be a standard resource for quota']),
    ("ResourceQuota", spec(scopes=["BestEffort"], hard={"pods": "1", "cpu": "1"}), ['spec.scopes: Invalid value: ["BestEffort"]: unsupported scope applied to resource']),
    ("ResourceQuota", spec(scopes=["Terminating", "NotTerminating"]), ['spec.scopes: Invalid value: ["Terminating","NotTerminating"]: conflicting scopes']),
    ("ResourceQuota", spec(scopes=["NotBestEffort"], hard={"services": "1"}), ['spec.scopes: Invalid value: ["NotBestEffort"]: unsupported scope applied to resource']),
    ("ResourceQuota", spec(scopeSelector={"matchExpressions": [{"scopeName": "PriorityClass", "operator": "In", "values": ["a"]}]}), []),
    ("ResourceQuota", spec(scopeSelector={"matchExpressions": [{"scopeName": "Terminating", "operator": "In"}]}), ["spec.scopeSelector.matchExpressions.operator: Invalid value: \"In\": must be 'Exists' when scope is any", "spec.scopeSelector.matchExpressions.values: Required value: must be at least one value"]),
    ("LimitRange", limit(max={"cpu": "2"}, min={"cpu": "1"}, maxLimitRequestRatio={"cpu": "2"}), []),
    ("LimitRange", limit(max={"storage": "1"}), ['spec.limits[0].max[storage]: Invalid value: "storage": must be a standard resource for containers'] + [f'spec.limits[0].{field}[storage]: Invalid value: "storage"' for field in ("default", "defaultRequest")]),
    ("LimitRange", limit(max={"cpu": "2"}, min={"cpu": "1"}, maxLimitRequestRatio={"cpu": "3"}), ['spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: "3": ratio 3 is greater than max/min = 2.000000']),
    ("LimitRange", limit(default={"a.b/c": "2"}, defaultRequest={"a.b/c": "1"}), ['spec.limits[0].defaultRequest[a.b/c]: Invalid value: "1": default value 2 must equal to defaultRequest value 1 in a.b/c']),
    ("LimitRange", limit(max={"cpu": "1"}, default={"cpu": "2"}, defaultRequest={"cpu": "1"}), ['spec.limits[0].default[cpu]: Invalid value: "1": default value 2 is greater than max value 1']),
    ("LimitRange", spec(limits=[{"type": "Pod", "default": {"cpu": "1"}}]), ["spec.limits[0].default: Forbidden: may not be specified when `type` is 'Pod'"]),
    ("LimitRange", spec(limits=[{"type": "PersistentVolumeClaim"}]), ["spec.limits[0].limits: Required value: either minimum or maximum storage value is required"]),
    ("LimitRange", spec(limits=[{"type": "Container"}, {"type": "Container"}]), ['spec.limits[1].type: Duplicate value: "Container"']),
    ("LimitRange", spec(limits=[{"type": "Thing"}]), ['spec.limits[0].type: Invalid value: "Thing": must be a standard limit type']),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "change", "expected"), CORE)
def test_core_kinds(kind: str, change: Object, expected: list[str]) -> None:
    strategy = STRATEGIES["v1", kind]
    obj = merge_patch({"metadata": {"name": "x"}, **copy.deepcopy(GOOD[kind])}, change)
    strategy.default(obj)
    assert cut(said(strategy.validate(obj)), expected) == expected


FIXED = "spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttr"
BOUND = {"status": {"phase": "Bound", "capacity": {"storage": "1Gi"}}}
SIZE = {"resources": {"requests": {"storage": "2Gi"}}}

# kind, what is added to the good one, what is changed then, what is wrong with that
STEPS: list[tuple[str, Object, Object, list[str]]] = [
    ("PersistentVolumeClaim", {}, spec(volumeName="pv", storageClassName="fast"), []),
    ("PersistentVolumeClaim", spec(storageClassName=""), spec(storageClassName="fast"), [FIXED]),
    ("PersistentVolumeClaim", spec(volumeName="pv"), spec(volumeName="other"), [FIXED]),
    ("PersistentVolumeClaim", {}, spec(**SIZE), [FIXED]),
    ("PersistentVolumeClaim", BOUND, spec(**SIZE), []),
    ("PersistentVolumeClaim", BOUND, spec(volumeAttributesClassName="gold"), []),
    ("PersistentVolumeClaim", {**BOUND, **spec(volumeAttributesClassName="gold")}, spec(volumeAttributesClassName=None), [FIXED, "spec.volumeAttributesClassName: Forbidden: update from non-nil value to nil is forbidden"]),
    ("PersistentVolumeClaim", BOUND, spec(volumeMode="Block"), [FIXED, 'volumeMode: Invalid value: "Block": field is immutable']),
    ("PersistentVolume", {}, spec(csi={"controllerExpandSecretRef": {"name": "s", "namespace": "n"}}), []),
    ("PersistentVolume", {}, spec(csi={"volumeHandle": "other"}), ["spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable"]),
    ("PersistentVolume", {}, spec(nodeAffinity=nodes(ZONE)), []),
    ("PersistentVolume", spec(nodeAffinity=nodes(OLD_ZONE)), spec(nodeAffinity=nodes(ZONE)), []),
    ("PersistentVolume", spec(nodeAffinity=nodes(ZONE)), spec(nodeAffinity=nodes({**ZONE, "values": ["b"]})), ["nodeAffinity: Invalid value: {"]),
    ("Node", spec(podCIDRs=["10.0.0.0/24"]), spec(podCIDRs=["10.0.1.0/24"]), ['spec.podCIDRs: Forbidden: node updates may not change podCIDR except from "" to valid']),
    ("Node", {}, spec(podCIDRs=["10.0.1.0/24"], providerID="a://b", unschedulable=True), []),
    ("ConfigMap", {"immutable": True}, {"data": {"a": "c"}}, ["data: Forbidden: field is immutable when `immutable` is set"]),
    ("ConfigMap", {"immutable": True}, {"metadata": {"labels": {"a": "b"}}}, []),
    ("ConfigMap", {}, {"immutable": True, "data": {"a": "c"}}, []),
    ("Secret", {"immutable": True}, {"immutable": None}, ["immutable: Forbidden: field is immutable when `immutable` is set"]),
    ("Secret", {"immutable": True}, {"type": "a/b", "data": {"a": "eQ=="}}, ['type: Invalid value: "a/b": field is immutable', "data: Forbidden"]),
    ("ResourceQuota", spec(scopes=["BestEffort"]), spec(scopes=["NotBestEffort"]), ['spec.scopes: Invalid value: ["NotBestEffort"]: field is immutable']),
    ("ResourceQuota", {}, spec(hard={"pods": "9"}), []),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "first", "change", "expected"), STEPS)
def test_steps(kind: str, first: Object, change: Object, expected: list[str]) -> None:
    strategy = STRATEGIES["v1", kind]
    old = merge_patch({"metadata": {"name": "x"}, **copy.deepcopy(GOOD[kind])}, first)
    strategy.default(old)
    new = merge_patch(copy.deepcopy(old), change)
    strategy.default(new)
    assert cut(said(strategy.validate_update(new, old)), expected) == expected


def test_a_namespace_may_have_more_who_hold_it() -> None:
    obj: Object = {"metadata": {"name": "x"}, "spec": {"finalizers": ["a.b/c"]}}
    strategy = strategy_for(kinds.NAMESPACE)
    strategy.prepare_create(obj)
    assert obj["spec"]["finalizers"] == ["a.b/c", "kubernetes"]
    ended = {"metadata": {"name": "x"}, "status": {"phase": "Terminating"}}
    expected = [
        "status.Phase: Invalid value: \"Terminating\": may only be 'Active' if `deletionTimestamp`"
    ]
    assert cut(said(strategy.validate_status(ended, obj)), expected) == expected
