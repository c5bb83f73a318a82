"""Who is cut when clients make the server hold too much."""

import pytest

from wherry.apiserver.http.holdings import Holdings


class Client:
    def __init__(self, holdings: Holdings, since: float) -> None:
        self.held = 0
        self.gone = False
        self.asked = 0
        self._holdings = holdings
        self._since = since

    def holding_since(self) -> float:
        self.asked += 1
        return self._since

    def cut(self) -> None:
        self.gone = True
        self._holdings.hold(self, 0, 0.0)


@pytest.mark.parametrize(
    ("held", "now", "cut"),
    [
        ([(0, 40), (1, 40)], 9, []),  # within the bound
        ([(0, 40), (1, 40), (2, 40)], 9, [0]),
        ([(2, 40), (0, 40), (1, 40)], 9, [1]),
        ([(0, 30), (0, 60), (9, 20)], 9, [1]),  # of two as slow the larger
        ([(9, 40), (9, 40), (8.5, 40)], 9, []),  # everybody is slow for a moment
        ([(9, 100), (9, 90), (9, 50)], 9, [0, 1]),  # but the bound is kept to twice
        ([(0, 10)] * 8 + [(1, 90)], 9, [0, 1, 2, 3, 4, 5, 6, 7]),
    ],
)
def test_who_is_cut(held: list[tuple[float, int]], now: float, cut: list[int]) -> None:
    holdings = Holdings(100)
    clients = [Client(holdings, since) for since, _ in held]
    for client, (_, size) in zip(clients, held, strict=True):
        holdings.hold(client, size, now)
    assert [n for n, client in enumerate(clients) if client.gone] == cut
    assert holdings.bytes == sum(client.held for client in clients)
    assert holdings.cut == len(cut)


def test_who_is_slow_is_asked_once_a_tick_and_found_at_the_next() -> None:
    holdings = Holdings(100)
    first, second = Client(holdings, 5.0), Client(holdings, 5.0)
    holdings.hold(first, 80, 5.0)
    holdings.hold(second, 60, 5.0)
    holdings.hold(second, 65, 5.0)
    assert (first.gone, first.asked) == (False, 1)
    holdings.hold(second, 70, 6.0)
    assert (first.gone, second.gone, holdings.bytes) == (True, False, 70)
    holdings.hold(second, 0, 6.0)
    assert holdings.bytes == 0
