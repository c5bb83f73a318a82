"""Deletes certificate requests that nobody needs any more (`csrcleaner`).

Who asked has had an hour to fetch the answer; what nobody decided about is given up after a day.
Source: kubernetes `pkg/controller/certificates/cleaner`.
"""

from typing import Final

from wherry.api.kinds import CERTIFICATE_SIGNING_REQUEST
from wherry.api.times import parse_time
from wherry.controllers.csr import DENIED, FAILED, has
from wherry.controllers.framework import (
    NOTHING,
    Delete,
    Environment,
    Index,
    Result,
    Source,
    own_key,
)
from wherry.controllers.views import SigningRequest

SETTLED_S: Final = 3600.0
PENDING_S: Final = 86_400.0


def until(csr: SigningRequest) -> float:
    """Return until when the request is kept, epoch seconds."""
    began = parse_time(csr.metadata.creation_timestamp or "")
    dates = [parse_time(c.last_update_time) for c in csr.status.conditions if c.last_update_time]
    if csr.status.certificate or has(csr, DENIED, FAILED):
        return max([began, *dates]) + SETTLED_S
    return began + PENDING_S


class CSRCleanerController:
    """See the module."""

    name = "certificatesigningrequest-cleaner-controller"
    indices: tuple[Index, ...] = ()
    sources = (Source(CERTIFICATE_SIGNING_REQUEST, own_key),)

    async def reconcile(self, key: str, env: Environment) -> Result:
        """Delete the request when its time is over; `key` is its name."""
        csr: SigningRequest | None = env.caches[CERTIFICATE_SIGNING_REQUEST].get(key)
        if csr is None:
            return NOTHING
        left_s = until(csr) - env.now
        if left_s > 0:
            return Result(again_s=left_s)
        meta = csr.metadata
        return Result([Delete(CERTIFICATE_SIGNING_REQUEST, "", meta.name, meta.uid)])
