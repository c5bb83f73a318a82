"""Rows of what changes the API server itself."""

from wherry.api import kinds
from wherry.apiserver.resource import STATUS, Resource, stored

_EXTENSIONS = ("api-extensions",)

ROWS: tuple[Resource, ...] = (
    stored(kinds.MUTATING_ADMISSION_POLICY, (), _EXTENSIONS),
    stored(kinds.MUTATING_ADMISSION_POLICY_BINDING, (), _EXTENSIONS),
    stored(kinds.MUTATING_WEBHOOK_CONFIGURATION, (), _EXTENSIONS),
    stored(kinds.VALIDATING_ADMISSION_POLICY, (), _EXTENSIONS, (STATUS,)),
    stored(kinds.VALIDATING_ADMISSION_POLICY_BINDING, (), _EXTENSIONS),
    stored(kinds.VALIDATING_WEBHOOK_CONFIGURATION, (), _EXTENSIONS),
    stored(
        kinds.API_SERVICE,
        (),
        _EXTENSIONS,
        (STATUS,),
        prefix="/registry/apiregistration.k8s.io/apiservices/",
    ),
)
