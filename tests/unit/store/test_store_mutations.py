"""Every protection is needed: without it, something here fails. The table: tests/README.md."""

import inspect
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import store_scenarios
import store_scenarios_disks
from store_mutations import MUTATIONS, SEEDS, Mutation

SCENARIOS = list(dict.fromkeys(one.scenario for one in MUTATIONS if one.scenario is not None))
README = Path(__file__).parents[2] / "README.md"


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda one: one.__name__)
def test_the_store_as_it_is_passes(scenario: Callable[[], None]) -> None:
    scenario()


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda one: one.name)
def test_a_mutation_does_not_survive(mutation: Mutation) -> None:
    caught = mutation.caught()
    assert caught is not None, f"nobody noticed in {SEEDS} seeds: {mutation.name}"


def test_every_scenario_guards_something() -> None:
    written = {
        one
        for module in (store_scenarios, store_scenarios_disks)
        for name, one in inspect.getmembers(module, inspect.isfunction)
        if one.__module__ == module.__name__ and not name.startswith("_")
    }
    assert written == set(SCENARIOS)


def test_the_table_in_the_readme_is_complete() -> None:
    rows = re.findall(r"^\| ([^|]+?) \| (scenario|simulator)", README.read_text(), re.MULTILINE)
    held = {one.name: "scenario" if one.scenario else "simulator" for one in MUTATIONS}
    assert sorted(rows) == sorted(held.items())
