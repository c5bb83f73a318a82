"""Security contexts of pods and containers."""

import re
from typing import Any

from wherry.api.errors import Cause
from wherry.apiserver.strategy import fields
from wherry.apiserver.strategy.formats import check_id, option
from wherry.apiserver.strategy.pod.paths import check_descending

Object = dict[str, Any]
_PROFILES = ("Localhost", "RuntimeDefault", "Unconfined")
_PROC_MOUNTS = ("Default", "Unmasked")
_SYSCTL_PART = r"[a-z0-9](?:[-_a-z0-9]*[a-z0-9])?"
_SYSCTL = re.compile(rf"({_SYSCTL_PART}[./])*{_SYSCTL_PART}")
_SYSCTL_TEXT = (
    "must have at most 253 characters and match regex "
    r"^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$"
)
_POD_CHOICES = {
    "fsGroupChangePolicy": ("Always", "OnRootMismatch"),
    "supplementalGroupsPolicy": ("Merge", "Strict"),
    "seLinuxChangePolicy": ("MountOption", "Recursive"),
}
_HOST_FIELDS = ("hostNetwork", "hostPID", "hostIPC")


def validate_pod_security(path: str, spec: Object) -> list[Cause]:
    """Check the pod's context and what it shares with its host. `path` is the spec's."""
    context, at = spec.get("securityContext", {}), f"{path}.securityContext"
    wrong: list[Cause] = []
    if spec.get("hostPID") and spec.get("shareProcessNamespace"):
        detail = "ShareProcessNamespace and HostPID cannot both be enabled"
        wrong.append(fields.invalid(f"{at}.shareProcessNamespace", True, detail))  # noqa: FBT003
    if spec.get("hostUsers") is False:
        wrong += [
            fields.forbidden(f"{at}.{field}", "when `hostUsers` is false")
            for field in _HOST_FIELDS
            if spec.get(field)
        ]
    if not context:
        return wrong
    wrong += check_id(at, context, "fsGroup", "runAsUser", "runAsGroup")
    for index, group in enumerate(context.get("supplementalGroups", ())):
        entry = f"supplementalGroups[{index}]"
        wrong += check_id(at, {entry: group}, entry)
    wrong += _sysctls(f"{at}.sysctls", context.get("sysctls", []))
    for field, allowed in _POD_CHOICES.items():
        wrong += option(at, context, field, allowed)
    return wrong + _profiles(at, context)


def _sysctls(path: str, sysctls: list[Object]) -> list[Cause]:
    wrong: list[Cause] = []
    seen: set[str] = set()
    for index, each in enumerate(sysctls):
        at, name = f"{path}[{index}].name", each.get("name", "")
        if not name:
            wrong.append(fields.required(at))
        elif len(name) > 253 or not _SYSCTL.fullmatch(name):
            wrong.append(fields.invalid(at, name, _SYSCTL_TEXT))
        elif name in seen:
            wrong.append(fields.duplicate(at, name))
        seen.add(name)
    return wrong


def validate_container_security(path: str, context: Object, *, host_users: bool) -> list[Cause]:
    """Check the context of one container."""
    if not context:
        return []
    wrong = check_id(path, context, "runAsUser", "runAsGroup")
    wrong += option(path, context, "procMount", _PROC_MOUNTS)
    if host_users and context.get("procMount") == "Unmasked":
        detail = "`hostUsers` must be false to use `Unmasked`"
        wrong.append(fields.invalid(f"{path}.procMount", "Unmasked", detail))
    wrong += _profiles(path, context)
    if context.get("allowPrivilegeEscalation") is False:
        escalation = "cannot set `allowPrivilegeEscalation` to false and"
        if context.get("privileged"):
            detail = f"{escalation} `privileged` to true"
            wrong.append(fields.invalid(path, context, detail))
        if "CAP_SYS_ADMIN" in context.get("capabilities", {}).get("add", ()):
            detail = f"{escalation} `capabilities.Add` CAP_SYS_ADMIN"
            wrong.append(fields.invalid(path, context, detail))
    return wrong


def _profiles(path: str, context: Object) -> list[Cause]:
    wrong: list[Cause] = []
    for field, name in (("seccompProfile", "seccomp"), ("appArmorProfile", "AppArmor")):
        if field in context:
            wrong += _profile(f"{path}.{field}", context[field], field, name)
    return wrong


def _profile(path: str, profile: Object, field: str, name: str) -> list[Cause]:
    kind, at = profile.get("type", ""), f"{path}.localhostProfile"
    wrong: list[Cause] = []
    if kind == "Localhost":
        if not profile.get("localhostProfile"):
            detail = f"must be set when {name} type is Localhost"
            wrong.append(fields.required(at, detail))
        else:
            wrong += check_descending(at, profile["localhostProfile"])
    else:
        if "localhostProfile" in profile:
            detail = f"can only be set when {name} type is Localhost"
            wrong.append(fields.invalid(at, profile["localhostProfile"], detail))
        if not kind:
            wrong.append(fields.required(f"{path}.type", f"type is required when {field} is set"))
        elif kind not in _PROFILES:
            wrong.append(fields.unsupported(f"{path}.type", kind, _PROFILES))
    return wrong
