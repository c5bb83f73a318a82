"""Rules about the source tree that no linter has."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOTS = ("proto", "master", "node", "overlay")
SOURCES = sorted(
    p for r in ROOTS for p in (ROOT / r).rglob("*.py") if "wire" not in p.relative_to(ROOT).parts
)


def test_wherry_is_a_namespace_split_over_the_source_roots() -> None:
    """An `__init__.py` in one root would hide the packages of the three others."""
    assert [r for r in ROOTS if (ROOT / r / "wherry" / "__init__.py").exists()] == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_bare_task(path: Path) -> None:
    """Every task has a parent: `asyncio.create_task` is a task that nobody waits for."""
    found = [
        node.lineno
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "asyncio.create_task"
    ]
    assert found == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_nothing_is_raised_in_except_star(path: Path) -> None:
    """Before Python 3.11.4, Debian 12's among them, it would be raised in a group: nobody expects it."""
    found = [
        raised.lineno
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.TryStar)
        for handler in node.handlers
        for raised in ast.walk(handler)
        if isinstance(raised, ast.Raise) and raised.exc is not None
    ]
    assert found == []


def test_pysyncobj_is_imported_in_one_place() -> None:
    """What we override of it, and its traps, stay behind one adapter."""
    importing = [
        p.relative_to(ROOT).as_posix()
        for p in SOURCES
        if re.search(r"^\s*(import|from) pysyncobj", p.read_text(), re.MULTILINE)
    ]
    assert importing
    assert all("wherry/store/raft/" in p for p in importing), importing


def test_no_pickle() -> None:
    """Whoever unpickles bytes from a socket gives a shell away."""
    guilty = [p for p in SOURCES if re.search(r"^\s*(import|from) pickle", p.read_text(), re.M)]
    assert guilty == []


def test_every_contract_names_modules_that_exist() -> None:
    """A purity rule for a module that was renamed checks nothing."""
    text = (ROOT / "pyproject.toml").read_text()
    pure = text.partition('id = "pure"')[2].partition("forbidden_modules")[0]
    named = re.findall(r'"(wherry\.[a-z_.]+)"', pure)
    assert named
    missing = [
        name
        for name in named
        if not any(
            (ROOT / r / name.replace(".", "/")).with_suffix(".py").exists()
            or (ROOT / r / name.replace(".", "/") / "__init__.py").exists()
            for r in ROOTS
        )
    ]
    assert missing == []
