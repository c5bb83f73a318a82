"""Printers of who may do what and how much, and of what changes the API server."""

from collections.abc import Mapping
from typing import Any, Final

from wherry.api import kinds
from wherry.api.kinds import Kind
from wherry.apiserver.tables.cells import (
    NONE,
    UNSET,
    Obj,
    condition_of,
    created,
    name_of,
    selector_text,
)
from wherry.apiserver.tables.column import Printer, printer


def _role_binding(obj: Obj, now: float) -> list[Any]:
    role, subjects = obj.get("roleRef") or {}, obj.get("subjects") or ()

    def named(kind: str) -> str:
        return ", ".join(
            f"{s.get('namespace', '')}/{s.get('name', '')}"
            if kind == "ServiceAccount"
            else str(s.get("name", ""))
            for s in subjects
            if s.get("kind") == kind
        )

    return [
        name_of(obj),
        f"{role.get('kind', '')}/{role.get('name', '')}",
        created(obj, now),
        *(named(kind) for kind in ("User", "Group", "ServiceAccount")),
    ]


def _quota(obj: Obj, now: float) -> list[Any]:
    status = obj.get("status", {})
    hard, used = status.get("hard") or {}, status.get("used") or {}
    texts = {name: f"{name}: {used.get(name, '0')}/{hard[name]}" for name in sorted(hard)}
    limits = [text for name, text in texts.items() if name.startswith("limits")]
    requests = [text for name, text in texts.items() if not name.startswith("limits")]
    return [name_of(obj), ", ".join(requests), ", ".join(limits), created(obj, now)]


def _component(obj: Obj, now: float) -> list[Any]:  # noqa: ARG001  (it shows no age)
    healthy = condition_of({"status": obj}, "Healthy") or {}
    word = {"True": "Healthy", "False": "Unhealthy"}.get(healthy.get("status", ""), "Unknown")
    return [name_of(obj), word, healthy.get("message", ""), healthy.get("error", "")]


def _priority_class(obj: Obj, now: float) -> list[Any]:
    return [
        name_of(obj),
        obj.get("value", 0),
        bool(obj.get("globalDefault")),
        created(obj, now),
        obj.get("preemptionPolicy") or UNSET,
    ]


def _runtime_class(obj: Obj, now: float) -> list[Any]:
    return [name_of(obj), obj.get("handler", ""), created(obj, now)]


def _flow_schema(obj: Obj, now: float) -> list[Any]:
    spec = obj.get("spec", {})
    return [
        name_of(obj),
        (spec.get("priorityLevelConfiguration") or {}).get("name", ""),
        spec.get("matchingPrecedence", 0),
        (spec.get("distinguisherMethod") or {}).get("type") or NONE,
        created(obj, now),
        (condition_of(obj, "Dangling") or {}).get("status") or "?",
    ]


def _priority_level(obj: Obj, now: float) -> list[Any]:
    spec = obj.get("spec", {})
    limited = spec.get("limited") or {}
    shares = (limited or spec.get("exempt") or {}).get("nominalConcurrencyShares", NONE)
    queuing = (limited.get("limitResponse") or {}).get("queuing") or {}
    return [
        name_of(obj),
        spec.get("type", ""),
        shares,
        *(queuing.get(name, NONE) for name in ("queues", "handSize", "queueLengthLimit")),
        created(obj, now),
    ]


def _webhooks(obj: Obj, now: float) -> list[Any]:
    return [name_of(obj), len(obj.get("webhooks") or ()), created(obj, now)]


def _admission_policy(obj: Obj, now: float) -> list[Any]:
    spec = obj.get("spec", {})
    params = spec.get("paramKind")
    return [
        name_of(obj),
        len(spec.get("validations") or spec.get("mutations") or ()),
        f"{params.get('apiVersion', '')}/{params.get('kind', '')}" if params else UNSET,
        created(obj, now),
    ]


def _admission_binding(obj: Obj, now: float) -> list[Any]:
    spec = obj.get("spec", {})
    params, shown = spec.get("paramRef") or {}, UNSET
    if params.get("name"):
        shown = f"{params.get('namespace') or '*'}/{params['name']}"
    elif "selector" in params:
        shown = selector_text(params["selector"])
    return [name_of(obj), spec.get("policyName", ""), shown, created(obj, now)]


def _api_service(obj: Obj, now: float) -> list[Any]:
    service = obj.get("spec", {}).get("service")
    available = condition_of(obj, "Available")
    word = "Unknown"
    if available is not None:
        word = available.get("status", "")
        word += f" ({available.get('reason', '')})" if word != "True" else ""
    return [
        name_of(obj),
        f"{service.get('namespace', '')}/{service.get('name', '')}" if service else "Local",
        word,
        created(obj, now),
    ]


_BINDING = "Name|Role|Age|Users+|Groups+|ServiceAccounts+"
_POLICY_BINDING = "Name|PolicyName|ParamRef|Age"
PRINTERS: Final[Mapping[Kind, Printer]] = {
    kinds.CLUSTER_ROLE_BINDING: printer(_BINDING, _role_binding),
    kinds.ROLE_BINDING: printer(_BINDING, _role_binding),
    kinds.RESOURCE_QUOTA: printer("Name|Request|Limit|Age", _quota),
    kinds.COMPONENT_STATUS: printer("Name|Status|Message|Error", _component),
    kinds.PRIORITY_CLASS: printer(
        "Name|Value:integer|Global-Default:boolean|Age|PreemptionPolicy", _priority_class
    ),
    kinds.RUNTIME_CLASS: printer("Name|Handler|Age", _runtime_class),
    kinds.FLOW_SCHEMA: printer(
        "Name|PriorityLevel|MatchingPrecedence:integer|DistinguisherMethod|Age|MissingPL",
        _flow_schema,
    ),
    kinds.PRIORITY_LEVEL_CONFIGURATION: printer(
        "Name|Type|NominalConcurrencyShares:integer|Queues:integer|HandSize:integer"
        "|QueueLengthLimit:integer|Age",
        _priority_level,
    ),
    kinds.MUTATING_WEBHOOK_CONFIGURATION: printer("Name|Webhooks:integer|Age", _webhooks),
    kinds.VALIDATING_WEBHOOK_CONFIGURATION: printer("Name|Webhooks:integer|Age", _webhooks),
    kinds.MUTATING_ADMISSION_POLICY: printer(
        "Name|Mutations:integer|ParamKind|Age", _admission_policy
    ),
    kinds.VALIDATING_ADMISSION_POLICY: printer(
        "Name|Validations:integer|ParamKind|Age", _admission_policy
    ),
    kinds.MUTATING_ADMISSION_POLICY_BINDING: printer(_POLICY_BINDING, _admission_binding),
    kinds.VALIDATING_ADMISSION_POLICY_BINDING: printer(_POLICY_BINDING, _admission_binding),
    kinds.API_SERVICE: printer("Name|Service|Available|Age", _api_service),
}
