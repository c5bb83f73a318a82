"""Annotations that say something of a pod: core `ValidatePodSpecificAnnotations`."""

from collections.abc import Mapping
from typing import Any, Final

from wherry.api.errors import Cause
from wherry.apiserver.strategy import fields

Object = dict[str, Any]
MIRROR: Final = "kubernetes.io/config.mirror"
"""The annotation of a pod that only shows what its node runs by itself."""
APP_ARMOR: Final = "container.apparmor.security.beta.kubernetes.io/"
SECCOMP: Final = "seccomp.security.alpha.kubernetes.io/pod"
SECCOMP_OF: Final = "container.seccomp.security.alpha.kubernetes.io/"
_COST = "controller.kubernetes.io/pod-deletion-cost"
_COSTS = range(-(1 << 31), 1 << 31)
_LONG: Final = 32
_LISTS = ("initContainers", "containers", "ephemeralContainers")


def validate_annotations(path: str, annotations: Mapping[str, str], spec: Object) -> list[Cause]:
    """Return what is wrong with the annotations of a pod or template. `path` is theirs."""
    wrong: list[Cause] = []
    for key, value in annotations.items():
        at = f"{path}[{key}]"
        if key == MIRROR and not spec.get("nodeName"):
            detail = "must set spec.nodeName if mirror pod annotation is set"
            wrong.append(fields.invalid(at, value, detail))
        elif key == _COST and not _is_cost(value):
            wrong.append(fields.invalid(at, value, "must be a 32bit integer"))
        elif key.startswith(APP_ARMOR):
            wrong += _app_armor(at, key.removeprefix(APP_ARMOR), value, spec)
    return wrong


def _is_cost(text: str) -> bool:
    """Tell whether Go reads the text as an int32 that is written as a user would."""
    digits = text.removeprefix("-")
    if not digits.isascii() or not digits.isdecimal() or len(digits) > _LONG:
        return False
    return (text == "0" or text[0] != "0") and int(text) in _COSTS


def _app_armor(path: str, name: str, profile: str, spec: Object) -> list[Cause]:
    wrong: list[Cause] = []
    if all(c.get("name") != name for field in _LISTS for c in spec.get(field, ())):
        wrong.append(fields.invalid(path, name, "container not found"))
    if profile not in ("", "runtime/default", "unconfined") and not profile.startswith(
        "localhost/"
    ):
        detail = f'invalid AppArmor profile name: "{profile}"'
        wrong.append(fields.invalid(path, profile, detail))
    return wrong


def validate_annotations_update(new: Mapping[str, str], old: Mapping[str, str]) -> list[Cause]:
    """Return which annotations of a pod may not be changed and were."""
    wrong: list[Cause] = []
    for key in [*old, *(key for key in new if key not in old)]:
        step = "remove or update" if key in old else "add"
        if new.get(key) == old.get(key):
            continue
        if key.startswith(APP_ARMOR) or key == MIRROR:
            what = "mirror pod annotation" if key == MIRROR else "AppArmor annotations"
            at = f"metadata.annotations[{key}]"
            wrong.append(fields.forbidden(at, f"may not {step} {what}"))
    return wrong
