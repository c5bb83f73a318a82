"""Admission policies in CEL, and their bindings: admissionregistration's validation, but for CEL itself."""

import re

from wherry.api.errors import Cause
from wherry.apiserver.strategy import fields, names
from wherry.apiserver.strategy.admission_rule import (
    MATCH,
    validate_match,
    validate_match_conditions,
)
from wherry.apiserver.strategy.base import Object, Strategy
from wherry.apiserver.strategy.conditions import validate_conditions
from wherry.apiserver.strategy.defaulting import Defaults
from wherry.apiserver.strategy.formats import choice, option
from wherry.apiserver.strategy.selector import validate_label_selector

_FAILURES = ("Fail", "Ignore")
_ACTIONS = ("Audit", "Deny", "Warn")
_REASONS = ("Forbidden", "Invalid", "RequestEntityTooLarge", "Unauthorized")
_MOST_NOTES = 20
_MOST_EXPRESSION = 5 * 1024
_NO_EXPRESSION = "expression is not specified"
_EXCLUSIVE = "name and selector are mutually exclusive"
_IDENTIFIER = re.compile(r"[_a-zA-Z][_a-zA-Z0-9]*")
_RESERVED = frozenset(
    [
        "true",
        "false",
        "null",
        "in",
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
        "var",
        "void",
        "while",
    ]
)
_POLICY = Defaults(
    made={"spec": Defaults(absent={"failurePolicy": "Fail"}, within={"matchConstraints": MATCH})}
)
_BINDING = Defaults(made={"spec": Defaults(within={"matchResources": MATCH})})


class AdmissionPolicyStrategy(Strategy):
    """A rule over objects that are written."""

    generation = True
    unconditional_update = False
    status_metadata = ()

    def default(self, obj: Object) -> None:
        """Fail closed."""
        _POLICY.apply(obj)

    def validate(self, obj: Object) -> list[Cause]:
        """Check that it is about something."""
        spec, at = obj["spec"], "spec.matchConstraints"
        wrong = option("spec", spec, "failurePolicy", _FAILURES)
        if "paramKind" in spec:
            wrong += _param_kind("spec.paramKind", spec["paramKind"])
        match = spec.get("matchConstraints")
        if match is None:
            wrong.append(fields.required(at))
        else:
            wrong += validate_match(at, match)
            if not match.get("resourceRules"):
                wrong.append(fields.required(f"{at}.resourceRules"))
        conditions = spec.get("matchConditions", [])
        wrong += validate_match_conditions("spec.matchConditions", conditions)
        for index, variable in enumerate(spec.get("variables", ())):
            wrong += _variable(f"spec.variables[{index}]", variable)
        return wrong


def _param_kind(path: str, kind: Object) -> list[Cause]:
    text, at = kind.get("apiVersion", ""), f"{path}.apiVersion"
    group, _, version = text.rpartition("/")
    wrong: list[Cause] = []
    if not text:
        wrong.append(fields.required(at))
    elif "/" in group:
        wrong.append(fields.invalid(at, text, f"unexpected GroupVersion string: {text}"))
    else:
        if group and (reasons := names.dns1123_subdomain(group)):
            wrong.append(fields.invalid(at, group, ",".join(reasons)))
        if not version:
            wrong.append(fields.invalid(at, text, "version must be specified"))
        elif reasons := names.dns1035_label(version):
            wrong.append(fields.invalid(at, version, ",".join(reasons)))
    word, at = kind.get("kind", ""), f"{path}.kind"
    if not word:
        wrong.append(fields.required(at))
    elif reasons := names.dns1035_label(word.lower()):
        detail = f"may have mixed case, but should otherwise match: {','.join(reasons)}"
        wrong.append(fields.invalid(at, word, detail))
    return wrong


def _variable(path: str, variable: Object) -> list[Cause]:
    name, at = variable.get("name", ""), f"{path}.name"
    wrong: list[Cause] = []
    if not name.strip():
        wrong.append(fields.required(at, "name is not specified"))
    elif not _IDENTIFIER.fullmatch(name) or name in _RESERVED:
        wrong.append(fields.invalid(at, name, "name is not a valid CEL identifier"))
    if not variable.get("expression", "").strip():
        wrong.append(fields.required(f"{path}.expression", _NO_EXPRESSION))
    return wrong


class ValidatingAdmissionPolicyStrategy(AdmissionPolicyStrategy):
    """A rule that refuses."""

    def prepare_create(self, obj: Object) -> None:
        """Begin with nothing known."""
        obj["status"] = {}

    def validate(self, obj: Object) -> list[Cause]:
        """Check that it says something."""
        wrong, spec = super().validate(obj), obj["spec"]
        rules, notes = spec.get("validations", ()), spec.get("auditAnnotations", ())
        if not rules and not notes:
            detail = "validations or auditAnnotations must contain at least one item"
            wrong.append(fields.required("spec.validations", detail))
            wrong.append(fields.required("spec.auditAnnotations", detail))
        for index, rule in enumerate(rules):
            wrong += _validation(f"spec.validations[{index}]", rule)
        if len(notes) > _MOST_NOTES:
            detail = f"must not have more than {_MOST_NOTES} auditAnnotations"
            wrong.append(fields.invalid("spec.auditAnnotations", notes, detail))
        seen: set[str] = set()
        for index, note in enumerate(notes):
            at, key = f"spec.auditAnnotations[{index}]", note.get("key", "")
            wrong += _note(at, note, obj["metadata"].get("name", ""))
            if key in seen:
                wrong.append(fields.duplicate(f"{at}.key", key))
            seen.add(key)
        return wrong

    def validate_status(self, new: Object, old: Object) -> list[Cause]:  # noqa: ARG002
        """Check the conditions."""
        conditions = new.get("status", {}).get("conditions", [])
        return validate_conditions("status.conditions", conditions)


def _validation(path: str, rule: Object) -> list[Cause]:
    wrong: list[Cause] = []
    if not rule.get("expression", "").strip():
        wrong.append(fields.required(f"{path}.expression", _NO_EXPRESSION))
    said, message = rule.get("messageExpression", ""), rule.get("message", "")
    if said and not said.strip():
        detail = "must be non-empty if specified"
        wrong.append(fields.invalid(f"{path}.messageExpression", said, detail))
    at = f"{path}.message"
    if message and not message.strip():
        wrong.append(fields.invalid(at, message, "message must be non-empty if specified"))
    elif any(line in message.strip() for line in "\n\r"):
        wrong.append(fields.invalid(at, message, "message must not contain line breaks"))
    return wrong + option(path, rule, "reason", _REASONS)


def _note(path: str, note: Object, policy: str) -> list[Cause]:
    key, expression = note.get("key", ""), note.get("valueExpression", "").strip()
    at = f"{path}.valueExpression"
    wrong = names.check(f"{path}.key", f"{policy}/{key}", names.qualified_name)
    if not expression:
        wrong.append(fields.required(at, "valueExpression is not specified"))
    elif len(expression.encode()) > _MOST_EXPRESSION:
        detail = f"must not exceed {_MOST_EXPRESSION} bytes in length"
        wrong.append(fields.required(at, detail))
    return wrong


class AdmissionPolicyBindingStrategy(Strategy):
    """Where a rule holds."""

    generation = True
    unconditional_update = False

    def default(self, obj: Object) -> None:
        """Fill in what is matched."""
        _BINDING.apply(obj)

    def validate(self, obj: Object) -> list[Cause]:
        """Name the rule."""
        spec, at = obj["spec"], "spec.policyName"
        wrong: list[Cause] = []
        if not spec.get("policyName"):
            wrong.append(fields.required(at))
        else:
            wrong += names.check(at, spec["policyName"], names.dns1123_subdomain)
        if "paramRef" in spec:
            wrong += _parameters("spec.paramRef", spec["paramRef"])
        if "matchResources" in spec:
            wrong += validate_match("spec.matchResources", spec["matchResources"])
        return wrong


def _parameters(path: str, ref: Object) -> list[Cause]:
    name, selector = ref.get("name", ""), ref.get("selector")
    wrong = names.check(f"{path}.name", name, names.path_segment)
    if selector is not None:
        if name:
            wrong.append(fields.forbidden(f"{path}.name", _EXCLUSIVE))
        wrong += validate_label_selector(f"{path}.selector", selector)
        if name:
            wrong.append(fields.forbidden(f"{path}.selector", _EXCLUSIVE))
    elif not name:
        wrong.append(fields.required(path, "one of name or selector must be specified"))
    return wrong + choice(path, ref, "parameterNotFoundAction", ("Deny", "Allow"))


class ValidatingAdmissionPolicyBindingStrategy(AdmissionPolicyBindingStrategy):
    """Where a rule that refuses holds, and what a refusal is."""

    def validate(self, obj: Object) -> list[Cause]:
        """Say what happens."""
        wrong, actions = super().validate(obj), obj["spec"].get("validationActions", [])
        for index, action in enumerate(actions):
            at = f"spec.validationActions[{index}]"
            if action not in _ACTIONS:
                wrong.append(fields.unsupported(at, action, _ACTIONS))
            if action in actions[:index]:
                wrong.append(fields.duplicate(at, action))
        if {"Deny", "Warn"} <= set(actions):
            detail = "must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)"
            wrong.append(fields.invalid("spec.validationActions", actions, detail))
        if not actions:
            detail = "at least one validation action is required"
            wrong.append(fields.required("spec.validationActions", detail))
        return wrong
