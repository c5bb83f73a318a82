"""Resource quantities."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.api.errors import InvalidQuantityError
from wherry.api.quantity import cpu_millicores, parse_quantity, whole


@pytest.mark.parametrize(
    ("text", "millicores"),
    [("2", 2000), ("0.5", 500), (".5", 500), ("250m", 250), ("0.0001", 1), ("0", 0), ("0.1m", 1)],
)
def test_cpu_millicores(text: str, millicores: int) -> None:
    assert cpu_millicores(text) == millicores


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("64Mi", 64 << 20),
        ("1Gi", 1 << 30),
        ("1.5Ki", 1536),
        ("128974848", 128974848),
        ("129M", 129_000_000),
        ("1e3", 1000),
        ("2E2", 200),
        ("1E", 10**18),
        ("12k", 12_000),
        ("100n", 1),
    ],
)
def test_whole(text: str, value: int) -> None:
    assert whole(text) == value


@pytest.mark.parametrize(
    "text", ["", "m", "1 ", "1gi", "1K", "Ki", "٣", "1e", "--1", "1.2.3", "0x1"]
)
def test_refuses(text: str) -> None:
    with pytest.raises(InvalidQuantityError, match="cannot read quantity"):
        parse_quantity(text)


@given(st.integers(0, 10**9))
def test_milli_is_a_thousandth(number: int) -> None:
    assert parse_quantity(f"{number}m") == Fraction(number, 1000)
