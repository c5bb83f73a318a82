"""What is filled in for a pod: `SetDefaults_PodSpec`, `SetDefaults_Container` and their like.

The tables follow the types; what depends on two fields stands in the functions below them.
"""

from collections.abc import Iterator
from typing import Any

from wherry.apiserver.strategy.defaulting import NOTHING, Defaults
from wherry.apiserver.strategy.pod.pod_level import default_pod_requests

Object = dict[str, Any]
CONTAINER_LISTS = ("initContainers", "containers", "ephemeralContainers")
_MODE = 0o644


def default_pod(spec: Object) -> None:
    """Fill in the spec of a pod that is to run."""
    POD.apply(spec)


def default_spec(spec: Object) -> None:
    """Fill in the spec of a pod or of a template."""
    POD_SPEC.apply(spec)


def default_template(template: Object) -> None:
    """Fill in a template. Its creationTimestamp means nothing, and old clients send it."""
    template.setdefault("metadata", {}).pop("creationTimestamp", None)
    POD_SPEC.apply(template.setdefault("spec", {}))


def containers(spec: Object) -> Iterator[Object]:
    """Yield init, app and ephemeral containers."""
    for field in CONTAINER_LISTS:
        yield from spec.get(field, ())


# -- what no table can say ------------------------------------------------------------------


def pull_policy(image: str) -> str:
    """Return Always for `:latest` and for no tag at all, IfNotPresent for the rest."""
    name, _, digest = image.partition("@")
    tag = name.rpartition("/")[2].partition(":")[2]
    return "Always" if not digest and tag in ("", "latest") else "IfNotPresent"


def _container(container: Object) -> None:
    if not container.get("imagePullPolicy"):
        container["imagePullPolicy"] = pull_policy(container.get("image", ""))


def _spec(spec: Object) -> None:
    account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if account:
        spec["serviceAccountName"] = spec["serviceAccount"] = account


def _volume(volume: Object) -> None:
    if len(volume) <= ("name" in volume):
        volume["emptyDir"] = {}
    image = volume.get("image")
    if image is not None and not image.get("pullPolicy"):
        image["pullPolicy"] = pull_policy(image.get("reference", ""))


def _pod(spec: Object) -> None:
    POD_SPEC.apply(spec)
    for field in ("containers", "initContainers"):
        for container in spec.get(field, ()):
            _request_limits(container["resources"])
            if spec.get("hostNetwork"):
                _open_on_host(container)
    if spec.get("resources"):
        default_pod_requests(spec)


def _open_on_host(container: Object) -> None:
    """Give ports the only number on the host that they can have there. A template's wait for its pods."""
    for port in container.get("ports", ()):
        if port.get("containerPort") and not port.get("hostPort"):
            port["hostPort"] = port["containerPort"]


def _request_limits(resources: Object) -> None:
    """Request what is limited and not requested."""
    limits = resources.get("limits")
    if limits:
        resources["requests"] = {**limits, **resources.get("requests", {})}


# -- the tables -----------------------------------------------------------------------------

_HTTP_GET = Defaults(empty={"path": "/", "scheme": "HTTP"})
_PROBE = Defaults(
    empty={"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3},
    within={"httpGet": _HTTP_GET, "grpc": Defaults(absent={"service": ""})},
)
_HOOK = Defaults(within={"httpGet": _HTTP_GET})
_FIELD_REF = Defaults(empty={"apiVersion": "v1"})
_DIVISOR = Defaults(absent={"divisor": "0"})
_VALUE_FROM = Defaults(
    within={
        "fieldRef": _FIELD_REF,
        "resourceFieldRef": _DIVISOR,
        "fileKeyRef": Defaults(absent={"optional": False}),
    }
)
_CONTAINER = Defaults(
    empty={
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
    },
    made={"resources": NOTHING},
    within={
        "ports": Defaults(empty={"protocol": "TCP"}),
        "env": Defaults(within={"valueFrom": _VALUE_FROM}),
        "livenessProbe": _PROBE,
        "readinessProbe": _PROBE,
        "startupProbe": _PROBE,
        "lifecycle": Defaults(within={"postStart": _HOOK, "preStop": _HOOK}),
    },
    then=_container,
)
_FILES = Defaults(absent={"defaultMode": _MODE})
_DOWNWARD_FILES = Defaults(within={"fieldRef": _FIELD_REF, "resourceFieldRef": _DIVISOR})
_PROJECTED = Defaults(
    within={
        "serviceAccountToken": Defaults(absent={"expirationSeconds": 3600}),
        "downwardAPI": Defaults(within={"items": _DOWNWARD_FILES}),
    }
)
RBD = Defaults(empty={"pool": "rbd", "user": "admin", "keyring": "/etc/ceph/keyring"})
ISCSI = Defaults(empty={"iscsiInterface": "default"})
AZURE_DISK = Defaults(
    absent={"cachingMode": "ReadWrite", "kind": "Shared", "fsType": "ext4", "readOnly": False}
)
SCALE_IO = Defaults(empty={"storageMode": "ThinProvisioned", "fsType": "xfs"})
HOST_PATH = Defaults(absent={"type": ""})
CLAIM_SPEC = Defaults(absent={"volumeMode": "Filesystem"})
_VOLUME = Defaults(
    within={
        "secret": _FILES,
        "configMap": _FILES,
        "downwardAPI": Defaults(absent={"defaultMode": _MODE}, within={"items": _DOWNWARD_FILES}),
        "projected": Defaults(absent={"defaultMode": _MODE}, within={"sources": _PROJECTED}),
        "hostPath": HOST_PATH,
        "rbd": RBD,
        "iscsi": ISCSI,
        "azureDisk": AZURE_DISK,
        "scaleIO": SCALE_IO,
        "ephemeral": Defaults(within={"volumeClaimTemplate": Defaults(made={"spec": CLAIM_SPEC})}),
    },
    then=_volume,
)
POD_SPEC = Defaults(
    empty={
        "restartPolicy": "Always",
        "dnsPolicy": "ClusterFirst",
        "schedulerName": "default-scheduler",
    },
    absent={"terminationGracePeriodSeconds": 30},
    made={"securityContext": NOTHING},
    within={
        "containers": _CONTAINER,
        "initContainers": _CONTAINER,
        "ephemeralContainers": _CONTAINER,
        "volumes": _VOLUME,
    },
    then=_spec,
)
POD = Defaults(
    absent={"enableServiceLinks": True},
    then=_pod,
)
