"""Durations of Go, and what is none."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.apiserver.duration import parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("-0", 0),
        ("0s", 0),
        ("1m0s", 60),
        ("1m30s", 90),
        ("300ms", 0.3),
        ("-1.5h", -5400),
        ("+.5s", 0.5),
        ("1.s", 1),
        ("2us3\N{MICRO SIGN}s4\N{GREEK SMALL LETTER MU}s1000ns", 1e-5),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", 'invalid duration ""'),
        ("-", 'invalid duration "-"'),
        ("soon", 'invalid duration "soon"'),
        (".s", 'invalid duration ".s"'),
        ("1s ", 'unknown unit "s " in duration "1s "'),
        ("5", 'missing unit in duration "5"'),
        ("1h5", 'missing unit in duration "1h5"'),
        ("1d", 'unknown unit "d" in duration "1d"'),
        ("1mm", 'unknown unit "mm" in duration "1mm"'),
        ("\N{ARABIC-INDIC DIGIT ONE}s", 'invalid duration "\N{ARABIC-INDIC DIGIT ONE}s"'),
        ("9999999h", 'invalid duration "9999999h"'),
    ],
)
def test_what_is_none(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=r"^time: ") as refused:
        parse_duration(text)
    assert str(refused.value) == f"time: {why}"


@given(st.text(st.sampled_from("0123456789.+-hmsnuµ x"), max_size=20))
def test_any_text_is_one_or_none(text: str) -> None:
    with suppress(ValueError):
        assert (parse_duration(text) < 0) <= text.startswith("-")
