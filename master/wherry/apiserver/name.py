"""Names, uids and what else only chance can give."""

import random

_SUFFIX_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
"""No vowels and no look-alikes: apimachinery `rand.String`."""
_SUFFIX_LENGTH = 5
_LONGEST_BASE = 63 - _SUFFIX_LENGTH
_UUID_FIXED = 0xF << 76 | 0x3 << 62
_UUID_VERSION_4 = 0x4 << 76 | 0x2 << 62
"""The bits of a UUID that are not random, and what they are (RFC 9562); `uuid.UUID` takes 3 us more."""


def generate_name(base: str, rng: random.Random) -> str:
    """Return `base` (cut so that the whole has 63 characters) and five random ones."""
    return base[:_LONGEST_BASE] + "".join(rng.choices(_SUFFIX_ALPHABET, k=_SUFFIX_LENGTH))


def new_uid(rng: random.Random) -> str:
    """Return a random (version 4) UUID."""
    bits = rng.getrandbits(128) & ~_UUID_FIXED | _UUID_VERSION_4
    text = bits.to_bytes(16).hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
