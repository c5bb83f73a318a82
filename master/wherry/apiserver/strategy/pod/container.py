"""Rules for one container: core `validateContainers` and `validateInitContainers`."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from wherry.api.errors import Cause
from wherry.apiserver.strategy import fields, names
from wherry.apiserver.strategy.formats import PROTOCOLS, check_ip, check_port, choice, option
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


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a container can refer to in its pod."""

    volumes: Mapping[str, Object] = field(default_factory=dict)
    claims: Collection[str] = ()
    grace_s: int = 30
    host_users: bool = True


def validate_container(path: str, container: Object, pod: Surroundings) -> list[Cause]:
    """Return everything wrong with an app container."""
    wrong = validate_common(path, container, pod)
    wrong += validate_handlers(path, container, pod.grace_s)
    if container.get("restartPolicy") is not None:
        detail = "may not be set for non-init containers"
        wrong.append(fields.forbidden(f"{path}.restartPolicy", detail))
    return wrong


def validate_init_container(path: str, container: Object, pod: Surroundings) -> list[Cause]:
    """Return everything wrong with an init container; restartPolicy Always makes it a sidecar."""
    wrong = validate_common(path, container, pod)
    policy = container.get("restartPolicy")
    if policy is not None and policy != "Always":
        wrong.append(fields.unsupported(f"{path}.restartPolicy", policy, ["Always"]))
    if policy == "Always":
        return wrong + validate_handlers(path, container, pod.grace_s)
    return wrong + forbid_handlers(path, container)


def validate_common(path: str, container: Object, pod: Surroundings) -> list[Cause]:
    """Return what is wrong with a container of any sort."""
    wrong: list[Cause] = []
    name, image = container.get("name", ""), container.get("image", "")
    if not name:
        wrong.append(fields.required(f"{path}.name"))
    else:
        wrong += names.check(f"{path}.name", name, names.dns1123_label)
    if not image:
        wrong.append(fields.required(f"{path}.image"))
    elif image != image.strip():
        detail = "must not have leading or trailing whitespace"
        wrong.append(fields.invalid(f"{path}.image", image, detail))
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
        wrong += _resize(f"{path}.resizePolicy", container["resizePolicy"])
    if "securityContext" in container:
        wrong += validate_container_security(
            f"{path}.securityContext", container["securityContext"], host_users=pod.host_users
        )
    return wrong


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
        if port.get("hostIP"):
            wrong += check_ip(f"{at}.hostIP", port["hostIP"])
    return wrong


def _resize(path: str, policies: list[Object]) -> list[Cause]:
    wrong: list[Cause] = []
    seen: set[str] = set()
    for index, policy in enumerate(policies):
        at, name = f"{path}[{index}]", policy.get("resourceName", "")
        if name in seen:
            wrong.append(fields.duplicate(at, name))
        seen.add(name)
        wrong += option(at, {"resourceName": name}, "resourceName", _RESIZE_RESOURCES)
        wrong += choice(at, policy, "restartPolicy", _RESIZE_POLICIES)
    return wrong
