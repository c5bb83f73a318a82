"""Rules for one container: core `validateContainers` and `validateInitContainers`."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from wherry.api.errors import Cause
from wherry.apiserver.strategy import fields, names
from wherry.apiserver.strategy.formats import PROTOCOLS, check_port, choice
from wherry.apiserver.strategy.pod.environment import validate_env, validate_env_from
from wherry.apiserver.strategy.pod.handler import forbid_handlers, validate_handlers
from wherry.apiserver.strategy.pod.mount import validate_mounts
from wherry.apiserver.strategy.pod.resources import validate_resources
from wherry.apiserver.strategy.pod.security import validate_container_security

Object = dict[str, Any]
_PULL_POLICIES = ("Always", "IfNotPresent", "Never")
_MESSAGE_POLICIES = ("File", "FallbackToLogsOnError")
_RESIZE_RESOURCES = ("cpu", "memory")
_RESIZE_POLICIES = ("NotRequired", "RestartContainer")
_RESTART_POLICIES = ("Always", "Never", "OnFailure")
_RESTART_ACTIONS = ("Restart", "RestartAllContainers")
_MOST_RULES = 20
_MOST_EXIT_CODES = 255


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a container can refer to in its pod."""

    volumes: Mapping[str, Object] = field(default_factory=dict)
    claims: Collection[str] = ()
    grace_s: int = 30
    host_users: bool = True
    restart_policy: str = "Always"


def validate_container(
    path: str, container: Object, pod: Surroundings, taken: set[str]
) -> list[Cause]:
    """Return everything wrong with an app container; `taken` gets its name."""
    wrong = validate_common(path, container, pod)
    wrong += _unique(path, container, taken)
    wrong += validate_handlers(path, container, pod.grace_s)
    if "restartPolicy" in container or "restartPolicyRules" in container:
        wrong += _restart(path, container)
    return wrong


def validate_init_container(
    path: str, container: Object, pod: Surroundings, taken: set[str]
) -> list[Cause]:
    """Return everything wrong with an init container; restartPolicy Always makes it a sidecar."""
    wrong = validate_common(path, container, pod)
    if "restartPolicy" in container or "restartPolicyRules" in container:
        wrong += _restart(path, container)
    wrong += _unique(path, container, taken)
    if container.get("restartPolicy") == "Always":
        return wrong + validate_handlers(path, container, pod.grace_s)
    return wrong + forbid_handlers(path, container)


def _unique(path: str, container: Object, taken: set[str]) -> list[Cause]:
    name = container.get("name", "")
    if name and name in taken:
        return [fields.duplicate(f"{path}.name", name)]
    taken.add(name)
    return []


def validate_common(path: str, container: Object, pod: Surroundings) -> list[Cause]:
    """Return what is wrong with a container of any sort."""
    wrong: list[Cause] = []
    name = container.get("name", "")
    if not name:
        wrong.append(fields.required(f"{path}.name"))
    else:
        wrong += names.check(f"{path}.name", name, names.dns1123_label)
    if not container.get("image"):
        wrong.append(fields.required(f"{path}.image"))
    wrong += choice(path, container, "terminationMessagePolicy", _MESSAGE_POLICIES)
    if "ports" in container:
        wrong += _ports(f"{path}.ports", container["ports"])
    if "env" in container:
        wrong += validate_env(f"{path}.env", container["env"])
    if "envFrom" in container:
        wrong += validate_env_from(f"{path}.envFrom", container["envFrom"])
    wrong += validate_mounts(path, container, pod.volumes)
    wrong += choice(path, container, "imagePullPolicy", _PULL_POLICIES)
    wrong += validate_resources(f"{path}.resources", container.get("resources", {}), pod.claims)
    if "resizePolicy" in container:
        at = f"{path}.resizePolicy"
        wrong += _resize(at, container["resizePolicy"], pod.restart_policy)
    if "securityContext" in container:
        wrong += validate_container_security(
            f"{path}.securityContext", container["securityContext"], host_users=pod.host_users
        )
    return wrong


def check_image(path: str, container: Object) -> list[Cause]:
    """Check what is refused of a pod's image only: templates with spaces in it are as old as templates."""
    image = container.get("image", "")
    if image == image.strip():
        return []
    detail = "must not have leading or trailing whitespace"
    return [fields.invalid(f"{path}.image", image, detail)]


def _ports(path: str, ports: list[Object]) -> list[Cause]:
    wrong: list[Cause] = []
    taken: set[str] = set()
    for index, port in enumerate(ports):
        at, name = f"{path}[{index}]", port.get("name", "")
        if name:
            reasons = names.check(f"{at}.name", name, names.port_name)
            if not reasons and name in taken:
                reasons = [fields.duplicate(f"{at}.name", name)]
            taken.add(name)
            wrong += reasons
        if not port.get("containerPort"):
            wrong.append(fields.required(f"{at}.containerPort"))
        else:
            wrong += check_port(f"{at}.containerPort", port["containerPort"])
        if port.get("hostPort"):
            wrong += check_port(f"{at}.hostPort", port["hostPort"])
        wrong += choice(at, port, "protocol", PROTOCOLS)
    return wrong


def _resize(path: str, policies: list[Object], restart_policy: str) -> list[Cause]:
    """Check what a resize does to the container. Upstream's paths have an index for repetitions only."""
    above, _, field_ = path.rpartition(".")
    wrong: list[Cause] = []
    seen: set[str] = set()
    for index, policy in enumerate(policies):
        name, action = policy.get("resourceName", ""), policy.get("restartPolicy", "")
        if name in seen:
            wrong.append(fields.duplicate(f"{path}[{index}]", name))
        seen.add(name)
        wrong += choice(above, {field_: name}, field_, _RESIZE_RESOURCES)
        wrong += choice(above, {field_: action}, field_, _RESIZE_POLICIES)
        if restart_policy == "Never" and action != "NotRequired":
            detail = "must be 'NotRequired' when `restartPolicy` is 'Never'"
            wrong.append(fields.invalid(path, action, detail))
    return wrong


def _restart(path: str, container: Object) -> list[Cause]:
    """Check when the container is started again, whatever its pod says."""
    rules = container.get("restartPolicyRules", ())
    at = f"{path}.restartPolicyRules"
    wrong: list[Cause] = []
    if "restartPolicy" in container:
        policy = container["restartPolicy"]
        if policy not in _RESTART_POLICIES:
            wrong.append(fields.unsupported(f"{path}.restartPolicy", policy, _RESTART_POLICIES))
    elif rules:
        detail = "must specify restartPolicy when restart rules are used"
        wrong.append(fields.required(f"{path}.restartPolicy", detail))
    if len(rules) > _MOST_RULES:
        wrong.append(fields.too_many(at, len(rules), _MOST_RULES))
    for index, rule in enumerate(rules):
        wrong += _restart_rule(f"{at}[{index}]", rule)
    return wrong


def _restart_rule(path: str, rule: Object) -> list[Cause]:
    wrong: list[Cause] = []
    action, codes = rule.get("action", ""), rule.get("exitCodes")
    if action not in _RESTART_ACTIONS:
        wrong.append(fields.unsupported(f"{path}.action", action, _RESTART_ACTIONS))
    if codes is None:
        return [*wrong, fields.required(f"{path}.exitCodes", "must be specified")]
    operator, values = codes.get("operator", ""), codes.get("values", ())
    if operator not in ("In", "NotIn"):
        at = f"{path}.exitCodes.operator"
        wrong.append(fields.unsupported(at, operator, ("In", "NotIn")))
    if len(values) > _MOST_EXIT_CODES:
        at = f"{path}.exitCodes.values"
        wrong.append(fields.too_many(at, len(values), _MOST_EXIT_CODES))
    return wrong
