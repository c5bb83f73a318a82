"""Names, uids and what else only chance can give."""

import random
import uuid

_SUFFIX_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
"""No vowels and no look-alikes: apimachinery `rand.String`."""
_SUFFIX_LENGTH = 5
_LONGEST_BASE = 63 - _SUFFIX_LENGTH


def generate_name(base: str, rng: random.Random) -> str:
    """Return `base` (cut so that the whole has 63 characters) and five random ones."""
    return base[:_LONGEST_BASE] + "".join(rng.choices(_SUFFIX_ALPHABET, k=_SUFFIX_LENGTH))


def new_uid(rng: random.Random) -> str:
    """Return a random (version 4) UUID."""
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))
