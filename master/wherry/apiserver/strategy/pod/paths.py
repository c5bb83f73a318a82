"""Paths that must stay below the directory that they are relative to."""

from wherry.api.errors import Cause
from wherry.apiserver.strategy import fields


def check_descending(path: str, text: str) -> list[Cause]:
    """Check that a path is relative and does not climb."""
    wrong: list[Cause] = []
    if text.startswith("/"):
        wrong.append(fields.invalid(path, text, "must be a relative path"))
    return wrong + check_no_backsteps(path, text)


def check_no_backsteps(path: str, text: str) -> list[Cause]:
    """Check that no part of a path is `..`."""
    if ".." in text and ".." in text.split("/"):
        return [fields.invalid(path, text, "must not contain '..'")]
    return []


def check_file_name(path: str, text: str) -> list[Cause]:
    """Check a file below a volume: as above, and not one of the names kept for the node's own."""
    wrong = check_descending(path, text)
    if text.startswith("..") and not text.startswith("../"):
        wrong.append(fields.invalid(path, text, "must not start with '..'"))
    return wrong
