"""Pods, step by step: what a new one gets, what may change, what is reported, what is warned of."""

import copy
from typing import Any

import pytest

from wherry.api import kinds
from wherry.apiserver.patch import merge_patch
from wherry.apiserver.strategy import STRATEGIES, strategy_for
from wherry.apiserver.strategy.pod.warnings import warn_of_template

Object = dict[str, Any]
STRATEGY = strategy_for(kinds.POD)
MIRROR = "kubernetes.io/config.mirror"
ARMOR = "container.apparmor.security.beta.kubernetes.io/c"
FIXED = "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`"
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def pod(meta: Object | None = None, **spec: Any) -> Object:
    obj = {
        "metadata": {"name": "p", **(meta or {})},
        "spec": {"containers": [{"name": "c", "image": "i"}], **spec},
    }
    made: Object = copy.deepcopy(obj)
    return made


def ready(meta: Object | None = None, **spec: Any) -> Object:
    obj = pod(meta, **spec)
    STRATEGY.default(obj)
    return obj


def check(causes: list[Any], expected: list[str]) -> None:
    found = [f"{cause.field}: {cause.message}" for cause in causes]
    assert len(found) == len(expected), found
    for text, beginning in zip(found, expected, strict=True):
        assert text.startswith(beginning), (text, beginning)


def annotated(**annotations: str) -> Object:
    return {"annotations": annotations}


def terms(*each: Object) -> Object:
    return {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": list(each)}}}


def zones(*values: str) -> Object:
    return {"matchExpressions": [{"key": "zone", "operator": "In", "values": [v]} for v in values]}


GATED: Object = {"schedulingGates": [{"name": "a/b"}]}
TERMS = f"spec.affinity.nodeAffinity.{REQUIRED}.nodeSelectorTerms"
NEAR = {"podAntiAffinity": {REQUIRED: [{"topologyKey": "z", "labelSelector": {}}]}}

# the old pod, the change, what is wrong with it
UPDATES: list[tuple[Object, Object, list[str]]] = [
    (ready(), {"spec": {"activeDeadlineSeconds": 5}}, []),
    (ready(activeDeadlineSeconds=5), {"spec": {"activeDeadlineSeconds": 4}}, []),
    (ready(activeDeadlineSeconds=5), {"spec": {"activeDeadlineSeconds": 6}}, ["spec.activeDeadlineSeconds: Invalid value: 6: must be less than or equal to previous value"]),
    (ready(activeDeadlineSeconds=5), {"spec": {"activeDeadlineSeconds": None}}, ["spec.activeDeadlineSeconds: Invalid value: null: must not update from a positive integer to nil value"]),
    (ready(activeDeadlineSeconds=5), {"spec": {"activeDeadlineSeconds": -1, "nodeName": "n"}}, ["spec.activeDeadlineSeconds: Invalid value: -1: must be between 0 and 2147483647"]),
    (ready(terminationGracePeriodSeconds=-1), {"spec": {"terminationGracePeriodSeconds": 1}}, []),
    (ready(terminationGracePeriodSeconds=-1), {"spec": {"terminationGracePeriodSeconds": 2}}, [FIXED]),
    (ready(), {"spec": {"hostname": "h"}}, [FIXED]),
    (ready(), {"spec": {"tolerations": [{"key": "a", "operator": "Exists"}]}}, []),
    (ready(), {"spec": GATED}, ["spec.schedulingGates[0].name: Forbidden: only deletion is allowed, but found new scheduling gate 'a/b'"]),
    (ready(**GATED), {"spec": {"schedulingGates": None}}, []),
    (ready(**GATED), {"spec": {"nodeSelector": {"a": "b"}}}, []),
    (ready(), {"spec": {"nodeSelector": {"a": "b"}}}, [FIXED]),
    (ready(**GATED), {"spec": {"affinity": terms(zones("a"))}}, []),
    (ready(**GATED, affinity=terms(zones("a"))), {"spec": {"affinity": terms(zones("a", "b"))}}, []),
    (ready(**GATED, affinity=terms(zones("a"))), {"spec": {"affinity": terms(zones("b"))}}, [f"{TERMS}[0]: Invalid value: {{"]),
    (ready(**GATED, affinity=terms(zones("a"))), {"spec": {"affinity": terms(zones("a"), zones("b"))}}, [f"{TERMS}: Invalid value: ["]),
    (ready(**GATED, affinity=terms(zones("a"))), {"spec": {"affinity": None}}, [f"{TERMS}: Invalid value: []: no additions/deletions to non-empty NodeSelectorTerms"]),
    (ready(**GATED), {"spec": {"affinity": NEAR}}, [FIXED]),
    (ready(), {"spec": {"affinity": terms(zones("a"))}}, [FIXED]),
    (ready(annotated(**{MIRROR: "x"}), nodeName="n"), {"metadata": annotated(**{MIRROR: "y"})}, [f"metadata.annotations[{MIRROR}]: Forbidden: may not remove or update mirror pod annotation"]),
    (ready(nodeName="n"), {"metadata": annotated(**{MIRROR: "y"})}, [f"metadata.annotations[{MIRROR}]: Forbidden: may not add mirror pod annotation"]),
    (ready(), {"metadata": annotated(**{ARMOR: "unconfined"})}, [f"metadata.annotations[{ARMOR}]: Forbidden: may not add AppArmor annotations"]),
    (ready(annotated(**{ARMOR: "unconfined"})), {"metadata": {"annotations": None}}, [f"metadata.annotations[{ARMOR}]: Forbidden: may not remove or update AppArmor"]),
    (ready(annotated(a="b")), {"metadata": annotated(a="c")}, []),
]  # fmt: skip


@pytest.mark.parametrize(("old", "change", "expected"), UPDATES)
def test_updates(old: Object, change: Object, expected: list[str]) -> None:
    new = merge_patch(copy.deepcopy(old), change)
    STRATEGY.default(new)
    check(STRATEGY.validate_update(new, old), expected)


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
        STRATEGY.prepare_create(obj)
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
    obj = ready(resources=resources, containers=containers, initContainers=inits)
    assert obj["spec"]["resources"]["requests"] == expected


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
    check(strategy.validate(template), [])
    made = ready(**spec)
    assert made["spec"]["containers"][0]["ports"][0]["hostPort"] == 80


def test_what_only_pods_are_refused() -> None:
    spec: Object = {
        "containers": [{"name": "c", "image": " i "}],
        "volumes": [
            {"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}
        ],
    }
    template: Object = {"metadata": {"name": "t"}, "template": copy.deepcopy({"spec": spec})}
    strategy = STRATEGIES["v1", "PodTemplate"]
    strategy.default(template)
    check(strategy.validate(template), [])
    check(
        STRATEGY.validate(ready(**spec)),
        [
            "spec.volumes[0].projected.sources[0].serviceAccountToken: Forbidden: must not be",
            'spec.containers[0].image: Invalid value: " i ": must not have leading',
        ],
    )


# the status that is reported, what is wrong with it
REPORTS: list[tuple[Object, list[str]]] = [
    ({"podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]}, []),
    ({"podIPs": [{"ip": "x"}]}, ['status.podIPs[0]: Invalid value: "x": must be a valid IP address']),
    ({"podIPs": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.1"}]}, ["status.podIPs: Invalid value: [", "status.podIPs[1]: Duplicate value: {"]),
    ({"hostIP": "10.0.0.1", "hostIPs": [{"ip": "10.0.0.2"}]}, ['status.hostIPs[0].ip: Invalid value: "10.0.0.2": must be equal to `hostIP`']),
    ({"nominatedNodeName": "N"}, ['status.nominatedNodeName: Invalid value: "N"']),
    ({"conditions": [{"type": "Ready"}, {"type": "a b"}]}, ['metadata.conditions[1].Type: Invalid value: "a b"']),
    ({"resourceClaimStatuses": [{"name": "x"}]}, ["status.resourceClaimStatuses[0].name: Invalid value: \"x\": must match the name of an entry"]),
]  # fmt: skip


@pytest.mark.parametrize(("reported", "expected"), REPORTS)
def test_reports(reported: Object, expected: list[str]) -> None:
    old = {**ready(), "status": {"phase": "Pending"}}
    new = {**old, "status": reported}
    check(STRATEGY.validate_status(new, old), expected)


def test_a_report_that_does_not_know_of_generations_keeps_them() -> None:
    def conditions(*generations: int) -> list[Object]:
        return [{"type": "Ready", **({"observedGeneration": g} if g else {})} for g in generations]

    old = {**ready(), "status": {"observedGeneration": 3, "conditions": conditions(2, 3)}}
    new = {**ready(), "status": {"conditions": conditions(0, 5, 0)}}
    STRATEGY.prepare_status(new, old)
    assert new["status"] == {"observedGeneration": 3, "conditions": conditions(2, 5, 0)}


def one(**container: Any) -> Object:
    return pod(containers=[{"name": "c", "image": "i", **container}])


C = "spec.containers[0]"
NULL = "a null labelSelector results in matching no pod"
WARNINGS: list[tuple[Object, list[str]]] = [
    (pod(), []),
    (pod({"name": "a.b"}), ["metadata.name: this is used in the Pod's hostname, which can result in surprising"]),
    (one(env=[{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]), [f'{C}.env[1]: hides previous definition of "A", which may be dropped when using apply']),
    (one(env=[{"name": "A", "value": "1"}, {"name": "A", "value": "$(A)2"}]), []),
    (one(env=[{"name": "A", "value": "1"}, {"name": "A", "value": "$(A)"}]), [f"{C}.env[1]: hides"]),
    (one(env=[{"name": "A", "value": "1"}, {"name": "A", "valueFrom": {}}]), [f"{C}.env[1]: hides"]),
    (one(resources={"limits": {"memory": "100m", "cpu": "100m"}}), [f'{C}.resources.limits[memory]: fractional byte value "100m" is invalid, must be an integer']),
    (one(ports=[{"containerPort": 1}, {"containerPort": 1}]), [f"{C}.ports[1]: duplicate port definition with {C}.ports[0]"]),
    (one(ports=[{"containerPort": 1}, {"containerPort": 1, "protocol": "UDP"}]), []),
    (one(ports=[{"containerPort": 1, "hostPort": 5}, {"containerPort": 1, "protocol": "TCP"}]), [f"{C}.ports[1]: overlapping port definition with {C}.ports[0]"]),
    (one(ports=[{"containerPort": 1, "hostPort": 5}, {"containerPort": 1, "hostPort": 5, "hostIP": "1.1.1.1"}]), [f"{C}.ports[1]: dangerously ambiguous port definition with {C}.ports[0]"]),
    (one(ports=[{"containerPort": 1, "hostPort": 5}, {"containerPort": 1, "hostPort": 6}]), []),
    (pod(nodeSelector={"beta.kubernetes.io/os": "linux"}), ['spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use "kubernetes.io/os" instead']),
    (pod(affinity=terms({"matchExpressions": [{"key": "beta.kubernetes.io/arch"}]})), [f'{TERMS}[0].matchExpressions[0].key: beta.kubernetes.io/arch is deprecated since v1.14; use "kubernetes.io/arch" instead']),
    (pod(topologySpreadConstraints=[{"topologyKey": "z"}]), [f"spec.topologySpreadConstraints[0].labelSelector: {NULL}"]),
    (pod(affinity={"podAffinity": {REQUIRED: [{"topologyKey": "z"}]}}), [f"spec.affinity.podAffinity.{REQUIRED}[0].labelSelector: {NULL}"]),
    (pod(imagePullSecrets=[{"name": "a"}, {"name": "a"}, {}]), ['spec.imagePullSecrets[1].name: duplicate name "a"', 'spec.imagePullSecrets[2].name: invalid empty name ""']),
    (pod(hostAliases=[{"ip": "1.1.1.1"}, {"ip": "1.1.1.1"}]), ['spec.hostAliases[1].ip: duplicate ip "1.1.1.1"']),
    (pod(volumes=[{"name": "g", "gitRepo": {}}, {"name": "r", "rbd": {}}]), ["spec.volumes[0].gitRepo: deprecated in v1.11", "spec.volumes[1].rbd: deprecated in v1.28, non-functional in v1.31+"]),
    (pod(terminationGracePeriodSeconds=-1), ["spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1"]),
    (pod(annotated(**{"scheduler.alpha.kubernetes.io/critical-pod": ""})), ['metadata.annotations[scheduler.alpha.kubernetes.io/critical-pod]: non-functional in v1.16+; use the "priorityClassName" field']),
    (pod(annotated(**{"seccomp.security.alpha.kubernetes.io/pod": "x"})), ["metadata.annotations[seccomp.security.alpha.kubernetes.io/pod]: non-functional in v1.27+"]),
    (pod(annotated(**{ARMOR: "runtime/default"})), [f'metadata.annotations[{ARMOR}]: deprecated since v1.30; use the "appArmorProfile" field instead']),
]  # fmt: skip


@pytest.mark.parametrize(("obj", "expected"), WARNINGS)
def test_warnings(obj: Object, expected: list[str]) -> None:
    found = list(STRATEGY.warnings(obj))
    assert len(found) == len(expected), found
    for text, beginning in zip(found, expected, strict=True):
        assert text.startswith(beginning), (text, beginning)


def test_warnings_of_a_template_say_where_it_is() -> None:
    template = {"spec": {"nodeSelector": {"beta.kubernetes.io/os": "linux"}}}
    said = "spec.nodeSelector[beta.kubernetes.io/os]: deprecated since"
    (found,) = warn_of_template("spec.template", template)
    assert found.startswith(f"spec.template.{said}")
    job = {"spec": {"template": template}}
    for address, spec, at in (
        (("apps/v1", "Deployment"), {"template": template}, "spec.template"),
        (("apps/v1", "StatefulSet"), {"template": template}, "spec.template"),
        (("batch/v1", "Job"), {"template": template}, "spec.template"),
        (("batch/v1", "CronJob"), {"jobTemplate": job}, "spec.jobTemplate.spec.template"),
    ):
        (found,) = STRATEGIES[address].warnings({"metadata": {"name": "x"}, "spec": spec})
        assert found.startswith(f"{at}.{said}")


# kind, object, what is warned of
OTHERS: list[tuple[str, Object, list[str]]] = [
    ("Service", {"spec": {"clusterIP": "None", "sessionAffinity": "ClientIP"}}, ["spec.SessionAffinity is ignored for headless services"]),
    ("Service", {"spec": {"externalIPs": ["1.1.1.1"]}}, ["spec.externalIPs is deprecated and may no longer be implemented in some clusters"]),
    ("Service", {"spec": {"externalName": "a"}}, ['spec.externalName is ignored when spec.type is not "ExternalName"']),
    ("Service", {"spec": {"trafficDistribution": "PreferClose"}}, ['spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"']),
    ("Service", {"spec": {"type": "ExternalName", "externalName": "a"}}, []),
    ("Secret", {"type": "kubernetes.io/tls", "data": {"tls.crt": "eA=="}}, ["tls: failed to find any PEM data in certificate input"]),
    ("Secret", {"type": "Opaque", "data": {"tls.crt": "eA=="}}, []),
    ("PersistentVolume", {"spec": {"persistentVolumeReclaimPolicy": "Recycle", "glusterfs": {}}}, ["spec.glusterfs: deprecated in v1.25, non-functional in v1.26+", "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated"]),
    ("PersistentVolumeClaim", {"metadata": annotated(**{"volume.beta.kubernetes.io/storage-class": "a"})}, ['metadata.annotations[volume.beta.kubernetes.io/storage-class]: deprecated since v1.8; use "storageClassName"']),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "obj", "expected"), OTHERS)
def test_warnings_of_others(kind: str, obj: Object, expected: list[str]) -> None:
    found = list(STRATEGIES["v1", kind].warnings({"metadata": {"name": "x"}, **obj}))
    assert len(found) == len(expected), found
    for text, beginning in zip(found, expected, strict=True):
        assert text.startswith(beginning), (text, beginning)
