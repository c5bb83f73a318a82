"""Container logs: parse, tail, select, follow through a rotation."""

import asyncio
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.agent.logs import (
    CHUNK,
    LogOptions,
    due_for_rotation,
    parse_record,
    read_log,
    rotate,
    rotated,
    select,
    tail_of_log,
    tail_offset,
)


def line(number: int, text: str, tag: str = "F", stream: str = "stdout") -> str:
    return f"2026-01-01T00:00:{number:02d}.000000001Z {stream} {tag} {text}\n"


async def collect(path: Path, options: LogOptions) -> str:
    async def running() -> bool:
        return False

    return b"".join([p async for p in read_log(path, options, running)]).decode()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (LogOptions(), "one\ntwo parts\nerr\nlast\n"),
        (LogOptions(tail_lines=0), ""),
        (LogOptions(tail_lines=1), "last\n"),
        (LogOptions(tail_lines=3), "two parts\nerr\nlast\n"),
        (LogOptions(tail_lines=99), "one\ntwo parts\nerr\nlast\n"),
        (LogOptions(limit_bytes=6), "one\ntw"),
        (LogOptions(stream="stderr"), "err\n"),
        (
            LogOptions(tail_lines=2, timestamps=True),
            line(4, "").split(" ")[0] + " err\n" + line(5, "").split(" ")[0] + " last\n",
        ),
        (LogOptions(since=1767225604.0), "err\nlast\n"),
    ],
)
def test_selection(tmp_path: Path, options: LogOptions, text: str) -> None:
    path = tmp_path / "0.log"
    path.write_text(
        line(1, "one")
        + line(2, "two ", "P")
        + line(3, "parts")
        + line(4, "err", stream="stderr")
        + line(5, "last")
    )
    assert asyncio.run(collect(path, options)) == text


def test_a_time_stands_only_where_a_line_begins(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    path.write_text(line(2, "two ", "P") + line(3, "parts"))
    text = asyncio.run(collect(path, LogOptions(timestamps=True)))
    assert text == "2026-01-01T00:00:02.000000001Z two parts\n"


@pytest.mark.parametrize(
    ("options", "text", "full"),
    [
        (LogOptions(), "one\ntwo\n", False),
        (LogOptions(tail_lines=0), "", False),
        (LogOptions(tail_lines=1), "two\n", False),
        (LogOptions(tail_lines=9), "one\ntwo\n", False),
        (LogOptions(limit_bytes=5), "one\nt", True),
        (LogOptions(limit_bytes=9), "one\ntwo\n", False),
        (LogOptions(stream="stderr"), "", False),
    ],
)
def test_a_log_in_memory(options: LogOptions, text: str, full: bool) -> None:
    lines = [line(1, "one").encode(), line(2, "two").encode()]
    assert select(lines, options) == (text.encode(), full)


@given(st.lists(st.text("ab\u00e9 ", max_size=30), max_size=40), st.integers(0, 45))
def test_tail_gives_the_last_lines(lines: list[str], count: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "0.log"
        path.write_text("".join(line(i % 60, t) for i, t in enumerate(lines)))
        offset = tail_offset(path, count)
        rest = path.read_bytes()[offset:].splitlines()
    wanted = lines[-count:] if count else []
    assert [r.text.decode() for raw in rest if (r := parse_record(raw))] == wanted


def test_a_long_file_is_read_from_its_end_and_in_chunks(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    path.write_text("".join(line(i % 60, "x" * 1000 + str(i)) for i in range(200)))
    assert path.stat().st_size > 3 * CHUNK
    assert asyncio.run(collect(path, LogOptions())).count("\n") == 200
    tail = asyncio.run(collect(path, LogOptions(tail_lines=150)))
    assert tail.count("\n") == 150
    assert tail.endswith("199\n")
    huge = tmp_path / "1.log"
    huge.write_text(line(1, "y" * (3 * CHUNK)) + line(2, "end"))
    assert len(asyncio.run(collect(huge, LogOptions()))) == 3 * CHUNK + 1 + 4


def test_what_a_crash_cut_short_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    path.write_text(line(1, "one") + "2026-01-01T0")
    assert asyncio.run(collect(path, LogOptions())) == "one\n"
    assert tail_of_log(path, 5, 100) == "one\n"
    assert tail_of_log(tmp_path / "none", 5, 100) == ""


def test_following_goes_on_after_a_rotation_and_ends_with_the_container(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    path.write_text(line(1, "one"))
    alive = True

    async def running() -> bool:
        return alive

    async def main() -> list[str]:
        nonlocal alive
        got: list[str] = []
        async with asyncio.timeout(60):
            async for piece in read_log(path, LogOptions(follow=True), running):
                got.append(piece.decode())
                if piece == b"one\n":
                    rotate(path, "20260101T000000Z")
                    path.write_text(line(2, "two"))
                else:
                    alive = False
        return got

    assert asyncio.run(main()) == ["one\n", "two\n"]
    assert asyncio.run(collect(path, LogOptions())) == "one\ntwo\n"


def test_five_files_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    for number in range(8):
        path.write_text(line(number, "x"))
        rotate(path, f"2026010{number}")
    assert [p.name[-1] for p in rotated(path)] == ["4", "5", "6", "7"]
    assert not due_for_rotation(path)


def test_there_is_no_log(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        asyncio.run(collect(tmp_path / "none", LogOptions()))
