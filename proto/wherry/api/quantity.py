"""Resource quantities, the `250m` and `64Mi` of a manifest.

A quantity is a decimal with a suffix: binary (Ki Mi Gi Ti Pi Ei), decimal
(n u m k M G T P E) or an exponent (`1e3`). Source: apimachinery `resource.Quantity`.
"""

import re
from fractions import Fraction
from functools import lru_cache
from typing import Final

from wherry.api.errors import InvalidQuantityError

_QUANTITY: Final = re.compile(
    r"(?P<number>[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+))"
    r"(?P<suffix>[KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]{1,3}|)"
)
_LONGEST: Final = 128
"""Characters: what is larger than any number in use only costs time and memory."""
_SUFFIX: Final[dict[str, Fraction]] = {
    "": Fraction(1),
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 1000),
    "k": Fraction(10**3),
    "M": Fraction(10**6),
    "G": Fraction(10**9),
    "T": Fraction(10**12),
    "P": Fraction(10**15),
    "E": Fraction(10**18),
    "Ki": Fraction(2**10),
    "Mi": Fraction(2**20),
    "Gi": Fraction(2**30),
    "Ti": Fraction(2**40),
    "Pi": Fraction(2**50),
    "Ei": Fraction(2**60),
}


@lru_cache(maxsize=2048)
def parse_quantity(text: str) -> Fraction:
    """Parse a quantity into its exact value.

    Raises:
        InvalidQuantityError: `text` is not a quantity. The API server answers it with 422;
            no other caller should see it, because admission has already parsed the manifest.
    """
    found = _QUANTITY.fullmatch(text) if len(text) <= _LONGEST else None
    if found is None:
        raise InvalidQuantityError(
            text, expected="a number with an optional suffix such as m, k, Ki, Mi, Gi"
        )
    suffix = found["suffix"]
    factor = _SUFFIX.get(suffix)
    if factor is None:
        factor = Fraction(10) ** int(suffix[1:])
    return Fraction(found["number"]) * factor


def cpu_millicores(text: str) -> int:
    """Parse a CPU quantity into whole millicores, rounded up so that a request is never under-counted."""
    return _ceil(parse_quantity(text) * 1000)


def whole(text: str) -> int:
    """Parse a quantity into whole units (bytes of memory, number of pods), rounded up."""
    return _ceil(parse_quantity(text))


def _ceil(value: Fraction) -> int:
    return -(-value.numerator // value.denominator)
