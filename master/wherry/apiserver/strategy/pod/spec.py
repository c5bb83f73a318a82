"""Rules for a whole pod spec: core `ValidatePodSpec`, and templates."""

from collections.abc import Sequence
from typing import Any

from wherry.api.errors import Cause
from wherry.apiserver.strategy import fields, names
from wherry.apiserver.strategy.formats import PREEMPTION, check_ip, choice, in_range, option
from wherry.apiserver.strategy.pod.annotations import validate_annotations
from wherry.apiserver.strategy.pod.container import (
    Surroundings,
    check_image,
    validate_container,
    validate_init_container,
)
from wherry.apiserver.strategy.pod.dns import validate_dns_config, validate_dns_policy
from wherry.apiserver.strategy.pod.ephemeral import validate_ephemeral
from wherry.apiserver.strategy.pod.platform import validate_os
from wherry.apiserver.strategy.pod.pod_level import validate_pod_level
from wherry.apiserver.strategy.pod.resources import validate_resources
from wherry.apiserver.strategy.pod.scheduling import (
    validate_affinity,
    validate_spreads,
    validate_toleration,
)
from wherry.apiserver.strategy.pod.security import validate_host_users, validate_pod_security
from wherry.apiserver.strategy.pod.volume import validate_volumes

Object = dict[str, Any]
_RESTART_POLICIES = ("Always", "OnFailure", "Never")
_MOST_ACTIVE_DEADLINE = (1 << 31) - 1


def validate_template(path: str, template: Object) -> list[Cause]:
    """Check a pod template of any workload."""
    meta = template.get("metadata", {})
    labels, annotations = meta.get("labels", {}), meta.get("annotations", {})
    spec = template.get("spec", {})
    wrong = names.check_labels(f"{path}.labels", labels)
    wrong += names.check_annotations(f"{path}.annotations", annotations)
    wrong += validate_annotations(f"{path}.annotations", annotations, spec)
    wrong += validate_spec(f"{path}.spec", spec)
    if spec.get("ephemeralContainers"):
        detail = "ephemeral containers not allowed in pod template"
        wrong.append(fields.forbidden(f"{path}.spec.ephemeralContainers", detail))
    return wrong


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


def validate_pod(path: str, spec: Object, meta: Object) -> list[Cause]:
    """Return everything that is wrong with the spec of a pod, which has more rules than a template's."""
    wrong = validate_spec(path, spec, meta)
    if not spec.get("serviceAccountName"):
        wrong += _tokens(path, spec)
    for field in ("containers", "initContainers"):
        for index, container in enumerate(spec.get(field, ())):
            wrong += check_image(f"{path}.{field}[{index}]", container)
    return wrong


def _tokens(path: str, spec: Object) -> list[Cause]:
    detail = "must not be specified when serviceAccountName is not set"
    return [
        fields.forbidden(
            f"{path}.volumes[{at}].projected.sources[{index}].serviceAccountToken", detail
        )
        for at, volume in enumerate(spec.get("volumes", ()))
        for index, source in enumerate(volume.get("projected", {}).get("sources", ()))
        if "serviceAccountToken" in source
    ]


def validate_spec(path: str, spec: Object, meta: Object | None = None) -> list[Cause]:
    """Return everything that is wrong with a pod spec (defaults are in), in upstream's order.

    Args:
        path: Where it stands.
        spec: It.
        meta: The metadata of its pod, None where it is a template's.
    """
    volumes, wrong = validate_volumes(f"{path}.volumes", spec.get("volumes", []), meta)
    claims = _resource_claims(f"{path}.resourceClaims", spec.get("resourceClaims", []), wrong)
    pod = Surroundings(
        volumes,
        claims,
        spec.get("terminationGracePeriodSeconds", 30),
        spec.get("hostUsers", True),
        spec.get("restartPolicy", ""),
    )
    wrong += _containers(path, spec, pod)
    if "resources" in spec:
        wrong += validate_pod_level(f"{path}.resources", spec, claims)
    if spec.get("hostNetwork"):
        wrong += _host_network(path, spec, is_pod=meta is not None)
    wrong += choice(path, spec, "restartPolicy", _RESTART_POLICIES)
    wrong += validate_dns_policy(path, spec)
    if "nodeSelector" in spec:
        wrong += names.check_labels(f"{path}.nodeSelector", spec["nodeSelector"])
    wrong += validate_pod_security(path, spec)
    if "affinity" in spec:
        wrong += validate_affinity(f"{path}.affinity", spec["affinity"])
    wrong += validate_dns_config(path, spec)
    wrong += _gates(path, spec)
    if "topologySpreadConstraints" in spec:
        at = f"{path}.topologySpreadConstraints"
        wrong += validate_spreads(at, spec["topologySpreadConstraints"])
    wrong += validate_host_users(path, spec)
    return wrong + _rest(path, spec)


def _rest(path: str, spec: Object) -> list[Cause]:
    """Check the fields that mean nothing to each other."""
    wrong = _names(path, spec, "serviceAccountName", "nodeName")
    if "activeDeadlineSeconds" in spec:
        active = spec["activeDeadlineSeconds"]
        wrong += in_range(f"{path}.activeDeadlineSeconds", active, 1, _MOST_ACTIVE_DEADLINE)
    for field in ("hostname", "subdomain"):
        if spec.get(field):
            wrong += names.check(f"{path}.{field}", spec[field], names.dns1123_label)
    for index, toleration in enumerate(spec.get("tolerations", ())):
        wrong += validate_toleration(f"{path}.tolerations[{index}]", toleration)
    if "hostAliases" in spec:
        wrong += _aliases(f"{path}.hostAliases", spec["hostAliases"])
    wrong += _names(path, spec, "priorityClassName")
    if "runtimeClassName" in spec:
        at = f"{path}.runtimeClassName"
        wrong += names.check(at, spec["runtimeClassName"], names.dns1123_subdomain)
    wrong += option(path, spec, "preemptionPolicy", PREEMPTION)
    if spec.get("overhead"):
        wrong += validate_resources(f"{path}.overhead", {"limits": spec["overhead"]})
    if "os" in spec:
        wrong += validate_os(path, spec)
    return wrong


def _names(path: str, spec: Object, *fields_: str) -> list[Cause]:
    wrong: list[Cause] = []
    for field in fields_:
        if spec.get(field):
            wrong += names.check(f"{path}.{field}", spec[field], names.dns1123_subdomain)
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
        for field in sources:
            wrong += names.check(f"{at}.{field}", claim[field], names.dns1123_subdomain)
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
            wrong += validate(f"{path}.{field}[{index}]", container, pod, taken)
        if field == "containers":
            wrong += _host_ports(f"{path}.containers", spec.get("containers", ()))
    for container in spec.get("initContainers", ()):
        # One at a time: they run one after the other. Upstream's path is always the first's.
        wrong += _host_ports(f"{path}.initContainers", [container])
    if spec.get("ephemeralContainers"):
        at = f"{path}.ephemeralContainers"
        wrong += validate_ephemeral(at, spec["ephemeralContainers"], pod, taken)
    return wrong


def _host_ports(path: str, containers: Sequence[Object]) -> list[Cause]:
    wrong: list[Cause] = []
    taken: set[tuple[str, str, int]] = set()
    for at, container in enumerate(containers):
        for index, port in enumerate(container.get("ports", ())):
            if not port.get("hostPort"):
                continue
            key = (port.get("protocol", ""), port.get("hostIP", ""), port["hostPort"])
            if key in taken:
                shown = "/".join(str(part) for part in key)
                where = f"{path}[{at}].ports[{index}].hostPort"
                wrong.append(fields.duplicate(where, shown))
            taken.add(key)
    return wrong


def _host_network(path: str, spec: Object, *, is_pod: bool) -> list[Cause]:
    """Check that ports on the host are those of the containers; those of a template may wait."""
    detail = "must match `containerPort` when `hostNetwork` is true"
    return [
        fields.invalid(
            f"{path}.containers[{at}].ports[{index}].hostPort", port.get("hostPort", 0), detail
        )
        for at, container in enumerate(spec.get("containers", ()))
        for index, port in enumerate(container.get("ports", ()))
        if (is_pod or port.get("hostPort"))
        and port.get("hostPort", 0) != port.get("containerPort", 0)
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


def _aliases(path: str, aliases: Sequence[Object]) -> list[Cause]:
    wrong: list[Cause] = []
    for index, alias in enumerate(aliases):
        wrong += check_ip(f"{path}[{index}].ip", alias.get("ip", ""))
        for at, name in enumerate(alias.get("hostnames", ())):
            wrong += names.check(f"{path}[{index}].hostnames[{at}]", name, names.dns1123_subdomain)
    return wrong
