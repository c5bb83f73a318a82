"""Until when a certificate counts, by who vouches for it."""

import pytest
from authority import Authority

from wherry.pki.certificates import BACKDATE_S
from wherry.pki.trust import Authorities, read

NOW = 1_790_000_000.0
ROOT = Authority("root", now_s=NOW)
OTHER = Authority("other", now_s=NOW)
NAMESAKE = Authority("root", now_s=NOW)
SHORT = Authority("short", now_s=NOW, lasts_s=50)
RENEWED = Authority("short", now_s=NOW, lasts_s=500, of=SHORT)
MIDDLE = Authority("middle", now_s=NOW, above=ROOT)
LOWER = Authority("lower", now_s=NOW, lasts_s=60, above=MIDDLE)
CIRCLE = Authority("middle", now_s=NOW, above=LOWER, of=MIDDLE)
"""The one in the middle, vouched for by the one below it."""
MALLORY = Authority("mallory", now_s=NOW, above=ROOT, ca=False)
"""No authority, but one that signs."""

JOE = ROOT.issue("joe", lasts_s=100).certificate
JOE_OF_SHORT = SHORT.issue("joe", lasts_s=100).certificate
JOE_OF_MIDDLE = MIDDLE.issue("joe", lasts_s=100).certificate
JOE_BELOW = LOWER.issue("joe", lasts_s=100).certificate
JOE_OF_MALLORY = MALLORY.issue("joe", lasts_s=100).certificate


@pytest.mark.parametrize(
    ("chain", "believed", "after_s", "until_s"),
    [
        # time: to the last second, that one included
        ([JOE], [ROOT], 0, 100),
        ([JOE], [ROOT], 100, 100),
        ([JOE], [ROOT], 100.001, None),
        ([JOE], [ROOT], -BACKDATE_S, 100),
        ([JOE], [ROOT], -BACKDATE_S - 1, None),
        # authorities
        ([JOE], [OTHER, ROOT], 0, 100),
        ([JOE], [OTHER], 0, None),
        ([JOE], [NAMESAKE], 0, None),
        ([JOE], [NAMESAKE, ROOT], 0, 100),
        ([JOE, ROOT.pem], [OTHER], 0, None),
        ([ROOT.pem], [ROOT], 0, 1e6),
        # an authority that ends first, and the same made again
        ([JOE_OF_SHORT], [SHORT], 0, 50),
        ([JOE_OF_SHORT], [SHORT], 51, None),
        ([JOE_OF_SHORT], [SHORT, RENEWED], 51, 100),
        # through what was sent along
        ([JOE_OF_MIDDLE, MIDDLE.pem], [ROOT], 0, 100),
        ([JOE_OF_MIDDLE], [ROOT], 0, None),
        ([JOE_OF_MIDDLE], [MIDDLE], 0, 100),
        ([JOE_BELOW, LOWER.pem, MIDDLE.pem], [ROOT], 0, 60),
        ([JOE_BELOW, MIDDLE.pem, LOWER.pem, ROOT.pem], [ROOT], 0, 60),
        ([JOE_BELOW, LOWER.pem, MIDDLE.pem], [ROOT], 61, None),
        ([JOE_BELOW, LOWER.pem, CIRCLE.pem], [ROOT], 0, None),
        ([JOE_BELOW, LOWER.pem, CIRCLE.pem, MIDDLE.pem], [ROOT], 0, 60),
        ([JOE_BELOW, LOWER.pem, *[OTHER.pem] * 9, MIDDLE.pem], [ROOT], 0, None),
        ([JOE_OF_MALLORY, MALLORY.pem], [ROOT], 0, None),
    ],
)
def test_until_when_a_certificate_counts(
    chain: list[bytes], believed: list[Authority], after_s: float, until_s: float | None
) -> None:
    authorities = Authorities(b"".join(one.pem for one in believed))
    until = authorities.until(read(b"".join(chain)), NOW + after_s)
    assert until == (None if until_s is None else NOW + until_s)


@pytest.mark.parametrize(
    "text",
    [b"", b"nothing", JOE[:-60], b"-----BEGIN CERTIFICATE-----\n\n-----END CERTIFICATE-----"],
)
def test_what_cannot_be_read(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        Authorities(text)


def test_a_file_may_say_what_it_holds() -> None:
    file = b"0 of 2026\n" + ROOT.pem + b"\n# of 2025\n" + OTHER.pem
    assert Authorities(file).until(read(JOE), NOW) == NOW + 100
