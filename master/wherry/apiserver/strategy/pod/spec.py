"""Rules for a whole pod spec: core `ValidatePodSpec`, and templates."""

from typing import Any

from wherry.api.errors import Cause
from wherry.apiserver.strategy import fields, names
from wherry.apiserver.strategy.endpoints import check_ip
from wherry.apiserver.strategy.pod.container import validate_container
from wherry.apiserver.strategy.pod.scheduling import validate_scheduling
from wherry.apiserver.strategy.pod.volume import validate_volumes

Object = dict[str, Any]
_RESTART_POLICIES = ("Always", "OnFailure", "Never")
_DNS_POLICIES = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
_MOST_ACTIVE_DEADLINE = (1 << 31) - 1


def validate_template(path: str, template: Object) -> list[Cause]:
    """Check a pod template of a workload whose pods are to run for ever."""
    meta = template.get("metadata", {})
    wrong = names.check_labels(f"{path}.metadata.labels", meta.get("labels", {}))
    wrong += names.check_annotations(f"{path}.metadata.annotations", meta.get("annotations", {}))
    spec = template.get("spec", {})
    wrong += validate_spec(f"{path}.spec", spec)
    policy = spec.get("restartPolicy")
    if policy in ("OnFailure", "Never"):
        wrong.append(fields.unsupported(f"{path}.spec.restartPolicy", policy, ["Always"]))
    if spec.get("activeDeadlineSeconds") is not None:
        wrong.append(
            fields.forbidden(
                f"{path}.spec.activeDeadlineSeconds",
                "activeDeadlineSeconds in ReplicaSet is not Supported",
            )
        )
    return wrong


def validate_spec(path: str, spec: Object) -> list[Cause]:
    """Return everything that is wrong with a pod spec (defaults are in)."""
    volumes, wrong = validate_volumes(f"{path}.volumes", spec.get("volumes", []))
    wrong += _containers(path, spec, volumes)
    policy = spec.get("restartPolicy", "")
    if policy not in _RESTART_POLICIES:
        wrong.append(fields.unsupported(f"{path}.restartPolicy", policy, _RESTART_POLICIES))
    dns = spec.get("dnsPolicy", "")
    if dns not in _DNS_POLICIES:
        wrong.append(fields.unsupported(f"{path}.dnsPolicy", dns, _DNS_POLICIES))
    wrong += validate_scheduling(path, spec)
    wrong += _names(path, spec)
    wrong += _numbers(path, spec)
    wrong += _host(path, spec)
    return wrong


def _containers(path: str, spec: Object, volumes: dict[str, Object]) -> list[Cause]:
    wrong: list[Cause] = []
    taken: set[str] = set()
    if not spec.get("containers"):
        wrong.append(fields.required(f"{path}.containers"))
    for field in ("containers", "initContainers"):
        for index, container in enumerate(spec.get(field, ())):
            at, name = f"{path}.{field}[{index}]", container.get("name", "")
            if name and name in taken:
                wrong.append(fields.duplicate(f"{at}.name", name))
            taken.add(name)
            wrong += validate_container(at, container, volumes, init=field == "initContainers")
    return wrong + _host_ports(path, spec)


def _host_ports(path: str, spec: Object) -> list[Cause]:
    wrong: list[Cause] = []
    taken: set[tuple[str, str, int]] = set()
    for at, container in enumerate(spec.get("containers", ())):
        for index, port in enumerate(container.get("ports", ())):
            if not port.get("hostPort"):
                continue
            key = (port.get("protocol", ""), port.get("hostIP", ""), port["hostPort"])
            if key in taken:
                shown = "/".join(str(part) for part in key)
                where = f"{path}.containers[{at}].ports[{index}].hostPort"
                wrong.append(fields.duplicate(where, shown))
            taken.add(key)
    return wrong


def _names(path: str, spec: Object) -> list[Cause]:
    wrong: list[Cause] = []
    rules = {
        "hostname": names.dns1123_label,
        "subdomain": names.dns1123_label,
        "serviceAccountName": names.dns1123_subdomain,
        "nodeName": names.dns1123_subdomain,
        "priorityClassName": names.dns1123_subdomain,
        "schedulerName": names.dns1123_subdomain,
    }
    for field, rule in rules.items():
        if spec.get(field):
            wrong += names.check(f"{path}.{field}", spec[field], rule)
    for index, ref in enumerate(spec.get("imagePullSecrets", ())):
        if not ref.get("name"):
            wrong.append(fields.required(f"{path}.imagePullSecrets[{index}].name"))
    return wrong


def _numbers(path: str, spec: Object) -> list[Cause]:
    wrong: list[Cause] = []
    active = spec.get("activeDeadlineSeconds")
    if active is not None and not 1 <= active <= _MOST_ACTIVE_DEADLINE:
        detail = f"must be between 1 and {_MOST_ACTIVE_DEADLINE}, inclusive"
        wrong.append(fields.invalid(f"{path}.activeDeadlineSeconds", active, detail))
    grace = spec.get("terminationGracePeriodSeconds")
    if grace is not None and grace < 0:
        detail = "must be greater than or equal to 0"
        wrong.append(fields.invalid(f"{path}.terminationGracePeriodSeconds", grace, detail))
    return wrong


def _host(path: str, spec: Object) -> list[Cause]:
    wrong: list[Cause] = []
    if spec.get("hostNetwork"):
        for at, container in enumerate(spec.get("containers", ())):
            for index, port in enumerate(container.get("ports", ())):
                if port.get("hostPort") != port.get("containerPort"):
                    where = f"{path}.containers[{at}].ports[{index}].containerPort"
                    detail = "must match `hostPort` when `hostNetwork` is true"
                    wrong.append(fields.invalid(where, port.get("containerPort"), detail))
    if spec.get("hostPID") and spec.get("shareProcessNamespace"):
        detail = "ShareProcessNamespace and HostPID cannot both be enabled"
        wrong.append(fields.invalid(f"{path}.shareProcessNamespace", True, detail))  # noqa: FBT003
    for index, alias in enumerate(spec.get("hostAliases", ())):
        wrong += check_ip(f"{path}.hostAliases[{index}].ip", alias.get("ip", ""))
        for at, name in enumerate(alias.get("hostnames", ())):
            where = f"{path}.hostAliases[{index}].hostnames[{at}]"
            wrong += names.check(where, name, names.dns1123_subdomain)
    return wrong
