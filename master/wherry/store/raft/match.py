"""What a follower does with the entries that a leader sends: a pure decision.

PySyncObj deletes everything behind `prev_index` before it appends, even what is identical
and acknowledged; a re-sent, shorter message would so lose entries that the leader counts on.
Here the log is cut only where it really conflicts, and never at or below the commit index:

* what is committed here is identical in every leader's log, so it is skipped unseen;
* the prefix that matches is skipped, and only the rest is appended;
* where `prev_index` itself conflicts, the leader is told to go on from the commit index,
  which always matches, instead of walking back one entry per heartbeat.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


class Log(Protocol):
    """What the decision needs to know of the follower's log."""

    def term_at(self, index: int) -> int | None:
        """Return the term of an entry, None where there is none."""
        ...


@dataclass(frozen=True, slots=True)
class Reject:
    """The entries do not fit: the leader shall go on from `next_index`."""

    next_index: int


@dataclass(frozen=True, slots=True)
class Matched:
    """Everything sent is there already; the logs agree up to `index`."""

    index: int


@dataclass(frozen=True, slots=True)
class Append:
    """Append `entries[skip:]` behind `prev_index`, cutting off what is there."""

    prev_index: int
    prev_term: int
    skip: int


def match(
    log: Log, *, commit: int, last: int, prev_index: int, prev_term: int, terms: Sequence[int]
) -> Reject | Matched | Append:
    """Compare what the leader sent with the log, which ends at `last`.

    `terms` are those of the entries that follow `prev_index`.
    """
    if prev_index > last:
        return Reject(last + 1)
    skip = 0
    if prev_index < commit:
        skip = min(len(terms), commit - prev_index)
        if prev_index + skip < commit:
            return Matched(commit)
    elif log.term_at(prev_index) != prev_term:
        return Reject(commit + 1)
    while skip < len(terms) and log.term_at(prev_index + skip + 1) == terms[skip]:
        skip += 1
    matched = prev_index + skip
    if skip == len(terms):
        return Matched(matched)
    before = log.term_at(matched)
    if before is None:
        raise AssertionError(f"entry {matched} is committed or matched, and not in the log")
    return Append(matched, before, skip)
