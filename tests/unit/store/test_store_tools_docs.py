"""docs/store.md names places and tests: they are there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs" / "store.md").read_text()
RAFT = ROOT / "master" / "wherry" / "store" / "raft"


@pytest.mark.parametrize("reference", sorted(set(re.findall(r"`(tests/[\w/.:]+)`", TEXT))))
def test_a_test_that_is_named_exists(reference: str) -> None:
    path, _, name = reference.partition("::")
    assert (ROOT / path).is_file()
    assert not name or f"def {name}(" in (ROOT / path).read_text()


def test_places_of_rules_exist() -> None:
    rules = TEXT.partition("## Raft's rules")[2].partition("## Where we differ")[0]
    places = re.findall(r"`(\w+\.py): ([\w, ]+)`", rules)
    assert len(places) > 15
    for file, names in places:
        path = RAFT / file if (RAFT / file).exists() else RAFT.parent / file
        for name in names.split(", "):
            assert f"def {name}(" in path.read_text(), f"{file}: {name}"


def test_every_kind_of_record_is_described() -> None:
    source = (RAFT / "record.py").read_text()
    names = re.search(r"^((?:[A-Z]+, )+[A-Z]+) = range\(1, ", source, re.MULTILINE)
    assert names is not None
    for number, name in enumerate(names[1].split(", "), start=1):
        assert f"| {number} {name} |" in TEXT


def test_every_override_of_pysyncobj_is_in_the_table() -> None:
    table = TEXT.partition("## Where we differ")[2].partition("## Operations")[0]
    found = set()
    for path in RAFT.glob("*.py"):
        found |= set(re.findall(r"def _SyncObj(__\w+)\(", path.read_text()))
    assert len(found) > 5
    for name in found:
        assert f"`{name}`" in table, name
