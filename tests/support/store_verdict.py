"""What must hold of a whole run: each of these raises `AssertionError` and says what did not."""

from collections import Counter

import linearizability
from store_history import Canon
from store_load import Record

CLOCK_ERROR = 0.04  # clocks of members run so much faster or slower at most


def judge(canon: Canon, record: Record) -> None:
    """Everything that can be said once the run is over."""
    nothing_is_lost(canon, record)
    applied_once(canon)
    revisions_keep_real_time(record)
    leases_last(canon, record)
    violation = linearizability.check(record.operations)
    assert violation is None, str(violation)


def _values(canon: Canon) -> list[tuple[str, int]]:
    return [
        (event.kv.value.decode(), revision)
        for revision, events in sorted(canon.events.items())
        for event in events
        if event.kv.value and not event.deleted and event.kv.key.startswith(b"/k/")
    ]


def nothing_is_lost(canon: Canon, record: Record) -> None:
    """What was acknowledged was written, at the revision that the client was told."""
    written = dict(_values(canon))
    for value, revision in record.acknowledged.items():
        assert value in written, f"acknowledged write {value} is lost"
        assert written[value] == revision, f"{value} is at {written[value]}, not {revision}"


def applied_once(canon: Canon) -> None:
    """Every value is written by one request: however often that was tried, it is there once."""
    times = Counter(value for value, _ in _values(canon))
    twice = [value for value, count in times.items() if count > 1]
    assert not twice, f"applied more than once: {twice[:5]}"


def revisions_keep_real_time(record: Record) -> None:
    """What begins after something was acknowledged has at least its revision; a write, more."""
    by_end = sorted(record.stamps, key=lambda stamp: stamp.end)
    reached, position = 0, 0
    for stamp in sorted(record.stamps, key=lambda stamp: stamp.call):
        while position < len(by_end) and by_end[position].end < stamp.call:
            reached = max(reached, by_end[position].revision)
            position += 1
        fresh = stamp.revision > reached if stamp.wrote else stamp.revision >= reached
        assert fresh, f"stale: {stamp} after revision {reached} was acknowledged"


def leases_last(canon: Canon, record: Record) -> None:
    """No lease ends before its time, counted from when its last acknowledged renewal was asked."""
    ends = {lease: ended for (lease, _), ended in canon.ended.items()}
    for lease, asked_s in record.kept:
        ended = ends.get(lease)
        if ended is None:
            continue
        least_s = ended.ttl_s * (1 - CLOCK_ERROR)
        lived_s = ended.at_s - asked_s
        assert lived_s >= least_s, (
            f"lease {lease} of {ended.ttl_s} s ended {lived_s:.3f} s after it was renewed"
        )
