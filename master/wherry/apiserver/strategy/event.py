"""Events, in the old form (core) and the new (events.k8s.io): `ValidateEventCreate`."""

from typing import ClassVar

from wherry.api.errors import Cause
from wherry.apiserver.strategy import fields, names
from wherry.apiserver.strategy.base import Object, Strategy
from wherry.apiserver.strategy.formats import not_negative

_TYPES = ("Normal", "Warning")
_MOST_TEXT = 128
_MOST_NOTE = 1024
_CLUSTER_NAMESPACES = ("", "default", "kube-system")
"""Where events about objects of no namespace may be."""


class EventStrategy(Strategy):
    """What was observed about an object; goes away after an hour."""

    create_on_update = True
    about: ClassVar[str] = "involvedObject"
    reporter: ClassVar[str] = "reportingComponent"
    note: ClassVar[str] = "message"

    def default(self, obj: Object) -> None:
        """Name the reporter in the new field as in the old one."""
        source = obj.get("source", {})
        if source.get("component") and not obj.get("reportingComponent"):
            obj["reportingComponent"] = source["component"]
            obj.setdefault("reportingInstance", source.get("host", ""))

    def validate(self, obj: Object) -> list[Cause]:
        """Be in the namespace of the object that it is about; a new event says who saw it."""
        namespace = obj["metadata"].get("namespace", "")
        about = obj.get(self.about, {}).get("namespace", "")
        wrong: list[Cause] = []
        misplaced = about != namespace if about else namespace not in _CLUSTER_NAMESPACES
        if misplaced:
            detail = "does not match event.namespace"
            wrong.append(fields.invalid(f"{self.about}.namespace", about, detail))
        return wrong + self._details(obj) if self._is_new(obj) else wrong

    def _is_new(self, obj: Object) -> bool:
        return bool(obj.get("eventTime"))

    def _details(self, obj: Object) -> list[Cause]:
        reporter = obj.get(self.reporter, "")
        wrong: list[Cause] = []
        if not reporter:
            wrong.append(fields.required(self.reporter))
        else:
            wrong += names.check(self.reporter, reporter, names.qualified_name)
        for field in ("reportingInstance", "action", "reason"):
            if not obj.get(field):
                wrong.append(fields.required(field))
            elif len(obj[field]) > _MOST_TEXT:
                detail = f"can have at most {_MOST_TEXT} characters"
                wrong.append(fields.invalid(field, "", detail))
        if len(obj.get(self.note, "")) > _MOST_NOTE:
            detail = f"can have at most {_MOST_NOTE} characters"
            wrong.append(fields.invalid(self.note, "", detail))
        if "type" in obj and obj["type"] not in _TYPES:
            wrong.append(fields.invalid("type", "", f"has invalid value: {obj['type']}"))
        return wrong + not_negative("series", obj.get("series", {}), "count")


class EventV1Strategy(EventStrategy):
    """The new form."""

    about = "regarding"
    reporter = "reportingController"
    note = "note"

    def default(self, obj: Object) -> None:
        """Fill in nothing: the new fields are the only ones."""

    def validate(self, obj: Object) -> list[Cause]:
        """Need the time as well."""
        wrong = super().validate(obj)
        return wrong if obj.get("eventTime") else [fields.required("eventTime"), *wrong]

    def _is_new(self, obj: Object) -> bool:  # noqa: ARG002
        return True
