"""Whom a client's certificate names, and for how long that may be remembered.

TLS has verified the certificate when the connection was made. A connection may outlive its
certificate, and its authority the trust in it: so both are looked at again at each request, as
kube-apiserver does (`x509.Verify` against the time and the present `--client-ca-file`). What
cannot change is remembered: a request costs one comparison of the time (see `Certified`).
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from weakref import WeakSet

from wherry.api.clock import Clock
from wherry.api.errors import UnauthorizedError
from wherry.apiserver.recent import Recent
from wherry.apiserver.verbs import User
from wherry.pki.certificates import fingerprint, identity
from wherry.pki.trust import Authorities, Certificate, end_s, lasts, read

AUTHENTICATED: Final = "system:authenticated"
CREDENTIAL: Final = "authentication.kubernetes.io/credential-id"


@dataclass(slots=True, eq=False, weakref_slot=True)
class Certified:
    """Whom a certificate names: to be asked for anew once the time is after `until_s`.

    That is brought forward when the authorities change.
    """

    user: User
    until_s: float


class Certificates:
    """See the module.

    Args:
        clock: The time.
        authorities: Whose certificates count; None: of whomever TLS let in.
    """

    def __init__(self, clock: Clock, authorities: Authorities | None = None) -> None:
        self._clock = clock
        self._authorities = authorities
        self._known: Recent[Certified] = Recent()
        self._given: WeakSet[Certified] = WeakSet()

    def trust(self, authorities: Authorities) -> None:
        """Believe these authorities from now on, and no others."""
        self._authorities = authorities
        for certified in self._given:
            certified.until_s = float("-inf")

    def certified(self, presented: bytes) -> Certified | None:
        """Return whom a certificate names, None where it names nobody.

        Args:
            presented: The certificate, PEM, those that were sent along after it; or it alone, DER.

        Raises:
            UnauthorizedError: it is not valid now, or its authority is not believed.
        """
        digest = hashlib.sha256(presented).digest()
        now_s = self._clock.now()
        known = self._known.get(digest)
        if known is None or now_s > known.until_s:
            self._known.forget(digest)
            known = self._certify(presented, now_s)
            if known is not None:
                self._known.put(digest, known)
                self._given.add(known)
        return known

    def _certify(self, presented: bytes, now_s: float) -> Certified | None:
        try:
            chain = read(presented)
            name, groups = identity(presented)
        except ValueError as error:
            raise UnauthorizedError(f"cannot read the certificate: {error}") from error
        until_s = self._until(chain, now_s)
        if not name:
            return None
        extra = {CREDENTIAL: [f"X509SHA256={fingerprint(presented)}"]}
        return Certified(User(name, (*groups, AUTHENTICATED), extra=extra), until_s)

    def _until(self, chain: Sequence[Certificate], now_s: float) -> float:
        own, authorities = chain[0], self._authorities
        if not lasts(own, now_s):
            raise _refused(own, f"certificate has expired or is not yet valid: {_when(own, now_s)}")
        until_s = end_s(own) if authorities is None else authorities.until(chain, now_s)
        if until_s is None:
            raise _refused(own, "certificate signed by unknown authority")
        return until_s


def _refused(certificate: Certificate, why: str) -> UnauthorizedError:
    """Say what is wrong with a certificate, in upstream's words."""
    number = certificate.serial_number
    return UnauthorizedError(f"verifying certificate SN={number} failed: x509: {why}")


def _when(certificate: Certificate, now_s: float) -> str:
    now, end = datetime.fromtimestamp(now_s, UTC), certificate.not_valid_after_utc
    side, bound = ("after", end) if now > end else ("before", certificate.not_valid_before_utc)
    return f"current time {now:%Y-%m-%dT%H:%M:%SZ} is {side} {bound:%Y-%m-%dT%H:%M:%SZ}"
