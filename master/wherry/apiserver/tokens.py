"""ServiceAccount tokens: JSON web tokens signed with ES256, bound to what they were made for.

Claims as kube-apiserver's: iss, sub `system:serviceaccount:NAMESPACE:NAME`, aud, iat, nbf,
exp, jti, and `kubernetes.io` with namespace, serviceaccount{name, uid} and, where bound,
pod{name, uid} and its node{name, uid}. ES256 is half the size of RS256 and signs in a tenth of the time.
"""

import hashlib
import json
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
EXTENDED_S = 365 * 24 * 3600
"""How long a pod's own token is accepted; `warnafter` says when its holder should have read a newer one."""
_LEEWAY_S = 10
"""Masters' clocks may differ by this much."""


@dataclass(frozen=True, slots=True)
class TokenConfig:
    """`signing_key` is a PEM EC P-256 private key; None: no tokens are issued or accepted."""

    signing_key: bytes | None = field(default=None, repr=False)
    issuer: str = DEFAULT_ISSUER
    audiences: tuple[str, ...] = (DEFAULT_ISSUER,)


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
    node: BoundObject | None = None
    """Where the pod ran that it is bound to; without a uid, nobody knew."""


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
        node: BoundObject | None = None,
        warn_after_s: int | None = None,
    ) -> str:
        """Return a signed token for a ServiceAccount.

        Args:
            namespace: The account's.
            name: The account's.
            uid: The account's.
            now: The date.
            lifetime_s: How long it is accepted.
            token_id: Names this one token in logs.
            audiences: Who is to accept it; none named: this cluster's API servers.
            bound: What it dies with, besides the account.
            node: Where the pod runs that it is bound to.
            warn_after_s: From when on its holder should have had a newer one.
        """
        about: dict[str, Any] = {
            "namespace": namespace,
            "serviceaccount": {"name": name, "uid": uid},
        }
        for of in (bound, node):
            if of is not None:
                about[of.kind.lower()] = {"name": of.name, **({"uid": of.uid} if of.uid else {})}
        if warn_after_s is not None:
            about["warnafter"] = int(now) + warn_after_s
        claims = {
            "aud": list(audiences or self._config.audiences),
            "exp": int(now) + lifetime_s,
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
                issuer=self._config.issuer,
                # Times are checked below against the clock that we were given.
                options={
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                    "verify_aud": False,
                    "require": ["exp", "iss", "sub", "aud"],
                },
            )
        except jwt.InvalidTokenError as error:
            raise InvalidTokenError(str(error)) from error
        if now >= claims["exp"]:
            raise InvalidTokenError("service account token has expired")
        if now + _LEEWAY_S < claims.get("nbf", 0):
            raise InvalidTokenError("service account token is not valid yet")
        who = _identity(claims)
        wanted = audiences or self._config.audiences
        if not set(wanted) & set(who.audiences):
            made, asked = _quoted(who.audiences), _quoted(wanted)
            why = f"token audiences {made} is invalid for the target audiences {asked}"
            raise InvalidTokenError(why)
        return who


def _quoted(texts: Sequence[str]) -> str:
    """Write as Go's `%q` does."""
    return f"[{' '.join(json.dumps(text) for text in texts)}]"


def _identity(claims: dict[str, Any]) -> Identity:
    about: Any = claims.get("kubernetes.io")
    try:
        account = about["serviceaccount"]
        named = [_bound(kind, about) for kind in ("Pod", "Secret", "Node")]
        found = [of for of in named if of is not None]
        bound = found[0] if found else None
        return Identity(
            about["namespace"],
            account["name"],
            account["uid"],
            claims.get("jti", ""),
            tuple([claims["aud"]] if isinstance(claims["aud"], str) else claims["aud"]),
            float(claims["exp"]),
            bound,
            named[2] if bound is not None and bound.kind == "Pod" else None,
        )
    except (TypeError, KeyError) as error:
        raise InvalidTokenError("the token is not about a ServiceAccount") from error


def _bound(kind: str, about: Any) -> BoundObject | None:
    of = about.get(kind.lower())
    return None if of is None else BoundObject(kind, of["name"], of.get("uid", ""))
