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
_HOST_FIELDS = {"hostNetwork": "hostNetwork", "hostPID": "HostPID", "hostIPC": "HostIPC"}
"""What upstream calls them where it forbids them."""
_MOST_PROFILE = 4095
_NET_SYSCTLS = ("net.",)
_IPC_SYSCTLS = ("kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue.")


def validate_host_users(path: str, spec: Object) -> list[Cause]:
    """Check that users of the pod's own go with no namespace of the host. `path` is the spec's."""
    if spec.get("hostUsers") is not False:
        return []
    return [
        fields.forbidden(f"{path}.{name}", "when `pod.Spec.HostUsers` is false")
        for field, name in _HOST_FIELDS.items()
        if spec.get(field)
    ]


def validate_pod_security(path: str, spec: Object) -> list[Cause]:
    """Check the pod's context. `path` is the spec's."""
    context, at = spec.get("securityContext", {}), f"{path}.securityContext"
    wrong = check_id(at, context, "fsGroup", "runAsUser", "runAsGroup") if context else []
    for index, group in enumerate(context.get("supplementalGroups", ())):
        entry = f"supplementalGroups[{index}]"
        wrong += check_id(at, {entry: group}, entry)
    if spec.get("hostPID") and spec.get("shareProcessNamespace"):
        detail = "ShareProcessNamespace and HostPID cannot both be enabled"
        wrong.append(fields.invalid(f"{at}.shareProcessNamespace", True, detail))  # noqa: FBT003
    if not context:
        return wrong
    wrong += _sysctls(f"{at}.sysctls", context.get("sysctls", []), spec)
    for field, allowed in _POD_CHOICES.items():
        wrong += option(at, context, field, allowed)
    return wrong + _profiles(at, context)


def _sysctls(path: str, sysctls: list[Object], spec: Object) -> list[Cause]:
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
        plain = name.replace("/", ".") if "/" in name.partition(".")[0] else name
        for field, groups in (("hostNetwork", _NET_SYSCTLS), ("hostIPC", _IPC_SYSCTLS)):
            if spec.get(field) and plain.startswith(groups):
                detail = f"may not be specified when '{field}' is true"
                wrong.append(fields.invalid(at, name, detail))
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
    if "seccompProfile" in context:
        wrong += _seccomp(f"{path}.seccompProfile", context["seccompProfile"])
    if "appArmorProfile" in context:
        wrong += _app_armor(f"{path}.appArmorProfile", context["appArmorProfile"])
    return wrong


def _profile_type(path: str, kind: str, field: str) -> list[Cause]:
    if not kind:
        return [fields.required(f"{path}.type", f"type is required when {field} is set")]
    return option(path, {"type": kind}, "type", _PROFILES)


def _seccomp(path: str, profile: Object) -> list[Cause]:
    kind, at = profile.get("type", ""), f"{path}.localhostProfile"
    wrong = _profile_type(path, kind, "seccompProfile")
    if kind != "Localhost":
        if "localhostProfile" in profile:
            detail = "can only be set when seccomp type is Localhost"
            wrong.append(fields.invalid(at, profile, detail))
    elif "localhostProfile" not in profile:
        wrong.append(fields.required(at, "must be set when seccomp type is Localhost"))
    else:
        wrong += check_descending(at, profile["localhostProfile"])
    return wrong


def _app_armor(path: str, profile: Object) -> list[Cause]:
    kind, at = profile.get("type", ""), f"{path}.localhostProfile"
    text = profile.get("localhostProfile")
    if kind != "Localhost":
        if text is not None and kind in _PROFILES:
            detail = "can only be set when AppArmor type is Localhost"
            return [fields.invalid(at, text, detail)]
        return _profile_type(path, kind, "appArmorProfile")
    if not text:
        return [fields.required(at, "must be set when AppArmor type is Localhost")]
    wrong: list[Cause] = []
    if text != text.strip():
        wrong.append(fields.invalid(at, text, "must not be padded with whitespace"))
    if len(text.encode()) > _MOST_PROFILE:
        wrong.append(fields.too_long(at, _MOST_PROFILE))
    return wrong
