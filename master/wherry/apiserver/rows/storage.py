"""Rows of volumes and of devices."""

from wherry.api import kinds
from wherry.apiserver.resource import STATUS, Resource, stored

ROWS: tuple[Resource, ...] = (
    stored(kinds.CSI_DRIVER),
    stored(kinds.CSI_NODE),
    stored(kinds.CSI_STORAGE_CAPACITY),
    stored(kinds.STORAGE_CLASS, ("sc",)),
    stored(kinds.VOLUME_ATTACHMENT, (), (), (STATUS,)),
    stored(kinds.VOLUME_ATTRIBUTES_CLASS, ("vac",)),
    stored(kinds.DEVICE_CLASS),
    stored(kinds.RESOURCE_CLAIM, (), (), (STATUS,)),
    stored(kinds.RESOURCE_CLAIM_TEMPLATE),
    stored(kinds.RESOURCE_SLICE, field_selectors=("spec.nodeName", "spec.driver")),
)
