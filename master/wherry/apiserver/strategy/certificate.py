"""CertificateSigningRequest: who made it stands in the spec, which nobody changes any more.

    status     certificate and conditions, but neither Approved nor Denied
    approval   conditions, but no certificate

Source: kubernetes `pkg/registry/certificates/certificates/strategy.go` and
`pkg/apis/certificates/validation`.
"""

import base64
import binascii
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from wherry.api.errors import Cause
from wherry.apiserver.strategy import fields, names
from wherry.apiserver.strategy.base import Object, Strategy, keep
from wherry.apiserver.strategy.pem import certificates_fault
from wherry.pki.request import parse_request

APPROVED: Final = "Approved"
DENIED: Final = "Denied"
FAILED: Final = "Failed"
_DECISIONS = (APPROVED, DENIED)
_FINAL = (*_DECISIONS, FAILED)
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
_MOST_DOMAIN = 253
_MOST_SIGNER = _MOST_DOMAIN + 1 + 63 + 1 + 253
"""A domain, a namespace and a name."""
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
        """Keep Approved and Denied as they are, where they are: they are the approval's."""
        conditions = list(_conditions(new))
        for type_ in _DECISIONS:
            were = [c for c in _conditions(old) if c.get("type") == type_]
            at = [i for i, c in enumerate(conditions) if c.get("type") == type_]
            if len(were) == len(at):
                for index, was in zip(at, were, strict=True):
                    conditions[index] = was
        if conditions:
            new["status"] = {**new["status"], "conditions": conditions}

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
        """Check conditions, and that a certificate is one and is set once; decide nothing."""
        wrong = _each_condition(new)
        was = old.get("status", {}).get("certificate")
        certificate = new.get("status", {}).get("certificate")
        if certificate and certificate != was:
            wrong += _certificate(certificate)
        wrong += _removed(new, old)
        now, before = _counts(new), _counts(old)
        for type_ in _DECISIONS:
            if now[type_] > before[type_]:
                detail = f'updates may not add a condition of type "{type_}"'
                wrong.append(fields.forbidden("status.conditions", detail))
        if was and certificate != was:
            detail = "updates may not modify existing certificate content"
            wrong.append(fields.forbidden("status.certificate", detail))
        return wrong


def validate_approval(new: Object, old: Object) -> list[Cause]:
    """Return what is wrong with the conditions, and with the step from the old ones."""
    return _each_condition(new) + _removed(new, old)


def _each_condition(new: Object) -> list[Cause]:
    wrong: list[Cause] = []
    seen: set[str] = set()
    for index, condition in enumerate(_conditions(new)):
        path = f"status.conditions[{index}]"
        type_ = condition.get("type", "")
        wrong += _condition(path, type_, condition.get("status", ""))
        if type_ in _DECISIONS and not seen.isdisjoint({*_DECISIONS} - {type_}):
            detail = "Approved and Denied conditions are mutually exclusive"
            wrong.append(fields.invalid(f"{path}.type", type_, detail))
        if type_ in seen:
            wrong.append(fields.duplicate(f"{path}.type", type_))
        seen.add(type_)
    return wrong


def _removed(new: Object, old: Object) -> list[Cause]:
    now, before = _counts(new), _counts(old)
    return [
        fields.forbidden(
            "status.conditions", f'updates may not remove a condition of type "{type_}"'
        )
        for type_ in _FINAL
        if now[type_] < before[type_]
    ]


def _counts(obj: Object) -> Counter[str]:
    return Counter(condition.get("type", "") for condition in _conditions(obj))


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
    wrong = [
        fields.unsupported(f"spec.usages[{index}]", usage, sorted(_USAGES))
        for index, usage in enumerate(usages)
        if usage not in _USAGES
    ]
    seen: set[str] = set()
    for index, usage in enumerate(usages):
        if usage in seen:
            wrong.append(fields.duplicate(f"spec.usages[{index}]", usage))
        seen.add(usage)
    return wrong


def _signer(name: str) -> list[Cause]:
    path = "spec.signerName"
    if not name:
        return [fields.required(path)]
    if name == _LEGACY_SIGNER:
        detail = "the legacy signerName is not allowed via this API version"
        return [fields.invalid(path, name, detail)]
    if name.count("/") != 1:
        detail = "must be a fully qualified domain and path of the form 'example.com/signer-name'"
        return [fields.invalid(path, name, detail)]
    domain, _, rest = name.partition("/")
    wrong = [fields.too_long(path, _MOST_DOMAIN)] if len(domain) > _MOST_DOMAIN else []
    wrong += _labels(path, domain, names.dns1123_label)
    if "." not in domain:
        detail = "should be a domain with at least two segments separated by dots"
        wrong.append(fields.invalid(path, domain, detail))
    wrong += _labels(path, rest, names.dns1123_subdomain)
    if len(name) > _MOST_SIGNER:
        wrong.append(fields.too_long(path, _MOST_SIGNER))
    return wrong


def _labels(path: str, text: str, rule: names.NameRule) -> list[Cause]:
    """Say what is wrong with the first part between dots with which anything is."""
    for label in text.split("."):
        if reasons := rule(label):
            return [
                fields.invalid(path, text, f'validating label "{label}": {reason}')
                for reason in reasons
            ]
    return []


def _certificate(text: str) -> list[Cause]:
    try:
        fault = certificates_fault(decode(text))
    except ValueError as error:
        fault = str(error)
    return [fields.invalid("status.certificate", "<certificate data>", fault)] if fault else []
