"""Rules for one container: core `validateContainers` and what it calls."""

from typing import Any

from wherry.api.errors import Cause, InvalidQuantityError
from wherry.api.quantity import parse_quantity
from wherry.apiserver.strategy import fields, names
from wherry.apiserver.strategy.endpoints import check_ip, check_port

Object = dict[str, Any]
_PROTOCOLS = ("TCP", "UDP", "SCTP")
_PULL_POLICIES = ("Always", "IfNotPresent", "Never")
_MESSAGE_POLICIES = ("File", "FallbackToLogsOnError")
_SCHEMES = ("HTTP", "HTTPS")
_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc", "sleep")
_NOT_NEGATIVE = "must be greater than or equal to 0"
_FIELD_PATHS = (
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
)
_RESOURCE_FIELDS = tuple(
    f"{kind}.{resource}"
    for kind in ("limits", "requests")
    for resource in ("cpu", "memory", "ephemeral-storage")
)


def validate_container(
    path: str, container: Object, volumes: dict[str, Object], *, init: bool
) -> list[Cause]:
    """Return everything that is wrong with a container.

    Args:
        path: Where it stands.
        container: With its defaults.
        volumes: The pod's volumes by name.
        init: It is an init container; a restartPolicy of Always makes it a sidecar.
    """
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
    wrong += _choice(f"{path}.imagePullPolicy", container, "imagePullPolicy", _PULL_POLICIES)
    wrong += _choice(
        f"{path}.terminationMessagePolicy", container, "terminationMessagePolicy", _MESSAGE_POLICIES
    )
    wrong += _ports(f"{path}.ports", container.get("ports", []))
    wrong += _env(f"{path}.env", container.get("env", []))
    wrong += _env_from(f"{path}.envFrom", container.get("envFrom", []))
    wrong += _mounts(f"{path}.volumeMounts", container.get("volumeMounts", []), volumes)
    wrong += _resources(f"{path}.resources", container.get("resources", {}))
    wrong += _restart(path, container, init=init)
    sidecar = init and container.get("restartPolicy") == "Always"
    wrong += _probes(path, container, allowed=not init or sidecar)
    return wrong


def _choice(path: str, obj: Object, field: str, allowed: tuple[str, ...]) -> list[Cause]:
    value = obj.get(field, "")
    if value in allowed:
        return []
    return [fields.unsupported(path, value, allowed) if value else fields.required(path)]


def _restart(path: str, container: Object, *, init: bool) -> list[Cause]:
    policy = container.get("restartPolicy")
    if policy is None:
        return []
    if not init:
        return [fields.forbidden(f"{path}.restartPolicy", "may not be set for non-init containers")]
    if policy != "Always":
        return [fields.unsupported(f"{path}.restartPolicy", policy, ["Always"])]
    return []


def _ports(path: str, ports: list[Object]) -> list[Cause]:
    wrong: list[Cause] = []
    taken: set[str] = set()
    for index, port in enumerate(ports):
        at, name = f"{path}[{index}]", port.get("name", "")
        if name:
            wrong += names.check(f"{at}.name", name, names.port_name)
            if name in taken:
                wrong.append(fields.duplicate(f"{at}.name", name))
            taken.add(name)
        if not port.get("containerPort"):
            wrong.append(fields.required(f"{at}.containerPort"))
        else:
            wrong += check_port(f"{at}.containerPort", port["containerPort"])
        if port.get("hostPort"):
            wrong += check_port(f"{at}.hostPort", port["hostPort"])
        if port.get("hostIP"):
            wrong += check_ip(f"{at}.hostIP", port["hostIP"])
        wrong += _choice(f"{at}.protocol", port, "protocol", _PROTOCOLS)
    return wrong


# -- environment ----------------------------------------------------------------------------


def _env(path: str, env: list[Object]) -> list[Cause]:
    wrong: list[Cause] = []
    for index, each in enumerate(env):
        at, name = f"{path}[{index}]", each.get("name", "")
        if not name:
            wrong.append(fields.required(f"{at}.name"))
        else:
            wrong += names.check(f"{at}.name", name, names.env_name)
        if "valueFrom" in each:
            wrong += _value_from(f"{at}.valueFrom", each["valueFrom"], each.get("value", ""))
    return wrong


def _value_from(path: str, source: Object, value: str) -> list[Cause]:
    kinds = [
        k
        for k in ("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef")
        if k in source
    ]
    wrong: list[Cause] = []
    if not kinds:
        detail = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`"
        wrong.append(fields.invalid(path, "", detail))
    elif value:
        wrong.append(fields.invalid(path, "", "may not be specified when `value` is not empty"))
    elif len(kinds) > 1:
        wrong.append(
            fields.invalid(path, "", "may not have more than one field specified at a time")
        )
    for kind in ("configMapKeyRef", "secretKeyRef"):
        if kind in source:
            wrong += _key_ref(f"{path}.{kind}", source[kind])
    if "fieldRef" in source:
        wrong += _field_ref(f"{path}.fieldRef", source["fieldRef"])
    if "resourceFieldRef" in source:
        wrong += _resource_ref(f"{path}.resourceFieldRef", source["resourceFieldRef"])
    return wrong


def _key_ref(path: str, ref: Object) -> list[Cause]:
    wrong: list[Cause] = []
    if not ref.get("name"):
        wrong.append(fields.required(f"{path}.name"))
    if not ref.get("key"):
        return [*wrong, fields.required(f"{path}.key")]
    return wrong + names.check(f"{path}.key", ref["key"], names.config_key)


def _field_ref(path: str, ref: Object) -> list[Cause]:
    field = ref.get("fieldPath", "")
    if not field:
        return [fields.required(f"{path}.fieldPath")]
    head, bracket, key = field.partition("['")
    if bracket and head in ("metadata.labels", "metadata.annotations") and key.endswith("']"):
        return names.check(f"{path}.fieldPath", key[:-2].lower(), names.qualified_name)
    if field not in _FIELD_PATHS:
        return [fields.unsupported(f"{path}.fieldPath", field, _FIELD_PATHS)]
    return []


def _resource_ref(path: str, ref: Object) -> list[Cause]:
    resource = ref.get("resource", "")
    if not resource:
        return [fields.required(f"{path}.resource")]
    if resource not in _RESOURCE_FIELDS and ".hugepages-" not in resource:
        return [fields.unsupported(f"{path}.resource", resource, _RESOURCE_FIELDS)]
    return []


def _env_from(path: str, sources: list[Object]) -> list[Cause]:
    wrong: list[Cause] = []
    for index, source in enumerate(sources):
        at = f"{path}[{index}]"
        if source.get("prefix"):
            wrong += names.check(f"{at}.prefix", source["prefix"], names.env_name)
        kinds = [k for k in ("configMapRef", "secretRef") if k in source]
        if not kinds:
            detail = "must specify one of: `configMapRef` or `secretRef`"
            wrong.append(fields.invalid(at, "", detail))
        elif len(kinds) > 1:
            detail = "may not have more than one field specified at a time"
            wrong.append(fields.invalid(at, "", detail))
        wrong += [
            fields.required(f"{at}.{kind}.name") for kind in kinds if not source[kind].get("name")
        ]
    return wrong


# -- mounts ---------------------------------------------------------------------------------


def _mounts(path: str, mounts: list[Object], volumes: dict[str, Object]) -> list[Cause]:
    wrong: list[Cause] = []
    taken: set[str] = set()
    for index, mount in enumerate(mounts):
        at, name, where = f"{path}[{index}]", mount.get("name", ""), mount.get("mountPath", "")
        if not name:
            wrong.append(fields.required(f"{at}.name"))
        elif name not in volumes:
            wrong.append(fields.not_found(f"{at}.name", name))
        if not where:
            wrong.append(fields.required(f"{at}.mountPath"))
        elif where in taken:
            wrong.append(fields.invalid(f"{at}.mountPath", where, "must be unique"))
        taken.add(where)
        wrong += _sub_path(at, mount)
    return wrong


def _sub_path(at: str, mount: Object) -> list[Cause]:
    wrong: list[Cause] = []
    for field in ("subPath", "subPathExpr"):
        text = mount.get(field, "")
        if text.startswith("/"):
            wrong.append(fields.invalid(f"{at}.{field}", text, "must be a relative path"))
        if ".." in text.split("/"):
            wrong.append(fields.invalid(f"{at}.{field}", text, "must not contain '..'"))
    if mount.get("subPath") and mount.get("subPathExpr"):
        text = mount["subPathExpr"]
        detail = "subPathExpr and subPath are mutually exclusive"
        wrong.append(fields.invalid(f"{at}.subPathExpr", text, detail))
    return wrong


# -- resources ------------------------------------------------------------------------------


def _resources(path: str, resources: Object) -> list[Cause]:
    wrong: list[Cause] = []
    limits = _quantities(f"{path}.limits", resources.get("limits", {}), wrong)
    requests = _quantities(f"{path}.requests", resources.get("requests", {}), wrong)
    for name, request in requests.items():
        if name in limits and request > limits[name]:
            shown = resources["requests"][name]
            detail = f"must be less than or equal to {name} limit of {resources['limits'][name]}"
            wrong.append(fields.invalid(f"{path}.requests", shown, detail))
    return wrong


def _quantities(path: str, resources: Object, wrong: list[Cause]) -> dict[str, Any]:
    parsed = {}
    for name, text in resources.items():
        at = f"{path}[{name}]"
        if "/" not in name and name not in _STANDARD and not name.startswith("hugepages-"):
            detail = "must be a standard resource type or fully qualified"
            wrong.append(fields.invalid(at, name, detail))
            if name not in ("gpu",):
                wrong.append(fields.invalid(at, name, "must be a standard resource for containers"))
            continue
        wrong += names.check(at, name, names.qualified_name)
        try:
            parsed[name] = parse_quantity(str(text))
        except InvalidQuantityError as error:
            wrong.append(fields.invalid(at, text, str(error)))
            continue
        if parsed[name] < 0:
            wrong.append(fields.invalid(at, text, _NOT_NEGATIVE))
    return parsed


_STANDARD = ("cpu", "memory", "ephemeral-storage", "storage")


# -- probes and hooks -----------------------------------------------------------------------


def _probes(path: str, container: Object, *, allowed: bool) -> list[Cause]:
    wrong: list[Cause] = []
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        probe = container.get(name)
        if probe is None:
            continue
        at = f"{path}.{name}"
        if not allowed:
            detail = "must not be set for init containers without restartPolicy=Always"
            wrong.append(fields.forbidden(at, detail))
            continue
        wrong += _probe(at, probe)
        if name != "readinessProbe" and probe.get("successThreshold", 1) != 1:
            wrong.append(
                fields.invalid(f"{at}.successThreshold", probe["successThreshold"], "must be 1")
            )
    lifecycle = container.get("lifecycle")
    if lifecycle and not allowed:
        wrong.append(
            fields.forbidden(
                f"{path}.lifecycle",
                "may not be set for init containers without restartPolicy=Always",
            )
        )
    elif lifecycle:
        for hook in ("postStart", "preStop"):
            if hook in lifecycle:
                wrong += _handler(f"{path}.lifecycle.{hook}", lifecycle[hook])
    return wrong


def _probe(path: str, probe: Object) -> list[Cause]:
    wrong = _handler(path, probe)
    for field in (
        "initialDelaySeconds",
        "timeoutSeconds",
        "periodSeconds",
        "successThreshold",
        "failureThreshold",
    ):
        if probe.get(field, 0) < 0:
            wrong.append(fields.invalid(f"{path}.{field}", probe[field], _NOT_NEGATIVE))
    grace = probe.get("terminationGracePeriodSeconds")
    if grace is not None and grace <= 0:
        detail = "must be greater than 0"
        wrong.append(fields.invalid(f"{path}.terminationGracePeriodSeconds", grace, detail))
    return wrong


def _handler(path: str, handler: Object) -> list[Cause]:
    kinds = [k for k in _HANDLERS if handler.get(k) is not None]
    if not kinds:
        return [fields.required(path, "must specify a handler type")]
    wrong = [
        fields.forbidden(f"{path}.{kind}", "may not specify more than 1 handler type")
        for kind in kinds[1:]
    ]
    kind = kinds[0]
    at, body = f"{path}.{kind}", handler[kind]
    if kind == "exec" and not body.get("command"):
        wrong.append(fields.required(f"{at}.command"))
    if kind == "httpGet":
        if not body.get("path"):
            wrong.append(fields.required(f"{at}.path"))
        wrong += _choice(f"{at}.scheme", body, "scheme", _SCHEMES)
    if kind in ("httpGet", "tcpSocket"):
        wrong += check_port_or_name(f"{at}.port", body.get("port", 0))
    if kind == "grpc":
        wrong += check_port(f"{at}.port", body.get("port", 0))
    return wrong


def check_port_or_name(path: str, port: int | str) -> list[Cause]:
    """Check a port that may be given by number or by a container port's name."""
    if isinstance(port, int):
        return check_port(path, port)
    return names.check(path, port, names.port_name)
