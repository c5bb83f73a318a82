"""The simplest replicated machine: numbers in order, compared with what others applied before."""

import contextlib
from collections.abc import Iterator


class HistoryMachine:
    """Applies numbers, and compares with what any other replica applied before it."""

    def __init__(self, history: list[int]) -> None:
        self._history = history
        self.log: list[int] = []
        self.seen: set[int] = set()

    def apply(self, data: bytes) -> int:
        value = int(data[:8])
        position = len(self.log)
        if position < len(self._history):
            assert self._history[position] == value, f"replicas part at position {position}"
        else:
            assert value not in self.seen, f"{value} applied twice"
            self._history.append(value)
        self.log.append(value)
        self.seen.add(value)
        return position

    @contextlib.contextmanager
    def snapshot(self) -> Iterator["_View"]:
        yield _View(list(self.log))

    def restorer(self) -> "_Restorer":
        return _Restorer(self)

    def become(self, log: list[int]) -> None:
        assert self._history[: len(log)] == log, "a snapshot parts from what was applied"
        assert len(log) >= len(self.log), "a snapshot took something back"
        self.log = log
        self.seen = set(log)


class _View:
    def __init__(self, log: list[int]) -> None:
        self._log = log

    def chunks(self) -> Iterator[bytes]:
        for start in range(0, len(self._log), 50):
            yield b"".join(b"%08d" % value for value in self._log[start : start + 50])


class _Restorer:
    def __init__(self, machine: HistoryMachine) -> None:
        self._machine = machine
        self._log: list[int] = []

    def feed(self, chunk: bytes) -> None:
        self._log += [int(chunk[n : n + 8]) for n in range(0, len(chunk), 8)]

    def finish(self) -> None:
        self._machine.become(self._log)
