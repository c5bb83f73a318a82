"""Containers for debugging: core `validateEphemeralContainers`."""

from collections.abc import Collection
from typing import Any

from wherry.api.errors import Cause
from wherry.apiserver.strategy import fields
from wherry.apiserver.strategy.pod.container import Surroundings, check_image, validate_common

Object = dict[str, Any]
_NOT_ALLOWED = (
    "ports",
    "resources",
    "resizePolicy",
    "restartPolicy",
    "restartPolicyRules",
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
    "lifecycle",
)


def validate_ephemeral(
    path: str, ephemeral: list[Object], pod: Surroundings, others: Collection[str]
) -> list[Cause]:
    """Return everything wrong with the ephemeral containers.

    Args:
        path: Where they stand.
        ephemeral: All of them.
        pod: What they can refer to.
        others: Names of the pod's other containers.
    """
    wrong: list[Cause] = []
    taken: set[str] = set()
    for index, container in enumerate(ephemeral):
        at, name = f"{path}[{index}]", container.get("name", "")
        wrong += validate_common(at, container, pod)
        wrong += check_image(at, container)
        if name in others or name in taken:
            wrong.append(fields.duplicate(f"{at}.name", name))
        taken.add(name)
        target = container.get("targetContainerName")
        if target and target not in others:
            wrong.append(fields.not_found(f"{at}.targetContainerName", target))
        wrong += [
            fields.forbidden(f"{at}.{field}", "cannot be set for an Ephemeral Container")
            for field in _NOT_ALLOWED
            if container.get(field)
        ]
        for number, mount in enumerate(container.get("volumeMounts", ())):
            for field in ("subPath", "subPathExpr"):
                if mount.get(field):
                    where = f"{at}.volumeMounts[{number}].{field}"
                    detail = "cannot be set for an Ephemeral Container"
                    wrong.append(fields.forbidden(where, detail))
    return wrong
