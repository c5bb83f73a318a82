"""What reads strangers' bytes ends in a value or a Status: damaged, cut and random bytes."""

from pathlib import Path

import pytest
from api_fuzz import TARGETS, seeds
from hypothesis import given
from hypothesis import strategies as st

RECORDED = Path(__file__).parent / "kubectl_bodies.json"
CORPUS = {name: seeds(name, RECORDED) for name in TARGETS}
_TOKENS = (
    b"{",
    b"}",
    b"[",
    b"]",
    b'"',
    b":",
    b",",
    b"\r\n",
    b"\n",
    b"\0",
    b"\xff",
    b"$patch",
    b"null",
)


@st.composite
def damaged(draw: st.DrawFn, corpus: list[bytes]) -> bytes:
    """Change a seed in a few places: other bytes, cuts, repetitions, pieces of another seed."""
    data = draw(st.sampled_from(corpus))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        to = min(len(data), at + draw(st.integers(0, 8)))
        other = draw(st.sampled_from(corpus))
        begin = draw(st.integers(0, len(other)))
        piece = draw(
            st.binary(max_size=6)
            | st.sampled_from(_TOKENS)
            | st.just(data[at:to] * 40)
            | st.just(other[begin : begin + 40])
        )
        data = data[:at] + piece + data[to:]
    return data


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_are_read(name: str) -> None:
    for seed in CORPUS[name]:
        TARGETS[name](seed)


@pytest.mark.parametrize("name", TARGETS)
@given(data=st.data())
def test_damaged_bytes_end_in_a_value_or_a_status(name: str, data: st.DataObject) -> None:
    TARGETS[name](data.draw(damaged(CORPUS[name]) | st.binary(max_size=300)))
