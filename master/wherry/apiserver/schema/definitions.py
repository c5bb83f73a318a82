"""The definitions of all types, as OpenAPI writes them, found by name or by address.

A definition is a dict with `type`, `properties`, `required`, `items`,
`additionalProperties`, `format`, `$ref` (here a bare name) and Kubernetes' own `x-kubernetes-...`
keys. Names are those of the published OpenAPI documents (`io.k8s.api.core.v1.Pod`), since
clients see them.
"""

from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import orjson

from wherry.api.kinds import Kind
from wherry.apiserver.schema import own

GVK = tuple[str, str, str]
"""(group, version, kind): how a body that belongs to no row of `resources` is addressed."""

QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"
INT_OR_STRING = "io.k8s.apimachinery.pkg.util.intstr.IntOrString"
TIME = "io.k8s.apimachinery.pkg.apis.meta.v1.Time"
MICRO_TIME = "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime"
OBJECT_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
DELETE_OPTIONS = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions"

_GVK_KEY = "x-kubernetes-group-version-kind"


def gvk_of(kind: Kind | GVK) -> GVK:
    """Return the address of a `Kind`, or the address itself."""
    return (kind.group, kind.version, kind.kind) if isinstance(kind, Kind) else kind


@dataclass(frozen=True, slots=True)
class Definitions:
    """All types; `names` holds those that have an address of their own."""

    version: str
    types: dict[str, dict[str, Any]]
    names: dict[GVK, str]

    @classmethod
    def load(cls) -> "Definitions":
        """Read the generated data of this package and add our own kinds."""
        raw = files("wherry.apiserver.schema").joinpath("data/definitions.json").read_bytes()
        data = orjson.loads(raw)
        types: dict[str, dict[str, Any]] = data["definitions"] | own.DEFINITIONS
        names = {
            (gvk["group"], gvk["version"], gvk["kind"]): name
            for name, definition in types.items()
            for gvk in definition.get(_GVK_KEY, ())
        }
        return cls(data["version"], types, names)

    def name(self, kind: Kind | GVK) -> str | None:
        """Return the definition's name; DeleteOptions is known in every group and version."""
        gvk = gvk_of(kind)
        return self.names.get(gvk) or (DELETE_OPTIONS if gvk[2] == "DeleteOptions" else None)

    def of(self, kind: Kind | GVK) -> dict[str, Any] | None:
        """Return the definition of a kind, if it is known."""
        name = self.name(kind)
        return None if name is None else self.types[name]

    def resolve(self, schema: dict[str, Any] | None) -> dict[str, Any]:
        """Follow a reference; what is unknown has no structure (`{}`)."""
        while schema is not None and "$ref" in schema:
            schema = self.types.get(schema["$ref"])
        return schema or {}
