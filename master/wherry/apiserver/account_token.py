"""The token of its ServiceAccount in a pod: a volume, and a mount of it in every container. Pure.

In a cluster a client library looks for `token`, `ca.crt` and `namespace` in `MOUNT_PATH`. The
agent fills the volume, and puts a fresh token there before the old one ends.
Source: kubernetes `plugin/pkg/admission/serviceaccount`.
"""

from typing import Any, Final

from wherry.api.namespace_content import CA_KEY, ROOT_CA

Object = dict[str, Any]
MOUNT_PATH: Final = "/var/run/secrets/kubernetes.io/serviceaccount"
VOLUME_PREFIX: Final = "kube-api-access-"
LIFETIME_S: Final = 3607
"""An hour and a bit: by the bit others know that nobody chose it (`tokens.EXTENDED_S`)."""
_MODE: Final = 0o644


def wants_token(spec: Object, account: Object) -> bool:
    """Tell whether the pod is given the token; the pod's own word counts before the account's."""
    field = "automountServiceAccountToken"
    return bool(spec.get(field, account.get(field, True)))


def mount_token(spec: Object, new_name: str) -> None:
    """Mount the token in every container that has nothing else at its place.

    Args:
        spec: Of a pod; changed in place.
        new_name: The volume's, where the pod brings none that begins with `VOLUME_PREFIX`.
    """
    volumes = spec.get("volumes", [])
    there = next((v["name"] for v in volumes if _is_token(v)), None)
    needed = False
    for field in ("initContainers", "containers"):
        for container in spec.get(field, ()):
            mounts = container.get("volumeMounts", [])
            if all(m.get("mountPath") != MOUNT_PATH for m in mounts):
                mount = {"name": there or new_name, "readOnly": True, "mountPath": MOUNT_PATH}
                container["volumeMounts"] = [*mounts, mount]
                needed = True
    if needed and there is None:
        spec["volumes"] = [*volumes, _volume(new_name)]


def _is_token(volume: Object) -> bool:
    return volume.get("name", "").startswith(VOLUME_PREFIX) and "projected" in volume


def _volume(name: str) -> Object:
    namespace = {
        "path": "namespace",
        "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"},
    }
    sources = [
        {"serviceAccountToken": {"expirationSeconds": LIFETIME_S, "path": "token"}},
        {"configMap": {"name": ROOT_CA, "items": [{"key": CA_KEY, "path": CA_KEY}]}},
        {"downwardAPI": {"items": [namespace]}},
    ]
    return {"name": name, "projected": {"sources": sources, "defaultMode": _MODE}}
