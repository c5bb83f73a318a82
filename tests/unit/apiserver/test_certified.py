"""Whom a certificate names, asked again and again while time goes by and authorities change."""

import pytest
from authority import Authority

from wherry.api.errors import UnauthorizedError
from wherry.apiserver.certified import Certificates
from wherry.pki.trust import Authorities

NOW = 1_790_000_000.0
OLD = Authority("old", now_s=NOW)
NEW = Authority("new", now_s=NOW)
JOE = OLD.issue("joe", lasts_s=100).certificate


class Clock:
    def __init__(self) -> None:
        self.now_s = NOW

    def now(self) -> float:
        return self.now_s

    def monotonic(self) -> float:
        return self.now_s


@pytest.mark.parametrize("authorities", [None, Authorities(OLD.pem)])
def test_a_certificate_counts_to_its_end(authorities: Authorities | None) -> None:
    clock = Clock()
    certificates = Certificates(clock, authorities)
    known = certificates.certified(JOE)
    assert known is not None
    assert (known.user.name, known.until_s) == ("joe", NOW + 100)
    clock.now_s = NOW + 100
    assert certificates.certified(JOE) is known
    for clock.now_s in (NOW + 100.5, NOW + 1e9):
        with pytest.raises(UnauthorizedError, match=r"SN=\d+ failed: x509: .* has expired"):
            certificates.certified(JOE)
    clock.now_s = NOW - 1000  # somebody sets it
    with pytest.raises(
        UnauthorizedError,
        match="current time 2026-09-21T13:56:40Z is before 2026-09-21T14:08:20Z",
    ):
        certificates.certified(JOE)
    clock.now_s = NOW
    again = certificates.certified(JOE)
    assert again is not None
    assert again.user == known.user


def test_an_authority_that_is_believed_no_more() -> None:
    certificates = Certificates(Clock(), Authorities(OLD.pem))
    known = certificates.certified(JOE)
    assert known is not None
    certificates.trust(Authorities(OLD.pem + NEW.pem))
    assert known.until_s < NOW  # who remembers it asks again
    kept = certificates.certified(JOE)
    assert kept is not None
    assert kept.until_s == NOW + 100
    certificates.trust(Authorities(NEW.pem))
    assert kept.until_s < NOW
    for _ in range(2):
        with pytest.raises(UnauthorizedError, match="signed by unknown authority"):
            certificates.certified(JOE)
    certificates.trust(Authorities(OLD.pem))
    assert certificates.certified(JOE) is not None


def test_what_is_no_certificate() -> None:
    for text in (b"nothing", b"0\x03abc", JOE[:-60]):
        with pytest.raises(UnauthorizedError, match="cannot read the certificate"):
            Certificates(Clock()).certified(text)
