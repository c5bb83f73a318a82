"""Every error that crosses a package boundary.

WherryError
+-- StatusError             the API server said no; carries a Kubernetes Status
|   +-- BadRequestError        400 BadRequest        the request cannot be read
|   +-- UnauthorizedError      401 Unauthorized      nobody knows who asks
|   +-- ForbiddenError         403 Forbidden         known, and not allowed
|   +-- NotFoundError          404 NotFound
|   +-- MethodNotAllowedError  405 MethodNotAllowed
|   +-- NotAcceptableError     406 NotAcceptable
|   +-- AlreadyExistsError     409 AlreadyExists     create, but it is there
|   +-- ConflictError          409 Conflict          resourceVersion or uid moved on: re-read, retry
|   +-- ExpiredError           410 Expired           revision or continue token too old: relist
|   +-- TooLargeError          413 RequestEntityTooLarge
|   +-- UnsupportedMediaError  415 UnsupportedMediaType
|   +-- InvalidError           422 Invalid           a field is wrong; carries causes
|   +-- TooManyRequestsError   429 TooManyRequests   wait retryAfterSeconds
|   +-- InternalError          500 InternalError     a bug of ours
|   +-- UnclassifiedError      500                   refused, and upstream gives no reason
|   +-- NotImplementedStatusError 501 NotImplemented  this node cannot do that
|   +-- BadGatewayError        502 BadGateway        the node's agent does not answer
|   +-- ServiceUnavailableError 503 ServiceUnavailable  no store or no quorum: retry
|   +-- TimeoutStatusError     504 Timeout
+-- InvalidQuantityError    a quantity string cannot be read
+-- InvalidSelectorError    a label or field selector cannot be read
+-- UnavailableError        a peer did not answer; it may recover: retried with back-off
+-- ConfigError             what the user configured cannot work; the message says what to do

Reasons and codes are those of apimachinery `metav1.StatusReason`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar


class WherryError(Exception):
    """Base class: what a caller catches when it cannot do better."""


class InvalidQuantityError(WherryError):
    """A quantity string cannot be read."""

    def __init__(self, text: str, *, expected: str) -> None:
        super().__init__(f"cannot read quantity {text!r}: expected {expected}")
        self.text = text


class InvalidSelectorError(WherryError):
    """A label or field selector cannot be read."""


class UnavailableError(WherryError):
    """The store, the API server or the runtime did not answer in time."""


class ConfigError(WherryError):
    """A flag, a configuration file or the machine is not as needed; says what to do."""


@dataclass(frozen=True, slots=True)
class Cause:
    """One entry of `status.details.causes`: `reason` is machine-readable, `field` a path."""

    reason: str
    message: str
    field: str = ""

    def to_dict(self) -> dict[str, str]:
        """Return the wire form, empty fields left out."""
        full = {"reason": self.reason, "message": self.message, "field": self.field}
        return {key: value for key, value in full.items() if value}


class StatusError(WherryError):
    """A request was refused; `to_status()` is the Kubernetes Status that says why."""

    code: ClassVar[int] = 500
    reason: ClassVar[str] = "InternalError"

    def __init__(
        self,
        message: str,
        *,
        name: str = "",
        kind: str = "",
        group: str = "",
        causes: Sequence[Cause] = (),
        retry_after_s: int = 0,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.name = name
        self.kind = kind
        self.group = group
        self.causes = tuple(causes)
        self.retry_after_s = retry_after_s

    def to_status(self) -> dict[str, Any]:
        """Return the `v1.Status` object that clients get."""
        named = {"name": self.name, "group": self.group, "kind": self.kind}
        details: dict[str, Any] = {key: value for key, value in named.items() if value}
        if self.causes:
            details["causes"] = [cause.to_dict() for cause in self.causes]
        if self.retry_after_s:
            details["retryAfterSeconds"] = self.retry_after_s
        reason = {"reason": self.reason} if self.reason else {}
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            **reason,
            # Also where there are none: kubectl debug reads them of a 404 and would crash.
            "details": details,
            "code": self.code,
        }


class BadRequestError(StatusError):
    """The request cannot be read."""

    code = 400
    reason = "BadRequest"


class UnauthorizedError(StatusError):
    """Nobody knows who asks."""

    code = 401
    reason = "Unauthorized"


class ForbiddenError(StatusError):
    """The user is known and may not."""

    code = 403
    reason = "Forbidden"


class NotFoundError(StatusError):
    """There is no such object or resource."""

    code = 404
    reason = "NotFound"


class MethodNotAllowedError(StatusError):
    """The resource does not serve this verb."""

    code = 405
    reason = "MethodNotAllowed"


class NotAcceptableError(StatusError):
    """None of the media types that the client accepts is served."""

    code = 406
    reason = "NotAcceptable"


class AlreadyExistsError(StatusError):
    """An object of this name exists."""

    code = 409
    reason = "AlreadyExists"


class ConflictError(StatusError):
    """The object changed since it was read."""

    code = 409
    reason = "Conflict"


class ExpiredError(StatusError):
    """The revision or continue token is older than what is kept.

    With a `continue_token` a list can go on all the same, at the revision of today.
    """

    code = 410
    reason = "Expired"
    continue_token = ""

    def to_status(self) -> dict[str, Any]:
        """Return the `v1.Status`, with the token in its metadata."""
        status = super().to_status()
        if self.continue_token:
            status["metadata"] = {"continue": self.continue_token}
        return status


class TooLargeError(StatusError):
    """The body is larger than the limit."""

    code = 413
    reason = "RequestEntityTooLarge"


class UnsupportedMediaError(StatusError):
    """The body's media type is not understood here."""

    code = 415
    reason = "UnsupportedMediaType"


class InvalidError(StatusError):
    """The object breaks a rule; `causes` name each field."""

    code = 422
    reason = "Invalid"


class TooManyRequestsError(StatusError):
    """The server asks to wait (`retry_after_s`), or a disruption budget does."""

    code = 429
    reason = "TooManyRequests"


class InternalError(StatusError):
    """A bug of ours."""

    code = 500
    reason = "InternalError"


class UnclassifiedError(StatusError):
    """Refused where upstream gives a code and no reason: it is what clients were written for."""

    code = 500
    reason = ""


class NotImplementedStatusError(StatusError):
    """This node cannot do that."""

    code = 501
    reason = "NotImplemented"


class BadGatewayError(StatusError):
    """The node's agent cannot be reached, or makes no sense."""

    code = 502
    reason = "BadGateway"


class ServiceUnavailableError(StatusError):
    """No store, no quorum, or the process is draining."""

    code = 503
    reason = "ServiceUnavailable"


class TimeoutStatusError(StatusError):
    """The request ran into its deadline; a write may have happened."""

    code = 504
    reason = "Timeout"


def is_of_another(error: StatusError) -> bool:
    """Tell whether a patch with a uid met another object of that name: a uid cannot be changed."""
    return any(cause.field == "metadata.uid" for cause in error.causes)


_BY_REASON: dict[str, type[StatusError]] = {
    cls.reason: cls for cls in StatusError.__subclasses__() if cls.reason
}
_BY_CODE: dict[int, type[StatusError]] = {
    cls.code: cls for cls in reversed(StatusError.__subclasses__())
}


def error_from_status(status: dict[str, Any]) -> StatusError:
    """Turn a Failure Status back into the error that it was made from.

    The reason decides the class, the code where the reason is unknown.
    """
    details = status.get("details") or {}
    cls = _BY_REASON.get(status.get("reason", "")) or _BY_CODE.get(
        status.get("code", 500), InternalError
    )
    if not status.get("reason") and status.get("code") == UnclassifiedError.code:
        cls = UnclassifiedError
    causes = [
        Cause(c.get("reason", ""), c.get("message", ""), c.get("field", ""))
        for c in details.get("causes") or ()
    ]
    return cls(
        status.get("message", ""),
        name=details.get("name", ""),
        kind=details.get("kind", ""),
        group=details.get("group", ""),
        causes=causes,
        retry_after_s=details.get("retryAfterSeconds", 0),
    )
