"""What the agent reads of volumes, and of what the downward API names."""

import msgspec

from wherry.api.objects import View

Quantity = str | int | float


class FieldRef(View, frozen=True, kw_only=True):
    """A field of the pod, as `metadata.labels['app']`."""

    field_path: str = ""


class ResourceFieldRef(View, frozen=True, kw_only=True):
    """A request or limit of a container, as `limits.cpu`, in units of `divisor`."""

    container_name: str = ""
    resource: str = ""
    divisor: Quantity = "0"


class KeyToPath(View, frozen=True, kw_only=True):
    """Entry of `.items` of a projected object."""

    key: str = ""
    path: str = ""
    mode: int | None = None


class EmptyDirSource(View, frozen=True, kw_only=True):
    """A directory that lives as long as the pod."""

    medium: str = ""
    size_limit: Quantity | None = None


class HostPathSource(View, frozen=True, kw_only=True):
    """A path of the node."""

    path: str = ""
    type: str = ""


class ConfigMapSource(View, frozen=True, kw_only=True):
    """Keys of a ConfigMap as files."""

    name: str = ""
    items: list[KeyToPath] = []
    default_mode: int = 0o644
    optional: bool = False


class SecretSource(View, frozen=True, kw_only=True):
    """Keys of a Secret as files."""

    secret_name: str = ""
    items: list[KeyToPath] = []
    default_mode: int = 0o644
    optional: bool = False


class SecretProjection(View, frozen=True, kw_only=True):
    """As `SecretSource`, inside a projected volume, where the field is called `name`."""

    name: str = ""
    items: list[KeyToPath] = []
    optional: bool = False


class DownwardFile(View, frozen=True, kw_only=True):
    """A field of the pod as a file."""

    path: str = ""
    field_ref: FieldRef | None = None
    resource_field_ref: ResourceFieldRef | None = None
    mode: int | None = None


class DownwardSource(View, frozen=True, kw_only=True):
    """`downwardAPI`."""

    items: list[DownwardFile] = []
    default_mode: int = 0o644


class TokenProjection(View, frozen=True, kw_only=True):
    """A ServiceAccount token, bound to the pod."""

    path: str = "token"
    audience: str = ""
    expiration_seconds: int = 3600


class Projection(View, frozen=True, kw_only=True):
    """Entry of a projected volume's `.sources`; one is set."""

    config_map: ConfigMapSource | None = None
    secret: SecretProjection | None = None
    downward_api: DownwardSource | None = msgspec.field(name="downwardAPI", default=None)
    service_account_token: TokenProjection | None = None


class ProjectedSource(View, frozen=True, kw_only=True):
    """Several sources in one directory."""

    sources: list[Projection] = []
    default_mode: int = 0o644


class Volume(View, frozen=True, kw_only=True):
    """Entry of `.volumes`; one source is set, and an unknown one is none of these."""

    name: str = ""
    empty_dir: EmptyDirSource | None = None
    host_path: HostPathSource | None = None
    config_map: ConfigMapSource | None = None
    secret: SecretSource | None = None
    downward_api: DownwardSource | None = msgspec.field(name="downwardAPI", default=None)
    projected: ProjectedSource | None = None
