"""PySyncObj's private names: every one that is used is checked when the store starts."""

import ast
from pathlib import Path

from pysyncobj.syncobj import SyncObj

from wherry.store import raft
from wherry.store.raft import stock

PREFIX = "_SyncObj__"


def used() -> set[str]:
    """Every private name of PySyncObj's in our code, as attribute, definition or annotation."""
    names: set[str] = set()
    for path in Path(next(iter(raft.__path__))).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute):
                name = node.attr
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                name = node.name
            elif isinstance(node, ast.Name):
                name = node.id
            else:
                continue
            if name.startswith(PREFIX):
                names.add(name.removeprefix(PREFIX))
    return names


def test_every_private_name_that_is_used_is_checked_at_start() -> None:
    names = used()
    assert len(names) > 15
    checked = {*stock._PRIVATE_METHODS, *stock._PRIVATE_FIELDS}
    assert names - checked == set(), "add it to the lists in raft/stock.py"


def test_what_is_checked_is_there() -> None:
    stock._check_audited()
    methods = [f"{PREFIX}{name}" for name in stock._PRIVATE_METHODS]
    assert all(callable(getattr(SyncObj, name)) for name in methods)
