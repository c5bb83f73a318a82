"""What did not work for a pod, by container: when it is tried again, and under which name it stands."""

from collections.abc import Iterator
from typing import Final

from wherry.agent.plan import Failure
from wherry.api.clock import Clock

PULL_FAILURE_SHOWN_S: Final = 1.0
"""How long ErrImagePull stands before it reads ImagePullBackOff."""
MOST_BACKOFF_S: Final = 64.0
_CURABLE: Final = ("CreateContainerConfigError", "ContainerCreating", "FailedMount")
"""Failures that a change of a ConfigMap or Secret may end."""


class Failures:
    """Remembered by one worker, forgotten with its process: nothing of it must survive."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._by_name: dict[str, Failure] = {}
        self._in_a_row: dict[str, int] = {}
        self._pull_failed_at: dict[str, float] = {}

    @property
    def all(self) -> dict[str, Failure]:
        """Return a copy: by container, "" for the sandbox, `resize/ID` for a resize."""
        return dict(self._by_name)

    def add(self, name: str, reason: str, message: str, retry_at: float = 0.0) -> None:
        """Remember one; without `retry_at` it is tried again after 1, 2, 4 ... 64 seconds."""
        count = self._in_a_row.get(name, 0)
        self._in_a_row[name] = count + 1
        again = retry_at or self._clock.now() + min(2.0**count, MOST_BACKOFF_S)
        self._by_name[name] = Failure(reason, message, again)

    def add_pull(self, name: str, reason: str, message: str, retry_at: float) -> None:
        """Remember that an image could not be had."""
        self._pull_failed_at[name] = self._clock.now()
        self.add(name, reason, message, retry_at)

    def end(self, name: str) -> None:
        """Forget one: it worked."""
        self._by_name.pop(name, None)
        self._in_a_row.pop(name, None)

    def references_changed(self) -> None:
        """Forget what may have been mended: what was missing may be there now."""
        self._by_name = {n: f for n, f in self._by_name.items() if f.reason not in _CURABLE}

    def failed_pulls(self) -> Iterator[tuple[str, float]]:
        """Yield the containers that stand as ErrImagePull, and until when."""
        for name, failure in self.all.items():
            if failure.reason == "ErrImagePull":
                yield name, self._pull_failed_at[name] + PULL_FAILURE_SHOWN_S

    def back_off(self, name: str, message: str) -> None:
        """Let ErrImagePull read ImagePullBackOff; it is tried again when it would have been."""
        self._by_name[name] = Failure("ImagePullBackOff", message, self._by_name[name].retry_at)
