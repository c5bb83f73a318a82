"""Rules for a whole pod spec: core `ValidatePodSpec`, and templates."""

from collections.abc import Sequence
from typing import Any

from wherry.api.errors import Cause
from wherry.apiserver.strategy import fields, names
from wherry.apiserver.strategy.formats import PREEMPTION, check_ip, in_range, not_negative, option
from wherry.apiserver.strategy.names import NameRule
from wherry.apiserver.strategy.pod.container import (
    Surroundings,
    validate_container,
    validate_init_container,
)
from wherry.apiserver.strategy.pod.dns import validate_dns
from wherry.apiserver.strategy.pod.ephemeral import validate_ephemeral
from wherry.apiserver.strategy.pod.resources import validate_resources
from wherry.apiserver.strategy.pod.scheduling import validate_scheduling
from wherry.apiserver.strategy.pod.security import validate_pod_security
from wherry.apiserver.strategy.pod.volume import validate_volumes

Object = dict[str, Any]
_RESTART_POLICIES = ("Always", "OnFailure", "Never")
_MOST_ACTIVE_DEADLINE = (1 << 31) - 1
_OS = ("linux", "windows")
_NAMES: tuple[tuple[str, NameRule], ...] = (
    ("serviceAccountName", names.dns1123_subdomain),
    ("nodeName", names.dns1123_subdomain),
    ("hostname", names.dns1123_label),
    ("subdomain", names.dns1123_label),
    ("priorityClassName", names.dns1123_subdomain),
    ("runtimeClassName", names.dns1123_subdomain),
    ("schedulerName", names.dns1123_subdomain),
)


def validate_template(path: str, template: Object) -> list[Cause]:
    """Check a pod template of any workload."""
    meta = template.get("metadata", {})
    wrong = names.check_labels(f"{path}.metadata.labels", meta.get("labels", {}))
    wrong += names.check_annotations(f"{path}.metadata.annotations", meta.get("annotations", {}))
    spec = template.get("spec", {})
    if spec.get("ephemeralContainers"):
        detail = "ephemeral containers not allowed in pod template"
        wrong.append(fields.forbidden(f"{path}.spec.ephemeralContainers", detail))
    return wrong + validate_spec(f"{path}.spec", spec)


def validate_endless_template(path: str, template: Object, owner: str) -> list[Cause]:
    """Check a pod template of a workload whose pods are to run for ever."""
    wrong = validate_template(path, template)
    spec = template.get("spec", {})
    if spec.get("restartPolicy", "Always") != "Always":
        at, policy = f"{path}.spec.restartPolicy", spec["restartPolicy"]
        wrong.append(fields.unsupported(at, policy, ["Always"]))
    if spec.get("activeDeadlineSeconds") is not None:
        detail = f"activeDeadlineSeconds in {owner} is not Supported"
        wrong.append(fields.forbidden(f"{path}.spec.activeDeadlineSeconds", detail))
    return wrong


def validate_spec(path: str, spec: Object) -> list[Cause]:
    """Return everything that is wrong with a pod spec (defaults are in)."""
    volumes, wrong = validate_volumes(f"{path}.volumes", spec.get("volumes", []))
    claims = _resource_claims(f"{path}.resourceClaims", spec.get("resourceClaims", []), wrong)
    pod = Surroundings(
        volumes,
        claims,
        spec.get("terminationGracePeriodSeconds", 30),
        spec.get("hostUsers", True),
    )
    wrong += _containers(path, spec, pod)
    wrong += _host_network(path, spec)
    wrong += option(path, spec, "restartPolicy", _RESTART_POLICIES)
    wrong += validate_dns(path, spec)
    wrong += validate_pod_security(path, spec)
    for index, ref in enumerate(spec.get("imagePullSecrets", ())):
        if not ref.get("name"):
            wrong.append(fields.required(f"{path}.imagePullSecrets[{index}].name"))
    wrong += validate_scheduling(path, spec)
    wrong += _gates(path, spec)
    wrong += _names(path, spec)
    wrong += _numbers(path, spec)
    wrong += _aliases(f"{path}.hostAliases", spec.get("hostAliases", []))
    wrong += option(path, spec, "preemptionPolicy", PREEMPTION)
    if "os" in spec:
        wrong += _os(f"{path}.os", spec["os"])
    if spec.get("overhead"):
        wrong += validate_resources(f"{path}.overhead", {"limits": spec["overhead"]})
    if spec.get("resources"):
        wrong += validate_resources(f"{path}.resources", spec["resources"], claims)
    return wrong


def _resource_claims(path: str, claims: list[Object], wrong: list[Cause]) -> set[str]:
    found: set[str] = set()
    for index, claim in enumerate(claims):
        at, name = f"{path}[{index}]", claim.get("name", "")
        if not name:
            wrong.append(fields.required(f"{at}.name"))
        elif name in found:
            wrong.append(fields.duplicate(f"{at}.name", name))
        else:
            wrong += names.check(f"{at}.name", name, names.dns1123_label)
        found.add(name)
        sources = [f for f in ("resourceClaimName", "resourceClaimTemplateName") if f in claim]
        if len(sources) == 2:
            detail = (
                "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified"
            )
            wrong.append(fields.invalid(at, claim, detail))
        elif not sources:
            detail = "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"
            wrong.append(fields.invalid(at, claim, detail))
    return found


def _containers(path: str, spec: Object, pod: Surroundings) -> list[Cause]:
    wrong: list[Cause] = []
    taken: set[str] = set()
    if not spec.get("containers"):
        wrong.append(fields.required(f"{path}.containers"))
    for field, validate in (
        ("containers", validate_container),
        ("initContainers", validate_init_container),
    ):
        for index, container in enumerate(spec.get(field, ())):
            at, name = f"{path}.{field}[{index}]", container.get("name", "")
            wrong += validate(at, container, pod)
            if name and name in taken:
                wrong.append(fields.duplicate(f"{at}.name", name))
            taken.add(name)
    if spec.get("ephemeralContainers"):
        at = f"{path}.ephemeralContainers"
        wrong += validate_ephemeral(at, spec["ephemeralContainers"], pod, taken)
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


def _host_network(path: str, spec: Object) -> list[Cause]:
    if not spec.get("hostNetwork"):
        return []
    detail = "must match `hostPort` when `hostNetwork` is true"
    return [
        fields.invalid(
            f"{path}.containers[{at}].ports[{index}].containerPort", port["containerPort"], detail
        )
        for at, container in enumerate(spec.get("containers", ()))
        for index, port in enumerate(container.get("ports", ()))
        if port.get("containerPort") and port.get("hostPort") != port["containerPort"]
    ]


def _gates(path: str, spec: Object) -> list[Cause]:
    wrong: list[Cause] = []
    for index, gate in enumerate(spec.get("readinessGates", ())):
        at = f"{path}.readinessGates[{index}].conditionType"
        wrong += names.check(at, gate.get("conditionType", ""), names.qualified_name)
    seen: set[str] = set()
    for index, gate in enumerate(spec.get("schedulingGates", ())):
        at, name = f"{path}.schedulingGates[{index}]", gate.get("name", "")
        wrong += names.check(at, name, names.qualified_name)
        if name in seen:
            wrong.append(fields.duplicate(at, name))
        seen.add(name)
    return wrong


def _names(path: str, spec: Object) -> list[Cause]:
    wrong: list[Cause] = []
    for field, rule in _NAMES:
        value = spec.get(field)
        if value:
            wrong += names.check(f"{path}.{field}", value, rule)
    return wrong


def _numbers(path: str, spec: Object) -> list[Cause]:
    wrong: list[Cause] = []
    active = spec.get("activeDeadlineSeconds")
    if active is not None:
        wrong += in_range(f"{path}.activeDeadlineSeconds", active, 1, _MOST_ACTIVE_DEADLINE)
    return wrong + not_negative(path, spec, "terminationGracePeriodSeconds")


def _aliases(path: str, aliases: Sequence[Object]) -> list[Cause]:
    wrong: list[Cause] = []
    for index, alias in enumerate(aliases):
        wrong += check_ip(f"{path}[{index}].ip", alias.get("ip", ""))
        for at, name in enumerate(alias.get("hostnames", ())):
            wrong += names.check(f"{path}[{index}].hostnames[{at}]", name, names.dns1123_subdomain)
    return wrong


def _os(path: str, system: Object) -> list[Cause]:
    if not system.get("name"):
        return [fields.required(f"{path}.name", "cannot be empty")]
    return option(path, system, "name", _OS)
