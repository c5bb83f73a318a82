"""The table of kinds: everything the API server knows about a kind stands in its row.

Discovery, OpenAPI paths, routing, storage keys and field selectors are derived from it.
Printer columns are in `tables`, defaults and validation in `strategy`, keyed by the same
`Kind`. Adding a kind is adding a row (`rows`).
"""

from wherry.api.kinds import Kind
from wherry.apiserver.resource import ALL_VERBS, SCALE, STATUS, Resource, Subresource
from wherry.apiserver.rows import access, core, extension, network, storage, workloads

__all__ = [
    "ALL_VERBS",
    "BY_ADDRESS",
    "BY_KIND",
    "RESOURCES",
    "RETURNS_OBJECT",
    "SCALE",
    "SCALE_VIEW",
    "SERVED",
    "STATUS",
    "VIEWS",
    "Resource",
    "Subresource",
]

RESOURCES: tuple[Resource, ...] = (
    *core.ROWS,
    *workloads.ROWS,
    *network.ROWS,
    *storage.ROWS,
    *access.ROWS,
    *extension.ROWS,
)
"""What is stored: each row has its own prefix and its own cache."""

VIEWS: tuple[Resource, ...] = (*core.VIEWS, *workloads.VIEWS)
"""Other faces of what is stored (`versions`)."""

SERVED = (*RESOURCES, *VIEWS)

SCALE_VIEW = Resource(Kind("autoscaling", "v1", "Scale", "scales"), "scale", "")
"""What `scale` subresources are shown as; nothing is stored under it."""

RETURNS_OBJECT = frozenset(
    {
        "Pod",
        "Service",
        "ServiceAccount",
        "PersistentVolume",
        "PersistentVolumeClaim",
        "PodTemplate",
        "ResourceQuota",
        "StorageClass",
        "VolumeAttachment",
        "CSIDriver",
        "CSINode",
        "VolumeAttributesClass",
        "DeviceClass",
        "ResourceClaim",
        "ResourceClaimTemplate",
        "ResourceSlice",
    }
)
"""Kinds whose DELETE answers with the object; all others answer with a Status. Clients with
typed models (kubernetes for Python) refuse the other one. Source: `ReturnDeletedObject` in
kubernetes `pkg/registry/*/*/storage`."""

BY_KIND = {r.kind: r for r in SERVED}
BY_ADDRESS = {(r.kind.group, r.kind.version, r.kind.plural): r for r in SERVED}
