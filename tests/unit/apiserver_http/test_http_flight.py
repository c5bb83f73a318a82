"""How many requests are answered at once."""

import pytest

from wherry.apiserver.http.flight import Lane


@pytest.mark.parametrize(
    ("most", "count", "full"),
    [(0, 0, False), (0, 9, False), (1, 0, False), (1, 1, True), (2, 1, False), (2, 3, True)],
)
def test_a_lane_is_full_at_its_bound_and_never_without_one(
    most: int, count: int, full: bool
) -> None:
    assert Lane(most, count).full is full
