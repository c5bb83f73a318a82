"""Questions about identity and permission: kinds that are answered and never stored.

TokenReview and SelfSubjectReview ask who, the AccessReviews ask whether, SelfSubjectRulesReview
asks what. `kubectl auth can-i`, `auth whoami` and other people's servers (metrics, dashboards)
use them.
"""

from collections.abc import Sequence
from typing import Any

from wherry.api.clock import Clock
from wherry.api.errors import BadRequestError, Cause, UnauthorizedError
from wherry.api.times import format_time
from wherry.apiserver import refusal
from wherry.apiserver.gate import Attributes, Gate
from wherry.apiserver.strategy import fields
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
        """Return the review with its status.

        Args:
            kind: What is asked.
            obj: The question; it has passed the schema.
            user: Who asks.
            namespace: That of a local one's path.

        Raises:
            BadRequestError: the review cannot be read.
            InvalidError: it does not say what it asks.
        """
        spec = obj.get("spec") or {}
        match kind:
            case "SelfSubjectAccessReview":
                status = self._access(kind, spec, user, _check_attributes(spec))
            case "SubjectAccessReview":
                status = self._access(kind, spec, _subject(spec), _check_subject(spec))
            case "LocalSubjectAccessReview":
                causes = [*_check_subject(spec), *_check_local(spec, namespace)]
                status = self._access(kind, spec, _subject(spec), causes)
            case "SelfSubjectRulesReview":
                resources, others = self._gate.rules(user, spec.get("namespace", ""))
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
        return {"metadata": {}, **obj, "spec": spec, "status": status}

    def _access(
        self, kind: str, spec: dict[str, Any], user: User, causes: Sequence[Cause]
    ) -> dict[str, Any]:
        if causes:
            raise refusal.invalid_kind(kind, AUTHORIZATION, "", causes)
        decision = self._gate.decide(user, _attributes(spec))
        status: dict[str, Any] = {"allowed": decision.allowed}
        if decision.reason:
            status["reason"] = decision.reason
        return status

    async def _token(self, spec: dict[str, Any]) -> dict[str, Any]:
        token, audiences = spec.get("token"), spec.get("audiences") or []
        if not token:
            raise BadRequestError("token is required for TokenReview in authentication")
        try:
            user, found = await self._gate.review(token, audiences)
        except UnauthorizedError as error:
            return {"authenticated": False, "error": error.message, "user": {}}
        status = {"authenticated": True, "user": _user_info(user)}
        return {**status, "audiences": list(found)} if found else status


_RESOURCE = "resourceAttributes"
_PATH = "nonResourceAttributes"


def _attributes(spec: dict[str, Any]) -> Attributes:
    about, path = spec.get(_RESOURCE), spec.get(_PATH, {})
    if about is None:
        return Attributes(path.get("verb", ""), path=path.get("path", ""))
    fields_of = ("verb", "group", "version", "resource", "subresource", "namespace", "name")
    return Attributes(**{name: about.get(name, "") for name in fields_of})


def _check_attributes(spec: dict[str, Any]) -> list[Cause]:
    """Say what is wrong with what is asked about (upstream's words, down to the `"null"`)."""
    if _RESOURCE in spec and _PATH in spec:
        why = f"cannot be specified in combination with {_RESOURCE}"
        return [fields.invalid(f"spec.{_PATH}", spec[_PATH], why)]
    if _RESOURCE not in spec and _PATH not in spec:
        why = f"exactly one of {_PATH} or {_RESOURCE} must be specified"
        return [fields.invalid(f"spec.{_RESOURCE}", "null", why)]
    return []


def _check_subject(spec: dict[str, Any]) -> list[Cause]:
    causes = _check_attributes(spec)
    if not spec.get("user") and not spec.get("groups"):
        why = "at least one of user or group must be specified"
        causes.append(fields.invalid("spec.user", "", why))
    return causes


def _check_local(spec: dict[str, Any], namespace: str) -> list[Cause]:
    if _RESOURCE in spec and (where := spec[_RESOURCE].get("namespace", "")) != namespace:
        why = "must match metadata.namespace"
        return [fields.invalid(f"spec.{_RESOURCE}.namespace", where, why)]
    if _PATH in spec:
        return [fields.invalid(f"spec.{_PATH}", spec[_PATH], "disallowed on this kind of request")]
    return []


def _subject(spec: dict[str, Any]) -> User:
    return User(
        spec.get("user", ""),
        tuple(spec.get("groups", ())),
        spec.get("uid", ""),
        spec.get("extra", {}),
    )


def _user_info(user: User) -> dict[str, Any]:
    info: dict[str, Any] = {"username": user.name, "groups": list(user.groups)}
    if user.uid:
        info["uid"] = user.uid
    if user.extra:
        info["extra"] = {key: list(values) for key, values in user.extra.items()}
    return info
