"""The reader of transcripts itself: a check that passes whatever is printed is none."""

import pytest
from kubectl_transcript import Output, Step, parse

TABLE = "NAME   READY\nweb    1/1\napi    0/1\n"


def step(text: str) -> Step:
    return next(parse(text))


@pytest.mark.parametrize(
    ("transcript", "output", "problem"),
    [
        ("$ get\nNAME READY\napi 0/1", Output(0, TABLE, ""), ""),
        ("$ get\nweb   *", Output(0, TABLE, ""), ""),
        ("$ get\nweb", Output(0, TABLE, ""), "no line 'web'"),
        ("$ get\napi *\nweb *", Output(0, TABLE, ""), "no line 'web *'"),
        ("$ get\n~ api *", Output(0, TABLE, ""), "there is a line 'api *'"),
        ("$ get\n~ db *", Output(0, TABLE, ""), ""),
        ("$ get\n! gone", Output(0, TABLE, "gone\n"), ""),
        ("$ get\ngone", Output(0, TABLE, "gone\n"), "no line 'gone'"),
        ("$ get", Output(1, TABLE, ""), "the exit code is 1, not 0"),
        ("$ get # exit 1", Output(1, TABLE, ""), ""),
    ],
)
def test_what_is_missing(transcript: str, output: Output, problem: str) -> None:
    assert step(transcript).missing(output) == problem


def test_notes() -> None:
    first, second, third = parse("$ a 'b c' # exit 2, until, < x\n$ d # 1.20-1.28\n$ e # 1.31+")
    assert (first.arguments, first.code, first.until, first.stdin) == (["a", "b c"], 2, True, "x")
    assert second.builds == ((1, 20), (1, 28))
    assert third.builds[0] == (1, 31)
    assert third.builds[1] > (1, 40)
    with pytest.raises(ValueError, match="sometimes"):
        step("$ a # sometimes")
    with pytest.raises(ValueError, match="before any command"):
        step("a")


def test_values() -> None:
    assert step("$ get {x}\n{x}").typed == "get {x}"
    found = next(parse("$ get {x}\n{x}", {"x": "1"}))
    assert (found.typed, found.out) == ("get 1", ["1"])


def exact(text: str, build: tuple[int, int] = (1, 33)) -> Step:
    return next(parse(text, exact_for=build))


@pytest.mark.parametrize(
    ("transcript", "output", "problem"),
    [
        ("$ get\nNAME READY\nweb 1/1\napi 0/1", Output(0, TABLE, ""), ""),
        ("$ get\nNAME READY\n...", Output(0, TABLE, ""), ""),
        ("$ get\n...\napi *", Output(0, TABLE, ""), ""),
        ("$ get\nNAME READY", Output(0, TABLE, ""), "there is a line 'web 1/1' too many"),
        ("$ get\nNAME READY\napi 0/1", Output(0, TABLE, ""), "line 2 should be 'api 0/1' but is 'web 1/1'"),
        ("$ get\n...\ndb *", Output(0, TABLE, ""), "line 1 should be 'db *' but is 'NAME READY'"),
        ("$ get\nx", Output(0, "", ""), "line 1 should be 'x' but is nothing more"),
        ("$ get\nx", Output(0, "x", "oh"), "there is a line 'oh' too many"),
        ("$ get\na:\n  b: <age>", Output(0, "a:\n  b: 1m3s\n", ""), ""),
        ("$ get\na:\n  b: <age>", Output(0, "a:\n  b: soon\n", ""), "line 2 should be '  b: <age>' but is '  b: soon'"),
        ("$ get\na:\n b", Output(0, "a:\n  b\n", ""), "line 2 should be ' b' but is '  b'"),
        ("$ get\n[1.20] old\n[1.27+] new", Output(0, "new", ""), ""),
        ("$ get\n[1.20] ! old\n[1.27+] ! new\n## said", Output(0, "", "new"), ""),
    ],
)  # fmt: skip
def test_what_is_missing_or_too_much_in_the_table(
    transcript: str, output: Output, problem: str
) -> None:
    assert exact(transcript).missing(output) == problem
