"""Resource quantities."""

from decimal import Decimal
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
        ("2Ei", 2 << 60),
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


FACTORS = {
    **{suffix: Fraction(10) ** (3 * power) for power, suffix in enumerate("kMGTPE", 1)},
    **{f"{suffix}i": Fraction(2) ** (10 * power) for power, suffix in enumerate("KMGTPE", 1)},
    **{suffix: Fraction(1, 10 ** (3 * power)) for power, suffix in enumerate("mun", 1)},
    "": Fraction(1),
}
numbers = st.decimals(-(10**9), 10**9, places=3, allow_nan=False)
suffixes = st.sampled_from(sorted(FACTORS))


@given(numbers, suffixes)
def test_a_quantity_is_its_number_times_its_suffix(number: Decimal, suffix: str) -> None:
    assert parse_quantity(f"{number:f}{suffix}") == Fraction(number) * FACTORS[suffix]


@given(numbers, st.integers(-20, 20))
def test_an_exponent_is_a_power_of_ten(number: Decimal, power: int) -> None:
    for sign in "eE":
        assert (
            parse_quantity(f"{number:f}{sign}{power}") == Fraction(number) * Fraction(10) ** power
        )


@given(numbers, suffixes, numbers, suffixes)
def test_order_and_sums_are_those_of_the_values(
    number: Decimal, suffix: str, other: Decimal, other_suffix: str
) -> None:
    one, two = f"{number:f}{suffix}", f"{other:f}{other_suffix}"
    left, right = Fraction(number) * FACTORS[suffix], Fraction(other) * FACTORS[other_suffix]
    assert (parse_quantity(one) < parse_quantity(two)) is (left < right)
    assert parse_quantity(one) + parse_quantity(two) == left + right


@given(numbers, suffixes)
def test_rounding_is_up_and_by_less_than_one(number: Decimal, suffix: str) -> None:
    text = f"{number:f}{suffix}"
    assert 0 <= whole(text) - parse_quantity(text) < 1
    assert 0 <= cpu_millicores(text) - 1000 * parse_quantity(text) < 1


@given(st.integers(0, 2**62))
def test_a_number_survives_being_written_in_any_suffix_that_divides_it(number: int) -> None:
    for suffix, factor in FACTORS.items():
        if number % factor == 0:
            assert whole(f"{int(number / factor)}{suffix}") == number
