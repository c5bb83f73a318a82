"""ServiceAccount tokens: JSON web tokens signed with ES256, bound to what they were made for.

Claims as kube-apiserver's: iss, sub `system:serviceaccount:NAMESPACE:NAME`, aud, iat, nbf,
exp, jti, and `kubernetes.io` with namespace, serviceaccount{name, uid} and, where bound,
pod{name, uid}. ES256 is half the size of RS256 and signs in a tenth of the time.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)
from jwt.algorithms import ECAlgorithm

from wherry.api.errors import ConfigError

ALGORITHM = "ES256"
DEFAULT_ISSUER = "https://kubernetes.default.svc.cluster.local"
_LEEWAY_S = 10
"""Masters' clocks may differ by this much."""


@dataclass(frozen=True, slots=True)
class TokenConfig:
    """`signing_key` is a PEM EC P-256 private key; None: no tokens are issued or accepted."""

    signing_key: bytes | None = field(default=None, repr=False)
    issuer: str = DEFAULT_ISSUER
    audiences: tuple[str, ...] = (DEFAULT_ISSUER,)
    most_s: int = 365 * 24 * 3600


@dataclass(frozen=True, slots=True)
class BoundObject:
    """A pod, secret or node that a token dies with."""

    kind: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Identity:
    """What a valid token says."""

    namespace: str
    name: str
    uid: str
    token_id: str
    audiences: tuple[str, ...]
    expires_s: float
    bound: BoundObject | None = None


class InvalidTokenError(Exception):
    """The token is not ours, was changed, or its time is over; the message may be logged."""


class TokenIssuer:
    """Signs and verifies with one key."""

    def __init__(self, config: TokenConfig) -> None:
        if config.signing_key is None:
            raise ConfigError("no key to sign ServiceAccount tokens with")
        try:
            key = load_pem_private_key(config.signing_key, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise ConfigError(
                "the key for ServiceAccount tokens is no unencrypted private key in PEM"
            ) from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name != "secp256r1":
            raise ConfigError("the key for ServiceAccount tokens must be an EC P-256 key")
        self._config = config
        self._private = key
        self._public = key.public_key()
        public = self._public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self._key_id = hashlib.sha256(public).hexdigest()[:32]

    def issue(
        self,
        namespace: str,
        name: str,
        uid: str,
        *,
        now: float,
        lifetime_s: int,
        token_id: str,
        audiences: Sequence[str] = (),
        bound: BoundObject | None = None,
    ) -> str:
        """Return a signed token for a ServiceAccount."""
        about: dict[str, Any] = {
            "namespace": namespace,
            "serviceaccount": {"name": name, "uid": uid},
        }
        if bound is not None:
            about[bound.kind.lower()] = {"name": bound.name, "uid": bound.uid}
        claims = {
            "aud": list(audiences or self._config.audiences),
            "exp": int(now) + min(lifetime_s, self._config.most_s),
            "iat": int(now),
            "iss": self._config.issuer,
            "jti": token_id,
            "kubernetes.io": about,
            "nbf": int(now),
            "sub": f"system:serviceaccount:{namespace}:{name}",
        }
        return jwt.encode(claims, self._private, algorithm=ALGORITHM, headers={"kid": self._key_id})

    @property
    def url(self) -> str:
        """Return the issuer's name, which is where its configuration should be found."""
        return self._config.issuer

    def configuration(self, address: str) -> dict[str, Any]:
        """Return `/.well-known/openid-configuration`; `address` is our `host:port`."""
        return {
            "issuer": self._config.issuer,
            "jwks_uri": f"https://{address}/openid/v1/jwks",
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": [ALGORITHM],
        }

    def keys(self) -> dict[str, Any]:
        """Return the JSON web key set with which our tokens are verified."""
        jwk = ECAlgorithm.to_jwk(self._public, as_dict=True)
        return {"keys": [{"use": "sig", "kid": self._key_id, "alg": ALGORITHM, **jwk}]}

    def verify(self, token: str, *, now: float, audiences: Sequence[str] = ()) -> Identity:
        """Check signature, issuer, audience and times.

        Raises:
            InvalidTokenError: one of them is not right.
        """
        try:
            claims = jwt.decode(
                token,
                self._public,
                algorithms=[ALGORITHM],
                audience=list(audiences or self._config.audiences),
                issuer=self._config.issuer,
                # Times are checked below against the clock that we were given.
                options={
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                    "require": ["exp", "iss", "sub", "aud"],
                },
            )
        except jwt.InvalidTokenError as error:
            raise InvalidTokenError(str(error)) from error
        if now >= claims["exp"]:
            raise InvalidTokenError("service account token has expired")
        if now + _LEEWAY_S < claims.get("nbf", 0):
            raise InvalidTokenError("service account token is not valid yet")
        return _identity(claims)


def _identity(claims: dict[str, Any]) -> Identity:
    about: Any = claims.get("kubernetes.io")
    try:
        account = about["serviceaccount"]
        bound = next(
            (
                BoundObject(kind, about[kind.lower()]["name"], about[kind.lower()]["uid"])
                for kind in ("Pod", "Secret", "Node")
                if kind.lower() in about
            ),
            None,
        )
        return Identity(
            about["namespace"],
            account["name"],
            account["uid"],
            claims.get("jti", ""),
            tuple([claims["aud"]] if isinstance(claims["aud"], str) else claims["aud"]),
            float(claims["exp"]),
            bound,
        )
    except (TypeError, KeyError) as error:
        raise InvalidTokenError("the token is not about a ServiceAccount") from error
