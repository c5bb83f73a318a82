"""Certificate authorities for tests: of any depth and age, and such as are none."""

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from wherry.pki.certificates import _builder, _key_pem, _usage, issue
from wherry.pki.subject import KeyPair, Subject


class Authority:
    """One that is its own root, or was issued by another; `pem` is its certificate.

    Args:
        name: Its common name.
        now_s: When it is made; it lasts from five minutes before.
        lasts_s: How long it lasts, seconds.
        above: Who issued it.
        of: One whose key it shares: the same authority, made again.
        ca: Whether its certificate says that it may issue others. It does all the same.
    """

    def __init__(
        self,
        name: str,
        *,
        now_s: float,
        lasts_s: float = 1e6,
        above: "Authority | None" = None,
        of: "Authority | None" = None,
        ca: bool = True,
    ) -> None:
        self._now_s = now_s
        self._key: ec.EllipticCurvePrivateKey = (
            of._key if of is not None else ec.generate_private_key(ec.SECP256R1())
        )
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        by = above or self
        made = (
            _builder(by._name, self._name, self._key.public_key(), now_s, lasts_s / 86_400)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(_usage(sign=ca), critical=True)
            .sign(by._key, hashes.SHA256())
        )
        self.pem = made.public_bytes(serialization.Encoding.PEM)

    def issue(self, user: str, *, lasts_s: float = 1e5) -> KeyPair:
        """Issue a client's certificate."""
        own = KeyPair(self.pem, _key_pem(self._key))
        return issue(own, Subject(user), now_s=self._now_s, days=lasts_s / 86_400)
