"""What a container finds in its environment, and its command line after expansion.

Order, later wins: Services of the namespace, `envFrom`, `env`. `$(NAME)` is replaced by what
was defined before it, `$$` is a dollar sign, an unknown name stays as it is written.
"""

import base64
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from wherry.agent.resources import memory_bytes, millicores
from wherry.agent.views import ConfigMap, Container, EnvVarSource, KeySelector, Pod, Secret
from wherry.api.errors import WherryError
from wherry.api.objects import Service
from wherry.api.quantity import parse_quantity

_REFERENCE: Final = re.compile(r"\$(?:\$|\(([^()]*)\))")
_KEYED_FIELD: Final = re.compile(r"metadata\.(labels|annotations)\['(.+)'\]")
_ENV_NAME: Final = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*")


class ContainerConfigError(WherryError):
    """The pod asks for something that is not there (reason CreateContainerConfigError)."""


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What a pod may ask about its node: amounts are the allocatable ones."""

    name: str
    ip: str
    cpu_millicores: int = 0
    memory_bytes: int = 0


@dataclass(frozen=True, slots=True)
class References:
    """ConfigMaps, Secrets (by name) and Services that a pod's environment is made from."""

    config_maps: Mapping[str, ConfigMap]
    secrets: Mapping[str, Secret]
    services: Sequence[Service] = ()


def expand(text: str, values: Mapping[str, str]) -> str:
    """Replace `$(NAME)` by its value; an unknown name stays, `$$` becomes `$`."""

    def one(found: re.Match[str]) -> str:
        name = found[1]
        if name is None:
            return "$"
        return values.get(name, found[0])

    return _REFERENCE.sub(one, text)


def environment(
    pod: Pod, container: Container, references: References, node: NodeFacts, pod_ip: str
) -> dict[str, str]:
    """Return the variables of a container.

    Raises:
        ContainerConfigError: a ConfigMap, Secret or key that is not optional is missing.
    """
    values = service_variables(
        references.services, pod.metadata.namespace, links=pod.spec.enable_service_links
    )
    values |= _from_objects(container, references)
    for variable in container.env:
        if variable.value_from is None:
            values[variable.name] = expand(variable.value, values)
            continue
        value = _sourced(variable.value_from, pod, container, references, node, pod_ip)
        if value is not None:
            values[variable.name] = value
    return values


def _from_objects(container: Container, references: References) -> dict[str, str]:
    values: dict[str, str] = {}
    for source in container.env_from:
        data: Mapping[str, str] = {}
        if (ref := source.config_map_ref) is not None:
            found = references.config_maps.get(ref.name)
            if found is None and not ref.optional:
                raise ContainerConfigError(f'configmap "{ref.name}" not found')
            data = found.data if found is not None else {}
        elif (ref := source.secret_ref) is not None:
            secret = references.secrets.get(ref.name)
            if secret is None and not ref.optional:
                raise ContainerConfigError(f'secret "{ref.name}" not found')
            data = {k: _text(v) for k, v in secret.data.items()} if secret is not None else {}
        names = {source.prefix + key: value for key, value in data.items()}
        values |= {name: value for name, value in names.items() if _ENV_NAME.fullmatch(name)}
    return values


def _sourced(
    source: EnvVarSource,
    pod: Pod,
    container: Container,
    references: References,
    node: NodeFacts,
    pod_ip: str,
) -> str | None:
    if source.config_map_key_ref is not None:
        return _config_map_key(source.config_map_key_ref, pod, references)
    if source.secret_key_ref is not None:
        return _secret_key(source.secret_key_ref, pod, references)
    if source.field_ref is not None:
        return field_value(pod, source.field_ref.field_path, node, pod_ip)
    if source.resource_field_ref is not None:
        ref = source.resource_field_ref
        target = pod.container(ref.container_name) if ref.container_name else container
        return resource_value(target or container, ref.resource, str(ref.divisor), node)
    return ""


def _config_map_key(ref: KeySelector, pod: Pod, references: References) -> str | None:
    found = references.config_maps.get(ref.name)
    if found is None:
        if ref.optional:
            return None
        raise ContainerConfigError(f'configmap "{ref.name}" not found')
    if ref.key not in found.data:
        if ref.optional:
            return None
        raise ContainerConfigError(
            f"couldn't find key {ref.key} in ConfigMap {pod.metadata.namespace}/{ref.name}"
        )
    return found.data[ref.key]


def _secret_key(ref: KeySelector, pod: Pod, references: References) -> str | None:
    found = references.secrets.get(ref.name)
    if found is None:
        if ref.optional:
            return None
        raise ContainerConfigError(f'secret "{ref.name}" not found')
    if ref.key not in found.data:
        if ref.optional:
            return None
        raise ContainerConfigError(
            f"couldn't find key {ref.key} in Secret {pod.metadata.namespace}/{ref.name}"
        )
    return _text(found.data[ref.key])


def _text(encoded: str) -> str:
    return base64.b64decode(encoded).decode(errors="replace")


def field_value(pod: Pod, path: str, node: NodeFacts, pod_ip: str) -> str:
    """Return a field of the pod as text.

    Raises:
        ContainerConfigError: the field is not one that the downward API serves.
    """
    meta = pod.metadata
    plain = {
        "metadata.name": meta.name,
        "metadata.namespace": meta.namespace,
        "metadata.uid": meta.uid,
        "metadata.labels": _key_values(meta.labels),
        "metadata.annotations": _key_values(meta.annotations),
        "spec.nodeName": node.name,
        "spec.serviceAccountName": pod.spec.service_account_name or "default",
        "status.hostIP": node.ip,
        "status.hostIPs": node.ip,
        "status.podIP": pod_ip,
        "status.podIPs": pod_ip,
    }
    if path in plain:
        return plain[path]
    if found := _KEYED_FIELD.fullmatch(path):
        return (meta.labels if found[1] == "labels" else meta.annotations).get(found[2], "")
    raise ContainerConfigError(f"unsupported fieldPath: {path}")


def _key_values(values: Mapping[str, str]) -> str:
    return "\n".join(f'{k}="{_escaped(v)}"' for k, v in sorted(values.items()))


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def resource_value(container: Container, resource: str, divisor: str, node: NodeFacts) -> str:
    """Return `limits.memory` and the like in units of `divisor` (0: one), rounded up.

    A limit that is not set is the node's allocatable amount.
    """
    which, _, name = resource.partition(".")
    amounts = container.resources.limits if which == "limits" else container.resources.requests
    unit = parse_quantity(divisor) or parse_quantity("1")
    if name == "cpu":
        amount = millicores(amounts) or (node.cpu_millicores if which == "limits" else 0)
        scaled = parse_quantity(str(amount)) / 1000 / unit
    elif name == "memory":
        amount = memory_bytes(amounts) or (node.memory_bytes if which == "limits" else 0)
        scaled = parse_quantity(str(amount)) / unit
    else:
        scaled = parse_quantity(str(amounts.get(name, "0"))) / unit
    return str(-(-scaled.numerator // scaled.denominator))


def service_variables(
    services: Iterable[Service], namespace: str, *, links: bool
) -> dict[str, str]:
    """Return the variables that name Services, as docker links did.

    The Service `default/kubernetes` is always named; the pod's own namespace's only where
    `links` (enableServiceLinks) asks for it.
    """
    chosen: dict[str, Service] = {}
    for service in sorted(services, key=lambda s: s.metadata.key):
        if service.spec.cluster_ip in ("", "None"):
            continue
        name, home = service.metadata.name, service.metadata.namespace
        if (links and home == namespace) or (home == "default" and name == "kubernetes"):
            chosen[name] = service
    values: dict[str, str] = {}
    for name, service in chosen.items():
        values |= _links(name.upper().replace("-", "_"), service)
    return values


def _links(prefix: str, service: Service) -> dict[str, str]:
    ip = service.spec.cluster_ip
    values = {f"{prefix}_SERVICE_HOST": ip}
    for number, port in enumerate(service.spec.ports):
        protocol = port.protocol.lower()
        address = f"{protocol}://{ip}:{port.port}"
        if number == 0:
            values[f"{prefix}_SERVICE_PORT"] = str(port.port)
            values[f"{prefix}_PORT"] = address
        if port.name:
            suffix = port.name.upper().replace("-", "_")
            values[f"{prefix}_SERVICE_PORT_{suffix}"] = str(port.port)
        base = f"{prefix}_PORT_{port.port}_{port.protocol}"
        values |= {
            base: address,
            f"{base}_PROTO": protocol,
            f"{base}_PORT": str(port.port),
            f"{base}_ADDR": ip,
        }
    return values
