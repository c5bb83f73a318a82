"""Event: core `ValidateEventCreate` and `ValidateEventUpdate`.

One with an eventTime is of the new form, which says more. By `v1` nothing else is asked, so that
old clients go on; by `events.k8s.io/v1` it has to be of the new form, and only its series changes.
"""

from collections.abc import Sequence
from typing import Any, Final

from wherry.api.errors import Cause
from wherry.apiserver.strategy import fields, names
from wherry.apiserver.strategy.base import Object, Strategy

_TYPES = ("Normal", "Warning")
_MOST_TEXT = 128
_MOST_NOTE = 1024
_LEAST_REPEATED = 2
_OLD_NAMES: Final = ("firstTimestamp", "lastTimestamp", "count", "source")
_UNCHANGED: Final[Sequence[tuple[str, Any]]] = (
    ("involvedObject", {}),
    ("reason", ""),
    ("message", ""),
    ("source", {}),
    ("firstTimestamp", None),
    ("lastTimestamp", None),
    ("count", 0),
    ("type", ""),
    ("eventTime", None),
    ("action", ""),
    ("related", None),
    ("reportingComponent", ""),
    ("reportingInstance", ""),
)
"""What an update by the new version leaves alone, in upstream's order; what it is where it is not."""
_SHOWN: Final = {"reportingComponent": "reportingController"}
"""The one field that upstream calls by its new name to whom uses the new version."""


class EventStrategy(Strategy):
    """What was observed about an object; goes away after an hour."""

    create_on_update = True

    def check_name(self, name: str) -> Sequence[str]:
        """Be whatever can stand in a path: old clients make names of what they are about."""
        return names.path_segment(name)

    def default(self, obj: Object) -> None:
        """Name the reporter in the new field as in the old one."""
        source = obj.get("source", {})
        if source.get("component") and not obj.get("reportingComponent"):
            obj["reportingComponent"] = source["component"]
            obj.setdefault("reportingInstance", source.get("host", ""))

    def validate(self, obj: Object) -> list[Cause]:
        """Be in the namespace of the object that it is about; a new event says who saw it."""
        return _either_form(obj, "reportingComponent")


def validate_new(event: Object) -> list[Cause]:
    """Return what is wrong with an event (as stored) that is made by events.k8s.io/v1."""
    wrong = _either_form(event, _SHOWN["reportingComponent"])
    wrong += _subdomain(event["metadata"])
    wrong += _series(event)
    if not event.get("eventTime"):
        wrong.append(fields.required("eventTime"))
    if event.get("type") not in _TYPES:
        wrong.append(fields.invalid("type", "", f"has invalid value: {event.get('type', '')}"))
    return wrong + [
        fields.invalid(field, "", "needs to be unset") for field in _OLD_NAMES if event.get(field)
    ]


def validate_step(new: Object, old: Object) -> list[Cause]:
    """Return what is wrong with a change of an event (both as stored) by events.k8s.io/v1."""
    wrong = _either_form(new, _SHOWN["reportingComponent"])
    if new.get("series") != old.get("series"):
        wrong += _series(new)
    return wrong + [
        fields.invalid(_SHOWN.get(field, field), new.get(field, nothing), fields.IMMUTABLE)
        for field, nothing in _UNCHANGED
        if (new.get(field) or nothing) != (old.get(field) or nothing)
    ]


def _subdomain(meta: Object) -> list[Cause]:
    """Hold names to more than `check_name` does, which has a say in names of old clients too."""
    generate = meta.get("generateName", "")
    reasons = names.dns1123_subdomain(names.masked(generate)) if generate else ()
    wrong = [fields.invalid("metadata.generateName", generate, why) for why in reasons]
    if meta.get("name"):
        wrong += names.check("metadata.name", meta["name"], names.dns1123_subdomain)
    return wrong


def _either_form(event: Object, reporter_at: str) -> list[Cause]:
    namespace = event["metadata"].get("namespace", "")
    about = event.get("involvedObject", {}).get("namespace", "")
    if event.get("eventTime"):
        misplaced = not about and namespace not in ("default", "kube-system")
    else:
        misplaced = about != namespace if about else namespace not in ("", "default")
    wrong: list[Cause] = []
    if misplaced:
        detail = "does not match event.namespace"
        wrong.append(fields.invalid("involvedObject.namespace", about, detail))
    return wrong + _new_form(event, reporter_at) if event.get("eventTime") else wrong


def _new_form(event: Object, reporter_at: str) -> list[Cause]:
    reporter = event.get("reportingComponent", "")
    wrong = [] if reporter else [fields.required(reporter_at)]
    wrong += names.check(reporter_at, reporter, names.qualified_name)
    for field in ("reportingInstance", "action", "reason"):
        if not event.get(field):
            wrong.append(fields.required(field))
        elif len(event[field].encode()) > _MOST_TEXT:
            wrong.append(fields.invalid(field, "", f"can have at most {_MOST_TEXT} characters"))
    if len(event.get("message", "").encode()) > _MOST_NOTE:
        wrong.append(fields.invalid("message", "", f"can have at most {_MOST_NOTE} characters"))
    return wrong


def _series(event: Object) -> list[Cause]:
    series = event.get("series")
    if series is None:
        return []
    wrong: list[Cause] = []
    if series.get("count", 0) < _LEAST_REPEATED:
        wrong.append(fields.invalid("series.count", "", f"should be at least {_LEAST_REPEATED}"))
    if not series.get("lastObservedTime"):
        wrong.append(fields.required("series.lastObservedTime"))
    return wrong
