"""Admission policies in CEL, and their bindings: admissionregistration's validation, but for CEL itself."""

from wherry.api.errors import Cause
from wherry.apiserver.strategy import fields
from wherry.apiserver.strategy.base import Object, Strategy
from wherry.apiserver.strategy.defaulting import NOTHING, Defaults
from wherry.apiserver.strategy.formats import choice, option

_FAILURES = ("Fail", "Ignore")
_ACTIONS = ("Audit", "Deny", "Warn")
_MATCH = Defaults(
    absent={"matchPolicy": "Equivalent"},
    made={"namespaceSelector": NOTHING, "objectSelector": NOTHING},
    within={
        "resourceRules": Defaults(absent={"scope": "*"}),
        "excludeResourceRules": Defaults(absent={"scope": "*"}),
    },
)
_POLICY = Defaults(
    made={"spec": Defaults(absent={"failurePolicy": "Fail"}, within={"matchConstraints": _MATCH})}
)
_BINDING = Defaults(made={"spec": Defaults(within={"matchResources": _MATCH})})


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
        spec = obj["spec"]
        wrong = option("spec", spec, "failurePolicy", _FAILURES)
        match = spec.get("matchConstraints")
        if match is None:
            return [*wrong, fields.required("spec.matchConstraints")]
        if not match.get("resourceRules"):
            wrong.append(fields.required("spec.matchConstraints.resourceRules"))
        return wrong


class ValidatingAdmissionPolicyStrategy(AdmissionPolicyStrategy):
    """A rule that refuses."""

    def prepare_create(self, obj: Object) -> None:
        """Begin with nothing known."""
        obj["status"] = {}

    def validate(self, obj: Object) -> list[Cause]:
        """Check that it says something."""
        wrong, spec = super().validate(obj), obj["spec"]
        if not spec.get("validations") and not spec.get("auditAnnotations"):
            detail = "validations or auditAnnotations must contain at least one item"
            wrong.append(fields.required("spec.validations", detail))
            wrong.append(fields.required("spec.auditAnnotations", detail))
        for index, rule in enumerate(spec.get("validations", ())):
            if not rule.get("expression", "").strip():
                detail = "expression is not specified"
                wrong.append(fields.required(f"spec.validations[{index}].expression", detail))
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
        spec = obj["spec"]
        wrong: list[Cause] = []
        if not spec.get("policyName"):
            wrong.append(fields.required("spec.policyName"))
        parameters = spec.get("paramRef")
        if parameters is not None:
            at = "spec.paramRef"
            if ("name" in parameters) == ("selector" in parameters):
                detail = "one of name or selector must be specified"
                wrong.append(fields.required(f"{at}.name", detail))
            wrong += choice(at, parameters, "parameterNotFoundAction", ("Allow", "Deny"))
        return wrong


class ValidatingAdmissionPolicyBindingStrategy(AdmissionPolicyBindingStrategy):
    """Where a rule that refuses holds, and what a refusal is."""

    def validate(self, obj: Object) -> list[Cause]:
        """Say what happens."""
        wrong, actions = super().validate(obj), obj["spec"].get("validationActions", [])
        if not actions:
            return [*wrong, fields.required("spec.validationActions", "at least one is required")]
        seen: set[str] = set()
        for index, action in enumerate(actions):
            at = f"spec.validationActions[{index}]"
            if action not in _ACTIONS:
                wrong.append(fields.unsupported(at, action, _ACTIONS))
            elif action in seen:
                wrong.append(fields.duplicate(at, action))
            seen.add(action)
        if {"Deny", "Warn"} <= seen:
            detail = "must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)"
            wrong.append(fields.invalid("spec.validationActions", actions, detail))
        return wrong
