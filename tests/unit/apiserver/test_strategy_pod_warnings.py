"""What clients are warned of: pods that work otherwise than they look, templates, and other core kinds."""

import pytest
from strategy_cases import Object, cut
from strategy_pods import POD, C, one, pod

from wherry.apiserver.strategy import STRATEGIES
from wherry.apiserver.strategy.pod.warnings import warn_of_template

ARMOR = "container.apparmor.security.beta.kubernetes.io/c"
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
TERMS = f"spec.affinity.nodeAffinity.{REQUIRED}.nodeSelectorTerms"
NULL = "a null labelSelector results in matching no pod"


def annotated(**annotations: str) -> Object:
    return {"annotations": annotations}


def terms(*each: Object) -> Object:
    return {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": list(each)}}}


WARNINGS: list[tuple[Object, list[str]]] = [
    (pod(), []),
    (pod({"name": "a.b"}), ["metadata.name: this is used in the Pod's hostname, which can result in surprising"]),
    (one(env=[{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]), [f'{C}.env[1]: hides previous definition of "A", which may be dropped when using apply']),
    (one(env=[{"name": "A", "value": "1"}, {"name": "A", "value": "$(A)2"}]), []),
    (one(env=[{"name": "A", "value": "1"}, {"name": "A", "value": "$(A)"}]), [f"{C}.env[1]: hides"]),
    (one(env=[{"name": "A", "value": "1"}, {"name": "A", "valueFrom": {}}]), [f"{C}.env[1]: hides"]),
    (one(resources={"limits": {"memory": "100m", "cpu": "100m"}}), [f'{C}.resources.{which}[memory]: fractional byte value "100m" is invalid, must be an integer' for which in ("limits", "requests")]),
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
    assert cut(POD.warnings(obj), expected) == expected


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
    found = STRATEGIES["v1", kind].warnings({"metadata": {"name": "x"}, **obj})
    assert cut(found, expected) == expected
