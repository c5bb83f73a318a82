"""Schedules: what robfig/cron reads, and its words for what it does not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.apiserver.strategy.cron import refuse_schedule

_INT = 'strconv.Atoi: parsing "{0}": invalid syntax'


@pytest.mark.parametrize(
    "text",
    [
        "* * * * *",
        "*/5 0-23/2 1,15 jan-MAR mon-fri",
        "? ? ? ? ?",
        "5/15 * * * 0",
        "@daily",
        "@every 1h30m",
        "@every 1.5s",
    ],
)
def test_reads(text: str) -> None:
    assert refuse_schedule(text) == ""


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty spec string"),
        ("* * * *", "expected exactly 5 fields, found 4: [* * * *]"),
        ("0 0 * * * *", "expected exactly 5 fields, found 6: [0 0 * * * *]"),
        ("60 * * * *", "end of range (60) above maximum (59): 60"),
        ("* 24 * * *", "end of range (24) above maximum (23): 24"),
        ("* * 32 * *", "end of range (32) above maximum (31): 32"),
        ("* * * 13 *", "end of range (13) above maximum (12): 13"),
        ("* * * * 7", "end of range (7) above maximum (6): 7"),
        ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
        ("30-10 * * * *", "beginning of range (30) beyond end of range (10): 30-10"),
        ("*/0 * * * *", "step of range should be a positive number: */0"),
        ("1-2-3 * * * *", "too many hyphens: 1-2-3"),
        ("1/2/3 * * * *", "too many slashes: 1/2/3"),
        ("a * * * *", "failed to parse int from a: " + _INT.format("a")),
        ("* * * * */mon", "failed to parse int from mon: " + _INT.format("mon")),
        ("@weekday", "unrecognized descriptor: @weekday"),
        ("@every x", 'failed to parse duration @every x: time: invalid duration "x"'),
    ],
)
def test_refuses(text: str, why: str) -> None:
    assert refuse_schedule(text) == why


@given(st.text(alphabet="*/-,?0159 @everyjanmonhTZ.s", max_size=40))
def test_never_raises(text: str) -> None:
    assert isinstance(refuse_schedule(text), str)


def test_long_numbers_cost_no_time() -> None:
    assert refuse_schedule("9" * 100_000 + " * * * *").endswith("value out of range")
    assert refuse_schedule("@every " + "1" * 100_000)
