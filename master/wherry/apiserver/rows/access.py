"""Rows of who may do what, who leads, and who waits."""

from wherry.api import kinds
from wherry.apiserver.resource import STATUS, Resource, Subresource, stored

ROWS: tuple[Resource, ...] = (
    stored(kinds.CLUSTER_ROLE),
    stored(kinds.CLUSTER_ROLE_BINDING),
    stored(kinds.ROLE),
    stored(kinds.ROLE_BINDING),
    stored(
        kinds.CERTIFICATE_SIGNING_REQUEST,
        ("csr",),
        (),
        (STATUS, Subresource("approval")),
        ("spec.signerName",),
    ),
    stored(kinds.LEASE),
    stored(kinds.FLOW_SCHEMA, (), (), (STATUS,)),
    stored(kinds.PRIORITY_LEVEL_CONFIGURATION, (), (), (STATUS,)),
)
