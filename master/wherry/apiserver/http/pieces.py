"""A body in pieces: a large list is put together as it is sent, and at no time is all of it.

To join all of 1,000 pods first wrote 3 MB to memory and read them back, for nothing (ADR 14).
"""

from collections.abc import Iterator, Sequence


class Pieces:
    """Bytes that are joined when they are needed; a client that stalls holds the pieces only."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        """Take them in order; nobody may change the sequence afterwards."""
        self._pieces = pieces
        self._bytes = sum(map(len, pieces))

    def __len__(self) -> int:
        """Return how many bytes there are."""
        return self._bytes

    def __bytes__(self) -> bytes:
        """Join all."""
        return b"".join(self._pieces)

    def slices(self, about_bytes: int, head: bytes) -> Iterator[bytes | memoryview]:
        """Join so many pieces at a time as come to `about_bytes`, if all are equally long.

        Where they are not, a slice has up to twice as many bytes. The first begins with `head`.
        """
        count = max(1, len(self._pieces) * about_bytes // max(1, self._bytes))
        for at in range(0, max(1, len(self._pieces)), count):
            joined = (b"" if at else head) + b"".join(self._pieces[at : at + count])
            if len(joined) <= 2 * about_bytes:
                yield joined
                continue
            view = memoryview(joined)
            for start in range(0, len(joined), about_bytes):
                yield view[start : start + about_bytes]
