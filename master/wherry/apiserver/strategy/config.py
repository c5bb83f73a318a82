"""ConfigMap and Secret."""

import base64
import binascii

import orjson
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from wherry.api.errors import Cause
from wherry.apiserver.schema.scalar import json_type
from wherry.apiserver.strategy import fields, names
from wherry.apiserver.strategy.base import Object, Strategy

MOST_BYTES = 1 << 20
"""Size of all values together."""
_TLS = "kubernetes.io/tls"
_REQUIRED_KEYS = {
    "kubernetes.io/dockercfg": [".dockercfg"],
    "kubernetes.io/dockerconfigjson": [".dockerconfigjson"],
    _TLS: ["tls.crt", "tls.key"],
}

_DOCKER = {
    "kubernetes.io/dockercfg": ".dockercfg",
    "kubernetes.io/dockerconfigjson": ".dockerconfigjson",
}
_ACCOUNT = "kubernetes.io/service-account.name"


class ConfigMapStrategy(Strategy):
    """Text and binary values under keys that can be file names."""

    def validate(self, obj: Object) -> list[Cause]:
        """Check keys and size."""
        text, binary = obj.get("data", {}), obj.get("binaryData", {})
        wrong: list[Cause] = []
        for key in text:
            wrong += names.check(f"data[{key}]", key, names.config_key)
            if key in binary:
                message = "duplicate of key present in binaryData"
                wrong.append(fields.invalid(f"data[{key}]", key, message))
        for key in binary:
            wrong += names.check(f"binaryData[{key}]", key, names.config_key)
        size = sum(len(v.encode()) for v in text.values())
        size += sum(len(v) * 3 // 4 - v[-2:].count("=") for v in binary.values())
        if size > MOST_BYTES:
            wrong.append(fields.too_long("", MOST_BYTES))
        return wrong

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        """Let an immutable one stay as it is."""
        return _immutable(new, old, ("data", "binaryData"))


class SecretStrategy(Strategy):
    """Values in base64; `stringData` is the convenient way in and is never stored."""

    def default(self, obj: Object) -> None:
        """Fold stringData into data, and name the type."""
        plain = obj.pop("stringData", None)
        if plain:
            encoded = {k: base64.b64encode(v.encode()).decode() for k, v in plain.items()}
            obj["data"] = {**obj.get("data", {}), **encoded}
        if not obj.get("type"):
            obj["type"] = "Opaque"

    def validate(self, obj: Object) -> list[Cause]:
        """Check keys, encoding, size, and what the type needs."""
        data = obj.get("data", {})
        wrong: list[Cause] = []
        size = 0
        for key, value in data.items():
            wrong += names.check(f"data[{key}]", key, names.config_key)
            try:
                size += len(base64.b64decode(value, validate=True))
            except binascii.Error:
                wrong.append(fields.invalid(f"data[{key}]", "<secret>", "must be base64"))
        if size > MOST_BYTES:
            wrong.append(fields.too_long("data", MOST_BYTES))
        wrong += [
            fields.required(f"data[{key}]")
            for key in _REQUIRED_KEYS.get(obj["type"], ())
            if key not in data
        ]
        return wrong + _of_type(obj)

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        """Keep the type."""
        wrong: list[Cause] = []
        if new.get("type") != old.get("type"):
            wrong.append(fields.invalid("type", new.get("type"), fields.IMMUTABLE))
        return wrong + _immutable(new, old, ("data",))

    def warnings(self, obj: Object) -> list[str]:
        """Warn of a certificate whose key is another's."""
        if obj.get("type") != _TLS:
            return []
        return _key_pair(_plain(obj, "tls.crt"), _plain(obj, "tls.key"))


def _plain(obj: Object, key: str) -> bytes:
    text = obj.get("stringData", {}).get(key)
    if text is not None:
        return str(text).encode()
    try:
        return base64.b64decode(obj.get("data", {}).get(key, ""))
    except binascii.Error:
        return b""


def _key_pair(certificate: bytes, key: bytes) -> list[str]:
    """Say what Go's `tls.X509KeyPair` says of the two, but of what only it cannot read."""
    for what, pem in (("certificate", certificate), ("key", key)):
        if b"-----BEGIN " not in pem:
            return [f"tls: failed to find any PEM data in {what} input"]
    try:
        of_certificate = x509.load_pem_x509_certificate(certificate).public_key()
        of_key = serialization.load_pem_private_key(key, None).public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return []
    if of_certificate == of_key:
        return []
    return ["tls: private key does not match public key"]


def _of_type(obj: Object) -> list[Cause]:
    data = obj.get("data", {})
    if obj["type"] == "kubernetes.io/ssh-auth" and not data.get("ssh-privatekey"):
        return [fields.required("data[ssh-privatekey]")]
    if obj["type"] == "kubernetes.io/basic-auth" and not {"username", "password"} & set(data):
        return [fields.required("data[username]"), fields.required("data[password]")]
    if obj["type"] in _DOCKER:
        return _docker_config(_DOCKER[obj["type"]], data)
    account = obj["metadata"].get("annotations", {}).get(_ACCOUNT)
    if obj["type"] == "kubernetes.io/service-account-token" and not account:
        return [fields.required(f"metadata.annotations[{_ACCOUNT}]")]
    return []


def _docker_config(key: str, data: Object) -> list[Cause]:
    if key not in data:
        return []  # Said before, as of all keys that a type needs.
    try:
        found = orjson.loads(base64.b64decode(data[key]))
    except ValueError as error:  # also what binascii and orjson raise
        return [fields.invalid(f"data[{key}]", "<secret contents redacted>", str(error))]
    if found is None or isinstance(found, dict):
        return []
    why = (
        f"json: cannot unmarshal {json_type(found)} into Go value of type map[string]interface {{}}"
    )
    return [fields.invalid(f"data[{key}]", "<secret contents redacted>", why)]


def _immutable(new: Object, old: Object, contents: tuple[str, ...]) -> list[Cause]:
    if not old.get("immutable"):
        return []
    message = "field is immutable when `immutable` is set"
    wrong = [fields.forbidden("immutable", message)] if not new.get("immutable") else []
    wrong += [
        fields.forbidden(field, message)
        for field in contents
        if new.get(field, {}) != old.get(field, {})
    ]
    return wrong
