"""Answers as bytes, in the form that the client asked for.

Objects come as bytes and mostly leave as the same bytes: an envelope is put around them.
Only tables and YAML look inside.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import orjson
import yaml

from wherry.api.errors import NotAcceptableError
from wherry.api.kinds import Kind
from wherry.apiserver.http.pieces import Pieces
from wherry.apiserver.resources import Resource
from wherry.apiserver.rest.accept import METADATA, METADATA_LIST, TABLE, Form
from wherry.apiserver.tables import META, table
from wherry.apiserver.verbs import Page
from wherry.client.api import EventType, WatchEvent

YAML_TYPE = "application/yaml"
_WARNINGS_CHARACTERS = 4096
_WARNING_CHARACTERS = 256
_MOST_WARNINGS = 80
PIECE_BYTES = 128 * 1024
"""A client that stalls costs one rendered piece of about this size."""
_INCLUDE = "Metadata"
"""What a table's rows carry of their objects unless the client says otherwise."""


class _WithMetadata(msgspec.Struct):
    metadata: msgspec.Raw = msgspec.Raw(b"{}")


_metadata_of = msgspec.json.Decoder(_WithMetadata).decode


def partial(raw: bytes, api_version: str = META) -> bytes:
    """Return the PartialObjectMetadata of an object."""
    head = b'{"kind":"PartialObjectMetadata","apiVersion":"%b","metadata":' % api_version.encode()
    return b"%b%b}" % (head, bytes(_metadata_of(raw).metadata))


def to_yaml(raw: bytes) -> bytes:
    """Return a JSON document as YAML."""
    text: str = yaml.dump(orjson.loads(raw), Dumper=_DUMPER, sort_keys=False, allow_unicode=True)
    return text.encode()


_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def list_metadata(page: Page) -> dict[str, Any]:
    """Return the ListMeta of a page."""
    metadata: dict[str, Any] = {"resourceVersion": str(page.revision)}
    if page.continue_token:
        metadata["continue"] = page.continue_token
        if page.remaining is not None:
            metadata["remainingItemCount"] = page.remaining
    return metadata


def collection(
    resource: Resource, page: Page, form: Form, *, include: str, now: float
) -> bytes | Pieces:
    """Render a page; `include` is a table's includeObject.

    Raises:
        NotAcceptableError: the metadata of one object is asked for.
    """
    if form.kind == TABLE:
        shown = table(
            resource,
            map(orjson.loads, page.items),
            now=now,
            include=include or _INCLUDE,
            revision=page.revision,
            continue_token=page.continue_token,
            remaining=page.remaining,
            api_version=form.api_version,
        )
        return orjson.dumps(shown)
    metadata, kind = list_metadata(page), resource.kind
    if form.kind == METADATA:
        raise _another(METADATA, f"a list ({_go_type(kind)}List)")
    if form.kind == METADATA_LIST:
        items = [partial(raw, form.api_version) for raw in page.items]
        return _list(METADATA_LIST, form.api_version, metadata, items)
    return _list(f"{kind.kind}List", kind.api_version, metadata, page.items)


def _another(wanted: str, is_what: str) -> NotAcceptableError:
    return NotAcceptableError(f"you requested {wanted}, but the requested object is {is_what}")


def _go_type(kind: Kind) -> str:
    return f"*{kind.group.partition('.')[0] or 'core'}.{kind.kind}"


def _list(
    kind: str, api_version: str, metadata: dict[str, Any], items: Sequence[bytes]
) -> bytes | Pieces:
    """Put the envelope around items: their bytes are left where they are."""
    envelope = {"kind": kind, "apiVersion": api_version, "metadata": metadata, "items": []}
    empty = orjson.dumps(envelope)
    if not items:
        return empty
    parts = [b","] * (2 * len(items) + 1)
    parts[1::2] = items
    parts[0], parts[-1] = empty[:-2], empty[-2:]
    return Pieces(parts)


def single(resource: Resource, raw: bytes, form: Form, *, include: str, now: float) -> bytes:
    """Render one object.

    Raises:
        NotAcceptableError: a list is asked for.
    """
    if form.kind == METADATA:
        return partial(raw, form.api_version)
    if form.kind == METADATA_LIST:
        raise _another(METADATA_LIST, f"not a list ({_go_type(resource.kind)})")
    if form.kind == TABLE:
        obj = orjson.loads(raw)
        revision = obj["metadata"].get("resourceVersion", "")
        include = include or _INCLUDE
        api_version = form.api_version
        shown = table(
            resource, [obj], now=now, include=include, revision=revision, api_version=api_version
        )
        return orjson.dumps(shown)
    return raw


def pieces(batch: Sequence[WatchEvent]) -> Iterator[Sequence[WatchEvent]]:
    """Cut a batch where it gets large: a client that stalls costs one rendered piece, not all."""
    start = size = 0
    for index, event in enumerate(batch):
        size += len(event.object)
        if size > PIECE_BYTES:
            yield batch[start : index + 1]
            start, size = index + 1, 0
    if start < len(batch):
        yield batch[start:]


class WatchRenderer:
    """Events to lines of one watch; a table's columns are told in its first event only."""

    def __init__(self, resource: Resource, form: Form, *, include: str) -> None:
        self._resource = resource
        self._form = form
        self._include = include or _INCLUDE
        self._first = True

    def lines(self, events: Sequence[WatchEvent], *, now: float) -> bytes:
        """Render a batch, one JSON line for each event."""
        api_version = self._form.api_version
        if self._form.kind == TABLE:
            return b"".join(self._row(event, now) for event in events)
        if self._form.kind:
            return b"".join(_line(e.type, partial(e.object, api_version)) for e in events)
        return _lines(events)

    def _row(self, event: WatchEvent, now: float) -> bytes:
        api_version = self._form.api_version
        if event.type is EventType.BOOKMARK:
            shown: dict[str, Any] = {
                "kind": "Table",
                "apiVersion": api_version,
                "metadata": {"resourceVersion": str(event.revision)},
                "columnDefinitions": [],
                "rows": [
                    {"cells": [], "object": orjson.Fragment(partial(event.object, api_version))}
                ],
            }
        else:
            shown = table(
                self._resource,
                [orjson.loads(event.object)],
                now=now,
                include=self._include,
                revision=event.revision,
                with_columns=self._first,
                api_version=api_version,
            )
            self._first = False
        return _line(event.type, orjson.dumps(shown))


class LiveLines:
    """The newest batch as lines, rendered once for all watchers that are given it."""

    def __init__(self) -> None:
        self._batch: Sequence[WatchEvent] = ()
        self._rendered = b""

    def lines(self, batch: Sequence[WatchEvent]) -> bytes:
        """Render a batch that nobody changes any more, unless it is the one of the last call."""
        if batch is not self._batch:
            self._batch, self._rendered = batch, _lines(batch)
        return self._rendered


def _lines(events: Sequence[WatchEvent]) -> bytes:
    return b"".join([_line(event.type, event.object) for event in events])


def _line(event_type: str, raw: bytes) -> bytes:
    return b'{"type":"%b","object":%b}\n' % (event_type.encode(), raw)


def error_line(status: dict[str, Any]) -> bytes:
    """Render the event that tells a watcher why its stream ends."""
    return _line("ERROR", orjson.dumps(status))


def warning_headers(texts: Sequence[str]) -> list[tuple[str, str]]:
    """Return Warning headers, each text once, and no more than clients take.

    Source: apiserver `filters.WithWarningRecorder`: of more than 4,096 characters each warning
    is cut to 256, and those beyond are dropped. Python's http.client breaks at 100 headers.
    """
    kept = list(dict.fromkeys(texts))
    if sum(map(len, kept)) > _WARNINGS_CHARACTERS:
        kept = [text[:_WARNING_CHARACTERS] for text in kept]
    headers: list[tuple[str, str]] = []
    left = _WARNINGS_CHARACTERS
    for text in kept[:_MOST_WARNINGS]:
        left -= len(text)
        if left < 0:
            break
        headers.append(("Warning", warning_header(text)))
    return headers


def warning_header(text: str) -> str:
    r"""Return a Warning header's value; quotes and backslashes are escaped, or Go drops it.

    Header values are single lines; what is not printable ASCII is replaced.
    """
    clean = "".join(c if " " <= c <= "~" else " " if c.isspace() else "?" for c in text)
    escaped = clean.replace("\\", "\\\\").replace('"', '\\"')
    return f'299 - "{escaped}"'
