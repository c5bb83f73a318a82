"""A cache's entries: whatever is put and removed, they are a dictionary that is walked in order."""

from hypothesis import given
from hypothesis import strategies as st

from wherry.apiserver.cache.entries import Entries
from wherry.apiserver.storage import Entry, Index

KEYS = st.binary(min_size=1, max_size=2)


def entry(key: bytes, revision: int = 1) -> Entry:
    return Entry(key, revision, b"{}", Index())


@given(
    loaded=st.dictionaries(KEYS, st.just(0)),
    steps=st.lists(st.tuples(st.booleans(), KEYS)),
    start=KEYS,
    end=KEYS,
    most=st.none() | st.integers(0, 5),
)
def test_entries_are_a_sorted_dictionary(
    loaded: dict[bytes, int],
    steps: list[tuple[bool, bytes]],
    start: bytes,
    end: bytes,
    most: int | None,
) -> None:
    model = {key: entry(key) for key in loaded}
    entries = Entries(model.values())
    for revision, (put, key) in enumerate(steps, 2):
        if put:
            new = entry(key, revision)
            assert entries.put(new) is model.get(key)
            model[key] = new
        else:
            assert entries.pop(key) is model.pop(key, None)
    assert entries.between(b"", b"\xff" * 3) == [model[key] for key in sorted(model)]
    for key in {*loaded, *(key for _, key in steps)}:
        assert entries.get(key) is model.get(key)
    wanted = [model[key] for key in sorted(model) if start <= key < end]
    assert entries.between(start, end) == wanted
    assert entries.between(start, end, most) == wanted[:most]
    assert entries.count(start, end) == len(wanted)
