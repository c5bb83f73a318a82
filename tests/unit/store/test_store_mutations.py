"""Every protection is needed: without it, something here fails. The table: tests/README.md."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from store_mutations import MUTATIONS, SEEDS, Mutation
from store_scenarios import SCENARIOS

README = Path(__file__).parents[2] / "README.md"


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda one: one.__name__)
def test_the_store_as_it_is_passes(scenario: Callable[[], None]) -> None:
    scenario()


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda one: one.name)
def test_a_mutation_does_not_survive(mutation: Mutation) -> None:
    caught = mutation.caught()
    assert caught is not None, f"nobody noticed in {SEEDS} seeds: {mutation.name}"


def test_every_scenario_guards_something() -> None:
    used = {mutation.scenario for mutation in MUTATIONS}
    assert used >= set(SCENARIOS)


def test_the_table_in_the_readme_is_complete() -> None:
    rows = re.findall(r"^\| ([^|]+?) \| (?:scenario|simulator)", README.read_text(), re.MULTILINE)
    assert sorted(rows) == sorted(mutation.name for mutation in MUTATIONS)
