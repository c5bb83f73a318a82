"""Validating- and MutatingWebhookConfiguration, APIService: who else is asked."""

from collections.abc import Sequence

from wherry.api.errors import Cause
from wherry.apiserver.strategy import fields, names
from wherry.apiserver.strategy.base import Object, Strategy
from wherry.apiserver.strategy.defaulting import NOTHING, Defaults
from wherry.apiserver.strategy.formats import in_range, option
from wherry.apiserver.strategy.selector import validate_label_selector

_OPERATIONS = ("*", "CONNECT", "CREATE", "DELETE", "UPDATE")
_EFFECTS = ("None", "NoneOnDryRun")
_POLICIES = ("Fail", "Ignore")
_MATCHES = ("Equivalent", "Exact")
_SCOPES = ("*", "Cluster", "Namespaced")
_WEBHOOK = Defaults(
    absent={"failurePolicy": "Fail", "matchPolicy": "Equivalent", "timeoutSeconds": 10},
    made={"namespaceSelector": NOTHING, "objectSelector": NOTHING},
    within={
        "rules": Defaults(absent={"scope": "*"}),
        "clientConfig": Defaults(within={"service": Defaults(absent={"port": 443})}),
    },
)
_MUTATING = Defaults(absent={"reinvocationPolicy": "Never"})


class WebhookConfigurationStrategy(Strategy):
    """Webhooks that refuse objects."""

    generation = True
    unconditional_update = False

    def is_change(self, new: Object, old: Object) -> bool:
        """Look at the webhooks: there is no spec."""
        return new.get("webhooks") != old.get("webhooks")

    def default(self, obj: Object) -> None:
        """Fail closed, in ten seconds."""
        _WEBHOOK.each(obj.get("webhooks", []))

    def validate(self, obj: Object) -> list[Cause]:
        """Check every webhook."""
        wrong: list[Cause] = []
        seen: set[str] = set()
        for index, hook in enumerate(obj.get("webhooks", ())):
            at, name = f"webhooks[{index}]", hook.get("name", "")
            wrong += _webhook(at, hook)
            if name in seen:
                wrong.append(fields.duplicate(f"{at}.name", name))
            seen.add(name)
        return wrong


class MutatingWebhookConfigurationStrategy(WebhookConfigurationStrategy):
    """Webhooks that change objects, once."""

    def default(self, obj: Object) -> None:
        """As above."""
        super().default(obj)
        _MUTATING.each(obj.get("webhooks", []))

    def validate(self, obj: Object) -> list[Cause]:
        """Check every webhook, and whether it may be asked again."""
        wrong = super().validate(obj)
        for index, hook in enumerate(obj.get("webhooks", ())):
            at = f"webhooks[{index}]"
            wrong += option(at, hook, "reinvocationPolicy", ("IfNeeded", "Never"))
        return wrong


def _webhook(path: str, hook: Object) -> list[Cause]:
    name = hook.get("name", "")
    wrong = names.check(f"{path}.name", name, names.dns1123_subdomain)
    if not wrong and name.count(".") < 2:
        detail = "should be a domain with at least three segments separated by dots"
        wrong.append(fields.invalid(f"{path}.name", name, detail))
    if not hook.get("admissionReviewVersions"):
        detail = "must specify one of v1, v1beta1"
        wrong.append(fields.required(f"{path}.admissionReviewVersions", detail))
    for index, rule in enumerate(hook.get("rules", ())):
        wrong += _rule(f"{path}.rules[{index}]", rule)
    wrong += option(path, hook, "failurePolicy", _POLICIES)
    wrong += option(path, hook, "matchPolicy", _MATCHES)
    if hook.get("sideEffects") is None:
        detail = "must specify one of None, NoneOnDryRun"
        wrong.append(fields.required(f"{path}.sideEffects", detail))
    else:
        wrong += option(path, hook, "sideEffects", _EFFECTS)
    if not 1 <= hook["timeoutSeconds"] <= 30:
        detail = "the timeout value must be between 1 and 30 seconds"
        wrong.append(fields.invalid(f"{path}.timeoutSeconds", hook["timeoutSeconds"], detail))
    for field in ("namespaceSelector", "objectSelector"):
        wrong += validate_label_selector(f"{path}.{field}", hook[field])
    return wrong + _client(f"{path}.clientConfig", hook.get("clientConfig", {}))


def _rule(path: str, rule: Object) -> list[Cause]:
    wrong: list[Cause] = []
    for field in ("operations", "apiGroups", "apiVersions", "resources"):
        values, at = rule.get(field, []), f"{path}.{field}"
        if not values:
            wrong.append(fields.required(at))
        if "*" in values and len(values) > 1 and field != "resources":
            detail = "if '*' is present, must not specify other " + _WORDS[field]
            wrong.append(fields.invalid(at, values, detail))
    for index, operation in enumerate(rule.get("operations", ())):
        if operation not in _OPERATIONS:
            at = f"{path}.operations[{index}]"
            wrong.append(fields.unsupported(at, operation, _OPERATIONS))
    return wrong + option(path, rule, "scope", _SCOPES)


_WORDS = {"operations": "operations", "apiGroups": "API groups", "apiVersions": "API versions"}


def _client(path: str, config: Object) -> list[Cause]:
    service = config.get("service")
    if ("url" in config) == (service is not None):
        detail = "exactly one of url or service is required"
        return [fields.required(path, detail)]
    if service is None:
        url = config["url"]
        if url.startswith("https://"):
            return []
        detail = "'https' is the only allowed URL scheme; desired format: https://host[/path]"
        return [fields.invalid(f"{path}.url", url.partition(":")[0], detail)]
    at = f"{path}.service"
    wrong = [
        fields.required(f"{at}.{field}", f"service {field} is required")
        for field in ("name", "namespace")
        if not service.get(field)
    ]
    if not 1 <= service["port"] <= 65535:
        detail = "port is not valid: must be between 1 and 65535, inclusive"
        wrong.append(fields.invalid(f"{at}.port", service["port"], detail))
    return wrong


class APIServiceStrategy(Strategy):
    """Who serves a group and version; its name says which."""

    unconditional_update = False
    status_metadata = ()

    _defaults = Defaults(
        made={"spec": Defaults(within={"service": Defaults(absent={"port": 443})})}
    )

    def check_name(self, name: str) -> Sequence[str]:
        """Be whatever can stand in a path."""
        return names.path_segment(name)

    def prepare_create(self, obj: Object) -> None:
        """Begin with nothing known."""
        obj["status"] = {}

    def default(self, obj: Object) -> None:
        """Ask at 443."""
        self._defaults.apply(obj)

    def validate(self, obj: Object) -> list[Cause]:
        """Check name and priorities."""
        spec, name = obj["spec"], obj["metadata"].get("name", "")
        wanted = f"{spec.get('version', '')}.{spec.get('group', '')}"
        wrong: list[Cause] = []
        if name != wanted:
            detail = f'must be `spec.version+"."+spec.group`: {_quoted(wanted)}'
            wrong.append(fields.invalid("metadata.name", name, detail))
        if not spec.get("version"):
            wrong.append(fields.required("spec.version"))
        for field, most in (("groupPriorityMinimum", 20000), ("versionPriority", 1000)):
            value = spec.get(field, 0)
            if not 0 < value <= most:
                detail = f"must be positive and less than {most}"
                wrong.append(fields.invalid(f"spec.{field}", value, detail))
        service = spec.get("service")
        if service is not None:
            wrong += [
                fields.required(f"spec.service.{field}")
                for field in ("namespace", "name")
                if not service.get(field)
            ]
            wrong += in_range("spec.service.port", service["port"], 1, 65535)
        return wrong


def _quoted(text: str) -> str:
    return f'"{text}"'
