"""CertificateSigningRequest: who made it stands in the spec, which nobody changes any more.

    status     certificate and conditions, but neither Approved nor Denied
    approval   conditions, but no certificate

Source: kubernetes `pkg/registry/certificates/certificates/strategy.go` and
`pkg/apis/certificates/validation`.
"""

import base64
import binascii
import re
from collections.abc import Sequence
from typing import Any, Final

from cryptography import x509

from wherry.api.errors import Cause
from wherry.apiserver.strategy import fields, names
from wherry.apiserver.strategy.base import Object, Strategy, keep
from wherry.pki.request import parse_request

APPROVED: Final = "Approved"
DENIED: Final = "Denied"
FAILED: Final = "Failed"
_FINAL = (APPROVED, DENIED, FAILED)
"""Conditions that are only ever "True", and that nobody takes back."""
_LEAST_S = 600
_USAGES = frozenset(
    {
        "any",
        "cert sign",
        "client auth",
        "code signing",
        "content commitment",
        "crl sign",
        "data encipherment",
        "decipher only",
        "digital signature",
        "email protection",
        "encipher only",
        "ipsec end system",
        "ipsec tunnel",
        "ipsec user",
        "key agreement",
        "key encipherment",
        "microsoft sgc",
        "netscape sgc",
        "ocsp signing",
        "s/mime",
        "server auth",
        "signing",
        "timestamping",
    }
)
_LEGACY_SIGNER = "kubernetes.io/legacy-unknown"
_SIGNER_PATH = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_TOLD_BY_SERVER = ("username", "uid", "groups", "extra")


class CertificateSigningRequestStrategy(Strategy):
    """See the module."""

    def check_name(self, name: str) -> Sequence[str]:
        """Be whatever can stand in a path."""
        return names.path_segment(name)

    def prepare_create(self, obj: Object) -> None:
        """Drop the status, and what only the server says: who asks (`admission`)."""
        super().prepare_create(obj)
        for field in _TOLD_BY_SERVER:
            obj.get("spec", {}).pop(field, None)

    def prepare_update(self, new: Object, old: Object) -> None:
        """Keep spec and status: only metadata changes."""
        super().prepare_update(new, old)
        keep(new, old, "spec")

    def prepare_status(self, new: Object, old: Object) -> None:
        """Keep Approved and Denied as they are: that is the approval subresource's."""
        status = new.setdefault("status", {})
        decided = [c for c in _conditions(old) if c.get("type") in (APPROVED, DENIED)]
        others = [c for c in _conditions(new) if c.get("type") not in (APPROVED, DENIED)]
        if decided or others:
            status["conditions"] = [*decided, *others]
        else:
            status.pop("conditions", None)

    def validate(self, obj: Object) -> list[Cause]:
        """Check request, signer, usages and duration."""
        spec = obj.get("spec", {})
        wrong: list[Cause] = []
        try:
            parse_request(decode(spec.get("request", "")))
        except ValueError as error:
            wrong.append(fields.invalid("spec.request", spec.get("request", ""), str(error)))
        wrong += _usages(spec.get("usages", ()))
        wrong += _signer(spec.get("signerName", ""))
        seconds = spec.get("expirationSeconds")
        if seconds is not None and seconds < _LEAST_S:
            detail = f"may not specify a duration less than {_LEAST_S} seconds (10 minutes)"
            wrong.append(fields.invalid("spec.expirationSeconds", seconds, detail))
        return wrong

    def validate_status(self, new: Object, old: Object) -> list[Cause]:
        """Check conditions, and that a certificate is one and is set once."""
        wrong = condition_causes(new, old)
        was = old.get("status", {}).get("certificate")
        certificate = new.get("status", {}).get("certificate")
        if was and certificate != was:
            detail = "updates may not modify existing certificate content"
            wrong.append(fields.forbidden("status.certificate", detail))
        elif certificate and not was:
            wrong += _certificate(certificate)
        return wrong


def condition_causes(new: Object, old: Object) -> list[Cause]:
    """Return what is wrong with the conditions, and with the step from the old ones."""
    wrong: list[Cause] = []
    seen: set[str] = set()
    for index, condition in enumerate(_conditions(new)):
        path = f"status.conditions[{index}]"
        type_ = condition.get("type", "")
        wrong += _condition(path, type_, condition.get("status", ""))
        if type_ in seen:
            wrong.append(fields.duplicate(f"{path}.type", type_))
        elif {type_, *seen} >= {APPROVED, DENIED} and type_ in (APPROVED, DENIED):
            detail = "Approved and Denied conditions are mutually exclusive"
            wrong.append(fields.invalid(f"{path}.type", type_, detail))
        seen.add(type_)
    gone = [c["type"] for c in _conditions(old) if c["type"] in _FINAL and c["type"] not in seen]
    for type_ in gone:
        detail = f'updates may not remove a condition of type "{type_}"'
        wrong.append(fields.forbidden("status.conditions", detail))
    return wrong


def requested_groups(request: str) -> tuple[str, ...]:
    """Return the organisations in a request (base64 of PEM) that was validated."""
    return parse_request(decode(request)).groups


def decode(text: str) -> bytes:
    """Decode base64.

    Raises:
        ValueError: it is none.
    """
    try:
        return base64.b64decode(text)
    except binascii.Error as error:
        raise ValueError(f"illegal base64 data: {error}") from error


def _conditions(obj: Object) -> Sequence[dict[str, Any]]:
    found: Sequence[dict[str, Any]] = obj.get("status", {}).get("conditions", ())
    return found


def _condition(path: str, type_: str, status: str) -> list[Cause]:
    wrong = [] if type_ else [fields.required(f"{path}.type")]
    allowed = ("True",) if type_ in _FINAL else ("False", "True", "Unknown")
    if not status:
        wrong.append(fields.required(f"{path}.status"))
    elif status not in allowed:
        wrong.append(fields.unsupported(f"{path}.status", status, allowed))
    return wrong


def _usages(usages: Sequence[str]) -> list[Cause]:
    if not usages:
        return [fields.required("spec.usages", "usages must be provided")]
    wrong: list[Cause] = []
    seen: set[str] = set()
    for index, usage in enumerate(usages):
        path = f"spec.usages[{index}]"
        if usage not in _USAGES:
            wrong.append(fields.unsupported(path, usage, sorted(_USAGES)))
        elif usage in seen:
            wrong.append(fields.duplicate(path, usage))
        seen.add(usage)
    return wrong


def _signer(name: str) -> list[Cause]:
    path = "spec.signerName"
    if not name:
        return [fields.required(path)]
    if name == _LEGACY_SIGNER:
        detail = "the legacy signerName is not allowed via this API version"
        return [fields.invalid(path, name, detail)]
    domain, slash, rest = name.partition("/")
    if not slash or not rest or "/" in rest:
        detail = "must be a fully qualified domain and path of the form 'example.com/signer-name'"
        return [fields.invalid(path, name, detail)]
    wrong = [fields.invalid(path, domain, text) for text in names.dns1123_subdomain(domain)]
    if "." not in domain:
        detail = "should be a domain with at least two segments separated by dots"
        wrong.append(fields.invalid(path, domain, detail))
    if not _SIGNER_PATH.fullmatch(rest):
        wrong += [fields.invalid(path, rest, text) for text in names.dns1123_subdomain(rest)]
    return wrong


def _certificate(text: str) -> list[Cause]:
    try:
        x509.load_pem_x509_certificates(decode(text))
    except ValueError as error:
        return [fields.invalid("status.certificate", "<certificate data>", str(error))]
    return []
