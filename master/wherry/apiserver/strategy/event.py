"""Event: core `ValidateEventCreate`. One with an eventTime is of the new form, which says more."""

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

    def default(self, obj: Object) -> None:
        """Name the reporter in the new field as in the old one."""
        source = obj.get("source", {})
        if source.get("component") and not obj.get("reportingComponent"):
            obj["reportingComponent"] = source["component"]
            obj.setdefault("reportingInstance", source.get("host", ""))

    def validate(self, obj: Object) -> list[Cause]:
        """Be in the namespace of the object that it is about; a new event says who saw it."""
        namespace = obj["metadata"].get("namespace", "")
        about = obj.get("involvedObject", {}).get("namespace", "")
        wrong: list[Cause] = []
        misplaced = about != namespace if about else namespace not in _CLUSTER_NAMESPACES
        if misplaced:
            detail = "does not match event.namespace"
            wrong.append(fields.invalid("involvedObject.namespace", about, detail))
        return wrong + _details(obj) if obj.get("eventTime") else wrong


def _details(obj: Object) -> list[Cause]:
    reporter = obj.get("reportingComponent", "")
    wrong: list[Cause] = []
    if not reporter:
        wrong.append(fields.required("reportingComponent"))
    else:
        wrong += names.check("reportingComponent", reporter, names.qualified_name)
    for field in ("reportingInstance", "action", "reason"):
        if not obj.get(field):
            wrong.append(fields.required(field))
        elif len(obj[field]) > _MOST_TEXT:
            detail = f"can have at most {_MOST_TEXT} characters"
            wrong.append(fields.invalid(field, "", detail))
    if len(obj.get("message", "")) > _MOST_NOTE:
        detail = f"can have at most {_MOST_NOTE} characters"
        wrong.append(fields.invalid("message", "", detail))
    if "type" in obj and obj["type"] not in _TYPES:
        wrong.append(fields.invalid("type", "", f"has invalid value: {obj['type']}"))
    return wrong + not_negative("series", obj.get("series", {}), "count")
