"""Signs approved certificate requests with the cluster's authority (`csrsigning`).

What a signer may sign is checked again here: a person's approval does not make a request
for another signer's certificate one of ours.
Source: kubernetes `pkg/controller/certificates/signer`.
"""

import base64
import logging
from typing import Final

from wherry.api.kinds import CERTIFICATE_SIGNING_REQUEST
from wherry.controllers.csr import (
    APPROVED,
    DENIED,
    FAILED,
    Order,
    has,
    lifetime_s,
    order,
)
from wherry.controllers.csr_approving import (
    add_condition,
    condition,
    reserved_addresses,
)
from wherry.controllers.framework import (
    NOTHING,
    Environment,
    Index,
    Patch,
    Result,
)
from wherry.controllers.on_demand import CSR_SOURCES
from wherry.controllers.views import SigningRequest
from wherry.pki.certificates import sign
from wherry.pki.node import API_CLIENT, SIGNER
from wherry.pki.request import validity
from wherry.pki.subject import KeyPair

log = logging.getLogger(__name__)
_DAY_S: Final = 86_400.0
_SIGNERS: Final = (SIGNER, API_CLIENT)


class CSRSigningController:
    """See the module.

    Args:
        ca: The cluster's authority.
        most_s: The longest life of a certificate (`--cluster-signing-duration`).

    Raises:
        ValueError: the authority's certificate cannot be read.
    """

    name = "certificatesigningrequest-signing-controller"
    indices: tuple[Index, ...] = ()
    sources = CSR_SOURCES

    def __init__(self, ca: KeyPair, *, most_s: float) -> None:
        self._ca = ca
        self._most_s = most_s
        self._ca_until_s = validity(ca.certificate)[1]

    async def reconcile(self, key: str, env: Environment) -> Result:
        """Sign once, or say why not; `key` is the request's name."""
        csr: SigningRequest | None = env.caches[CERTIFICATE_SIGNING_REQUEST].get(key)
        if csr is None or not env.current or csr.spec.signer_name not in _SIGNERS:
            return NOTHING
        if not has(csr, APPROVED) or has(csr, DENIED, FAILED) or csr.status.certificate:
            return NOTHING
        wanted = order(csr, reserved_addresses(env.caches))
        left_s = self._ca_until_s - env.now
        if isinstance(wanted, str):
            return self._failed(csr, "SignerValidationFailure", wanted, env.now)
        if left_s <= 0:
            why = "the cluster's authority has expired"
            return self._failed(csr, "AuthorityExpired", why, env.now)
        return Result([self._signed(csr, wanted, left_s, env.now)])

    def _signed(self, csr: SigningRequest, wanted: Order, left_s: float, now: float) -> Patch:
        seconds = lifetime_s(wanted.most_s, self._most_s, left_s)
        certificate = sign(
            self._ca, wanted.subject, wanted.public_key, now_s=now, days=seconds / _DAY_S
        )
        log.info("signed", extra={"csr": csr.metadata.name, "user": wanted.subject.user})
        return Patch(
            CERTIFICATE_SIGNING_REQUEST,
            "",
            csr.metadata.name,
            {"status": {"certificate": base64.b64encode(certificate).decode()}},
            subresource="status",
            uid=csr.metadata.uid,
            revision=csr.metadata.resource_version,
        )

    def _failed(self, csr: SigningRequest, reason: str, why: str, now: float) -> Result:
        return Result([add_condition(csr, condition(FAILED, reason, why, now), "status")])
