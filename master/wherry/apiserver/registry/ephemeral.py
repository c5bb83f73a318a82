"""The ephemeralcontainers subresource of pods: containers for debugging are added, and stay. Pure.

Source: core `ValidatePodEphemeralContainersUpdate`.
"""

from typing import Any

from wherry.api.errors import Cause
from wherry.apiserver.patch import copy_json
from wherry.apiserver.registry import prepare
from wherry.apiserver.registry.prepare import Target
from wherry.apiserver.strategy import fields
from wherry.apiserver.strategy.pod import MIRROR

Object = dict[str, Any]
_PATH = "spec.ephemeralContainers"


def added(target: Target, sent: Object, old: Object) -> Object:
    """Return `old` with the ephemeral containers that were sent, and nothing else of it.

    Raises:
        InvalidError: one of them is wrong, or one that there was is missing or differs.
    """
    spec: Object = copy_json(old["spec"])
    spec["ephemeralContainers"] = sent.get("spec", {}).get("ephemeralContainers", [])
    if not spec["ephemeralContainers"]:
        del spec["ephemeralContainers"]
    return prepare.update_containers(target, old, spec, lambda new: _causes(new, old))


def _causes(new: Object, old: Object) -> list[Cause]:
    if MIRROR in old["metadata"].get("annotations", {}):
        return [fields.forbidden("", "static pods do not support ephemeral containers")]
    now = {c["name"]: c for c in new["spec"].get("ephemeralContainers", ()) if "name" in c}
    wrong = []
    for was in old["spec"].get("ephemeralContainers", ()):
        name = was["name"]
        if name not in now:
            why = f'existing ephemeral containers "{name}" may not be removed\n'
            wrong.append(fields.forbidden(_PATH, why))
        elif now[name] != was:
            why = f'existing ephemeral containers "{name}" may not be changed\n'
            wrong.append(fields.forbidden(_PATH, why))
    return wrong
