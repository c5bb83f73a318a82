"""Exponential back-off with jitter, as client-go's `wait.Backoff`: no two clients in step."""

from random import Random


class Backoff:
    """Delays of `first_s`, doubling to `most_s`, each stretched by up to `jitter` of itself."""

    def __init__(
        self,
        rng: Random,
        *,
        first_s: float,
        most_s: float,
        factor: float = 2.0,
        jitter: float = 0.5,
    ) -> None:
        self._rng = rng
        self._first_s = first_s
        self._most_s = most_s
        self._factor = factor
        self._jitter = jitter
        self._delay_s = first_s

    def next_s(self) -> float:
        """Return how long to wait now, and lengthen the next wait."""
        delay_s = self._delay_s * (1 + self._jitter * self._rng.random())
        self._delay_s = min(self._delay_s * self._factor, self._most_s)
        return delay_s

    def reset(self) -> None:
        """Begin again: it worked."""
        self._delay_s = self._first_s
