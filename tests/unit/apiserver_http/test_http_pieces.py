"""Bodies in pieces: what is sent is what they are, a slice at a time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.apiserver.http.encode import slices
from wherry.apiserver.http.message import Response
from wherry.apiserver.http.pieces import Pieces

SLICE = 100


@given(st.lists(st.integers(0, 5 * SLICE).map(lambda size: b"x" * size)), st.binary(max_size=9))
def test_slices_are_all_of_it_in_order_and_none_is_large(pieces: list[bytes], head: bytes) -> None:
    body = Pieces(pieces)
    found = list(body.slices(SLICE, head))
    assert b"".join(found) == head + b"".join(pieces)
    assert bytes(body) == b"".join(pieces)
    assert len(body) == sum(map(len, pieces))
    assert all(len(one) <= 2 * SLICE for one in found)


def test_small_pieces_are_sent_together() -> None:
    found = list(Pieces([b"x" * 10] * 1000).slices(SLICE, b"head "))
    assert found == [b"head " + b"x" * SLICE, *[b"x" * SLICE] * 99]


@pytest.mark.parametrize("body", [b"", b"{}", Pieces([]), Pieces([b"{", b"}"])])
def test_an_answer_begins_with_its_head(body: bytes | Pieces) -> None:
    answer = Response(body=body)
    assert b"".join(slices(b"head ", answer.body)) == b"head " + bytes(body)
