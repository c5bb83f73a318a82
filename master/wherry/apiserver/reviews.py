"""Questions about identity and permission: kinds that are answered and never stored.

TokenReview and SelfSubjectReview ask who, the AccessReviews ask whether, SelfSubjectRulesReview
asks what. `kubectl auth can-i`, `auth whoami` and other people's servers (metrics, dashboards)
use them.
"""

from typing import Any

from wherry.api.clock import Clock
from wherry.api.errors import BadRequestError, InvalidError, UnauthorizedError
from wherry.api.times import format_time
from wherry.apiserver.gate import Attributes, Gate
from wherry.apiserver.verbs import User

AUTHENTICATION = "authentication.k8s.io"
AUTHORIZATION = "authorization.k8s.io"


class Reviews:
    """Fills in `.status` of a review."""

    def __init__(self, gate: Gate, clock: Clock) -> None:
        self._gate = gate
        self._clock = clock

    async def answer(
        self, kind: str, obj: dict[str, Any], user: User, namespace: str = ""
    ) -> dict[str, Any]:
        """Return the review with its status; `namespace` is that of a local one's path.

        Raises:
            BadRequestError: the review cannot be read.
            InvalidError: it does not say what it asks.
        """
        spec = obj.get("spec") or {}
        if not isinstance(spec, dict):
            raise BadRequestError(f"{kind}: spec must be an object")
        match kind:
            case "SelfSubjectAccessReview":
                status = self._access(kind, spec, user)
            case "SubjectAccessReview":
                status = self._access(kind, spec, _subject(spec))
            case "LocalSubjectAccessReview":
                _check_local(spec, namespace)
                status = self._access(kind, spec, _subject(spec))
            case "SelfSubjectRulesReview":
                resources, others = self._gate.rules(user, str(spec.get("namespace") or ""))
                status = {
                    "resourceRules": list(resources),
                    "nonResourceRules": list(others),
                    "incomplete": False,
                }
            case "SelfSubjectReview":
                made = {"creationTimestamp": format_time(self._clock.now())}
                return {**obj, "metadata": made, "status": {"userInfo": _user_info(user)}}
            case "TokenReview":
                status = await self._token(spec)
            case _:
                raise BadRequestError(f"{kind} is not a review")
        return {"metadata": {}, **obj, "status": status}

    def _access(self, kind: str, spec: dict[str, Any], user: User) -> dict[str, Any]:
        decision = self._gate.decide(user, _attributes(kind, spec))
        status: dict[str, Any] = {"allowed": decision.allowed}
        if decision.reason:
            status["reason"] = decision.reason
        return status

    async def _token(self, spec: dict[str, Any]) -> dict[str, Any]:
        token = spec.get("token")
        if not isinstance(token, str) or not token:
            return {"authenticated": False, "error": "no token is given"}
        try:
            user = await self._gate.authenticate(None, token)
        except UnauthorizedError as error:
            return {"authenticated": False, "error": error.message}
        return {"authenticated": True, "user": _user_info(user)}


def _attributes(kind: str, spec: dict[str, Any]) -> Attributes:
    about, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if isinstance(about, dict) and path is None:
        fields = ("verb", "group", "version", "resource", "subresource", "namespace", "name")
        return Attributes(**{name: str(about.get(name) or "") for name in fields})
    if isinstance(path, dict) and about is None:
        return Attributes(str(path.get("verb") or ""), path=str(path.get("path") or ""))
    raise InvalidError(
        f'{kind}.{AUTHORIZATION} "" is invalid: spec.resourceAttributes: Invalid value: exactly one '
        "of nonResourceAttributes or resourceAttributes must be specified",
        kind=kind,
        group=AUTHORIZATION,
    )


def _check_local(spec: dict[str, Any], namespace: str) -> None:
    about = spec.get("resourceAttributes")
    if isinstance(about, dict) and about.get("namespace") == namespace:
        return
    where = about.get("namespace", "") if isinstance(about, dict) else ""
    raise InvalidError(
        f'LocalSubjectAccessReview.{AUTHORIZATION} "" is invalid: '
        f'spec.resourceAttributes.namespace: Invalid value: "{where}": must match metadata.namespace',
        kind="LocalSubjectAccessReview",
        group=AUTHORIZATION,
    )


def _subject(spec: dict[str, Any]) -> User:
    groups = spec.get("groups") or spec.get("group") or []
    if not isinstance(groups, list) or not (spec.get("user") or groups):
        raise InvalidError(
            f'SubjectAccessReview.{AUTHORIZATION} "" is invalid: spec.user: Invalid value: at least '
            "one of user or group must be specified",
            kind="SubjectAccessReview",
            group=AUTHORIZATION,
        )
    return User(str(spec.get("user") or ""), tuple(map(str, groups)), str(spec.get("uid") or ""))


def _user_info(user: User) -> dict[str, Any]:
    info: dict[str, Any] = {"username": user.name, "groups": list(user.groups)}
    if user.uid:
        info["uid"] = user.uid
    if user.extra:
        info["extra"] = {key: list(values) for key, values in user.extra.items()}
    return info
