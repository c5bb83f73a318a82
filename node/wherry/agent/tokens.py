"""ServiceAccount tokens for pods, by TokenRequest, renewed when 80 % of their life is over."""

from dataclasses import dataclass
from typing import Final

import orjson

from wherry.agent.views import Pod
from wherry.agent.volume_views import TokenProjection
from wherry.api.clock import Clock
from wherry.api.kinds import SERVICE_ACCOUNT
from wherry.api.times import parse_time
from wherry.client.api import Api

RENEW_AT: Final = 0.8


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    renew_at: float


class TokenSource:
    """Asks for tokens and keeps them in memory."""

    def __init__(self, api: Api, clock: Clock) -> None:
        self._api = api
        self._clock = clock
        self._tokens: dict[tuple[str, str, int], _Token] = {}

    async def token(self, pod: Pod, wanted: TokenProjection) -> str:
        """Return a token that is bound to the pod and still young.

        Raises:
            StatusError: the API server refused.
            UnavailableError: no API server answers.
        """
        key = (pod.metadata.uid, wanted.audience, wanted.expiration_seconds)
        known = self._tokens.get(key)
        now = self._clock.now()
        if known is not None and now < known.renew_at:
            return known.text
        account = pod.spec.service_account_name or "default"
        bound = {
            "apiVersion": "v1",
            "kind": "Pod",
            "name": pod.metadata.name,
            "uid": pod.metadata.uid,
        }
        request = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {
                "audiences": [wanted.audience] if wanted.audience else [],
                "expirationSeconds": wanted.expiration_seconds,
                "boundObjectRef": bound,
            },
        }
        raw = await self._api.create(
            SERVICE_ACCOUNT,
            orjson.dumps(request),
            pod.metadata.namespace,
            name=account,
            subresource="token",
        )
        status = orjson.loads(raw)["status"]
        expires_at = parse_time(status["expirationTimestamp"])
        fresh = _Token(status["token"], now + (expires_at - now) * RENEW_AT)
        self._tokens[key] = fresh
        return fresh.text

    def forget(self, uid: str) -> None:
        """Drop a pod's tokens."""
        for key in [k for k in self._tokens if k[0] == uid]:
            del self._tokens[key]
