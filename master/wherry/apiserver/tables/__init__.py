"""Tables: the rows and columns that `kubectl get` prints, made by the server.

    table            the meta.k8s.io/v1 Table document of some objects
    columns, row     the columns of a kind and the cells of an object
    printers         one printer for each kind
    pods             a pod's status word, the longest of them
    duration         ages in the form of kubectl

Cells and columns follow kube-apiserver's printers: people read them and scripts parse them.
"""

from collections.abc import Iterable
from typing import Any

from wherry.apiserver.resources import Resource
from wherry.apiserver.tables.column import Column
from wherry.apiserver.tables.printers import printer_of

__all__ = ["META", "Column", "columns", "partial_object", "partial_object_list", "row", "table"]

META = "meta.k8s.io/v1"
"""The group of what is shown instead of objects; also v1beta1 is served."""


def columns(resource: Resource) -> tuple[Column, ...]:
    """Return the columns of a kind; those with priority 1 appear with `-o wide`."""
    return printer_of(resource.kind).columns


def row(resource: Resource, obj: dict[str, Any], now: float) -> list[Any]:
    """Return the cells of an object, one a column.

    Args:
        resource: The object's row in the table of kinds.
        obj: The decoded object.
        now: Epoch seconds, for ages.
    """
    return printer_of(resource.kind).cells(obj, now)


def table(
    resource: Resource,
    objects: Iterable[dict[str, Any]],
    *,
    now: float,
    include: str = "Metadata",
    revision: int | str = "",
    continue_token: str = "",
    remaining: int | None = None,
    with_columns: bool = True,
    api_version: str = META,
) -> dict[str, Any]:
    """Return the Table document.

    Args:
        resource: The kind of the objects.
        objects: Decoded objects.
        now: Epoch seconds, for ages.
        include: What each row carries of its object: None, Metadata or Object.
        revision: Of the list; a single object's own resourceVersion.
        continue_token: Of a chunked list.
        remaining: How many objects come after this chunk, if known.
        with_columns: False for watch events after the first.
        api_version: Of the Table and of what its rows carry.
    """
    metadata: dict[str, Any] = {"resourceVersion": str(revision)} if revision else {}
    if continue_token:
        metadata["continue"] = continue_token
    if remaining is not None:
        metadata["remainingItemCount"] = remaining
    shown = columns(resource) if with_columns else ()
    return {
        "kind": "Table",
        "apiVersion": api_version,
        "metadata": metadata,
        "columnDefinitions": [column.to_dict() for column in shown],
        "rows": [_row(resource, obj, now, include, api_version) for obj in objects],
    }


def _row(
    resource: Resource, obj: dict[str, Any], now: float, include: str, api_version: str
) -> dict[str, Any]:
    out: dict[str, Any] = {"cells": row(resource, obj, now)}
    if include == "Object":
        out["object"] = obj
    elif include != "None":
        out["object"] = partial_object(obj, api_version)
    return out


def partial_object(obj: dict[str, Any], api_version: str = META) -> dict[str, Any]:
    """Return the object's PartialObjectMetadata."""
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": api_version,
        "metadata": obj.get("metadata", {}),
    }


def partial_object_list(
    objects: Iterable[dict[str, Any]],
    *,
    revision: int | str = "",
    continue_token: str = "",
    remaining: int | None = None,
) -> dict[str, Any]:
    """Return the PartialObjectMetadataList of some objects; arguments as for `table`."""
    metadata: dict[str, Any] = {"resourceVersion": str(revision)} if revision else {}
    if continue_token:
        metadata["continue"] = continue_token
    if remaining is not None:
        metadata["remainingItemCount"] = remaining
    return {
        "kind": "PartialObjectMetadataList",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "items": [partial_object(obj) for obj in objects],
    }
