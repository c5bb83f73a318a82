"""Which files a volume of ConfigMap, Secret, downward API or token consists of.

Pure: the objects are given. The adapter that writes them is `volumes`.
"""

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from wherry.agent.environment import NodeFacts, References, field_value, resource_value
from wherry.agent.views import Container, Pod
from wherry.agent.volume_views import DownwardSource, KeyToPath, Projection, TokenProjection, Volume
from wherry.api.errors import WherryError


class MountError(WherryError):
    """A volume cannot be made (event FailedMount); retried."""


@dataclass(frozen=True, slots=True)
class VolumeFile:
    """A file of a volume, by its path below the volume."""

    path: str
    data: bytes
    mode: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """Names of the objects in the pod's namespace that the pod refers to."""

    config_maps: frozenset[str] = frozenset()
    secrets: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Sources:
    """What volumes are rendered from; `tokens` by their projection."""

    references: References
    node: NodeFacts
    pod_ip: str = ""
    tokens: Mapping[TokenProjection, str] = field(default_factory=dict)


def wanted_objects(pod: Pod) -> Wanted:
    """Return every ConfigMap and Secret that the pod's volumes, environment and pulls name."""
    config_maps: set[str] = set()
    secrets = {ref.name for ref in pod.spec.image_pull_secrets}
    for container in (*pod.spec.init_containers, *pod.spec.containers):
        _collect_env(container, config_maps, secrets)
    for volume in pod.spec.volumes:
        if volume.config_map is not None:
            config_maps.add(volume.config_map.name)
        if volume.secret is not None:
            secrets.add(volume.secret.secret_name)
        for source in _projections(volume):
            if source.config_map is not None:
                config_maps.add(source.config_map.name)
            if source.secret is not None:
                secrets.add(source.secret.name)
    return Wanted(frozenset(config_maps), frozenset(secrets))


def _collect_env(container: Container, config_maps: set[str], secrets: set[str]) -> None:
    for source in container.env_from:
        if source.config_map_ref is not None:
            config_maps.add(source.config_map_ref.name)
        if source.secret_ref is not None:
            secrets.add(source.secret_ref.name)
    for variable in container.env:
        ref = variable.value_from
        if ref is not None and ref.config_map_key_ref is not None:
            config_maps.add(ref.config_map_key_ref.name)
        if ref is not None and ref.secret_key_ref is not None:
            secrets.add(ref.secret_key_ref.name)


def _projections(volume: Volume) -> Sequence[Projection]:
    return volume.projected.sources if volume.projected is not None else ()


def wanted_tokens(pod: Pod) -> list[TokenProjection]:
    """Return the ServiceAccount tokens that the pod's volumes need."""
    return [
        source.service_account_token
        for volume in pod.spec.volumes
        for source in _projections(volume)
        if source.service_account_token is not None
    ]


def render_volume(volume: Volume, pod: Pod, sources: Sources) -> list[VolumeFile] | None:
    """Return the files of a volume; None where it is of another sort.

    Raises:
        MountError: an object or key that is not optional is missing.
    """
    if volume.config_map is not None:
        of = volume.config_map
        data = _config_map(of.name, sources.references, optional=of.optional)
        return _files(data, of.items, of.default_mode, optional=of.optional)
    if volume.secret is not None:
        secret = volume.secret
        data = _secret(secret.secret_name, sources.references, optional=secret.optional)
        return _files(data, secret.items, secret.default_mode, optional=secret.optional)
    if volume.downward_api is not None:
        down = volume.downward_api
        return _downward(down, down.default_mode, pod, sources)
    if volume.projected is not None:
        mode = volume.projected.default_mode
        files = (_projected(s, mode, pod, sources) for s in volume.projected.sources)
        return [file for group in files for file in group]
    return None


def _projected(source: Projection, mode: int, pod: Pod, sources: Sources) -> list[VolumeFile]:
    if source.config_map is not None:
        of = source.config_map
        data = _config_map(of.name, sources.references, optional=of.optional)
        return _files(data, of.items, mode, optional=of.optional)
    if source.secret is not None:
        secret = source.secret
        data = _secret(secret.name, sources.references, optional=secret.optional)
        return _files(data, secret.items, mode, optional=secret.optional)
    if source.downward_api is not None:
        return _downward(source.downward_api, mode, pod, sources)
    if source.service_account_token is not None:
        token = source.service_account_token
        # Only root and the pod's group may read it; without a group every user of the pod may.
        private = 0o600 if pod.spec.security_context.fs_group is not None else mode
        return [VolumeFile(_safe(token.path), sources.tokens[token].encode(), private)]
    return []


def _config_map(name: str, references: References, *, optional: bool) -> dict[str, bytes]:
    found = references.config_maps.get(name)
    if found is None:
        if optional:
            return {}
        raise MountError(f'configmap "{name}" not found')
    return {
        **{key: text.encode() for key, text in found.data.items()},
        **{key: base64.b64decode(text) for key, text in found.binary_data.items()},
    }


def _secret(name: str, references: References, *, optional: bool) -> dict[str, bytes]:
    found = references.secrets.get(name)
    if found is None:
        if optional:
            return {}
        raise MountError(f'secret "{name}" not found')
    return {key: base64.b64decode(text) for key, text in found.data.items()}


def _files(
    data: Mapping[str, bytes], items: Iterable[KeyToPath], mode: int, *, optional: bool
) -> list[VolumeFile]:
    chosen = list(items)
    if not chosen:
        return [VolumeFile(_safe(key), value, mode) for key, value in sorted(data.items())]
    files = []
    for item in chosen:
        if item.key in data:
            own = mode if item.mode is None else item.mode
            files.append(VolumeFile(_safe(item.path), data[item.key], own))
        elif not optional:
            raise MountError(f"references non-existent config key: {item.key}")
    return files


def _downward(of: DownwardSource, mode: int, pod: Pod, sources: Sources) -> list[VolumeFile]:
    files = []
    for item in of.items:
        text = ""
        if item.field_ref is not None:
            text = field_value(pod, item.field_ref.field_path, sources.node, sources.pod_ip)
        elif item.resource_field_ref is not None:
            ref = item.resource_field_ref
            container = pod.container(ref.container_name)
            if container is None:
                raise MountError(f"container {ref.container_name} not found")
            text = resource_value(container, ref.resource, str(ref.divisor), sources.node)
        own = mode if item.mode is None else item.mode
        files.append(VolumeFile(_safe(item.path), text.encode(), own))
    return files


def _safe(path: str) -> str:
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or parts[0].startswith(".."):
        raise MountError(f"invalid path: {path}")
    return path
