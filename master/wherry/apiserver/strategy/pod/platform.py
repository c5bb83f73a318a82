"""What a pod may say of the system that it is for: core `validateOS`, `validateLinux`, `validateWindows`."""

from typing import Any

from wherry.api.errors import Cause
from wherry.apiserver.strategy import fields

Object = dict[str, Any]
_SYSTEMS = ("linux", "windows")
_LISTS = ("initContainers", "containers", "ephemeralContainers")
_NOT_FOR_WINDOWS = "cannot be set for a windows pod"
_LINUX_CONTEXT = (
    "appArmorProfile",
    "seLinuxOptions",
    "seccompProfile",
    "fsGroup",
    "fsGroupChangePolicy",
    "sysctls",
    "runAsUser",
    "runAsGroup",
    "supplementalGroups",
    "supplementalGroupsPolicy",
    "seLinuxChangePolicy",
)
_LINUX_SPEC = ("hostUsers", "hostPID", "hostIPC", "shareProcessNamespace")
_LINUX_CONTAINER = (
    "appArmorProfile",
    "seLinuxOptions",
    "seccompProfile",
    "capabilities",
    "readOnlyRootFilesystem",
    "privileged",
    "allowPrivilegeEscalation",
    "procMount",
    "runAsUser",
    "runAsGroup",
)


def validate_os(path: str, spec: Object) -> list[Cause]:
    """Check the name of the system, and that nothing is asked that it has not. `path` is the spec's."""
    system = spec["os"].get("name", "")
    if not system:
        return [fields.required(f"{path}.os.name", "cannot be empty")]
    if system not in _SYSTEMS:
        return [fields.unsupported(f"{path}.os", system, _SYSTEMS)]
    contexts = [(f"{path}.securityContext", spec.get("securityContext", {}))]
    of_containers = [
        (f"{path}.{field}[{index}].securityContext", container.get("securityContext", {}))
        for field in _LISTS
        for index, container in enumerate(spec.get(field, ()))
    ]
    if system == "linux":
        return [
            fields.forbidden(
                f"{at}.windowsOptions", "windows options cannot be set for a linux pod"
            )
            for at, context in contexts + of_containers
            if "windowsOptions" in context
        ]
    wrong = [
        fields.forbidden(f"{path}.{field}", _NOT_FOR_WINDOWS)
        for field in _LINUX_SPEC
        if spec.get(field) or (field in spec and field in ("hostUsers", "shareProcessNamespace"))
    ]
    wrong += _linux_only(contexts, _LINUX_CONTEXT)
    return wrong + _linux_only(of_containers, _LINUX_CONTAINER)


def _linux_only(contexts: list[tuple[str, Object]], names: tuple[str, ...]) -> list[Cause]:
    return [
        fields.forbidden(f"{at}.{field}", _NOT_FOR_WINDOWS)
        for at, context in contexts
        for field in names
        if field in context
    ]
