"""Events by either version: what upstream takes of them, and what of one may change."""

import re
from typing import Any, cast

import orjson
import pytest
from registry_world import ADMIN, World, in_world
from strategy_cases import created, refused, said

from wherry.api import kinds
from wherry.api.errors import ConflictError, InvalidError
from wherry.apiserver.resources import BY_KIND, Resource
from wherry.apiserver.strategy.event import validate_new, validate_step
from wherry.apiserver.strategy.fields import IMMUTABLE
from wherry.apiserver.verbs import Context, Verbs
from wherry.apiserver.versions.versions import Versions
from wherry.client.api import PatchType

Object = dict[str, Any]
EVENT = "v1/Event"
CORE, NEW = BY_KIND[kinds.EVENT], BY_KIND[kinds.EVENT_V1]
SEEN, LATER = "2026-11-20T10:00:00.000000Z", "2026-11-20T10:05:00.000000Z"
FORM: Object = {
    "eventTime": SEEN,
    "reportingComponent": "a/b",
    "reportingInstance": "i",
    "action": "Bind",
    "reason": "Bound",
    "type": "Normal",
    "involvedObject": {"namespace": "default"},
}
ELSEWHERE = 'involvedObject.namespace: Invalid value: "{}": does not match event.namespace'


@pytest.mark.parametrize(
    ("namespace", "about", "taken", "taken_new"),
    [
        ("default", "default", True, True),
        ("default", "", True, True),
        ("kube-system", "", False, True),
        ("a", "", False, False),
        ("a", "a", True, True),
        ("a", "b", False, True),
    ],
)
def test_where_an_event_may_be(namespace: str, about: str, taken: bool, taken_new: bool) -> None:
    old = {"metadata": {"namespace": namespace}, "involvedObject": {"namespace": about}}
    new = FORM | old
    assert refused(EVENT, old) == ([] if taken else [ELSEWHERE.format(about)])
    assert refused(EVENT, new) == ([] if taken_new else [ELSEWHERE.format(about)])


NAME_PARTS = ["name part must be non-empty", "name part must consist of alphanumeric characters"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"type": "Loud", "series": {"count": -1}}, []),  # old clients are not asked
        ({"eventTime": None, "reportingComponent": None, "action": None}, []),
        (
            {"reportingComponent": "", "action": "", "reason": "r" * 129, "message": "m" * 1025},
            [
                "reportingComponent: Required value",
                *(f'reportingComponent: Invalid value: "": {part}' for part in NAME_PARTS),
                "action: Required value",
                'reason: Invalid value: "": can have at most 128 characters',
                'message: Invalid value: "": can have at most 1024 characters',
            ],
        ),
        ({"reportingInstance": "ä" * 65}, ['reportingInstance: Invalid value: "": can have']),
    ],
)
def test_core_events(change: Object, expected: list[str]) -> None:
    found = refused(EVENT, FORM, change)
    assert [text[: len(start)] for text, start in zip(found, expected, strict=True)] == expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, []),
        ({"series": {"count": 2, "lastObservedTime": LATER}}, []),
        ({"series": {"count": 1}}, ['series.count: Invalid value: "": should be at least 2', "series.lastObservedTime: Required value"]),
        ({"eventTime": None}, ["eventTime: Required value"]),
        ({"type": None}, ['type: Invalid value: "": has invalid value: ']),
        ({"type": "Loud"}, ['type: Invalid value: "": has invalid value: Loud']),
        ({"firstTimestamp": SEEN, "lastTimestamp": SEEN, "count": 1, "source": {"component": "c"}}, [f'{field}: Invalid value: "": needs to be unset' for field in ("firstTimestamp", "lastTimestamp", "count", "source")]),
        ({"reportingComponent": "a b"}, ['reportingController: Invalid value: "a b": name part must consist']),
        ({"metadata": {"name": "A"}}, ['metadata.name: Invalid value: "A": a lowercase RFC 1123 subdomain']),
        ({"metadata": {"name": "", "generateName": "AB-"}}, ['metadata.generateName: Invalid value: "AB-": a lowercase']),
        ({"metadata": {"name": "", "generateName": "a-"}}, []),
    ],
)  # fmt: skip
def test_new_events(change: Object, expected: list[str]) -> None:
    found = said(validate_new(created(EVENT, FORM, change)))
    assert len(found) == len(expected), found
    assert [text[: len(start)] for text, start in zip(found, expected, strict=True)] == expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"series": {"count": 2, "lastObservedTime": LATER}, "metadata": {"labels": {"a": "b"}}}, []),
        ({"series": {"count": 1, "lastObservedTime": LATER}}, ['series.count: Invalid value: "": should be at least 2']),
        ({"source": {}, "count": 0, "message": "", "related": None}, []),
        ({"type": "Warning", "reason": "x"}, ['reason: Invalid value: "x"', 'type: Invalid value: "Warning"']),
        ({"eventTime": LATER}, [f'eventTime: Invalid value: "{LATER}"']),
        ({"reportingComponent": "c"}, ['reportingController: Invalid value: "c"']),
        ({"involvedObject": {"name": "x"}}, ['involvedObject: Invalid value: {"namespace":"default","name":"x"}']),
        ({"count": 1, "source": {"host": "h"}}, ['source: Invalid value: {"host":"h"}', "count: Invalid value: 1"]),
        ({"related": {"name": "x"}, "reportingInstance": "j"}, ['related: Invalid value: {"name":"x"}', 'reportingInstance: Invalid value: "j"']),
    ],
)  # fmt: skip
def test_what_of_a_new_event_changes(change: Object, expected: list[str]) -> None:
    found = said(validate_step(created(EVENT, FORM, change), created(EVENT, FORM)))
    assert found == [
        text if text.startswith("series") else f"{text}: {IMMUTABLE}" for text in expected
    ]


def test_a_series_that_does_not_change_is_not_looked_at() -> None:
    old = created(EVENT, FORM, {"series": {"count": 1}})
    assert validate_step(created(EVENT, FORM, {"series": {"count": 1}}), old) == []


def shown(name: str = "e", **fields: Any) -> Object:
    """Return an event of events.k8s.io."""
    renamed = {"regarding": FORM["involvedObject"], "reportingController": "a/b"}
    same = {k: v for k, v in FORM.items() if k not in ("involvedObject", "reportingComponent")}
    return {"metadata": {"name": name}, **same, **renamed, **fields}


class Interfered:
    """Verbs between whose reads and writes somebody else writes, once."""

    def __init__(self, w: World, reason: str = "") -> None:
        self._verbs = Versions(w.registry, clock=w.clock)
        self._reason = reason
        self.reads = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._verbs, name)

    async def get(self, ctx: Context, resource: Resource, namespace: str, name: str) -> bytes:
        raw = await self._verbs.get(ctx, resource, namespace, name)
        self.reads += 1
        if self._reason and self.reads == 1:
            patch = {"reason": self._reason}
            await self._verbs.patch(ctx, CORE, namespace, name, patch, PatchType.MERGE)
        return raw


def test_what_was_written_in_between_is_not_written_back() -> None:
    async def run(w: World) -> None:
        between, ctx = Interfered(w, "Other"), Context(ADMIN)
        await between.create(ctx, CORE, "default", FORM | {"metadata": {"name": "e"}})
        verbs = Versions(cast("Verbs", between), clock=w.clock)
        with pytest.raises(
            InvalidError, match=re.escape(f'reason: Invalid value: "Bound": {IMMUTABLE}')
        ):
            await verbs.update(ctx, NEW, "default", "e", shown())
        assert between.reads == 2
        assert (await w.get(kinds.EVENT, "e", "default"))["reason"] == "Other"

    in_world(run)


def test_who_states_a_version_is_told_at_once_that_it_has_passed() -> None:
    async def run(w: World) -> None:
        undisturbed, ctx = Interfered(w), Context(ADMIN)
        await undisturbed.create(ctx, CORE, "default", FORM | {"metadata": {"name": "e"}})
        stale = shown()
        stale["metadata"]["resourceVersion"] = "1"
        with pytest.raises(ConflictError):
            await Versions(cast("Verbs", undisturbed), clock=w.clock).update(
                ctx, NEW, "default", "e", stale
            )
        assert undisturbed.reads == 1

    in_world(run)


def test_each_version_asks_for_its_own() -> None:
    async def run(w: World) -> None:
        verbs, ctx = Versions(w.registry, clock=w.clock), Context(ADMIN)
        with pytest.raises(InvalidError) as error:
            await verbs.create(ctx, NEW, "default", shown("Bad", eventTime=None, deprecatedCount=3))
        text = str(error.value)
        assert text.startswith('Event "Bad" is invalid: [metadata.name: Invalid value: "Bad": ')
        assert text.endswith(
            'eventTime: Required value, count: Invalid value: "": needs to be unset]'
        )
        old = {"metadata": {"name": "Old_1"}, "count": 3, "reason": "R", "type": "Odd"}
        await verbs.create(ctx, CORE, "default", old)

        await verbs.create(ctx, NEW, "default", shown())
        series = {"count": 2, "lastObservedTime": LATER}
        written = await verbs.patch(
            ctx, NEW, "default", "e", {"series": series}, PatchType.STRATEGIC
        )
        assert orjson.loads(written.object)["series"] == series
        with pytest.raises(
            InvalidError, match=re.escape(f'reason: Invalid value: "x": {IMMUTABLE}')
        ):
            await verbs.patch(ctx, NEW, "default", "e", {"reason": "x"}, PatchType.MERGE)
        await verbs.patch(ctx, CORE, "default", "e", {"reason": "x"}, PatchType.MERGE)

        more = shown(reason="x", series={**series, "count": 3})
        written = await verbs.update(ctx, NEW, "default", "e", more)
        assert orjson.loads(written.object)["series"]["count"] == 3
        with pytest.raises(InvalidError, match="eventTime: Required value"):
            await verbs.update(ctx, NEW, "default", "new", shown("new", eventTime=None))
        made = await verbs.update(ctx, NEW, "default", "new", shown("new"))
        assert made.created

    in_world(run)
