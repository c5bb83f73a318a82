"""Authentication: from a client certificate or a bearer token to a `User`.

A certificate counts before a token, as in kube-apiserver's chain (`authenticator.Config.New`):
where both are shown and the certificate names somebody, nobody looks at the token. One that is no
longer valid (`certified`) counts as none where there is a token, and is refused where there is not.

Tokens are tried in this order: the static token file, ServiceAccount tokens (signature and
times, and that the ServiceAccount and the pod they are bound to still exist *now*),
bootstrap tokens (`id.secret`, Secrets of kube-system). What is costly and cannot change,
checking a signature, is remembered by digest.
"""

import base64
import binascii
import csv
import hashlib
import hmac
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from wherry.api import kinds
from wherry.api.clock import Clock
from wherry.api.errors import ConfigError, UnauthorizedError
from wherry.api.times import parse_time
from wherry.apiserver.admission import Lookup
from wherry.apiserver.certified import AUTHENTICATED, CREDENTIAL, Certificates, Certified
from wherry.apiserver.recent import Recent
from wherry.apiserver.resources import BY_KIND
from wherry.apiserver.tokens import Identity, InvalidTokenError, TokenConfig, TokenIssuer
from wherry.apiserver.verbs import User
from wherry.pki.trust import Authorities

BOOTSTRAPPERS = "system:bootstrappers"
BOOTSTRAP_TYPE = "bootstrap.kubernetes.io/token"
_BOOTSTRAP_TOKEN = re.compile(r"([a-z0-9]{6})\.([a-z0-9]{16})")
_BOUND = {"Pod": kinds.POD, "Secret": kinds.SECRET, "Node": kinds.NODE}

_INVALID = "invalid bearer token"
_JWT = re.compile(r"[\w-]+\.[\w-]+\.[\w-]*")
_EXTRA = "authentication.kubernetes.io/"


def read_token_file(text: str) -> dict[bytes, User]:
    """Read a static token file: lines of `token,user,uid,"group1,group2"`.

    Returns:
        Users by the SHA-256 of their token.

    Raises:
        ConfigError: a line has too few columns.
    """
    users: dict[bytes, User] = {}
    for number, row in enumerate(csv.reader(io.StringIO(text)), 1):
        if not row or row[0].startswith("#"):
            continue
        if len(row) < 3 or not row[0] or not row[1]:
            raise ConfigError(f"token file, line {number}: expected token,user,uid[,groups]")
        groups = tuple(g.strip() for g in row[3].split(",") if g.strip()) if len(row) > 3 else ()
        users[_digest(row[0])] = User(row[1].strip(), (*groups, AUTHENTICATED), row[2].strip())
    return users


class Authenticator:
    """See the module."""

    def __init__(
        self,
        lookup: Lookup,
        *,
        clock: Clock,
        tokens: TokenConfig | None = None,
        static: Mapping[bytes, User] | None = None,
        authorities: Authorities | None = None,
    ) -> None:
        """Build one.

        Args:
            lookup: Finds ServiceAccounts, pods and Secrets (the registry).
            clock: Tells which tokens and certificates are expired.
            tokens: The key of ServiceAccount tokens; without one they are not accepted.
            static: Users by digest, from `read_token_file`.
            authorities: Of client certificates; None: TLS looks after that.
        """
        self._lookup = lookup
        self._clock = clock
        self._audiences = tokens.audiences if tokens else ()
        self._issuer = TokenIssuer(tokens) if tokens and tokens.signing_key else None
        self._static = dict(static or {})
        self._certificates = Certificates(clock, authorities)
        self._accounts: Recent[tuple[Identity, User]] = Recent()

    async def authenticate(self, certificate: bytes | None, token: str) -> User:
        """Return who presents this certificate (verified by TLS) or token.

        Raises:
            UnauthorizedError: the certificate names nobody, or does no longer, and the token is not
                valid, or there is neither (the doors let ANONYMOUS see health and version).
        """
        refusal = UnauthorizedError("Unauthorized")
        try:
            if certificate and (known := self._certificates.certified(certificate)) is not None:
                return known.user
        except UnauthorizedError as error:
            refusal = error
        if token:
            return await self._by_token(token)
        raise refusal

    def certified(self, certificate: bytes) -> Certified | None:
        """See `Gate.certified`."""
        return self._certificates.certified(certificate)

    def trust(self, authorities: Authorities) -> None:
        """Believe certificates of these authorities from now on, on connections that stand too."""
        self._certificates.trust(authorities)

    async def review(self, token: str, audiences: Sequence[str]) -> tuple[User, tuple[str, ...]]:
        """Return whose token this is, and for which of the audiences it was made.

        Args:
            token: A bearer token.
            audiences: Who asks; none named: this cluster's API servers.

        Raises:
            UnauthorizedError: it is not valid, or for others.
        """
        wanted = tuple(audiences or self._audiences)
        if _JWT.fullmatch(token) and _digest(token) not in self._static:
            who = self._verify(token, self._clock.now(), wanted)
            await self._still_there(who)
            return _user_of(who), tuple(a for a in wanted if a in who.audiences)
        # Who holds another token is known to the API servers, and to nobody else.
        ours = tuple(a for a in wanted if a in self._audiences)
        if wanted and not ours:
            raise UnauthorizedError(_INVALID)
        return await self._by_token(token), ours

    async def _by_token(self, token: str) -> User:
        digest = _digest(token)
        user = self._static.get(digest)
        if user is not None:
            return user
        if found := _BOOTSTRAP_TOKEN.fullmatch(token):
            return await self._by_bootstrap_token(found[1], found[2])
        return await self._by_account(token, digest)

    # -- ServiceAccounts --------------------------------------------------------------------

    async def _by_account(self, token: str, digest: bytes) -> User:
        now = self._clock.now()
        known = self._accounts.get(digest)
        if known is None or now >= known[0].expires_s:
            self._accounts.forget(digest)
            who = self._verify(token, now, ())
            known = who, _user_of(who)
            self._accounts.put(digest, known)
        await self._still_there(known[0])
        return known[1]

    def _verify(self, token: str, now: float, audiences: Sequence[str]) -> Identity:
        if self._issuer is None or not _JWT.fullmatch(token):
            raise UnauthorizedError(_INVALID)
        try:
            return self._issuer.verify(token, now=now, audiences=audiences)
        except InvalidTokenError as error:
            raise _refused(str(error)) from error

    async def _still_there(self, who: Identity) -> None:
        """Refuse a token whose account was deleted, or what it is bound to."""
        row = BY_KIND[kinds.SERVICE_ACCOUNT]
        account = await self._lookup.find(row, who.namespace, who.name)
        if account is None:
            raise _refused(f'serviceaccounts "{who.name}" not found')
        if (uid := account.index.metadata.uid) != who.uid:
            raise _refused(f"service account UID ({uid}) does not match claim ({who.uid})")
        if who.bound is None:
            return
        kind = _BOUND[who.bound.kind]
        namespace = who.namespace if kind.namespaced else ""
        bound = await self._lookup.find(BY_KIND[kind], namespace, who.bound.name)
        if bound is None:
            raise _refused("service account token has been invalidated")
        if (uid := bound.index.metadata.uid) != who.bound.uid:
            what = f"{kind.kind.lower()} UID ({uid}) does not match service account"
            raise _refused(f"{what} {kind.kind.lower()} ref claim ({who.bound.uid})")

    # -- bootstrap --------------------------------------------------------------------------

    async def _by_bootstrap_token(self, token_id: str, secret: str) -> User:
        """Accept a token that a Secret `bootstrap-token-ID` of kube-system describes."""
        row = BY_KIND[kinds.SECRET]
        found = await self._lookup.find(row, "kube-system", f"bootstrap-token-{token_id}")
        data = _bootstrap_data(orjson.loads(found.object)) if found is not None else {}
        expected = data.get("token-secret", "")
        if not expected or not hmac.compare_digest(expected, secret):
            raise UnauthorizedError(_INVALID)
        if data.get("token-id") != token_id:
            raise UnauthorizedError(_INVALID)
        if data.get("usage-bootstrap-authentication") != "true":
            raise UnauthorizedError("this bootstrap token may not be used to authenticate")
        if data.get("expiration") and self._clock.now() >= parse_time(data["expiration"]):
            raise UnauthorizedError("the bootstrap token has expired")
        extra = [g for g in data.get("auth-extra-groups", "").split(",") if g]
        groups = (BOOTSTRAPPERS, *extra, AUTHENTICATED)
        return User(f"system:bootstrap:{token_id}", groups)


def _user_of(who: Identity) -> User:
    """Return the user that a ServiceAccount is."""
    extra = {CREDENTIAL: [f"JTI={who.token_id}"]} if who.token_id else {}
    pod = who.bound if who.bound is not None and who.bound.kind == "Pod" else None
    for name, of in (("node", who.node), ("pod", pod)):
        if of is not None:
            extra[f"{_EXTRA}{name}-name"] = [of.name]
            extra |= {f"{_EXTRA}{name}-uid": [of.uid]} if of.uid else {}
    groups = (
        "system:serviceaccounts",
        f"system:serviceaccounts:{who.namespace}",
        AUTHENTICATED,
    )
    return User(f"system:serviceaccount:{who.namespace}:{who.name}", groups, who.uid, extra)


def _refused(why: str) -> UnauthorizedError:
    """Say what is wrong with a ServiceAccount's token, as upstream's chain of authenticators does."""
    return UnauthorizedError(f"[{_INVALID}, {why}]")


def _bootstrap_data(secret: dict[str, Any]) -> dict[str, str]:
    """Return the fields of a bootstrap token's Secret; {} where it is none, or unreadable."""
    if secret.get("type") != BOOTSTRAP_TYPE or secret["metadata"].get("deletionTimestamp"):
        return {}
    try:
        data = secret.get("data", {})
        return {k: base64.b64decode(v).decode("ascii") for k, v in data.items()}
    except (binascii.Error, UnicodeDecodeError):
        return {}


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
